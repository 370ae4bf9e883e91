"""Tables of two builds, one beside the other: above 1 is faster now than before."""

from statistics import geometric_mean

from rich.table import Table

from benchmarks.cases import DTYPES, FORMS, MIXED
from benchmarks.machine import is_quiet, percent, taken
from benchmarks.report import FORM_NAMES

SLOWER = 0.95  # and below is named; nearer to 1 the machine's noise is
FEW = 20  # rounds, of which one in ten may not be undisturbed


def show(results, console):
    cells = results["compared"]
    for name, build in results["builds"].items():
        console.print(
            f"{name + ':':7} {build['file']}, {build['instruction set']}, {build['threads']} threads, "
            f"{build['compiler']}",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    if cells:
        console.print(_summary(cells))
        _show_bits(cells, console)
        _show_slower(cells, console)
        _show_rounds(results, console)
    for name, reason in results["skipped"].items():
        console.print(f"left out: {name}: {reason}", highlight=False, markup=False)


def _summary(cells):
    table = Table(title="times as fast now as before: geometric mean (worst cell), good rounds", title_justify="left")
    for heading in ("group", "form"):
        table.add_column(heading)
    dtypes = [dtype for dtype in (*DTYPES, *MIXED) if any(cell["dtype"] == dtype for cell in cells)]
    for heading in ("all", *dtypes):
        table.add_column(heading, justify="right")
    table.add_column("the worst cell", overflow="fold")
    for group in dict.fromkeys(cell["group"] for cell in cells):
        _add_rows(table, group, [cell for cell in cells if cell["group"] == group], dtypes)
    _add_rows(table, "[bold]all[/]", cells, dtypes)
    _add_row(table, "[bold]all[/]", "all", cells, dtypes)
    return table


def _add_rows(table, group, cells, dtypes):
    table.add_section()
    for form in FORMS:
        if chosen := [cell for cell in cells if cell["form"] == form]:
            _add_row(table, group, FORM_NAMES[form], chosen, dtypes)


def _add_row(table, group, form, cells, dtypes):
    by_dtype = ([cell for cell in cells if cell["dtype"] == dtype] for dtype in dtypes)
    worst = min(cells, key=_ratio)
    table.add_row(group, form, *map(_mean_and_worst, (cells, *by_dtype)), f"{worst['dtype']}/{worst['shape']}")


def _ratio(cell):
    return cell["ratio"]


def _mean_and_worst(cells):
    if not cells:
        return ""
    worst = min(map(_ratio, cells))
    text = f"{geometric_mean(map(_ratio, cells)):.2f} ({worst:.2f})"
    return f"[red]{text}[/]" if worst < SLOWER else text


def _show_bits(cells, console):
    differing = [cell for cell in cells if cell["other bits"]]
    if not differing:
        console.print(f"same bits in all {len(cells)} cells", highlight=False)
        return
    table = Table(title=f"other bits than before in {len(differing)} of {len(cells)} cells", title_justify="left")
    table.add_column("cell")
    for heading in ("elements that differ", "of", "units in the last place, at most"):
        table.add_column(heading, justify="right")
    for cell in differing:
        units = "a NaN and a number" if cell["units"] is None else f"{cell['units']:,}"
        table.add_row(cell["name"], f"{cell['other bits']:,}", f"{cell['elements']:,}", units)
    console.print(table)


def _show_slower(cells, console):
    slower = sorted((cell for cell in cells if cell["ratio"] < SLOWER), key=_ratio)
    if not slower:
        console.print(f"no cell below {SLOWER}", highlight=False)
        return
    table = Table(title=f"slower now: {len(slower)} of {len(cells)} cells below {SLOWER}", title_justify="left")
    table.add_column("cell")
    headings = "good rounds", "median of all", "before, us", "now, us", "rounds", "others took", "stolen"
    for heading in headings:
        table.add_column(heading, justify="right")
    for cell in slower:
        table.add_row(
            cell["name"],
            f"{cell['ratio']:.2f}",
            f"{cell['paired ratio']:.2f}",
            *(f"{seconds * 1e6:,.1f}" for seconds in cell["good"].values()),
            str(cell["rounds"]),
            percent(cell["others"]),
            percent(cell["stolen"]),
        )
    console.print(table)


def _show_rounds(results, console):
    cells = results["compared"]
    rounds = sorted(cell["rounds"] for cell in cells)
    console.print(
        f"{rounds[0]} to {rounds[-1]} rounds a cell. {taken(results)}",
        highlight=False,
    )
    few = [cell["name"] for cell in cells if cell["rounds"] < FEW]
    if few:
        console.print(f"fewer than {FEW} rounds: {_some(few)}", highlight=False)
    disturbed = [cell["name"] for cell in cells if not is_quiet(cell["others"])]
    if disturbed:
        console.print(f"[yellow]disturbed: {_some(disturbed)}[/]", highlight=False)


def _some(names):
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
