"""Random problems, the same ones for the same seed, and the neighbours of each."""

import math
import random

from benchmarks.spec import SLICED, Spec

ELEMENTS = (1e3, 5e7)
CLASSES = (2, 1e6)
MOST_OFFSET = 15
MOST_PADDING = 64  # elements after a line, and at most as many as it has
# How often each: what people have most often.
KINDS = {
    "last axis": 4, "first axis": 2, "middle axis": 2, "fortran": 2, "channels-last": 2, "heads": 1, "padded": 2,
    "every-second": 1,
}  # fmt: skip
DTYPES = {"float32": 3, "bfloat16": 2, "float16": 2, "float64": 1}
FORMS = {"dst": 2, "src": 1, "forward": 1}


def problems(seed, threads):
    """Without end."""
    rng = random.Random(seed)
    while True:
        yield draw(rng, threads)


def draw(rng, threads):
    """Of `rng` only `random()` is used: Python promises that this one stays the same."""
    kind, dtype, form = (_weighted(rng, weights) for weights in (KINDS, DTYPES, FORMS))
    elements = _log_uniform(rng, *ELEMENTS)
    n = _log_uniform(rng, CLASSES[0], min(CLASSES[1], elements))
    extents, axis = _shape(rng, kind, n, max(1, elements // n))
    layout = "" if kind.endswith(" axis") else kind
    padding = 1 + int(rng.random() * min(MOST_PADDING, extents[-1])) if layout == "padded" else 0
    offset = 1 + int(rng.random() * MOST_OFFSET) if rng.random() < 0.25 else 0
    return Spec(dtype, form, extents, axis, layout, padding, offset, threads if rng.random() < 2 / 3 else 1)


def _weighted(rng, weights):
    place = rng.random() * sum(weights.values())
    for name, weight in weights.items():
        place -= weight
        if place < 0:
            return name
    return name  # where rounding has it that nothing was below 0


def _log_uniform(rng, least, most):
    return max(int(least), min(int(most), round(least * (most / least) ** rng.random())))


def _shape(rng, kind, n, lines):
    """Extents of the view, with `n` along the axis and about as many `lines`; and the axis."""
    if kind in ("fortran", *SLICED):
        return ((n, lines), 0) if rng.random() < 0.5 else ((lines, n), 1)
    if kind == "first axis":
        return (n, lines), 0
    if kind == "middle axis":
        outer = _log_uniform(rng, 1, lines)
        return (outer, n, max(1, lines // outer)), 1
    batch = _log_uniform(rng, 1, math.sqrt(lines))
    if kind == "last axis":
        return ((lines, n), 1) if rng.random() < 0.75 else ((batch, max(1, lines // batch), n), 2)
    height = _log_uniform(rng, 1, lines // batch)
    width = max(1, lines // batch // height)
    if kind == "channels-last":
        return (batch, n, height, width), 1
    return (batch, height, width, n), 3


def neighbours(spec):
    """Problems whose time an element should be much the same, by how each differs."""
    along = spec._replace(extents=(spec.elements // spec.n, spec.n), axis=1, layout="", padding=0, offset=0)
    found = {"along the contiguous axis": along} if along != spec._replace(offset=0) else {}
    found["one longer"] = _with_n(spec, spec.n + 1)
    if spec.n > 2:
        found["one shorter"] = _with_n(spec, spec.n - 1)
    if spec.offset:
        found["aligned"] = spec._replace(offset=0)
    if spec.threads > 1:
        found["on one thread"] = spec._replace(threads=1)
    return found


def _with_n(spec, n):
    return spec._replace(extents=(*spec.extents[: spec.axis], n, *spec.extents[spec.axis + 1 :]))
