"""Contract, Shapes, axis, layout: past 2**31 elements, in one row and in many, and strides past 2**32 bytes.

Only places near those where 32-bit arithmetic would break are looked at, and a sample of the rest. FASTLSM_TEST_SLOW=1
runs every form in every shape, and some past 2**32 elements.
"""

import itertools
import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
from conftest import LEVELS
from reference import BOUND, DTYPES, bfloat16

import fastlsm
from fastlsm import _api

FORMS = {
    "forward": lambda g, x, axis, **kw: fastlsm.log_softmax(x, axis, **kw),
    "src": lambda g, x, axis, **kw: fastlsm.log_softmax_backward(g, x, axis, **kw),
    "dst": lambda g, x, axis, **kw: fastlsm.log_softmax_backward(g, dst=x, axis=axis, **kw),
}
SLOW = os.environ.get("FASTLSM_TEST_SLOW") == "1"
NO_RESERVE = 0x4000  # of Linux: address space, and memory only for what is touched

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or sys.maxsize < 2**32, reason="64-bit Linux"),
    pytest.mark.thread_unsafe(reason="takes gigabytes"),
]


def zeros(count, dtype, all_read=False):
    """Zeros, which take no memory until they are written to."""
    try:
        memory = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
    except OSError as error:
        pytest.skip(f"no address space: {error}")
    if all_read:  # the page of zeros, in larger pieces
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype)


# ------------------------------------------------------------------------- strides: few elements, far apart

FAR = [0, 2**31 + 64, 2**32 - 2**20, 2**32 + 192]

SPREAD = {  # shape, axis, and of diff_dst, src and out how far from each other neighbours are along each axis
    "rows": ((20, 70), 1, [(2, 0), (3, 0), (1, 0)]),
    "rows, far along them": ((3, 70), 1, [(0, 1), (0, 2), (0, 3)]),
    "columns": ((70, 20), 0, [(3, 0), (1, 0), (2, 0)]),
    "columns, far to the next": ((70, 20), 0, [(0, 2), (0, 1), (0, 3)]),
    "short rows": ((40, 5), 1, [(2, 0), (1, 0), (3, 0)]),
    "three axes": ((3, 5, 7), 1, [(0, 3, 1), (2, 0, 1), (3, 1, 0)]),
    "loops": ((2, 3, 2, 20, 2), 3, [(3, 1, 2, 0, 3), (1, 2, 3, 0, 1), (2, 3, 1, 0, 2)]),
}


def spread(shape, far, dtype, sign):
    strides = [FAR[f] + 2**16 * axis if f else dtype.itemsize for axis, f in enumerate(far)]
    offsets = sum(i * s for i, s in zip(np.indices(shape), strides, strict=True))
    assert np.unique(offsets).size == offsets.size
    array = np.lib.stride_tricks.as_strided(zeros(offsets.max() // dtype.itemsize + 1, dtype), shape, strides)
    return array[(slice(None, None, sign),) * len(shape)]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", SPREAD)
def test_far_apart(isa, case, form, sign, rng):
    shape, axis, far = SPREAD[case]
    for dtypes in ([DTYPES[0]] * 3, [DTYPES[3]] * 3, [DTYPES[1], DTYPES[2], DTYPES[1]]):
        g, x, out = (spread(shape, f, dtype, sign) for f, dtype in zip(far, dtypes, strict=True))
        g[...], x[...] = rng.normal(size=shape), rng.normal(size=shape)
        FORMS[form](g, x, axis, out=out)
        y = reference.softmax(x, axis) if form == "src" else reference.exp(x)
        expected = reference.log_softmax(x, axis) if form == "forward" else reference.backward_from_softmax(g, y, axis)
        at = expected if form == "forward" else reference.largest(g, y, axis)
        assert reference.ulp_error(out, expected, at) <= BOUND[out.dtype]


# --------------------------------------------------------------------------------- many elements, of 2 bytes

N = 2**31 + 4096
EDGES = [0, 2**30, 2**31, 2**32]  # of bytes or of elements

SHAPES = {  # of n elements, and the axis
    "one row": lambda n: ((n,), 0),
    "rows": lambda n: ((n // 1024, 1024), 1),
    "short rows": lambda n: ((n // 8, 8), 1),
    "columns": lambda n: ((n // 64, 64), 0),
    "short columns": lambda n: ((2, n // 2), 0),
    "columns of one": lambda n: ((1, n), 0),
}
QUICK = [  # diff_dst is one number, broadcast, or an array; or src has its maximum, far above the others, at the end
    ("one row", "forward", "array"),
    ("one row", "dst", "array"),
    ("rows", "src", "broadcast"),
    ("short rows", "dst", "array"),
    ("columns", "forward", "array"),
    ("columns of one", "dst", "array"),
]
if SLOW:
    GIANT = [(N, *c) for c in itertools.product(SHAPES, FORMS, ("array", "broadcast")) if c[1:] != ("forward", "array")]
    GIANT += [(N, "one row", "forward", "peak")]
    GIANT += [(2 * N, *c) for c in QUICK]
else:
    GIANT = [(N, *c) for c in QUICK]


def free_memory():
    """What the machine has, and the container if it says so, in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    try:
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text().strip() for name in ("max", "current"))
    except OSError:
        return free
    return free if limit == "max" else min(free, int(limit) - int(used))


@pytest.fixture(scope="module")
def memory():
    """For all results: the pages are given out once."""
    held = []

    def get(count):
        if not held or held[0].size < count:
            held.clear()
            if free_memory() < 2 * count + 2**30:
                pytest.skip("not enough free memory")
            held.append(np.empty(count, np.uint16))
        return held[0][:count]

    yield get
    held.clear()


def expected_at(index, form, shape, axis, pokes, number):
    """The answer at elements of the flattened arrays, and the largest number in the formula.

    `src` (`dst`) is 0 and `diff_dst` is `number`, but that `pokes` has other (place, src, diff_dst).
    """

    def row(i):
        return i // shape[1] if axis else i % shape[-1] if len(shape) == 2 else i * 0

    n = shape[axis]
    x, g = np.zeros(index.size), np.full(index.size, float(number))
    exps, total = np.full(index.size, float(n)), np.full(index.size, float(n * number))
    for place, its_x, its_g in pokes:
        x[index == place], g[index == place] = its_x, its_g
        own = row(index) == row(place)
        exps[own] += np.expm1(its_x)
        total[own] += its_g - number
    if form == "forward":
        return x - np.log(exps), x - np.log(exps)
    product = np.exp(x) / (exps if form == "src" else 1) * total
    return g - product, np.maximum(np.maximum(np.abs(g), np.abs(product)), np.abs(g - product))


@pytest.mark.parametrize("isa", LEVELS[:1], indirect=True)  # the baseline takes minutes
@pytest.mark.parametrize(("count", "shape", "form", "kind"), GIANT, ids=lambda v: None if v in (N, 2 * N) else str(v))
def test_many_elements(isa, count, shape, form, kind, memory, rng):
    dtype = bfloat16 if form == "src" else np.dtype(np.float16)
    shape, axis = SHAPES[shape](count)
    flat = memory(count).view(dtype)
    index = [np.arange(max(0, e - 1500), min(count, e + 1500)) for e in (*EDGES, count)]
    index = np.concatenate([*index, rng.integers(0, count, 100_000)])
    places = [e + d for e in EDGES for d in (-1, 0, 1) if 0 <= e + d < count] + [count - 1]
    pokes = [(p, -i / 8, (i if kind == "array" else 1) / 4) for i, p in enumerate(places, 1)]
    if kind == "peak":
        pokes[-1] = (places[-1], 200, 0)

    x = zeros(count, dtype, all_read=True)
    x[places] = [poke[1] for poke in pokes]
    if kind == "broadcast":
        g, number = np.broadcast_to(dtype.type(0.25), count), 0.25
    else:
        g, number = zeros(count, dtype, all_read=True), 0
        g[places] = [poke[2] for poke in pokes]
    flat[index] = np.nan
    FORMS[form](g.reshape(shape), x.reshape(shape), axis, out=flat.reshape(shape))
    expected, at = expected_at(index, form, shape, axis, pokes, number)
    some = at != 0
    assert reference.ulp_error(flat[index][some], expected[some], at[some]) <= BOUND[dtype]
    assert not flat[index][~some].any()


def test_an_overlap_far_away_is_seen(monkeypatch):
    """Past 2**31 and 2**32 bytes."""
    for count in (2**30 + 99, N):
        memory = zeros(count + 1, np.dtype(np.float16))
        seen = []
        monkeypatch.setattr(np, "may_share_memory", lambda *args, max_work, seen=seen: seen.append(args) or True)
        monkeypatch.setattr(_api, "threads_for", lambda *args: 1 / 0)  # before anything is computed
        with pytest.raises(ZeroDivisionError):
            fastlsm.log_softmax(memory[:-1], out=memory[1:])
        assert seen
