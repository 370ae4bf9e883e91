"""The picture of every cell: for each cell how much of the memory bus's speed each contender reaches."""

import matplotlib
from matplotlib.figure import Figure

from benchmarks.cases import FORMS
from benchmarks.figures import SMALLEST_ON_SCALE, bus_fraction, bus_times
from benchmarks.goals import GOALS
from benchmarks.report import FORM_NAMES

DTYPES = ("float32", "bfloat16")
# Okabe and Ito's colours, which the colour-blind tell apart; the marks differ too.
RIVALS = {
    "Numba": ("#E69F00", "D"),
    "torch.compile": ("#CC79A7", "s"),
    "PyTorch": ("#D55E00", "^"),
    "JAX": ("#009E73", "v"),
    "oneDNN": ("#56B4E9", "P"),
    "NumPy": ("#999999", "X"),
    "SciPy": ("#5d5d5d", "."),
}
FASTLSM_COLOUR = "#0072B2"
LEAST = 0.01  # of the bus; what is slower is drawn there


def draw(results, path):
    cells = [cell for cell in results["cells"] if bus_times(cell)]
    dtypes = [dtype for dtype in DTYPES if any(cell["dtype"] == dtype for cell in cells)]
    cells = [cell for cell in cells if cell["dtype"] in dtypes]
    if not cells:
        raise SystemExit(f"no picture: it shows {' and '.join(DTYPES)}, against the bus, and there is no such cell")
    rows = {form: _rows(cell for cell in cells if cell["form"] == form) for form in FORMS}
    forms = [form for form in FORMS if rows[form]]
    heights = [0.55 + 0.165 * len(rows[form]) for form in forms]
    with matplotlib.rc_context({"font.size": 8, "axes.titlesize": 10}):
        figure = Figure(figsize=(9.6, 0.9 + sum(heights)), layout="constrained")
        axes = figure.subplots(len(forms), len(dtypes), squeeze=False, sharex=True, sharey="row", height_ratios=heights)
        for form, line in zip(forms, axes, strict=True):
            for dtype, ax in zip(dtypes, line, strict=True):
                chosen = {cell["shape"]: cell for cell in cells if (cell["form"], cell["dtype"]) == (form, dtype)}
                _panel(ax, rows[form], chosen, f"{FORM_NAMES[form]}, {dtype}")
            _name_groups(line[-1], rows[form])
        _legend(figure, axes)
        machine, threads = results["machine"], results["options"]["threads"]
        what = "speed as a fraction of the memory bus: a copy of the same bytes"
        figure.supxlabel(f"{what}. {machine['processor']}, {threads} threads", fontsize=9)
        figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})


def _rows(cells):
    """The shapes, each with its group, in the groups' order."""
    groups = list(GOALS)
    return sorted(dict.fromkeys((cell["group"], cell["shape"]) for cell in cells), key=lambda row: groups.index(row[0]))


def _starts(rows):
    """Where each group starts."""
    return {group: y for y, (group, _) in reversed(list(enumerate(rows)))}


def _name_groups(ax, rows):
    for group, y in _starts(rows).items():
        ax.text(1.02, y, group, color="#666666", va="center", style="italic", transform=ax.get_yaxis_transform())


def _legend(figure, axes):
    handles = {}
    for ax in axes.flat:
        handles |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    names = [name for name in ("fastlsm", *RIVALS, "bus") if name in handles]
    figure.legend([handles[name] for name in names], names, loc="outside upper center", ncols=len(names), frameon=False)


def _panel(ax, rows, cells, title):
    ax.set_title(title, loc="left", fontweight="bold")
    for y in _starts(rows).values():
        ax.axhline(y - 0.5, color="#dddddd", linewidth=0.8)
    for y, (_, shape) in enumerate(rows):
        if shape in cells:
            _dots(ax, y, cells[shape])
    ax.axvline(1, color="black", linewidth=1, label="bus")
    ax.set_yticks(range(len(rows)), [shape for _, shape in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.set_xlim(LEAST / 1.1, 1.6)
    ax.set_xticks([0.01, 0.03, 0.1, 0.3, 1], ["≤ 1 %", "3 %", "10 %", "30 %", "100 %"])
    ax.minorticks_off()
    ax.grid(axis="x", color="#eeeeee")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _dots(ax, y, cell):
    """A rival's best variant each, and the way from the strongest rival to fastlsm as a line."""
    best = {}
    for name in cell["contenders"]:
        rival = next((rival for rival in RIVALS if name.startswith(rival)), None)
        if rival:
            best[rival] = max(best.get(rival, LEAST), bus_fraction(cell, name))
    own = bus_fraction(cell)
    if best:
        ax.plot([max(best.values()), own], [y, y], color=FASTLSM_COLOUR, linewidth=2, alpha=0.35, zorder=2)
    for rival, fraction in best.items():
        colour, mark = RIVALS[rival]
        ax.scatter(fraction, y, 20, colour, mark, linewidths=0, zorder=3, label=rival)
    off = [rival for rival, fraction in best.items() if fraction <= LEAST]
    if off and cell["bytes"] >= SMALLEST_ON_SCALE:
        ax.text(LEAST * 1.15, y, f"{' and '.join(off)}: no fast path", color="#666666", fontsize=6, va="center")
    ax.scatter(own, y, 46, FASTLSM_COLOUR, "o", zorder=4, label="fastlsm")
