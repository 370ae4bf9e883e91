"""From N-d arrays of any strides to the (outer, n, inner) views that the kernels walk. Nothing is copied."""

from typing import NamedTuple


class _Group(NamedTuple):
    """Neighbouring axes that are one axis to every array."""

    axes: list
    extent: int
    strides: tuple  # of each array


def plan(arrays, axis):
    """Reduce arrays of one shape, none of whose extents is 0, to views of three axes, `axis` in the middle.

    `axis` is normalised. Axes that lie one in the other in every array are merged. Of what there is then, `inner`
    is the axis along which neighbours are nearest, `outer` the longest of the others. The rest is returned beside
    the views, as loops along which these are repeated: (extent, strides in each array).
    """
    shape = arrays[0].shape
    *outside, inner = _merge(shape, list(zip(*(a.strides for a in arrays), strict=True)), axis)
    outside.sort(key=lambda group: group.extent)
    loops = outside[:-1]

    axes = [d for group in outside for d in group.axes]
    axes += [axis, *inner.axes]
    extents = [group.extent for group in outside] or [1]
    extents += [shape[axis], inner.extent]
    start = (0,) * len(loops)
    views = [a.transpose(*axes).reshape(*extents)[start] for a in arrays]
    return views, [(group.extent, group.strides) for group in loops]


def _merge(shape, strides, axis):
    """The axes but `axis`, outermost first, in groups; `strides` are those of each axis in each array."""
    axes = [d for d, extent in enumerate(shape) if extent != 1 and d != axis]
    # The last array is the result, whose order counts most.
    axes.sort(key=lambda d: [-abs(s) for s in reversed(strides[d])])
    # Axes of extent 1 can go with any.
    groups = [_Group([d for d, extent in enumerate(shape) if extent == 1 and d != axis], 1, ())]
    for d in axes:
        outside, group = groups[-1], _Group([d], shape[d], strides[d])
        if outside.extent == 1 or outside.strides == tuple([s * shape[d] for s in strides[d]]):
            groups[-1] = _Group([*outside.axes, d], outside.extent * shape[d], strides[d])
        else:
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
