"""What is timed: dtypes, forms, and shapes in named groups."""

from fnmatch import fnmatch
from math import prod
from typing import NamedTuple

import ml_dtypes
import numpy as np

DTYPES = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
    "float64": np.dtype(np.float64),
}
FORMS = ("dst", "src", "forward")


class Dtypes(NamedTuple):
    diff_dst: np.dtype
    x: np.dtype
    out: np.dtype


# No library has these: they are timed beside another commit alone.
MIXED = {
    "bfloat16-to-float32": Dtypes(DTYPES["bfloat16"], DTYPES["bfloat16"], DTYPES["float32"]),
    "float32-by-bfloat16": Dtypes(DTYPES["float32"], DTYPES["bfloat16"], DTYPES["float32"]),
}


class Shape(NamedTuple):
    """An array of shape `parent` in C order; of it `take`, with its axes in `order`; and the view's axis.

    The array and the result begin `offset` elements after the beginning of a cache line.
    """

    group: str
    label: str
    parent: tuple
    axis: int
    take: tuple = ()
    order: tuple = ()
    offset: int = 0

    @property
    def axes(self):
        return self.order or tuple(range(len(self.parent)))

    @property
    def memory_axis(self):
        """The axis as the memory has it."""
        return self.axes[self.axis]


def _plain(group, *shape, axis=-1):
    label = "x".join(map(str, shape)) + ("" if axis == -1 else f"-axis{axis}")
    return Shape(group, label, shape, axis)


SHAPES = (
    _plain("tiny", 4, 8),
    _plain("tiny", 32, 10),
    _plain("last axis, in the caches", 128, 1000),
    _plain("last axis, in the caches", 1024, 1000),
    _plain("last axis, in the caches", 127, 1003),
    _plain("last axis, past the caches", 256, 32000),
    _plain("last axis, past the caches", 64, 128256),
    _plain("last axis, past the caches", 4099, 4097),
    _plain("long row", 1, 128256),
    _plain("few classes", 1_000_000, 3),
    _plain("few classes", 1_000_000, 10),
    _plain("few classes", 300_000, 21),
    _plain("few classes", 250_000, 64),
    _plain("strided axis", 8, 512, 512, axis=1),
    _plain("strided axis", 16, 21, 256, 256, axis=1),
    _plain("strided axis", 64, 1000, 7, 7, axis=1),
    _plain("strided axis", 4096, 4096, axis=0),
    Shape("strided axis", "4096x4096-fortran", (4096, 4096), -1, order=(1, 0)),
    _plain("strided axis", 33, 77, 129, axis=1),
    _plain("strided axis", 3000, 1777, axis=0),
    _plain("strided axis", 9, 46986, 3, axis=1),
    _plain("strided axis", 100_000, 47, axis=0),
    Shape("views", "1024x1000-every-second", (1024, 2000), -1, take=(slice(None), slice(None, None, 2))),
    Shape("views", "1024x1000-padded-rows", (1024, 1280), -1, take=(slice(None), slice(1000))),
    Shape("views", "1000000x7-padded-rows", (1_000_000, 13), -1, take=(slice(None), slice(7))),
    Shape("views", "16x21x256x256-channels-last", (16, 256, 256, 21), 1, order=(0, 3, 1, 2)),
)

QUICK = {
    ("float32", "dst"): ("4x8", "1024x1000", "256x32000", "1000000x10", "8x512x512-axis1"),
    ("float32", "src"): ("1024x1000", "256x32000", "1000000x10", "8x512x512-axis1"),
    ("float32", "forward"): ("1024x1000",),
    ("bfloat16", "dst"): ("1024x1000", "1000000x10"),
}

# Of mixed dtypes: one shape for each walk.
MIXED_SHAPES = (
    "4x8", "1024x1000", "256x32000", "1000000x10", "250000x64", "8x512x512-axis1", "4096x4096-axis0",
    "1024x1000-padded-rows",
)  # fmt: skip


class Cell(NamedTuple):
    dtype: str  # a name of DTYPES or of MIXED
    form: str
    shape: Shape

    @property
    def name(self):
        return f"{self.dtype}/{self.form}/{self.shape.label}"

    @property
    def dtypes(self):
        return MIXED[self.dtype] if self.dtype in MIXED else Dtypes(*[DTYPES[self.dtype]] * 3)

    @property
    def operands(self):
        return 1 if self.form == "forward" else 2

    @property
    def elements(self):
        parent, take = self.shape.parent, self.shape.take
        if take:
            return prod(len(range(*part.indices(n))) for part, n in zip(take, parent, strict=True))
        return prod(parent)

    @property
    def bytes(self):
        """Of the operands and the result."""
        return self.elements * sum(dtype.itemsize for dtype in self.dtypes[-1 - self.operands :])


def select(only=None, quick=False, mixed=False):
    cells = [
        Cell(dtype, form, shape)
        for shape in SHAPES
        for dtype in (*DTYPES, *(MIXED if mixed and shape.label in MIXED_SHAPES else ()))
        for form in FORMS
        if (dtype, form) != ("float32-by-bfloat16", "forward")  # which is bfloat16 to float32
    ]
    if quick:
        cells = [cell for cell in cells if cell.shape.label in QUICK.get((cell.dtype, cell.form), ())]
    if only:
        cells = [cell for cell in cells if any(matches(cell.name, pattern) for pattern in only)]
    return cells


def matches(name, pattern):
    """Whether a substring or a glob fits, whatever the case."""
    name, pattern = name.lower(), pattern.lower()
    return pattern in name or fnmatch(name, pattern)
