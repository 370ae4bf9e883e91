"""A problem by its name, such as 'float32/dst/8x300x11x11/axis1/channels-last/offset3/2'.

That is a dtype, a form, the view's shape, its axis, how it lies in memory (C order if nothing is said), by how many
elements its beginning misses that of a cache line, and on how many threads it is computed.
"""

import re
from math import prod
from typing import NamedTuple

from benchmarks.cases import DTYPES, FORMS, Cell, Shape

ORDERS = {  # which axis of the memory is which of the view's
    "": lambda ndim: (),
    "fortran": lambda ndim: tuple(reversed(range(ndim))),
    "channels-last": lambda ndim: (0, ndim - 1, *range(1, ndim - 1)),
    "heads": lambda ndim: (0, 2, 1, *range(3, ndim)),
}
SLICED = ("padded", "every-second")
LEAST_DIMENSIONS = {"channels-last": 3, "heads": 4}
_PATTERN = re.compile(
    rf"(?P<dtype>{'|'.join(DTYPES)})/(?P<form>{'|'.join(FORMS)})/(?P<extents>\d+(?:x\d+)*)/axis(?P<axis>\d+)"
    r"(?:/(?P<layout>fortran|channels-last|heads|every-second|padded(?P<padding>\d+)))?"
    r"(?:/offset(?P<offset>\d+))?/(?P<threads>\d+)"
)


class Spec(NamedTuple):
    dtype: str
    form: str
    extents: tuple  # the view's shape
    axis: int
    layout: str = ""
    padding: int = 0  # elements after each line of a padded array
    offset: int = 0
    threads: int = 1

    @property
    def n(self):
        return self.extents[self.axis]

    @property
    def elements(self):
        return prod(self.extents)

    @property
    def kind(self):
        if self.layout:
            return self.layout
        if self.axis == len(self.extents) - 1:
            return "last axis"
        return "middle axis" if self.axis else "first axis"

    @property
    def label(self):
        parts = ["x".join(map(str, self.extents)), f"axis{self.axis}"]
        if self.layout:
            parts.append(self.layout + (str(self.padding) if self.layout == "padded" else ""))
        if self.offset:
            parts.append(f"offset{self.offset}")
        return "/".join(parts)

    @property
    def name(self):
        return f"{self.dtype}/{self.form}/{self.label}/{self.threads}"

    @property
    def cell(self):
        order = ORDERS.get(self.layout, ORDERS[""])(len(self.extents))
        memory = [0] * len(self.extents)
        for extent, place in zip(self.extents, order or range(len(self.extents)), strict=True):
            memory[place] = extent
        take = ()
        if self.layout in SLICED:
            last = slice(None, None, 2) if self.layout == "every-second" else slice(memory[-1])
            take = (*(slice(None) for _ in memory[1:]), last)
            memory[-1] = memory[-1] * 2 if self.layout == "every-second" else memory[-1] + self.padding
        shape = Shape(self.kind, self.label, tuple(memory), self.axis, take, order, self.offset)
        return Cell(self.dtype, self.form, shape)


def parse(name):
    found = _PATTERN.fullmatch(name)
    if not found:
        raise SystemExit(f"no problem is called {name!r}; one is called 'float32/dst/43x32236/axis0/2'")
    fields = found.groupdict()
    spec = Spec(
        fields["dtype"],
        fields["form"],
        tuple(map(int, fields["extents"].split("x"))),
        int(fields["axis"]),
        "padded" if fields["padding"] else fields["layout"] or "",
        int(fields["padding"] or 0),
        int(fields["offset"] or 0),
        int(fields["threads"]),
    )
    if spec.axis >= len(spec.extents) or len(spec.extents) < LEAST_DIMENSIONS.get(spec.layout, 1):
        raise SystemExit(f"{name}: there is no such axis, or no such layout of {len(spec.extents)} dimensions")
    if 0 in spec.extents or not spec.threads:
        raise SystemExit(f"{name}: extents and threads are at least 1")
    return spec
