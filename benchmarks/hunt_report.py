"""Tables of a hunt: ratios to the best library, and cliffs between neighbours."""

from statistics import geometric_mean

from rich.table import Table

from benchmarks.cases import DTYPES, FORMS
from benchmarks.hunt_figures import CLIFF, SLOW, best_library, cliffs, ratio
from benchmarks.machine import taken
from benchmarks.random_problems import KINDS
from benchmarks.report import FORM_NAMES, show_missing, show_skipped

MOST = 25  # lines of each list


def show(results, console, in_detail=False):
    hunted = results["hunted"]
    if beside := [problem for problem in hunted if problem["libraries"]]:
        console.print(_summary(beside))
        _show_slow(beside, results["options"], console)
    _show_cliffs(hunted, results["options"], console)
    if in_detail:
        for problem in hunted:
            console.print(_contenders(problem))
    show_missing(results["missing"], console)
    show_skipped(hunted, console)
    if results["left out"]:
        console.print(f"left out for want of memory: {', '.join(results['left out'])}", highlight=False, soft_wrap=True)
    if hunted:
        rounds = sorted(problem["rounds"] for problem in hunted)
        console.print(
            f"{len(hunted)} problems, {rounds[0]} to {rounds[-1]} rounds each, on {results['machine']['processor']}. "
            f"{taken(results)}",
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


def _show_slow(problems, options, console):
    slow = sorted((problem for problem in problems if ratio(problem) < SLOW), key=ratio)
    console.print(f"[bold]below {SLOW} of the best library: {len(slow)} of {len(problems)} problems[/]")
    for problem in slow[:MOST]:
        _line(
            console,
            options,
            problem,
            f"{ratio(problem):.2f} {best_library(problem):21} {problem['seconds'] * 1e6:11,.1f} us",
        )


def _show_cliffs(problems, options, console):
    found = [(cliff, name, problem) for problem in problems for cliff, name in cliffs(problem) if cliff > CLIFF]
    found.sort(key=lambda item: -item[0])
    console.print(f"[bold]cliffs above {CLIFF}: {len(found)}[/]")
    for cliff, name, problem in found[:MOST]:
        nanoseconds = problem["seconds"] / problem["elements"] * 1e9
        _line(console, options, problem, f"{cliff:4.1f} {name:25} {nanoseconds:8.2f} ns/element")


def _line(console, options, problem, figures):
    """With the command that races the problem again."""
    rivals = f" --rivals {' '.join(options['rivals'])}" if options["rivals"] else ""
    command = f"python -m benchmarks --threads {options['threads']}{rivals} --hunt --problem '{problem['name']}'"
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
