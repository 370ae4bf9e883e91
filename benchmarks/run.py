"""Times fastlsm beside the plain NumPy formulas, after checking its answers against them in float64.

    python benchmarks/run.py [--rounds 15]

The two take turns in each round; the ratio is the median of the rounds' ratios, so that what else the machine does
falls on both alike.
"""

import argparse
import statistics
import time

import ml_dtypes
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import fastlsm

CASES = [  # shape, axis
    ((32, 10), -1),
    ((1024, 1000), -1),
    ((64, 32000), -1),
    ((100_000, 10), -1),
    ((8, 512, 512), 1),
    ((1024, 1024), 0),
]
DTYPES = [np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16), np.dtype(np.float64)]
MINIMUM_SECONDS = 0.005  # of one measurement


def plain_log_softmax(src, axis, out):
    shifted = src - src.max(axis, keepdims=True)
    np.subtract(shifted, np.log(np.exp(shifted).sum(axis, keepdims=True)), out=out)


def plain_backward_dst(diff_dst, dst, axis, out):
    np.subtract(diff_dst, np.exp(dst) * diff_dst.sum(axis, keepdims=True), out=out)


def plain_backward_src(diff_dst, src, axis, out):
    e = np.exp(src - src.max(axis, keepdims=True))
    np.subtract(diff_dst, e / e.sum(axis, keepdims=True) * diff_dst.sum(axis, keepdims=True), out=out)


def calls(shape, axis, dtype):
    """For each function: the call, its plain twin, and the operands; every result is made before."""
    rng = np.random.default_rng(0)
    diff_dst, src = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    dst = fastlsm.log_softmax(src, axis)
    out, plain = np.empty_like(src), np.empty_like(src)
    for name, own, formula, operands in (
        ("log_softmax", lambda: fastlsm.log_softmax(src, axis, out=out), plain_log_softmax, [src]),
        (
            "src form",
            lambda: fastlsm.log_softmax_backward(diff_dst, src, axis, out=out),
            plain_backward_src,
            [diff_dst, src],
        ),
        (
            "dst form",
            lambda: fastlsm.log_softmax_backward(diff_dst, dst=dst, axis=axis, out=out),
            plain_backward_dst,
            [diff_dst, dst],
        ),
    ):
        check(own(), formula, operands, axis, f"{name} {dtype} {shape}")
        yield name, own, lambda formula=formula, operands=operands: formula(*operands, axis, plain)


def check(result, formula, operands, axis, what):
    """The plain formula in the dtype itself would not do: in 16 bits it is off by hundreds of units."""
    operands = [a.astype(np.float64) for a in operands]
    expected = np.empty(result.shape)
    formula(*operands, axis, expected)
    unit = {"float64": 2.0**-50, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[result.dtype.name]
    scale = max(np.abs(expected).max(), *(np.abs(a).max() for a in operands))
    worst = np.abs(result.astype(np.float64) - expected).max()
    if not worst <= 4 * unit * scale:
        raise SystemExit(f"{what}: off by {worst}")


def seconds(call, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def race(pair, rounds):
    """Median seconds of both, and the median of the ratios."""
    for call in pair:
        call()
    repeats = [max(1, int(MINIMUM_SECONDS / seconds(call, 1))) for call in pair]
    times = [[seconds(call, count) for call, count in zip(pair, repeats, strict=True)] for _ in range(rounds)]
    return (*map(statistics.median, zip(*times, strict=True)), statistics.median(b / a for a, b in times))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    table = Table("shape", "axis", "dtype", "", "fastlsm, us", "plain NumPy, us", "ratio")
    cells = [(*case, dtype) for case in CASES for dtype in DTYPES]
    for shape, axis, dtype in track(cells, description="timing"):
        size = " x ".join(map(str, shape))
        for name, *pair in calls(shape, axis, dtype):
            own, plain, ratio = race(pair, rounds)
            table.add_row(size, str(axis), dtype.name, name, f"{own * 1e6:.1f}", f"{plain * 1e6:.1f}", f"{ratio:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
