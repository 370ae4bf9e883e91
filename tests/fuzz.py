"""Random problems in guarded memory: no access outside the arrays, and every answer beside the twin's (reference.py).

    python tests/fuzz.py --seconds 20           inputs at random, on each of the processor's instruction sets
    python tests/fuzz.py --guided --seconds 60  inputs that libFuzzer grows from those that reached something new
    python tests/fuzz.py fuzz-input             an input again: the last one is kept in this file, whatever it does

`make fuzz` does the first. The second wants kernels that tell libFuzzer what was reached: clang and FASTLSM_SANITIZE.

Memory is guarded in three ways. Each
array ends where a page begins that may not be touched, or begins where one ends. What is not written to is read-only.
What lies around and between the elements of the result must not change.
"""

import argparse
import ctypes
import faulthandler
import importlib
import mmap
import os
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads here are many, and their work little

import numpy as np
import reference
from reference import BOUND, DTYPES, LONG

GUIDED = "--guided" in sys.argv
if GUIDED:
    import atheris

    # The kernels are to find libFuzzer's functions.
    ctypes.CDLL(os.path.join(atheris.path(), "ubsan_with_fuzzer.so"), ctypes.RTLD_GLOBAL)
    with atheris.instrument_imports(include=["fastlsm"]):
        import fastlsm
else:
    import fastlsm
from fastlsm import _api, _runtime  # noqa: E402

PAGE, MPROTECT = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True).mprotect
LENGTH = 128  # of an input
LAST_INPUT, LAST = "fuzz-input", bytearray(LENGTH)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
LARGEST = {dtype: LONG(np.finfo(dtype).max) if dtype != reference.bfloat16 else LONG(2) ** 128 for dtype in DTYPES}

# Half as much again as the contract's, which is for the accuracy table's distributions, not for every number.
LOOSE = {dtype: bound * 1.5 if bound > 1 else bound + 0.02 for dtype, bound in BOUND.items()}

# Around the places where the kernels go another way.
EXTENTS = [*range(1, 20), 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 255, 257, 511, 512, 513, 600, 1000, 1023, 1024]
EXTENTS += [
    1025,
    1500,
    2047,
    2048,
    2049,
    4100,
    8191,
    8192,
    8193,
    16383,
    16384,
    16385,
    20000,
    32768,
    32769,
    65537,
    70001,
]
SPECIAL = [0.0, -0.0, 1.0, -np.inf, -np.inf, np.inf, np.nan, 5e-324, 1e-40, 1e-45, 6e-8, -(2.0**-126), -104.0, 88.0]

NORMAL = np.random.default_rng(0).normal(size=1 << 19)


class Choices:
    """An input as a sequence of decisions; where it ends they are all 0, the simplest."""

    def __init__(self, data):
        self.data, self.at = bytes(data), 0

    def below(self, n):
        size = ((n - 1).bit_length() + 7) // 8
        chunk = self.data[self.at : self.at + size]
        self.at += size
        return int.from_bytes(chunk, "little") % n

    def pick(self, options):
        return options[self.below(len(options))]

    def once_in(self, n):
        return self.below(n) == n - 1


class Guarded:
    """Memory between two pages that may not be touched."""

    def __init__(self, size):
        self.size, self.read_only = size, (0, 0)
        self.bytes = np.frombuffer(mmap.mmap(-1, size + 2 * PAGE), np.uint8)[PAGE:-PAGE]
        self.start = self.bytes.ctypes.data
        self._allow(-PAGE, 0, 0)
        self._allow(size, size + PAGE, 0)

    def _allow(self, start, stop, what):
        if MPROTECT(ctypes.c_void_p(self.start + start), ctypes.c_size_t(stop - start), what):
            raise OSError(ctypes.get_errno(), "mprotect")

    def allow_writing(self):
        self._allow(*self.read_only, mmap.PROT_READ | mmap.PROT_WRITE)
        self.read_only = 0, 0

    def allow_reading_only(self, a):
        start, stop = self.bytes_of(a)
        self.read_only = start // PAGE * PAGE, -(-stop // PAGE) * PAGE
        self._allow(*self.read_only, mmap.PROT_READ)

    def bytes_of(self, a):
        """Where it begins and ends."""
        reach = [s * (n - 1) for s, n in zip(a.strides, a.shape, strict=True)] if a.size else []
        start = a.__array_interface__["data"][0] - self.start
        return start + sum(r for r in reach if r < 0), start + sum(r for r in reach if r > 0) + a.itemsize

    def holds(self, a):
        return 0 <= a.__array_interface__["data"][0] - self.start < self.size


ROOM, LARGE_ROOM = 1 << 20, 24 << 20
MEMORY = {name: (Guarded(ROOM), Guarded(LARGE_ROOM)) for name in ("diff_dst", "src", "out")}


def memory_of(a):
    return next(memory for pair in MEMORY.values() for memory in pair if memory.holds(a))


# --------------------------------------------------------------------------------------------- a problem


def draw_shape(choices):
    ndim = choices.pick([1, 2, 2, 2, 3, 3, 4, 5, 6])
    room = choices.pick([100, 1000, 3000, 10_000])
    if choices.once_in(16):
        room = 100_000
    shape = [1] * ndim
    for d in np.roll(range(ndim), choices.below(ndim)):
        shape[d] = min(choices.pick(EXTENTS), room)
        room //= shape[d]
    if choices.once_in(100):
        shape[choices.below(ndim)] = 0
    return tuple(shape)


def draw_layout(choices, shape, itemsize, broadcast):
    """Strides, the bytes from the lowest element to the highest one's end, and the first one's offset in them."""
    ndim = len(shape)
    order = list(range(ndim))
    kind = choices.below(4)
    if kind == 2:
        order.reverse()
    if kind == 3:
        order = [order.pop(choices.below(len(order))) for _ in range(ndim)]
    simple = choices.below(3) == 0
    strides, first, span, size = [0] * ndim, 0, itemsize, itemsize
    for d in reversed(order):
        step = 1 if simple else choices.pick([1, 1, 1, 2, 3, -1, -1, -2, 0 if broadcast else 5])
        strides[d] = step * size
        reach = abs(strides[d]) * max(0, shape[d] - 1)
        span += reach
        first += reach if step < 0 else 0
        size += reach
        if not simple and choices.once_in(8):
            size += itemsize * choices.pick([1, 5, 16])
        size += -size % itemsize
    return strides, span, first


def place(choices, name, shape, dtype, broadcast=False):
    """An array in guarded memory, at its end or at its beginning."""
    strides, span, first = draw_layout(choices, shape, dtype.itemsize, broadcast)
    if span > LARGE_ROOM - dtype.itemsize:
        return None
    memory = MEMORY[name][span > ROOM - dtype.itemsize]
    shift = 1 + choices.below(dtype.itemsize) if choices.once_in(24) else 0  # perhaps not aligned
    at = memory.size - span - shift if choices.below(2) == 0 else shift
    return np.ndarray(shape, dtype, memory.bytes, at + first, strides)


def fill(choices, a, most):
    """Numbers of one of several kinds, and perhaps some special ones; `most` is the largest that may be."""
    scale = choices.pick([1, 1, 1e-3, 10, 80, 0, 1e-20, 1e4, 1e30, 1e150])
    largest = float(LARGEST[a.dtype]) if a.dtype in LARGEST else 100.0
    offset = choices.below(1 << 16)
    values = (np.resize(NORMAL[offset:], a.size) if a.size > 1 << 18 else NORMAL[offset : offset + a.size]) * scale
    values = values.reshape(a.shape)
    kind = choices.below(8)
    if kind == 1:
        values = np.round(values)
    if kind == 2:
        values = -np.abs(values)
    with np.errstate(all="ignore"):
        a[...] = np.clip(values, -largest / 1e5, min(largest / 1e5, most)).astype(a.dtype)
        if choices.once_in(3) and a.size and a.dtype.kind not in "iub":
            for _ in range(1 + choices.below(4)):
                index = np.unravel_index(choices.below(a.size), a.shape)
                value = choices.pick(SPECIAL)
                if not 0 < most < value < np.inf:
                    a[index] = a.dtype.type(value)
            if choices.once_in(8):
                a[tuple(slice(0, 1 + choices.below(n)) for n in a.shape)] = -np.inf


class Problem:
    """A call, drawn from the input."""

    def __init__(self, data):
        for pair in MEMORY.values():
            for memory in pair:
                memory.allow_writing()
        choices = Choices(data)
        self.level = choices.below(64)
        self.form = choices.pick(["dst", "src", "forward"])
        shape = draw_shape(choices)
        ndim = len(shape)
        self.axis = choices.below(2 * ndim) - ndim
        self.num_threads = choices.pick([2, 3, 4]) if choices.once_in(24) else 1
        # Of one number along all axes but two, an array can be so large that its result is written past the caches.
        self.huge = choices.once_in(200)
        if self.huge:
            elements = choices.pick([9, 18, 36]) << 18
            shape = (min(elements // max(1, int(np.prod(shape))), 100_000) or 1, *shape)
            self.axis = ndim - choices.below(ndim)
        self.shape = shape
        most = 1e308
        if self.form == "dst":  # beyond that it is IEEE's affair
            most = 80.0
        same = choices.below(3) > 0
        dtype = choices.pick(DTYPES)
        self.diff_dst = self.operand(choices, "diff_dst", dtype, 1e308)
        self.src = self.operand(choices, "src", dtype if same else choices.pick(DTYPES), most)
        if choices.once_in(32) and self.form != "dst":
            self.diff_dst = self.src
        self.dtype = choices.pick(DTYPES) if choices.once_in(4) else None
        self.draw_out(choices, dtype if same else choices.pick(DTYPES))
        self.operands = [self.src] if self.form == "forward" else [self.diff_dst, self.src]
        self.row = choices.below(1 << 16)

    def operand(self, choices, name, dtype, most):
        if choices.once_in(32):
            dtype = dtype.newbyteorder()
        if choices.once_in(64):
            dtype = np.dtype(choices.pick([np.int8, np.int64, np.uint16, bool]))
        shape = self.shape[1:] if self.huge else self.shape
        a = place(choices, name, shape, dtype, broadcast=True)
        if a is None:
            a = place(Choices(b""), name, shape, dtype)
        fill(choices, a, most)
        return np.broadcast_to(a, self.shape) if self.huge else a

    def draw_out(self, choices, dtype):
        """None, an array of its own, an operand, or one that may overlap an operand."""
        kind = choices.pick(["own", "own", "own", "none", "operand", "operand", "overlap", "overlap"])
        self.out = None
        operand = self.src if self.form == "forward" else choices.pick([self.src, self.diff_dst])
        if kind == "operand" and not self.huge:
            distinct = all(s or n == 1 for s, n in zip(operand.strides, operand.shape, strict=True))
            if distinct and operand.dtype.newbyteorder("=") in DTYPES:
                self.out = operand
        elif kind == "overlap" and not self.huge:
            memory = memory_of(operand)
            strides, span, first = draw_layout(choices, self.shape, dtype.itemsize, False)
            at = operand.__array_interface__["data"][0] - memory.start - first
            at += choices.pick([0, 0, dtype.itemsize, -dtype.itemsize, 1, 64, -256, 4000])
            if span <= memory.size:
                at = max(0, min(at, memory.size - span))
                self.out = np.ndarray(self.shape, dtype, memory.bytes, at + first, strides)
        if self.out is None and kind != "none":
            self.out = place(choices, "out", self.shape, dtype)

    def call(self, operands, axis, **kwargs):
        if self.form == "forward":
            return fastlsm.log_softmax(*operands, axis, **kwargs)
        if self.form == "src":
            return fastlsm.log_softmax_backward(*operands, axis, **kwargs)
        return fastlsm.log_softmax_backward(operands[0], dst=operands[1], axis=axis, **kwargs)

    def __str__(self):
        def text(name, a):
            if a is None:
                return f"{name}: none"
            memory = memory_of(a)
            where = next(name for name, pair in MEMORY.items() if memory in pair)
            at = a.__array_interface__["data"][0] - memory.start
            return f"{name}: {a.dtype} of strides {a.strides} at byte {at} of {memory.size} for {where}"

        parts = [text("diff_dst", self.diff_dst), text("src", self.src), text("out", self.out), f"dtype {self.dtype}"]
        return f"{self.form} form, shape {self.shape}, axis {self.axis}, {self.num_threads} threads; " + "; ".join(
            parts
        )


# ----------------------------------------------------------------------------------------------- the check


class Answer:
    """The twin's, and how far from it one may be."""

    def __init__(self, form, operands, axis, in_double):
        self.real, self.in_double = LONG if in_double else np.float64, in_double
        self.infinite_sum = False  # 0 times that is NaN, and what has underflowed is 0
        g, x = (np.asarray(a, self.real) for a in (operands[0], operands[-1]))
        with np.errstate(all="ignore"):
            if form == "forward":
                self.values = reference.log_softmax(x, axis, self.real)
                self.values[np.broadcast_to(np.isposinf(x).any(axis, keepdims=True), x.shape)] = np.nan
                self.largest, self.tiny, self.lost = self.values, self.real(x.shape[axis]), self.real(0)
                return
            y = reference.softmax(x, axis, self.real) if form == "src" else reference.exp(x, self.real)
            self.values = reference.backward_from_softmax(g, y, axis, self.real)
            self.largest = reference.largest(g, y, axis, self.real)
            # Softmax below the normal numbers may be 0, and the sum has an error of its own: the twin's too.
            self.tiny = np.abs(g.sum(axis, keepdims=True))
            self.lost = np.abs(g).sum(axis, keepdims=True) * y.p
            self.infinite_sum = np.isinf(self.tiny)

    def is_right(self, result):
        values, x, limit = self.values, result.astype(self.real), self.real(LARGEST[result.dtype])
        with np.errstate(all="ignore"):
            error = np.abs(x - values)
            allowed = LOOSE[result.dtype] * reference.unit(self.largest, result.dtype, self.real)
            if (error <= allowed).all():
                return np.ones(x.shape, bool)
            allowed += np.ldexp(self.tiny, -1021 if self.in_double else -125)
            allowed += np.ldexp(self.lost, -58 if self.in_double else -45)
            right = (error <= allowed) | (np.isnan(values) & np.isnan(x)) | (allowed > limit / 64)
            beyond = (np.abs(values) > limit * 0.99) & (np.abs(x) > limit * 0.98)
            right |= beyond & ((x > 0) == (values > 0))
            return right | (self.infinite_sum & ~np.isfinite(x))


def promoted(dtype, floats):
    """What an operand of integers or bools becomes beside another of floats, if there is one."""
    least = np.dtype({1: np.float16, 2: np.float32}.get(dtype.itemsize, np.float64))
    if not floats:
        return FLOAT64
    return floats[0] if floats[0].itemsize >= least.itemsize else least


def distinct(arrays, axis):
    """The arrays without the axes along which all repeat one number."""
    index = tuple(
        slice(0, 1) if d != axis and all(a.strides[d] == 0 for a in arrays) and n > 1 else slice(None)
        for d, n in enumerate(arrays[0].shape)
    )
    return [a[index] for a in arrays]


def check(data):
    """Run an input; what is wrong ends it, with an AssertionError or by the processor."""
    LAST[:] = bytes(data).ljust(LENGTH, b"\0")
    problem = Problem(data)
    level = LEVELS[problem.level % len(LEVELS)]
    _api.kernels = level
    _api.threads_for = lambda elements, num_threads: problem.num_threads

    axis = problem.axis % len(problem.shape)
    operands, out = [a.copy() for a in distinct(problem.operands, axis)], problem.out
    floats = [a.dtype.newbyteorder("=") for a in operands if a.dtype.kind not in "iub"]
    operands = [a.astype(promoted(a.dtype, floats)) if a.dtype.kind in "iub" else a for a in operands]
    operands = [a.astype(a.dtype.newbyteorder("="), copy=False) for a in operands]
    native = [a.dtype for a in operands]
    common = FLOAT64 if FLOAT64 in native else native[0] if native[0] == native[-1] else FLOAT32
    dtype = out.dtype.newbyteorder("=") if out is not None else problem.dtype or common
    in_double = FLOAT64 in (*native, dtype)
    expected = Answer(problem.form, operands, axis, in_double) if operands[0].size else None
    memory = None
    if out is not None:
        memory, old = memory_of(out), out.copy()
        start, stop = memory.bytes_of(out)
        around = slice(max(0, start - PAGE), stop + PAGE)
        before = memory.bytes[around].copy()
    for a in problem.operands:
        if memory_of(a) is not memory:
            memory_of(a).allow_reading_only(a)

    result = problem.call(problem.operands, problem.axis, out=out, dtype=problem.dtype, num_threads=problem.num_threads)

    assert result.dtype.newbyteorder("=") == dtype, f"the result has dtype {result.dtype}"
    if out is not None:
        assert result is out, "not the array that was given"
        result = out.astype(dtype)
        out[...] = old
        changed = np.flatnonzero(memory.bytes[around] != before)
        assert not changed.size, f"written outside of out, at byte {around.start + changed[0]} of its memory"
    assert result.shape == problem.shape, f"the result has shape {result.shape}"
    if expected is None:
        return
    shape = expected.values.shape
    if problem.huge:
        plain = result.copy()
        plain[np.isnan(plain)] = np.nan  # whatever its sign
        assert all(row.tobytes() == plain[0].tobytes() for row in plain), "rows that are the same differ"
    result = result[tuple(slice(0, n) for n in shape)]
    right = expected.is_right(result)
    if not right.all():
        wrong = tuple(int(i[0]) for i in np.nonzero(~right))
        values = f"{result[wrong]} instead of {expected.values[wrong]}"
        raise AssertionError(f"{(~right).sum()} wrong, the first at {wrong}: {values}")

    # One row, one answer.
    rows = [np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis]) for a in (*operands, result)]
    row = problem.row % len(rows[-1])
    alone = problem.call([np.ascontiguousarray(a[row]) for a in rows[:-1]], 0, dtype=result.dtype, num_threads=1)
    # NaN may have either sign.
    assert bits(alone) == bits(rows[-1][row]), f"row {row} has other bits alone"


def bits(a):
    return np.where(np.isnan(a), np.ones((), a.dtype), a).tobytes(), np.isnan(a).tobytes()


LEVELS = [importlib.import_module(f"fastlsm._kernels_{level}") for level in _runtime.usable_levels()]


def again(paths):
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        print(f"{path}: {Problem(data)}", flush=True)
        check(data)


def at_random(seed, inputs, seconds):
    print(f"seed {seed}", flush=True)
    end = time.monotonic() + seconds
    for i in range(inputs):
        if time.monotonic() > end:
            return i
        data = np.random.default_rng([seed, i]).bytes(LENGTH)
        try:
            check(data)
        except Exception:
            print(f"input {i}: {Problem(data)}", flush=True)
            raise
    return inputs


def guided(seconds, corpus):
    """Ends the process."""
    os.makedirs(corpus, exist_ok=True)
    arguments = [f"-max_total_time={int(seconds)}", f"-max_len={LENGTH}", "-len_control=0", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *arguments, corpus], check)
    atheris.Fuzz()


def main():
    global LAST
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="*", help="files of inputs to run again")
    parser.add_argument("--guided", action="store_true")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--inputs", type=int, default=sys.maxsize)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--corpus", default="build/fuzz/corpus", help="folder of inputs that reached something new")
    options = parser.parse_args()
    if options.input:
        again(options.input)
        return
    faulthandler.enable()
    with open(LAST_INPUT, "wb+") as file:
        file.write(bytes(LENGTH))
        file.flush()
        LAST = mmap.mmap(file.fileno(), LENGTH)  # what is written here survives the process
    if options.guided:
        guided(options.seconds, options.corpus)
    print(f"{at_random(options.seed, options.inputs, options.seconds)} inputs")


if __name__ == "__main__":
    main()
