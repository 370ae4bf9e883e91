"""Contract, Shapes, axis, layout: no operand is copied, and nothing but the result grows with the array."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from reference import DTYPES

import fastlsm

SCRATCH = 1 << 20  # what a call on one thread may take besides the result; the arrays here are well above it

LAYOUTS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "permuted": lambda a: a.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    "every second": lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
    "reversed": lambda a: a[::-1, ::-1, ::-1],
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
}


counts_memory = pytest.mark.thread_unsafe(reason="counts the memory of the whole process")


def peak_of(call):
    call()  # what is cached at the first call is not the call's
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@counts_memory
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_operand_is_copied(layout, axis, dtype, rng):
    g = LAYOUTS[layout](rng.normal(size=(30, 40, 1500)).astype(dtype))
    x = LAYOUTS[layout](rng.normal(size=(30, 40, 1500)).astype(dtype))
    out = np.empty_like(x)
    other = np.empty(x.shape, np.float32)
    for call in (
        lambda: fastlsm.log_softmax(x, axis, out=out, num_threads=1),
        lambda: fastlsm.log_softmax_backward(g, x, axis, out=out, num_threads=1),
        lambda: fastlsm.log_softmax_backward(g, dst=x, axis=axis, out=out, num_threads=1),
        lambda: fastlsm.log_softmax_backward(g, x, axis, out=other, num_threads=1),
    ):
        assert peak_of(call) < SCRATCH
    assert peak_of(lambda: fastlsm.log_softmax_backward(g, x, axis, num_threads=1)) < out.nbytes + SCRATCH


@counts_memory
def test_in_place_costs_no_copy(rng):
    g, x = rng.normal(size=(100, 5000)), rng.normal(size=(100, 5000))
    assert peak_of(lambda: fastlsm.log_softmax_backward(g, dst=x, out=g)) < SCRATCH
    assert peak_of(lambda: fastlsm.log_softmax_backward(g, dst=x, out=x)) < SCRATCH
    # Partly overlapping: one temporary of the result's size.
    memory = rng.normal(size=500_100)
    overlapping = (memory[:500_000].reshape(100, 5000), memory[100:].reshape(100, 5000))
    assert x.nbytes < peak_of(lambda: fastlsm.log_softmax(overlapping[0], out=overlapping[1])) < x.nbytes + SCRATCH


RESIDENT = """
import sys
import numpy as np
import fastlsm

layout, dtype, axis = sys.argv[1:]
n = 2000
g = np.ones((n, 6 * n), dtype)
x = np.ones((n, 6 * n), dtype)
g[::3] = 2
x[:, ::5] = 0.5
if layout == "strided":
    g, x = g[:, ::2], x[:, 1::2]
if layout == "turned":
    g, x = g.T, x.T
out = np.ones(x.shape, dtype)
small = np.ones((64, 2048), dtype)
for axis_ in (0, 1):
    fastlsm.log_softmax_backward(small, small, axis_, num_threads=2)


def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024


before = peak()
fastlsm.log_softmax(x, int(axis), out=out)
fastlsm.log_softmax_backward(g, x, int(axis), out=out)
fastlsm.log_softmax_backward(g, dst=x, axis=int(axis), out=out)
print(peak() - before, out.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("layout", ["contiguous", "strided", "turned"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("axis", ["0", "1"])
def test_the_resident_size_does_not_grow(layout, dtype, axis):
    """What tracemalloc can't see: memory taken in C."""
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, layout, dtype, axis], check=True, capture_output=True, text=True, cwd="/"
    )
    growth, size = map(int, done.stdout.split())
    assert size > 20e6
    assert growth < 6e6


def test_operands_are_not_modified(isa, rng):
    for layout in LAYOUTS.values():
        for dtype in DTYPES:
            g, x = (layout(rng.normal(size=(7, 8, 90)).astype(dtype)) for _ in range(2))
            before = g.copy(), x.copy()
            for axis in range(3):
                fastlsm.log_softmax(x, axis)
                fastlsm.log_softmax_backward(g, x, axis)
                fastlsm.log_softmax_backward(g, dst=x, axis=axis)
            assert np.array_equal(g, before[0])
            assert np.array_equal(x, before[1])
