"""Calls that run every loop that threads share, for ThreadSanitizer to watch: `.ci/races`."""

from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np

import fastlsm
from fastlsm import _threads

# Rows together and one at a time, short ones, one long row, far ones; columns near and far; tall ones of one part and
# of some; interleaved rows; enough for two threads.
PROBLEMS = [
    ((300, 1000), 1), ((40, 5000), 1), ((5000, 64), 1), ((40_000, 10), 1), ((1, 200_000), 1),
    ((70_001, 61), 1), ((90, 1000), 0), ((20, 33, 400), 1), ((21, 300_000), 0),
    ((1200, 333), 0), ((20_001, 50), 0), ((20_001, 7), 0),
]  # fmt: skip


def call(shape, axis, dtype):
    g, x = np.random.default_rng(0).standard_normal((2, *shape)).astype(dtype)
    np.moveaxis(x, axis, 0)[3].flat[::7] += dtype(40)  # leaves the other classes little
    out = np.empty_like(x)
    fastlsm.log_softmax(x, axis, out=out, num_threads=2)
    fastlsm.log_softmax_backward(g, x, axis, out=g, num_threads=2)
    fastlsm.log_softmax_backward(g, dst=out, axis=axis, out=out, num_threads=2)


def main():
    _threads._backoff.holds = lambda: False  # whatever else runs on this machine
    library = fastlsm.show_config("dicts")["OpenMP"]["library"]
    assert "libomp" in library, library
    for dtype in (np.float32, ml_dtypes.bfloat16, np.float64):
        for shape, axis in PROBLEMS:
            call(shape, axis, dtype)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda problem: call(*problem, np.float32), PROBLEMS * 2))
    print("no race was seen in", library)


if __name__ == "__main__":
    main()
