"""Tables of a hunt: ratios to the best library, and cliffs between neighbours."""

from statistics import geometric_mean

from rich.table import Table

from benchmarks.cases import DTYPES, FORMS
from benchmarks.hunt_figures import CLIFF, SLOW, best_library, cliffs, ratio
from benchmarks.random_problems import KINDS
from benchmarks.report import FORM_NAMES, show_missing

MOST = 25  # lines of each list


def show(results, console, in_detail=False):
    hunted = results["hunted"]
    if beside := [problem for problem in hunted if problem["libraries"]]:
        console.print(_summary(beside))
        _show_slow(beside, console)
    _show_cliffs(hunted, console)
    if in_detail:
        for problem in hunted:
            console.print(_contenders(problem))
    _show_left_out(results, console)
    rounds = sorted(problem["rounds"] for problem in hunted)
    if hunted:
        console.print(
            f"{len(hunted)} problems, {rounds[0]} to {rounds[-1]} rounds each. "
            f"Others took {_percent(results['others'])} of the machine's time; what the hypervisor stole is "
            f"{_percent(results['stolen'])}, and among it. {results['machine']['processor']}.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _summary(problems):
    table = Table(title="times as fast as the best library: geometric mean (worst), problems", title_justify="left")
    table.add_column("")
    for form in FORMS:
        table.add_column(FORM_NAMES[form], justify="right")
    table.add_column("all", justify="right")
    sections = (
        [(kind, [p for p in problems if p["kind"] == kind]) for kind in KINDS],
        [("offset", [p for p in problems if p["offset"]])],
        [(dtype, [p for p in problems if p["dtype"] == dtype]) for dtype in DTYPES],
        [
            (f"{t} threads", [p for p in problems if p["threads"] == t])
            for t in sorted({p["threads"] for p in problems})
        ],
        [("[bold]all[/]", problems)],
    )
    for section in sections:
        table.add_section()
        for name, chosen in section:
            if chosen:
                by_form = ([p for p in chosen if p["form"] == form] for form in FORMS)
                table.add_row(name, *map(_mean_and_worst, (*by_form, chosen)))
    return table


def _mean_and_worst(problems):
    if not problems:
        return ""
    ratios = [ratio(problem) for problem in problems]
    text = f"{geometric_mean(ratios):.2f} ({min(ratios):.2f}) {len(ratios):3}"
    return f"[red]{text}[/]" if min(ratios) < 1 else text


def _show_slow(problems, console):
    slow = sorted((problem for problem in problems if ratio(problem) < SLOW), key=ratio)
    console.print(f"[bold]below {SLOW} of the best library: {len(slow)} of {len(problems)} problems[/]")
    for problem in slow[:MOST]:
        _line(console, f"{ratio(problem):.2f} {best_library(problem):21} {problem['seconds'] * 1e6:11,.1f} us", problem)


def _show_cliffs(problems, console):
    found = [(cliff, name, problem) for problem in problems for cliff, name in cliffs(problem) if cliff > CLIFF]
    found.sort(key=lambda item: -item[0])
    console.print(f"[bold]cliffs above {CLIFF}: {len(found)}[/]")
    for cliff, name, problem in found[:MOST]:
        nanoseconds = problem["seconds"] / problem["elements"] * 1e9
        _line(console, f"{cliff:4.1f} {name:25} {nanoseconds:8.2f} ns/element", problem)


def _line(console, figures, problem):
    command = f"python -m benchmarks --hunt --problem '{problem['name']}'"
    console.print(f"{figures}  {command}", highlight=False, markup=False, soft_wrap=True)


def _contenders(problem):
    table = Table(title=problem["name"], title_justify="left")
    table.add_column("")
    for heading in ("best, us", "ns an element", "times fastlsm's"):
        table.add_column(heading, justify="right")
    _add_row(table, "fastlsm", problem["seconds"], problem["elements"], problem)
    for name, seconds in sorted(problem["libraries"].items(), key=lambda item: item[1]):
        _add_row(table, name, seconds, problem["elements"], problem)
    table.add_section()
    for name, neighbour in problem["neighbours"].items():
        _add_row(table, name, neighbour["seconds"], neighbour["elements"], problem)
    return table


def _add_row(table, name, seconds, elements, problem):
    figures = f"{seconds * 1e6:,.1f}", f"{seconds / elements * 1e9:.3f}", f"{seconds / problem['seconds']:.2f}"
    table.add_row(name, *figures)


def _show_left_out(results, console):
    show_missing(results["missing"], console)
    reasons = {}
    for problem in results["hunted"]:
        for name, reason in problem["skipped"].items():
            reasons.setdefault((name, reason.partition(": off by")[0]), []).append(problem["name"])
    for name in results["left out"]:
        reasons.setdefault(("all", "not enough memory"), []).append(name)
    for (name, reason), names in reasons.items():
        where = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
        console.print(f"left out: {name} in {where}: {reason}", highlight=False, markup=False, soft_wrap=True)


def _percent(value):
    return "?" if value is None else f"{value:.0%}"
