"""From N-d arrays of any strides to the (outer, n, inner) views that the kernels walk. Nothing is copied."""

import math
from typing import NamedTuple

import numpy as np

# Rows up to this length are turned into columns on loading: vectors then run across rows.
SHORT_ROW = 64
# Fewer columns than this do not fill a vector; the axis itself then had better be walked along.
FEW_COLUMNS = 16


class Plan(NamedTuple):
    """One problem for the kernels."""

    views: list  # of shape (outer, n, inner), one for each array given
    loops: tuple  # (extent, strides in each array) of the axes that the views are repeated along
    by_columns: bool


class _Group(NamedTuple):
    """Neighbouring axes that are one axis to every array."""

    axes: list
    extent: int
    strides: tuple  # of each array


def plan(arrays, axis):
    """Reduce arrays of one shape, none of whose extents is 0, to three axes each, `axis` in the middle.

    `axis` is normalised. Axes that lie one in the other in every array are merged. The kernels' `inner` is the
    axis along which neighbours are nearest, `outer` the next; what remains is left to `loops`.
    """
    return _plan_contiguous(arrays, axis) or _plan_strided(arrays, axis)


def _plan_contiguous(arrays, axis):
    """The common case, in C order, in a few microseconds; None where it is not the one."""
    for a in arrays:
        if not a.flags.c_contiguous:
            return None
    shape = arrays[0].shape
    n = shape[axis]
    inner = math.prod(shape[axis + 1 :])
    outer = arrays[0].size // (n * inner)
    if inner == 1 and (n > SHORT_ROW or outer < FEW_COLUMNS):
        return Plan([a.reshape(outer, n, 1) for a in arrays], (), False)
    if inner == 1:
        return Plan([a.reshape(1, outer, n).swapaxes(1, 2) for a in arrays], (), True)
    if inner >= FEW_COLUMNS:
        return Plan([a.reshape(outer, n, inner) for a in arrays], (), True)
    return None


def _plan_strided(arrays, axis):
    # From here on the last axis is `axis`, and no other has extent 1.
    index = tuple(0 if extent == 1 and d != axis else slice(None) for d, extent in enumerate(arrays[0].shape))
    axis -= index[:axis].count(0)
    arrays = [np.moveaxis(a[index], axis, -1) for a in arrays]
    n = arrays[0].shape[-1]

    groups = _merge(arrays)
    columns = math.prod(group.extent for group in groups)
    adjacent = all(a.strides[-1] in (a.itemsize, 0) for a in arrays)
    by_columns = columns >= FEW_COLUMNS and (n <= SHORT_ROW or not adjacent)
    if by_columns and groups[-1].extent < FEW_COLUMNS:
        groups.sort(key=lambda group: group.extent)

    axes = [d for group in groups for d in group.axes]
    extents = [group.extent for group in groups]
    repeated = max(0, len(groups) - (2 if by_columns else 1))
    views = []
    for a in arrays:
        view = a.transpose(*axes, -1).reshape(*extents, n)[(0,) * repeated]
        view = view.swapaxes(-1, -2) if by_columns else view[..., None]
        views.append(view if view.ndim == 3 else view[None])
    return Plan(views, tuple((group.extent, group.strides) for group in groups[:repeated]), by_columns)


def _merge(arrays):
    """The axes but the last, outermost first, in groups."""
    shape = arrays[0].shape[:-1]
    strides = [tuple(a.strides[d] for a in arrays) for d in range(len(shape))]
    # The last array is the result, whose order counts most.
    axes = sorted(range(len(shape)), key=lambda d: [-abs(s) for s in reversed(strides[d])])
    groups = []
    for d in axes:
        group = _Group([d], shape[d], strides[d])
        if groups and groups[-1].strides == tuple(s * shape[d] for s in strides[d]):
            outside = groups.pop()
            group = _Group([*outside.axes, d], outside.extent * shape[d], strides[d])
        groups.append(group)
    return groups


def is_same_memory(a, b):
    """Whether every element of `a` is the same element of `b`."""
    return a is b or (
        a.dtype == b.dtype
        and a.shape == b.shape
        and a.__array_interface__["data"] == b.__array_interface__["data"]
        and all(s == t or extent <= 1 for s, t, extent in zip(a.strides, b.strides, a.shape, strict=True))
    )


def has_overlapping_elements(a):
    """Whether two elements of `a` may share memory; may be true of unusual strides where none do."""
    if a.flags.forc:
        return False
    end = a.itemsize
    for stride, extent in sorted(zip(map(abs, a.strides), a.shape, strict=True)):
        if extent > 1:
            if stride < end:
                return True
            end += stride * (extent - 1)
    return False
