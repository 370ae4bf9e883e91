"""The picture for a first look: how many times as fast as the fastest library, by kind of shape."""

from statistics import geometric_mean

import matplotlib
from matplotlib.figure import Figure

from benchmarks import hunt_figures
from benchmarks.cases import FORMS
from benchmarks.figures import best_library_ratio, library_ratios
from benchmarks.goals import GOALS
from benchmarks.random_problems import KINDS
from benchmarks.report import FORM_NAMES

COLOUR, BEHIND = "#0072B2", "#D55E00"  # Okabe and Ito's
DTYPE = "float32"


def draw(results, path):
    """From a race, its cells of one dtype, or from a hunt."""
    hunted = "hunted" in results
    ratios = _hunted(results["hunted"]) if hunted else _raced(results["cells"])
    kinds = [kind for kind in (KINDS if hunted else GOALS) if any((kind, form) in ratios for form in FORMS)]
    forms = [form for form in FORMS if any((kind, form) in ratios for kind in kinds)]
    if not kinds:
        raise SystemExit("no picture: no library had a part in what was measured")
    with matplotlib.rc_context({"font.size": 9, "axes.titlesize": 10}):
        figure = Figure(figsize=(9, 1.1 + 0.32 * len(kinds)), layout="constrained")
        axes = figure.subplots(1, len(forms), squeeze=False, sharex=True, sharey=True)[0]
        for form, ax in zip(forms, axes, strict=True):
            _panel(ax, [ratios.get((kind, form), ()) for kind in kinds], FORM_NAMES[form])
        axes[0].set_yticks(range(len(kinds)), kinds)
        axes[0].invert_yaxis()
        axes[0].set_xlim(0, 1.25 * max(geometric_mean(each) for each in ratios.values()))
        what = "random problems" if hunted else DTYPE
        figure.suptitle(
            f"Times as fast as the fastest library, {what}, {results['options']['threads']} threads",
            fontsize=11, fontweight="bold",
        )  # fmt: skip
        figure.supxlabel("bar: geometric mean; tick: the worst shape; line: the fastest library", fontsize=8)
        figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})


def _raced(cells):
    """By kind and form the ratios."""
    found = {}
    for cell in cells:
        if cell["dtype"] == DTYPE and library_ratios(cell):
            found.setdefault((cell["group"], cell["form"]), []).append(best_library_ratio(cell))
    return found


def _hunted(problems):
    found = {}
    for problem in problems:
        if problem["libraries"]:
            found.setdefault((problem["kind"], problem["form"]), []).append(hunt_figures.ratio(problem))
    return found


def _panel(ax, rows, title):
    ax.set_title(title, loc="left")
    for y, ratios in enumerate(rows):
        if ratios:
            mean, worst = geometric_mean(ratios), min(ratios)
            ax.barh(y, mean, 0.62, color=COLOUR)
            ax.plot([worst, worst], [y - 0.31, y + 0.31], color=BEHIND if worst < 1 else "white", linewidth=2)
            ax.text(mean, y, f" {mean:.1f}", va="center", fontweight="bold")
    ax.axvline(1, color="black", linewidth=1)
    ax.spines[["top", "right", "bottom", "left"]].set_visible(False)
    ax.tick_params(axis="both", length=0)
    ax.set_xticks([1], ["1"])
