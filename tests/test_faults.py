"""What goes wrong around a call: arguments that lie or change the arrays, memory that runs out or goes away."""

import contextlib
import mmap
import os
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import fastlsm
from fastlsm import _api

SHAPE = (6, 40)
FORMS = {
    "forward": lambda g, x, axis=-1, **kw: fastlsm.log_softmax(x, axis, **kw),
    "src": lambda g, x, axis=-1, **kw: fastlsm.log_softmax_backward(g, x, axis, **kw),
    "dst": lambda g, x, axis=-1, **kw: fastlsm.log_softmax_backward(g, dst=x, axis=axis, **kw),
}
every_form = pytest.mark.parametrize("form", FORMS)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def python(code, *args):
    """What a new interpreter prints, on one thread."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args],
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


# ------------------------------------------------------------------- arguments whose own code changes an array


class Subclass(np.ndarray):
    pass


class Index:
    def __init__(self, act):
        self.act = act

    def __index__(self):
        self.act()
        return 1


class Dtype:
    def __init__(self, act):
        self.act = act

    @property
    def dtype(self):
        self.act()
        return np.dtype(np.float32)


class Operand:
    def __init__(self, act, array):
        self.act, self.array = act, array

    def __array__(self, dtype=None, copy=None):
        self.act()
        return self.array


def resize(a):
    a.resize((2, 3), refcheck=False)


def turn(a):
    a.shape = a.shape[::-1]


def flatten(a):
    a.shape = a.size


def make_float16(a):
    a.dtype = np.float16


def exchange(a):
    """Free the memory and take other."""
    a.__setstate__((1, (3, 2), np.dtype(np.float64), False, np.arange(6.0).tobytes()))


def protect(a):
    a.flags.writeable = False


WAYS = {
    "axis": lambda act, x: {"x": x, "axis": Index(act)},
    "num_threads": lambda act, x: {"x": x, "num_threads": Index(act)},
    "dtype": lambda act, x: {"x": x, "dtype": Dtype(act), "out": None},
    "dtype and out": lambda act, x: {"x": x, "dtype": Dtype(act)},
    "second operand": lambda act, x: {"x": Operand(act, x)},
}
CHANGED = [
    (form, way, target)
    for form in FORMS
    for way in WAYS
    for target in ("g", "x", "out")
    if not (form == "forward" and target == "g")
    and not (way == "dtype" and target == "out")
    and not (way == "second operand" and (target == "x" or form == "forward"))
]


def outcome(call):
    """The answer's bits, or the error."""
    try:
        result = call()
    except (TypeError, ValueError) as error:
        return type(error), str(error)
    return result.shape, result.dtype, result.tobytes()


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
@pytest.mark.parametrize("act", [resize, turn, flatten, make_float16, exchange, protect])
@pytest.mark.parametrize(("form", "way", "target"), CHANGED)
@pytest.mark.parametrize("common", [True, False], ids=["common", "general"])
def test_an_argument_that_changes_an_array_has_done_so_before_it_is_looked_at(form, way, target, common, act):
    def answer(first):
        """`first`: the array is changed by hand, before the call."""
        rng = np.random.default_rng(8)
        arrays = {name: rng.normal(size=SHAPE) for name in ("g", "x", "out")}
        if not common:
            other = "x" if target == "out" else "out"
            arrays[other] = arrays[other].view(Subclass)  # the kernels decline it
        changed = arrays[target]
        if first:
            act(changed)
        arrays |= WAYS[way]((lambda: None) if first else (lambda: act(changed)), arrays["x"])
        return outcome(lambda: FORMS[form](**arrays)), changed.shape, changed.tobytes()

    assert answer(first=False) == answer(first=True)


@every_form
@pytest.mark.parametrize("target", ["g", "x", "out"])
@pytest.mark.parametrize("of", ["array", "view", "subclass"])
@pytest.mark.parametrize("common", [True, False], ids=["common", "general"])
def test_no_operand_is_resized_meanwhile(form, target, of, common, monkeypatch, rng):
    """As another thread might: it is told so, and the answer is right. (Else its memory would be gone.)"""
    if form == "forward" and target == "g":
        pytest.skip("one operand only")
    shape = (100, 1000)
    arrays = {name: rng.normal(size=shape) for name in ("g", "x", "out")}
    expected = FORMS[form](arrays["g"], arrays["x"])
    owner = arrays[target]
    if of == "view":
        arrays[target] = owner.reshape(10, 10, 1000)[:, :].reshape(shape)
    if of == "subclass":

        class WithoutBase(np.ndarray):
            base = None

        owner = arrays[target] = np.ndarray.__new__(WithoutBase, shape)
        owner[...] = np.zeros(shape) if target == "out" else rng.normal(size=shape)
        expected = FORMS[form](arrays["g"], arrays["x"])
    if not common:
        other = "x" if target == "out" else "out"
        arrays[other] = arrays[other].view(Subclass)  # the kernels decline it
    refused = []

    def threads_for(*args):
        """Called when all is checked, in the middle of a call."""
        with pytest.raises(ValueError, match="cannot resize an array that"):
            owner.resize(3, refcheck=False)
        refused.append(True)
        return 1

    monkeypatch.setattr(_api, "threads_for", threads_for)
    assert FORMS[form](**arrays) is arrays["out"]
    assert refused
    assert np.array_equal(arrays["out"], expected)
    assert weakref.getweakrefcount(owner) == 0


def grow(a):
    a.resize((100, 100), refcheck=False)


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
@pytest.mark.parametrize("act", [resize, grow, turn, flatten, make_float16, exchange, protect])
@every_form
@pytest.mark.parametrize("target", ["g", "x", "out"])
def test_an_array_changes_while_a_brief_call_asks_for_threads(form, target, act, monkeypatch):
    """As another thread might then: it is as if the array had changed before."""
    if form == "forward" and target == "g":
        pytest.skip("one operand only")

    def answer(first):
        rng = np.random.default_rng(8)
        arrays = {name: rng.normal(size=SHAPE) for name in ("g", "x", "out")}
        acts = [] if first else [lambda: act(arrays[target])]
        if first:
            act(arrays[target])
        monkeypatch.setattr(_api, "threads_for", lambda *args: acts.pop()() or 1 if acts else 1)
        said = outcome(lambda: FORMS[form](**arrays, num_threads=1))
        assert not acts
        return said, arrays["out"].shape, arrays["out"].tobytes()

    assert answer(first=False) == answer(first=True)


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="no interpreter lock")
@pytest.mark.parametrize("common", [True, False], ids=["common", "general"])
def test_nothing_else_runs_during_a_brief_call(common, rng):
    """So that it costs nothing to be safe. A longer one lets others run."""
    brief, long = rng.normal(size=(2, 8, 1024)), rng.normal(size=(500, 4000))
    if not common:
        brief, long = brief.view(Subclass), long.view(Subclass)
    fastlsm.log_softmax_backward(brief[0], brief[1], 0)  # the first such call may import a module
    turns, stop = [0], []

    def count():
        while not stop:
            turns[0] += 1
            time.sleep(1e-6)  # lets others run

    interval = sys.getswitchinterval()
    other = threading.Thread(target=count)
    sys.setswitchinterval(1000)  # nobody is made to let go of the interpreter
    other.start()
    try:
        before = turns[0]
        for _ in range(1000):
            fastlsm.log_softmax_backward(brief[0], brief[1], 0, out=brief[0])
        assert turns[0] == before
        for _ in range(200):  # a busy machine may not let another thread run soon
            fastlsm.log_softmax(long, num_threads=1)
            if turns[0] > before:
                break
        assert turns[0] > before
    finally:
        stop.append(True)
        sys.setswitchinterval(interval)
        other.join()


def between_lines(act, moment):
    """A tracer that acts before the line of fastlsm's own code of that number, as another thread might."""
    left = [moment]

    def trace(frame, event, argument):
        if not frame.f_globals.get("__name__", "").startswith("fastlsm"):
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                with contextlib.suppress(ValueError):  # resize, refused
                    act()
        return trace

    return trace, left


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
@pytest.mark.parametrize("act", [resize, turn, flatten, make_float16, protect])
@every_form
@pytest.mark.parametrize("target", ["g", "x", "out"])
def test_an_array_changes_at_any_moment(form, target, act):
    """The answer, or the error, is that of a call before the change or after it."""
    if form == "forward" and target == "g":
        pytest.skip("one operand only")

    def answer(moment):
        rng = np.random.default_rng(8)
        arrays = {name: rng.normal(size=SHAPE) for name in ("g", "x", "out")}
        other = "x" if target == "out" else "out"
        arrays[other] = arrays[other].view(Subclass)  # or no line of Python would run after the kernels' first
        changed = arrays[target]
        trace, left = between_lines(lambda: act(changed), moment)
        if moment == 0:
            act(changed)
        tracer = sys.gettrace()
        sys.settrace(trace)
        try:
            FORMS[form](**arrays)
        except (TypeError, ValueError) as error:
            return str(error).encode(), left[0]
        finally:
            sys.settrace(tracer)
        return arrays["out"].tobytes(), left[0]

    after, before = answer(0)[0], answer(10**6)[0]
    for moment in range(1, 200):
        result, left = answer(moment)
        # Resized at the very end, when all is done, it has the answer's beginning.
        assert result == after or before.startswith(result), moment
        if left > 0:
            break
    assert 30 < moment < 199


# ---------------------------------------------------------------------------------------- objects that lie


class Raising:
    def __init__(self, error):
        self.error = error

    def fail(self, *args, **kwargs):
        raise self.error

    __array__ = __index__ = dtype = property(fail)


class Fickle:
    """Another array each time it is asked."""

    def __init__(self, *arrays):
        self.arrays = iter(arrays)

    def __array__(self, dtype=None, copy=None):
        return next(self.arrays)


class Unsound(np.ndarray):
    """Every way of a subclass to interfere."""

    def __array_finalize__(self, other):
        if other is not None:
            raise ZeroDivisionError("__array_finalize__")

    def refuse(self, *args, **kwargs):
        raise ZeroDivisionError("asked for")

    __array_ufunc__ = __array_function__ = __array_wrap__ = __array_prepare__ = __array__ = refuse
    __getitem__ = __setitem__ = __len__ = __iter__ = __eq__ = __bool__ = __reduce__ = refuse
    view = astype = copy = reshape = transpose = tobytes = resize = refuse
    shape = strides = dtype = flags = data = base = size = ndim = itemsize = nbytes = T = property(refuse)
    __array_interface__ = __array_struct__ = __array_priority__ = ctypes = property(refuse)
    __hash__ = None


def unsound(a):
    array = np.ndarray.__new__(Unsound, a.shape, a.dtype)
    np.ndarray.__setitem__(array, ..., a)
    return array


@every_form
def test_a_subclass_cannot_interfere(form, rng):
    g, x = rng.normal(size=(2, *SHAPE))
    expected = FORMS[form](g, x)
    assert np.array_equal(FORMS[form](unsound(g), unsound(x)), expected)
    for a, b in ((g, x), (unsound(g), unsound(x)), (np.asfortranarray(g), x)):
        out = unsound(np.zeros(SHAPE))
        assert FORMS[form](a, b, out=out) is out
        assert np.array_equal(np.ndarray.view(out, np.ndarray), expected)


def lying(**properties):
    """A subclass of which these are not true."""
    return type("Lying", (np.ndarray,), {name: property(lambda self, v=v: v) for name, v in properties.items()})


@every_form
@pytest.mark.parametrize(
    ("cls", "out", "error", "message"),
    [
        (lying(shape=SHAPE), np.ones((2, 3)), ValueError, r"operand with shape \(2, 3\) doesn't match"),
        (lying(shape=SHAPE), np.ones(SHAPE[::-1]), ValueError, r"operand with shape \(40, 6\) doesn't match"),
        (lying(dtype=np.dtype(np.float64)), np.ones(SHAPE, np.int64), TypeError, "out has dtype int64"),
        (
            lying(flags=np.ones(SHAPE).flags),
            np.frombuffer(bytes(8 * 240)).reshape(SHAPE),
            ValueError,
            "^out: output array is read-only$",
        ),
    ],
    ids=["small", "turned", "dtype", "read-only"],
)
def test_out_lies(form, cls, out, error, message, rng):
    g, x = rng.normal(size=(2, *SHAPE))
    before = out.tobytes()
    for a in (g, np.asfortranarray(g)):
        with pytest.raises(error, match=message):
            FORMS[form](a, x, out=out.view(cls))
    assert out.tobytes() == before


def test_out_only_says_that_it_is_an_array():
    class Pretender(list):
        __class__ = np.ndarray
        dtype, shape, flags = np.dtype(np.float64), SHAPE, np.ones(SHAPE).flags

    with pytest.raises(TypeError, match=r"^out must be a NumPy array; got Pretender"):
        fastlsm.log_softmax(np.ones(SHAPE), out=Pretender([[0.0] * 40] * 6))


class bfloat16(np.void):
    pass


@pytest.mark.parametrize(
    "spec", [2, [("bits", "u2")], np.dtype([("bits", "u2")], align=True)], ids=["void", "record", "aligned"]
)
def test_a_dtype_only_says_that_it_is_bfloat16(spec):
    dtype = np.dtype((bfloat16, spec))
    x = np.zeros(9, np.uint8)[1:].view(dtype)
    assert x.flags.aligned  # though the kernels would need an even address
    for call in (
        lambda: fastlsm.log_softmax(x),
        lambda: fastlsm.log_softmax(x[::2]),
        lambda: fastlsm.log_softmax(np.ones(4), dtype=dtype),
        lambda: fastlsm.log_softmax(np.ones(4), out=x),
    ):
        with pytest.raises(TypeError, match=r"dtype .*; supported are float32"):
            call()


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, MemoryError, KeyboardInterrupt], ids=str)
def test_an_argument_that_raises(error, rng):
    g, x, out = rng.normal(size=(3, *SHAPE))
    before = [a.copy() for a in (g, x, out)]
    bad = Raising(error("mine"))
    for call in (
        lambda: fastlsm.log_softmax(bad, out=out),
        lambda: fastlsm.log_softmax_backward(bad, x, out=out),
        lambda: fastlsm.log_softmax_backward(g, bad, out=out),
        lambda: fastlsm.log_softmax_backward(g, dst=bad, out=out),
        lambda: fastlsm.log_softmax(x, bad, out=out),
        lambda: fastlsm.log_softmax(x, out=out, num_threads=bad),
        lambda: fastlsm.log_softmax(x, dtype=bad, out=out),
    ):
        with pytest.raises(error, match="mine"):
            call()
    assert all(np.array_equal(a, b) for a, b in zip((g, x, out), before, strict=True))


class NoIndex:
    def __index__(self):
        return 1.0


class NoArray:
    def __init__(self, answer):
        self.answer = answer

    def __array__(self, dtype=None, copy=None):
        return self.answer


def test_an_index_that_is_none():
    with pytest.raises(TypeError, match="axis must be an integer, a tuple of integers or None; got "):
        fastlsm.log_softmax(np.ones(SHAPE), NoIndex())
    with pytest.raises(TypeError, match="num_threads must be an integer or None, got "):
        fastlsm.log_softmax(np.ones(SHAPE), num_threads=NoIndex())


@pytest.mark.parametrize("answer", [None, [1.0, 2.0], "array", 1.0, np.float64(1)], ids=repr)
def test_an_array_that_is_none(answer):
    with pytest.raises((TypeError, ValueError), match="__array__"):
        fastlsm.log_softmax(NoArray(answer))


@every_form
def test_an_array_is_asked_for_once(form, rng):
    g, x, y = rng.normal(size=(3, *SHAPE))
    first, second = Fickle(g, y[:3]), Fickle(x, y.astype(complex))
    assert np.array_equal(FORMS[form](first, second), FORMS[form](g, x))


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.float16], ids=lambda t: t.__name__)
def test_an_array_of_another_dtype_than_asked_for(dtype, rng):
    x = rng.normal(size=SHAPE).astype(dtype)
    x_as_it_is = x.astype(np.float64) if dtype is np.int8 else x
    assert np.array_equal(fastlsm.log_softmax(NoArray(x)), fastlsm.log_softmax(x_as_it_is))


# ----------------------------------------------------------------------------------- memory that goes away


def test_a_buffer_that_is_gone():
    memory = memoryview(bytearray(48))
    memory.release()
    with pytest.raises((TypeError, ValueError)):
        fastlsm.log_softmax(memory)


def test_a_buffer_cannot_go_meanwhile(monkeypatch, rng):
    """An operand that only the call holds: whoever owns its memory cannot let it go."""
    x = rng.normal(size=(80, 1000))
    expected = fastlsm.log_softmax(x)
    for owner, let_go in ((bytearray(x.nbytes), bytearray.clear), (mmap.mmap(-1, x.nbytes), mmap.mmap.close)):
        memoryview(owner)[:] = x.tobytes()
        views = [memoryview(owner).cast("d", x.shape)]
        refused = []

        def threads_for(*args, views=views, owner=owner, let_go=let_go, refused=refused):
            views.clear()
            with pytest.raises(BufferError):
                let_go(owner)
            refused.append(True)
            return 1

        monkeypatch.setattr(_api, "threads_for", threads_for)
        assert np.array_equal(fastlsm.log_softmax(Operand(lambda: None, np.asarray(views.pop()))), expected)
        assert refused
        let_go(owner)


# ------------------------------------------------------------------------------------------ out of memory


NO_MEMORY = """
import gc, sys
import numpy as np
from _testcapi import remove_mem_hooks, set_nomemory
from fastlsm._runtime import kernels

rng = np.random.default_rng(1)
g, x = rng.normal(size=(2, 30, 70))
long = [a.astype("f4") for a in rng.normal(size=(2, 3, 3000))]
half = [a.astype("f2") for a in (g, x)]
out, long_out = np.zeros_like(x), np.zeros_like(long[0])
float32 = np.dtype("f4")
mixed = [np.asfortranarray(g), np.repeat(x, 2, 1)[:, ::2]]
memory = rng.normal(size=100)
overlapped, overlapping = memory[:60].reshape(6, 10), memory[40:].reshape(6, 10)
swapped = np.zeros(x.shape, ">f8")
subclass = x.view(type("Subclass", (np.ndarray,), {}))


def common(form, operands, axis, out=None, dtype=None, num_threads=None):
    arguments = (form, *operands, axis, out, dtype, num_threads, lambda elements, num_threads: 1, None)
    return lambda: kernels.run(*arguments)


BACKWARD_SRC, BACKWARD_DST = 1, 2
calls = {
    "out": (common(BACKWARD_SRC, (g, x), 1, out), out),
    "out, scratch": (common(BACKWARD_SRC, (g, x), 0, out), out),
    "out, scratch of a row": (common(BACKWARD_SRC, long, 1, long_out), long_out),
    "out, threads": (common(BACKWARD_DST, long, 1, long_out, None, 2), long_out),
    "new": (common(BACKWARD_DST, (g, x), 1), None),
    "new, scratch": (common(BACKWARD_DST, half, 0, None, float32), None),
    "declined": (common(BACKWARD_SRC, (g, subclass), 1, out), out),
    "views": (common(BACKWARD_SRC, mixed, 0, out), out),
    "16-bit views": (common(BACKWARD_SRC, [np.asfortranarray(half[0]), half[1]], 1, out), out),
    "temporary": (common(BACKWARD_SRC, (overlapped.copy(), overlapped), 1, overlapping), overlapping),
    "byte-swapped": (common(BACKWARD_SRC, (g, x), 1, swapped), swapped),
    "held": (lambda: kernels.hold(x), None),
}
watched = [g, x, *long, *half, out, long_out, float32, *mixed, memory, swapped, common, kernels.run]
for name, (call, written) in calls.items():

    def answer():
        if written is not None:
            written[...] = 7
        result = call()
        return written.tobytes() if written is not None else np.asarray(result).dtype

    expected = answer()
    failures = 0
    for first in range(60):
        if written is not None:
            written[...] = 7
        set_nomemory(first, first + 1)  # the allocation of that number fails
        try:
            call()
        except MemoryError:
            failed = True
        else:
            failed = False
        finally:
            remove_mem_hooks()
        failures += failed
        assert written is None or not failed or np.all(written == 7), (name, first)
        assert answer() == expected, (name, first)
        counts = [*map(sys.getrefcount, watched), sys.getallocatedblocks()]
        if first == 20:     # what is made once and kept (a message, a cache) has been made
            early = counts
    assert all(abs(a - b) < 10 for a, b in zip(counts, early)), (name, early, counts)
    print(name, failures)
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="CPython's allocators")
def test_each_allocation_of_pythons_fails_in_turn():
    """(Only in compiled code: the interpreter itself does not survive this everywhere.)"""
    pytest.importorskip("_testcapi")
    failures = dict(line.rsplit(maxsplit=1) for line in python(NO_MEMORY).splitlines())
    assert len(failures) == 12
    assert all(int(count) > 0 for name, count in failures.items() if name not in ("out", "declined")), failures


LIMITED = """
import resource
import numpy as np
import fastlsm

MB, N = 1 << 20, 2100


def limit(room):
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY if room is None else size + room, -1))


def fails(call):
    try:
        call()
    except MemoryError as error:
        return True
    return False


rng = np.random.default_rng(1)
x, out = rng.normal(size=(2, N, N))     # 35 MB each: past what malloc keeps for itself
integers, swapped = x.astype(int), x.astype(">f8")
memory = rng.normal(size=N * N + 8)
g = x[:, ::-1]
calls = {
    "result": lambda: fastlsm.log_softmax(x),
    "general result": lambda: fastlsm.log_softmax_backward(g, x),
    "converted operand": lambda: fastlsm.log_softmax(integers, out=out),
    "native operand": lambda: fastlsm.log_softmax_backward(x, swapped, out=out),
    "temporary": lambda: fastlsm.log_softmax(memory[8:].reshape(N, N), out=memory[:-8].reshape(N, N)),
    "scratch": lambda: fastlsm.log_softmax(x, 0, out=out),
    "general scratch": lambda: fastlsm.log_softmax_backward(g, x, 0, out=out),
}
for name, call in calls.items():
    kept = memory.copy()
    expected = call().tobytes()
    memory[...] = kept
    before = out.tobytes()
    taken = []
    limit(8 * MB if "scratch" not in name else 0)
    while "scratch" in name:        # what the allocator still has
        try:
            taken.append(bytes(MB // 2))
        except MemoryError:
            break
    failed = [fails(call) for _ in range(20)]
    taken = None
    limit(None)
    assert all(failed), name
    assert out.tobytes() == before, name
    assert np.array_equal(memory, kept), name
    assert call().tobytes() == expected, name
    print(name)
"""


@linux
def test_no_room_for_a_result_or_for_scratch():
    assert len(python(LIMITED).splitlines()) == 7


# -------------------------------------------------------------------------------------- nothing is left behind


MIXED = """
import gc, os, sys
import ml_dtypes
import numpy as np
import fastlsm

rng = np.random.default_rng(2)
g, x = rng.normal(size=(2, 6, 40)).astype("f4")
f, half, brain = np.asfortranarray(x), x.astype("f2"), x.astype(ml_dtypes.bfloat16)
wide = rng.normal(size=(2, 6, 80))
strided, swapped, out = wide[0, :, ::2], x.astype(">f4"), np.zeros_like(x)
long = rng.normal(size=(2, 1, 3000)).astype("f4")
read_only = x.copy()
read_only.flags.writeable = False
subclass = x.view(type("Subclass", (np.ndarray,), {}))


class Bad:
    def __index__(self):
        raise ZeroDivisionError

    __array__ = dtype = property(__index__)


forward, backward = fastlsm.log_softmax, fastlsm.log_softmax_backward
good = [
    lambda: forward(x),
    lambda: forward(f, 0, out=out),
    lambda: forward(brain, dtype="f4"),
    lambda: forward(subclass, num_threads=np.int8(1)),
    lambda: forward(x[::-1], out=x[::-1]),
    lambda: backward(g, x, 0),
    lambda: backward(g, dst=half),
    lambda: backward(g, strided, np.int64(1), dtype=np.float16),
    lambda: backward(swapped, dst=f, out=out),
    lambda: backward(*long),
    lambda: backward([[1, 2]], [[0.5, 2.0]]),
    lambda: forward(out[0, :30], out=out[0, 10:]),
]
bad = [
    lambda: forward(x, 2),
    lambda: forward(x, 1.5),
    lambda: forward(x, Bad()),
    lambda: forward(Bad()),
    lambda: forward(x, num_threads=0),
    lambda: forward(x, num_threads=Bad()),
    lambda: forward(x, dtype="nonsense"),
    lambda: forward(x, dtype=Bad()),
    lambda: forward(x, out=read_only),
    lambda: forward(x, out=out[:3]),
    lambda: forward(x.astype(complex)),
    lambda: backward(g, x[:3]),
    lambda: backward(g),
    lambda: backward(g, strided, out=[1.0]),
]
errors = (TypeError, ValueError, ZeroDivisionError)
arrays = [g, x, f, half, brain, wide, strided, swapped, out, long, read_only, subclass]
watched = [*arrays, *{a.dtype for a in arrays}, np.float32, fastlsm._api.threads_for, None.__class__, errors]


def run(calls):
    for i in range(calls // 2):
        good[i % len(good)]()
        try:
            bad[i % len(bad)]()
        except errors:
            continue
        raise AssertionError(i)
    gc.collect()
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return [resident, sys.getallocatedblocks(), *map(sys.getrefcount, watched)]


run(20_000)
before = run(2)
after = run(200_000)
print(after[0] - before[0], after[1] - before[1], max(abs(a - b) for a, b in zip(before[2:], after[2:])))
"""


@linux
def test_200_000_good_and_refused_calls_leave_nothing():
    resident, blocks, references = map(int, python(MIXED).split())
    assert resident < 1 << 20  # 5 bytes a call
    assert abs(blocks) < 5000
    assert references <= 1
