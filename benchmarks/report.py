"""Tables of what was measured."""

from statistics import geometric_mean

from rich.table import Table

from benchmarks.cases import DTYPES, FORMS
from benchmarks.figures import bus_fraction, bus_fraction_of_group, has_no_fast_path, rival_ratios, strongest
from benchmarks.goals import GOALS
from benchmarks.machine import is_quiet
from benchmarks.short import MACHINE, REASONS

FORM_NAMES = {"dst": "dst form", "src": "src form", "forward": "forward"}


def show(results, console, every_rival=False):
    cells = results["cells"]
    for form in FORMS:
        chosen = [cell for cell in cells if cell["form"] == form]
        if chosen:
            console.print(cells_table(chosen, FORM_NAMES[form], every_rival))
    if any(c["extra bytes"] is not None for cell in cells for c in cell["contenders"].values()):
        console.print(memory_table(cells))
    console.print(summary_table(cells, results["machine"]))
    _show_reasons(cells, console)
    show_missing(results["missing"], console)
    show_skipped(cells, console)
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    console.print(f"{machine['processor']}, {results['options']['threads']} threads; {versions}", highlight=False)
    disturbed = [cell["name"] for cell in cells if not is_quiet(cell["others"])]
    if disturbed:
        console.print(
            f"[yellow]The machine was not quiet: others had {results['others']:.0%} of its time, and more than they "
            f"should during {len(disturbed)} of {len(cells)} cells.[/]"
        )


def cells_table(cells, title, every_rival):
    table = Table(title=title, title_justify="left")
    table.add_column("cell")
    for heading in ("fastlsm, us", "times as fast as / goal", "the strongest rival", "of the bus"):
        table.add_column(heading, justify="left" if "rival" in heading else "right")
    rivals = sorted({name for cell in cells for name in rival_ratios(cell)}) if every_rival else []
    for name in rivals:
        table.add_column(name, justify="right")
    group = None
    for cell in cells:
        if cell["group"] != group:
            table.add_section()
            group = cell["group"]
            table.add_row(f"[bold]{group}[/]")
        ratios = rival_ratios(cell)
        name, ratio = strongest(cell)
        table.add_row(
            f"{cell['dtype']} {cell['shape']}",
            f"{cell['contenders']['fastlsm']['median'] * 1e6:,.1f}",
            "" if ratio is None else _beside(ratio, _goal(cell)),
            name,
            _percent(bus_fraction(cell)),
            *(_ratio_or_words(cell, ratios.get(rival)) for rival in rivals),
        )
    return table


def _goal(cell):
    """That of every cell of its group."""
    return GOALS[cell["group"]].ratios(cell["form"])[1]


def _show_reasons(cells, console):
    """Of each group with cells that fall short: how many, why, and what was tried."""
    for group, reason in REASONS.items():
        measured = [cell for cell in cells if cell["group"] == group and strongest(cell)[1] is not None]
        short = [cell for cell in measured if strongest(cell)[1] < _goal(cell)]
        if short:
            console.print(f"[bold]{group}[/]: {len(short)} of {len(measured)} cells fall short.", highlight=False)
            console.print(f"  why, on {MACHINE}: {reason.why}\n  tried: {reason.tried}", highlight=False)


def memory_table(cells):
    """Beyond operands and result; what a rival allocated beforehand counts."""
    rivals = sorted({name for cell in cells for name in rival_ratios(cell)})
    table = Table(title="peak extra memory, MB", title_justify="left")
    table.add_column("cell")
    for name in ("operands and result", "fastlsm", *rivals):
        table.add_column(name, justify="right")
    for cell in cells:
        contenders = cell["contenders"]
        extras = (contenders.get(name, {}).get("extra bytes") for name in ("fastlsm", *rivals))
        table.add_row(cell["name"], _megabytes(cell["bytes"]), *(_megabytes(extra) for extra in extras))
    return table


def summary_table(cells, machine):
    table = Table(title="times as fast as the strongest rival / goal", title_justify="left")
    for heading in ("group", "form"):
        table.add_column(heading)
    for heading in ("geometric mean", *DTYPES, "worst cell"):
        table.add_column(heading, justify="right")
    table.add_column("which one", overflow="fold")
    table.add_column("of the bus\n(dst form, float32)", justify="right")
    for group, goal in GOALS.items():
        table.add_section()
        for form in FORMS:
            chosen = [c for c in cells if c["group"] == group and c["form"] == form and strongest(c)[1] is not None]
            if not chosen:
                continue
            mean_goal, worst_goal = goal.ratios(form)
            worst = min(chosen, key=lambda cell: strongest(cell)[1])
            table.add_row(
                group,
                FORM_NAMES[form],
                _beside(_mean(chosen), mean_goal),
                *(_ratio(_mean([cell for cell in chosen if cell["dtype"] == dtype])) for dtype in DTYPES),
                _beside(strongest(worst)[1], worst_goal),
                f"{worst['dtype']}/{worst['shape']}",
                _speed(chosen, goal, machine) if form == "dst" else "",
            )
    return table


def _speed(cells, goal, machine):
    """Against the bus, or in microseconds, as the goal is."""
    cells = [cell for cell in cells if cell["dtype"] == "float32"]
    if not cells:
        return ""
    if goal.microseconds:
        microseconds = cells[0]["contenders"]["fastlsm"]["median"] * 1e6
        return _mark(microseconds <= goal.microseconds, f"{microseconds:.1f} us / {goal.microseconds:.1f}")
    fraction = bus_fraction_of_group(cells, machine)
    if fraction is None:
        return ""
    if goal.bus is None:
        return f"{fraction:.0%}"
    return _mark(fraction >= goal.bus, f"{fraction:.0%} / {goal.bus:.0%}")


def _mean(cells):
    """Geometric, of the ratios to the strongest rival."""
    return geometric_mean(strongest(cell)[1] for cell in cells) if cells else None


def _beside(value, goal):
    return _mark(value >= goal, f"{value:.2f} / {goal:.1f}")


def _mark(passed, text):
    return f"[green]{text} pass[/]" if passed else f"[red]{text} short[/]"


def _ratio_or_words(cell, value):
    return "no fast path" if value is not None and has_no_fast_path(cell, value) else _ratio(value)


def _ratio(value):
    return "" if value is None else f"{value:.2f}"


def _percent(value):
    return "" if value is None else f"{value:.0%}"


def _megabytes(value):
    return "" if value is None else f"{value / 1e6:,.1f}"


def show_missing(missing, console):
    for name, reason in missing.items():
        console.print(f"left out: {name}: {reason}", highlight=False, markup=False)


def show_skipped(cells, console):
    """By reason, and not for each cell by how much an answer was wrong."""
    reasons = {}
    for cell in cells:
        for name, reason in cell["skipped"].items():
            reasons.setdefault((name, reason.partition(": off by")[0]), []).append(cell["name"])
    for (name, reason), names in reasons.items():
        where = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        console.print(f"left out: {name} in {where}: {reason}", highlight=False, markup=False, soft_wrap=True)
