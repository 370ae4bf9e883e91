"""README's table, in Markdown: one dtype, beside the libraries, beside Numba and beside the bus."""

from statistics import geometric_mean

from benchmarks.cases import FORMS
from benchmarks.figures import bus_fraction, rival_ratios
from benchmarks.goals import GOALS
from benchmarks.report import FORM_NAMES

NUMBA = "Numba"  # a kernel written for this benchmark, no library's


def table(cells):
    headings = [FORM_NAMES[form] for form in FORMS]
    lines = [
        ["", *headings, f"beside {NUMBA}: {headings[0]}", *headings[1:], f"of the bus, {headings[0]}"],
        ["---"] * (2 * len(FORMS) + 2),
    ]
    for group in GOALS:
        chosen = {form: [c for c in cells if (c["group"], c["form"]) == (group, form)] for form in FORMS}
        if all(chosen.values()):
            ratios = [_beside(chosen[form], kind) for kind in (_of_libraries, _of_numba) for form in FORMS]
            lines.append([group, *ratios, _of_bus(chosen["dst"]) if GOALS[group].bus else ""])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _of_bus(cells):
    fractions = [fraction for cell in cells if (fraction := bus_fraction(cell)) is not None]
    return f"{geometric_mean(fractions):.0%}" if fractions else ""


def behind(cells):
    """The cells in which one of the libraries is faster, and how many there are in which Numba is."""
    slower = [f"{c['form']} {c['shape']} {r:.2f}" for c in cells if (r := _of_libraries(c)) is not None and r < 1]
    numba = [r for c in cells if (r := _of_numba(c)) is not None]
    below = sum(ratio < 1 for ratio in numba)
    return f"Behind a library: {', '.join(slower) or 'nowhere'}. Behind {NUMBA}: {below} of {len(numba)}."


def _of_libraries(cell):
    return min((ratio for name, ratio in rival_ratios(cell).items() if name != NUMBA), default=None)


def _of_numba(cell):
    return rival_ratios(cell).get(NUMBA)


def _beside(cells, kind):
    """The geometric mean and, in brackets, the worst cell."""
    ratios = [ratio for cell in cells if (ratio := kind(cell)) is not None]
    return f"{geometric_mean(ratios):.2f} ({min(ratios):.2f})" if ratios else ""
