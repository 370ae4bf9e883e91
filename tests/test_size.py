"""Contract, Shapes, axis, layout: sizes past 2**31 elements, in one row and in many."""

import os

import numpy as np
import pytest

import fastlsm

BEYOND = 2**31 + 3000
NEEDED = 3 * BEYOND  # bytes: one float16 array, and room


def available_memory():
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


pytestmark = [
    pytest.mark.skipif(available_memory() < NEEDED, reason="not enough free memory"),
    pytest.mark.thread_unsafe(reason="takes gigabytes"),
]


def test_one_row():
    """Elements on both sides of the places where 32-bit arithmetic would wrap."""
    x = np.zeros(BEYOND, np.float16)
    places = [0, 1, 2**30, 2**31 - 1, 2**31, 2**31 + 1, BEYOND - 1]
    x[places] = np.arange(1, 8)
    log_sum = np.log(BEYOND - 7 + np.exp(np.arange(1.0, 8.0)).sum())
    assert fastlsm.log_softmax(x, out=x) is x
    assert np.array_equal(x[places], (np.arange(1, 8) - log_sum).astype(np.float16))
    zeros = np.float16(-log_sum)
    for start in (2, 2**30 + 1, 2**31 - 1000, 2**31 + 2, BEYOND - 1000):
        part = np.delete(x[start : start + 900], [i - start for i in places if start <= i < start + 900])
        assert np.all(part == zeros)


def test_many_rows():
    """diff_dst as a sum's gradient is: one number, broadcast."""
    n = 1000
    rows = BEYOND // n + 1
    dst = np.full((rows, n), -np.inf, np.float16)
    diff_dst = np.broadcast_to(np.float16(0.25), dst.shape)
    places = [0, 2**30 // n, 2**31 // n - 1, 2**31 // n, 2**31 // n + 1, rows - 1]
    dst[places, np.arange(1, 7)] = np.log(np.arange(1, 7) / n)
    exps = np.exp(dst[places, np.arange(1, 7)].astype(np.float64))
    assert fastlsm.log_softmax_backward(diff_dst, dst=dst, out=dst) is dst
    assert np.array_equal(dst[places, np.arange(1, 7)], (0.25 - exps * 0.25 * n).astype(np.float16))
    dst[places, np.arange(1, 7)] = 0.25
    assert all(np.all(dst[start : start + 100] == np.float16(0.25)) for start in [*range(0, rows, 20_000), rows - 100])
