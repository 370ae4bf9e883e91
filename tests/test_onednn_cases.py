"""The problems that oneDNN's own tests run: each shape, order of axes, axis and dtype, in all three forms."""

from pathlib import Path

import numpy as np
import pytest
import reference
from reference import BOUND

import fastlsm

DTYPES = {"f32": np.dtype(np.float32), "bf16": reference.bfloat16, "f16": np.dtype(np.float16)}
CHECKED = 20_000  # elements of each result, in whole rows: long double is slow
LINES = (Path(__file__).parent / "onednn_cases.txt").read_text().splitlines()
CASES = [line.split() for line in LINES if not line.startswith("#")]


def in_order(a, order):
    """`a` with its axes in memory as oneDNN writes it: ab, ba, acbd; abx is C order, axb has the axis 1 last."""
    if order == "abx":
        return a
    axes = [0, *range(2, a.ndim), 1] if order == "axb" else ["abcd".index(letter) for letter in order]
    return np.ascontiguousarray(a.transpose(axes)).transpose(np.argsort(axes))


def some_rows(arrays, axis, rng):
    """The same rows of each array, chosen at random."""
    moved = [np.moveaxis(a, axis, -1) for a in arrays]
    *outer, n = moved[0].shape
    rows = rng.choice(np.prod(outer), min(np.prod(outer), max(1, CHECKED // n)), replace=False)
    return [a[np.unravel_index(rows, outer)] for a in moved]


@pytest.mark.parametrize(("shape", "order", "axis", "dtypes"), CASES, ids=map("-".join, CASES))
def test_case(shape, order, axis, dtypes, rng):
    shape, axis = [int(n) for n in shape.split("x")], int(axis)
    order, _, order_of_diff_dst = order.partition("/")
    wide = rng.normal(size=(2, *shape)).astype(np.float32) * np.float32(3)
    for dtype in map(DTYPES.get, dtypes.split(",")):
        src, diff_dst = wide.astype(dtype)
        src, diff_dst = in_order(src, order), in_order(diff_dst, order_of_diff_dst or order)
        dst = fastlsm.log_softmax(src, axis)
        from_src = fastlsm.log_softmax_backward(diff_dst, src, axis)
        from_dst = fastlsm.log_softmax_backward(diff_dst, dst=dst, axis=axis)
        assert dst.dtype == from_src.dtype == from_dst.dtype == dtype
        assert dst.shape == from_src.shape == from_dst.shape == tuple(shape)
        assert dst.strides == src.strides
        if not dst.size:
            continue
        arrays = some_rows([src, diff_dst, dst, from_src, from_dst], axis, rng)
        src, diff_dst, dst, from_src, from_dst = arrays
        expected = reference.log_softmax(src)
        assert reference.ulp_error(dst, expected, expected) <= BOUND[dtype]
        assert reference.gradient_error(from_src, diff_dst, reference.softmax(src)).max() <= BOUND[dtype]
        assert reference.gradient_error(from_dst, diff_dst, reference.exp(dst)).max() <= BOUND[dtype]
