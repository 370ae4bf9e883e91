"""README's table, in Markdown, and what is to be said below it: one dtype, beside the libraries."""

from itertools import chain
from statistics import geometric_mean

from benchmarks.cases import FORMS
from benchmarks.figures import (
    NUMBA,
    best_library_ratio,
    bus_fraction,
    has_no_fast_path,
    library_ratios,
    rival_ratios,
)
from benchmarks.goals import GOALS
from benchmarks.report import FORM_NAMES


def table(cells):
    lines = [["", *(FORM_NAMES[form] for form in FORMS), "of the bus"], ["---"] * (len(FORMS) + 2)]
    for group in GOALS:
        chosen = {form: [c for c in cells if (c["group"], c["form"]) == (group, form)] for form in FORMS}
        if all(chosen.values()):
            ratios = [_mean_and_worst(map(best_library_ratio, chosen[form])) for form in FORMS]
            lines.append([group, *ratios, _of_bus(chosen["dst"]) if GOALS[group].bus else ""])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _of_bus(cells):
    fractions = [fraction for cell in cells if (fraction := bus_fraction(cell)) is not None]
    return f"{geometric_mean(fractions):.0%}" if fractions else ""


def _mean_and_worst(ratios):
    ratios = [ratio for ratio in ratios if ratio is not None]
    return f"{geometric_mean(ratios):.2f} ({min(ratios):.2f})" if ratios else ""


def words(cells):
    return "\n\n".join(filter(None, (_behind(cells), _beside_numba(cells), *_off_the_scale(cells))))


def _behind(cells):
    ratios = [(cell, ratio) for cell in cells if (ratio := best_library_ratio(cell)) is not None]
    slower = [f"{cell['shape']} ({FORM_NAMES[cell['form']]}, {ratio:.2f})" for cell, ratio in ratios if ratio < 1]
    if not slower:
        return f"Behind a library in none of {len(ratios)} cells."
    return f"Behind a library in {len(slower)} of {len(ratios)} cells: {', '.join(slower)}."


def _beside_numba(cells):
    ratios = [ratio for cell in cells if (ratio := rival_ratios(cell).get(NUMBA)) is not None]
    if not ratios:
        return ""
    ahead = sum(ratio >= 1 for ratio in ratios)
    return f"Beside a {NUMBA} kernel: {_mean_and_worst(ratios)}, ahead in {ahead} of {len(ratios)} cells."


def _off_the_scale(cells):
    """A sentence for each library that has no fast path for a shape, whatever the form."""
    slow = {}
    for cell in cells:
        for library, ratio in library_ratios(cell).items():
            if has_no_fast_path(cell, ratio):
                slow.setdefault(library, {}).setdefault(cell["shape"], []).append(ratio)
    for library, shapes in slow.items():
        least, most = (f"{each(chain(*shapes.values())):.0f}" for each in (min, max))
        times = most if least == most else f"{least} to {most}"
        yield f"{library} has no fast path for {', '.join(shapes)}: there fastlsm is {times} times as fast."
