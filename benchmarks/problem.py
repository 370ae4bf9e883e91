"""A cell's operands and results in memory, the same memory for every contender that can work on it."""

from math import prod

import numpy as np

from benchmarks import reference

_ALIGNMENT = 64  # a cache line; JAX takes no other memory without copying it
_PERIOD = 1_000_003  # a prime
_SMALL = 4096  # bytes of an array that owns its memory, as a caller's would: finding out costs more than the work


def aligned_empty(shape, dtype, offset=0):
    """The array begins `offset` elements after the beginning of a cache line."""
    dtype = np.dtype(dtype)
    size, skipped = int(np.prod(shape)) * dtype.itemsize, offset * dtype.itemsize
    memory = np.empty(size + skipped + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT + skipped
    return memory[start : start + size].view(dtype).reshape(shape)


class Problem:
    """diff_dst and src are random, or `values`.

    Arrays come in three guises: the `parent` that owns the memory, `taken` from it with the axes in memory order, and
    the view that a caller has.
    """

    def __init__(self, cell, threads, values=None):
        self.cell, self.threads = cell, threads
        dtypes = cell.dtypes
        self.dtype = dtypes.out
        self.axis, self.memory_axis = cell.shape.axis, cell.shape.memory_axis
        rng = np.random.default_rng(0)
        diff_dst, src = values or (self._random(rng), self._random(rng))
        self.diff_dst_parent, self.x_parent = self._parent(diff_dst, dtypes.diff_dst), self._parent(src, dtypes.x)
        if cell.form == "dst":
            x = self.taken(self.x_parent)
            x[...] = reference.answer("forward", None, x, self.memory_axis)
        self.diff_dst, self.x = self.view(self.diff_dst_parent), self.view(self.x_parent)
        self.taken_out = self._empty(self.taken(self.x_parent).shape, dtypes.out)
        self.out = self._permuted(self.taken_out)
        self.expected = reference.answer(cell.form, self.diff_dst, self.x, self.axis)

    def _random(self, rng):
        """From a period on that no row has the same numbers come again: drawing more takes longer than the race."""
        shape = self.cell.shape.parent
        return np.resize(rng.standard_normal(min(prod(shape), _PERIOD), np.float32), shape)

    def _parent(self, values, dtype):
        array = self._empty(self.cell.shape.parent, dtype)
        array[...] = values
        return array

    def _empty(self, shape, dtype):
        offset = self.cell.shape.offset
        if not offset and prod(shape) * dtype.itemsize <= _SMALL:
            return np.empty(shape, dtype)
        return aligned_empty(shape, dtype, offset)

    @property
    def form(self):
        return self.cell.form

    def taken(self, parent):
        take = self.cell.shape.take
        return parent[take] if take else parent

    def _permuted(self, taken):
        order = self.cell.shape.order
        return taken.transpose(order) if order else taken

    def view(self, parent):
        return self._permuted(self.taken(parent))

    def operands(self, diff_dst, x):
        """Those of the two that the form reads."""
        return (x,) if self.form == "forward" else (diff_dst, x)
