"""Where two results differ in their bits. NaNs are alike, whatever their sign and payload."""

import numpy as np


def differences(before, now):
    """How many elements differ, and by how many units in the last place at most: None if one of two is a NaN."""
    width = before.dtype.itemsize
    a, b = (np.ascontiguousarray(array).view(f"i{width}").ravel() for array in (before, now))
    places = np.flatnonzero(a != b)
    old, new = (np.isnan(np.ascontiguousarray(array).ravel()[places]) for array in (before, now))
    places, lone = places[~(old & new)], bool((old ^ new).any())
    if not places.size:
        return 0, 0
    return places.size, None if lone else _units(a[places], b[places])


def _units(a, b):
    """Floats of one sign are in the order of their bits: to count from one to another is to subtract them."""
    a, b = (np.where(bits < 0, np.iinfo(bits.dtype).min - bits, bits).astype(np.int64) for bits in (a, b))
    return int((np.maximum(a, b).view(np.uint64) - np.minimum(a, b).view(np.uint64)).max())
