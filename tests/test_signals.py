"""Contract, Threads: Ctrl-C during a long call.

That it was answered early is seen from what the call had not yet written, not from a clock.
"""

import sys

import conftest
import pytest
from processes import check

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.thread_unsafe(reason="each takes seconds, and memory"),
]

# A call that takes a few seconds, or as long as the memory for its result allows, which is only taken as
# far as the call comes; and a signal after an eighth of the time that it takes at least.
SCRIPT = """
import os, signal, sys, time
import numpy as np
import fastlsm
from fastlsm import _threads

_threads._backoff.holds = lambda: False     # whatever else runs on this machine
form, shape, axis, threads = sys.argv[1], eval(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
rng = np.random.default_rng(1)
free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def tasks():
    return len(os.listdir("/proc/self/task"))


def problem(size, threads):
    '''The call on so many elements. Operands are a row, a column or a number, broadcast, or the result itself.'''
    global result
    extents = [size // -e if e < 0 else e for e in shape]
    result = np.zeros(extents, np.float16)
    own = [e if d == axis % len(extents) and e < 1e6 else 1 for d, e in enumerate(extents)]
    x, g = (np.broadcast_to(rng.normal(size=own).astype(np.float16), extents) for _ in range(2))
    if form == "in place":
        return lambda: fastlsm.log_softmax(result, axis, out=result, num_threads=threads)
    if form == "forward":
        return lambda: fastlsm.log_softmax(x, axis, out=result, num_threads=threads)
    if form == "dst":
        return lambda: fastlsm.log_softmax_backward(g, dst=x, axis=axis, out=result, num_threads=threads)
    return lambda: fastlsm.log_softmax_backward(g, x, axis, out=result, num_threads=threads)


def long_call(seconds):
    '''The call, and an eighth of its time: the processor's, for others have an influence on the clock's. It is that of
    one thread: threads that wait for each other take the processor's time, too.'''
    sample, times = problem(1 << 22, 1), []
    for _ in range(5):
        start = time.process_time()
        sample()
        times.append(time.process_time() - start)
    each = min(times) / threads / result.size
    call = problem(int(min(seconds / each, free // 4, 2**31 + 10**6)), threads)
    return call, result.size * each / 8


def begin(seconds, handler=signal.default_int_handler):
    call, soon = long_call(seconds)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, soon)
    return call


def check_next_call():
    x = rng.normal(size=(300, 1000))
    e = np.exp(x)
    expected = np.log(e / e.sum(-1, keepdims=True))
    assert np.allclose(fastlsm.log_softmax(x, num_threads=threads), expected, rtol=1e-12, atol=1e-12)
"""

INTERRUPTED = """
fastlsm.log_softmax(np.zeros((300, 1000)), num_threads=threads)     # the team is there
before = tasks()
call = begin(seconds=2)
try:
    call()
    sys.exit("not interrupted")
except KeyboardInterrupt:
    pass
assert not result.flat[-1].any(), "interrupted when all was done"
while tasks() > before:         # those that computed take a moment to end
    time.sleep(0.01)
check_next_call()
"""

MANY_ROWS = "(-1000, 1000)", -1
CASES = {
    "many rows": MANY_ROWS,
    "short rows": ("(-10, 10)", -1),
    "columns": ("(1000, -1000)", 0),
    "few long columns": ("(-20, 20)", 0),
    "one long row": ("(-1,)", -1),
    "two long rows": ("(2, -2)", -1),
    "unmerged axes": ("(20, 50, -1000)", 1),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_a_long_call_is_interrupted(case, threads):
    check(SCRIPT + INTERRUPTED, "src", *CASES[case], threads, OMP_NUM_THREADS="2")


@pytest.mark.parametrize("form", ["forward", "dst", "in place"])
@pytest.mark.parametrize("case", ["many rows", "columns", "one long row"])
def test_in_every_form(case, form):
    check(SCRIPT + INTERRUPTED, form, *CASES[case], 2, OMP_NUM_THREADS="2")


@pytest.mark.parametrize("columns", [20, 500])
def test_threads_that_wait_for_each_other(columns):
    check(SCRIPT + INTERRUPTED, "in place", f"(-{columns}, {columns})", 0, 2, OMP_NUM_THREADS="2")


@pytest.mark.parametrize("level", conftest.LEVELS)
def test_on_every_level(level):
    check(SCRIPT + INTERRUPTED, "src", *MANY_ROWS, 1, FASTLSM_ISA=level)


def test_from_the_keyboard():
    """SIGINT from another process, as Ctrl-C sends it, with Python's own handler."""
    script = """
signal.signal(signal.SIGINT, signal.default_int_handler)       # which a shell's background process lacks
call, soon = long_call(seconds=2)
if os.fork() == 0:
    time.sleep(soon)
    os.kill(os.getppid(), signal.SIGINT)
    os._exit(0)
try:
    call()
    sys.exit("not interrupted")
except KeyboardInterrupt:
    assert not result.flat[-1].any(), "interrupted when all was done"
"""
    check(SCRIPT + script, "src", *MANY_ROWS, 1)


def test_what_a_handler_raises_is_raised():
    script = """
class Enough(Exception):
    pass

def handler(*_):
    raise Enough

try:
    begin(2, handler)()
    sys.exit("not interrupted")
except Enough:
    assert not result.flat[-1].any()
check_next_call()
"""
    check(SCRIPT + script, "src", *MANY_ROWS, 2, OMP_NUM_THREADS="2")


def test_a_handler_that_returns_interrupts_nothing():
    """Here it calls the same function, which it may."""
    script = """
seen = []

def handler(*_):
    seen.append(result.flat[-1])
    check_next_call()

call = begin(0.5, handler)
call()
assert seen == [0], seen
some = result[:: len(result) // 100]
assert np.array_equal(some, fastlsm.log_softmax(np.zeros_like(some)))
"""
    check(SCRIPT + script, "in place", *MANY_ROWS, 2, OMP_NUM_THREADS="2")


def test_a_handler_that_forks():
    """The child has not the threads that compute: its call ends with an exception, the parent's as if nothing were."""
    script = """
children = []

def handler(*_):
    children.append(os.fork())

call = begin(0.5, handler)
try:
    call()
except RuntimeError as error:
    os._exit(7 if children == [0] and "forked" in str(error) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7
assert np.array_equal(result[-1], fastlsm.log_softmax(np.zeros(1000, np.float16)))
"""
    check(SCRIPT + script, "in place", *MANY_ROWS, 2, OMP_NUM_THREADS="2")


def test_a_result_that_is_not_returned_is_freed():
    script = """
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

begin(2)
extents, result = result.shape, None
before = resident()
row = np.broadcast_to(rng.normal(size=1000).astype(np.float16), extents)
try:
    fastlsm.log_softmax_backward(row, row, num_threads=threads)
    sys.exit("not interrupted")
except KeyboardInterrupt:
    pass
assert resident() < before + 1e7, (resident() - before)
"""
    check(SCRIPT + script, "src", *MANY_ROWS, 1)


def test_calls_from_other_threads_go_on():
    """Signals are the main thread's; what computes elsewhere ends by itself, and Python answers meanwhile."""
    script = """
import threading

call, done = begin(0.5), threading.Event()
threading.Thread(target=lambda: (call(), done.set())).start()
try:
    done.wait()
    sys.exit("not interrupted")
except KeyboardInterrupt:
    assert not result.flat[-1].any()
done.wait()
assert np.array_equal(result[-1], fastlsm.log_softmax(np.zeros(1000, np.float16)))
"""
    check(SCRIPT + script, "in place", *MANY_ROWS, 2, OMP_NUM_THREADS="2")
