"""Right answers, in float64, and what counts as one. Large arrays are taken in blocks that stay in the caches."""

from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np

# Relative to the largest number in the formula: several times the worst of the honest rivals, far below a wrong answer.
TOLERANCE = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 4e-3, "float64": 1e-11}


_BLOCK = 1 << 16  # elements
_NARROWEST = 16  # lines of a block: fewer that lie side by side would share cache lines with the next block's


def _log_softmax(src, axis):
    shifted = src - src.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def _answer(form, diff_dst, x, axis):
    x = x.astype(np.float64)
    if form == "forward":
        return _log_softmax(x, axis)
    diff_dst = diff_dst.astype(np.float64)
    dst = x if form == "dst" else _log_softmax(x, axis)
    return diff_dst - np.exp(dst) * diff_dst.sum(axis, keepdims=True)


def answer(form, diff_dst, x, axis):
    expected = np.empty_like(x, np.float64)

    def fill(block):
        expected[block] = _answer(form, None if diff_dst is None else diff_dst[block], x[block], axis)

    _for_each_block(fill, x.shape, axis)
    return expected


def _for_each_block(function, shape, axis):
    """What it returns, as a list. Blocks are cut along the longest axis beside `axis`."""
    axis %= len(shape)
    lengths = [0 if place == axis else length for place, length in enumerate(shape)]
    longest, cut = max(lengths), lengths.index(max(lengths))
    if longest < 2 * _NARROWEST:
        return [function(...)]
    step = max(_NARROWEST, _BLOCK * longest // prod(shape))
    before = (slice(None),) * cut
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, ((*before, slice(start, start + step)) for start in range(0, longest, step))))


class WrongAnswer(Exception):
    """A contender's result is not the formula's."""


def check(result, expected, dtype):
    if result.shape != expected.shape:
        raise WrongAnswer(f"wrong shape: {result.shape} for {expected.shape}")

    def compare(block):
        right = expected[block]
        return np.abs(result[block].astype(np.float64) - right).max(), np.abs(right).max()

    errors, largest = np.array(_for_each_block(compare, expected.shape, -1)).T
    error = errors.max() / max(1.0, largest.max())
    if not error <= TOLERANCE[dtype]:
        raise WrongAnswer(f"wrong answer: off by {error:.2g} of the largest number")
