"""Contract, Threads: how many there are, where the number comes from, and what they do not do."""

import math
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from processes import check

import fastlsm
from fastlsm import _api, _cgroup, _runtime, _threads
from fastlsm._backoff import Backoff

pytestmark = pytest.mark.thread_unsafe(reason="the number of threads is the process's")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
several = pytest.mark.skipif(_threads._processors() < 2, reason="one processor")
openmp = pytest.mark.skipif(not _runtime.kernels.build_info()["openmp"], reason="built without OpenMP")


@pytest.fixture(autouse=True)
def _default():
    yield
    fastlsm.set_num_threads(None)


# ------------------------------------------------------------------------------------------- num_threads


@pytest.mark.parametrize("num_threads", [1, 2, 64, 10**9, 10**30, np.int64(2), None], ids=repr)
def test_num_threads_is_a_cap(num_threads, rng):
    x = rng.normal(size=(300, 1000))
    expected = fastlsm.log_softmax(x)
    assert np.array_equal(fastlsm.log_softmax(x, num_threads=num_threads), expected)
    fastlsm.set_num_threads(num_threads)
    assert np.array_equal(fastlsm.log_softmax(x), expected)


@pytest.mark.parametrize("num_threads", [0, -1, np.int32(-5), -(10**30)], ids=repr)
def test_num_threads_below_1(num_threads):
    for call in (
        lambda: fastlsm.log_softmax([1.0], num_threads=num_threads),
        lambda: fastlsm.log_softmax_backward([1.0], [1.0], num_threads=num_threads),
        lambda: fastlsm.set_num_threads(num_threads),
    ):
        with pytest.raises(ValueError, match=f"^num_threads must be at least 1, got {num_threads}$"):
            call()


@pytest.mark.parametrize("num_threads", [1.0, "2", True, [2]], ids=repr)
def test_num_threads_that_is_no_integer(num_threads):
    for call in (
        lambda: fastlsm.log_softmax([1.0], num_threads=num_threads),
        lambda: fastlsm.set_num_threads(num_threads),
    ):
        with pytest.raises(TypeError, match=r"^num_threads must be an integer or None, got "):
            call()


# -------------------------------------------------------------------------------- where the number comes from


def available(**environment):
    script = "from fastlsm import _threads; print(*_threads.available(), sep='|')"
    count, source = check(script, **environment).strip().split("|")
    return int(count), source


def test_a_refused_number_is_not_set():
    fastlsm.set_num_threads(1)
    with pytest.raises(ValueError, match="at least 1"):
        fastlsm.set_num_threads(0)
    assert fastlsm.get_num_threads() == 1


def test_set_num_threads_is_for_the_whole_process():
    before = fastlsm.get_num_threads()
    fastlsm.set_num_threads(1)
    assert _threads.available() == (1, "set_num_threads")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(fastlsm.get_num_threads).result() == 1
    assert _threads.threads_for(10**9, None) == 1
    fastlsm.set_num_threads(None)
    assert fastlsm.get_num_threads() == before


def test_num_threads_goes_before_set_num_threads(monkeypatch):
    monkeypatch.setattr(_threads._backoff, "holds", lambda: False)
    fastlsm.set_num_threads(1)
    assert _threads.threads_for(10**9, 2) == min(2, os.cpu_count())


@pytest.mark.parametrize(("value", "count"), [("3", 3), (" 5 ", 5), ("2,4", 2)])
def test_omp_num_threads(value, count):
    assert available(OMP_NUM_THREADS=value) == (count, "OMP_NUM_THREADS")


@pytest.mark.parametrize("value", ["", "none", "0", "-1", ",3", "1.5"])
def test_an_omp_num_threads_that_is_none(value):
    assert _threads.omp_num_threads({"OMP_NUM_THREADS": value}) is None
    assert _threads.omp_num_threads({}) is None


@openmp
def test_threadpoolctl_limits_the_thread_that_asks():
    """libgomp's limit is a thread's own, so it is asked for at each call."""
    script = """
import threading
from threadpoolctl import threadpool_limits
import fastlsm
from fastlsm import _threads

def elsewhere():
    seen.append(fastlsm.get_num_threads())

seen = []
with threadpool_limits(2, user_api="openmp"):
    assert _threads.available() == (2, "OpenMP's limit"), _threads.available()
    assert _threads.threads_for(10**9, None) == 2
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
assert fastlsm.get_num_threads() == 4
print(seen[0])
"""
    pytest.importorskip("threadpoolctl")
    library = os.path.basename(_runtime.kernels.build_info()["openmp_library"])
    assert int(check(script, OMP_NUM_THREADS="4")) == (4 if library.startswith("libgomp") else 2)


@openmp
@linux
@several
def test_threadpoolctl_without_omp_num_threads(monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(_threads, "_OMP_NUM_THREADS", None)
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert _threads.available() == (1, "OpenMP's limit")


@linux
def test_the_affinity_mask_as_it_is_at_the_call():
    script = """
import os
from fastlsm import _threads

os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
assert _threads.available() == (1, "affinity mask"), _threads.available()
assert _threads._processors() == 1
"""
    environment = {key: "" for key in os.environ if key.startswith(("OMP_", "GOMP_"))}
    check(script, **environment)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [(3, (3, "control group's quota")), (7, (6, "affinity mask")), (math.inf, (6, "affinity mask"))],
)
def test_the_least_of_affinity_and_quota(quota, expected, monkeypatch):
    class Kernels:
        def openmp_threads():
            return False, 6

        def processors():
            return 6

    monkeypatch.setattr(_threads, "kernels", Kernels)
    monkeypatch.setattr(_threads, "_quota", lambda: quota)
    monkeypatch.setattr(_threads, "_OMP_NUM_THREADS", None)
    assert _threads.available() == expected


def test_without_openmp(monkeypatch):
    class Kernels:
        def openmp_threads():
            return False, 0

    monkeypatch.setattr(_threads, "kernels", Kernels)
    monkeypatch.setattr(_threads, "_quota", lambda: math.inf)
    monkeypatch.setattr(_threads, "_OMP_NUM_THREADS", None)
    assert _threads.available() == (1, "built without OpenMP")
    monkeypatch.setattr(_threads, "_OMP_NUM_THREADS", 5)
    assert _threads.available() == (1, "built without OpenMP")


# /proc/self/cgroup, /proc/self/mountinfo, the control groups' files: how many processors' time that is (None: no limit)
V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = "31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
CPU = "sys/fs/cgroup/cpu,cpuacct"
CGROUPS = {
    "no limit": ("0::/", V2, {"sys/fs/cgroup/cpu.max": "max 100000"}, None),
    "at the root, as a container sees it": ("0::/", V2, {"sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
    "half a processor": ("0::/a", V2, {"sys/fs/cgroup/a/cpu.max": "50000 100000"}, 1),
    "one and a half": ("0::/a", V2, {"sys/fs/cgroup/a/cpu.max": "150000 100000"}, 2),
    "another period": ("0::/a", V2, {"sys/fs/cgroup/a/cpu.max": "30000 10000"}, 3),
    "the least on the way up": (
        "0::/a/b/c",
        V2,
        {
            "sys/fs/cgroup/a/cpu.max": "300000 100000",
            "sys/fs/cgroup/a/b/cpu.max": "200000 100000",
            "sys/fs/cgroup/a/b/c/cpu.max": "max 100000",
        },
        2,
    ),
    "another's group": ("0::/a", V2, {"sys/fs/cgroup/b/cpu.max": "100000 100000"}, None),
    "version 1": (
        "5:memory:/m\n3:cpu,cpuacct:/a",
        f"{V1_MEMORY}\n{V1}",
        {f"{CPU}/a/cpu.cfs_quota_us": "250000", f"{CPU}/a/cpu.cfs_period_us": "100000"},
        3,
    ),
    "version 1, no limit": (
        "3:cpu,cpuacct:/a",
        V1,
        {f"{CPU}/a/cpu.cfs_quota_us": "-1", f"{CPU}/a/cpu.cfs_period_us": "100000"},
        None,
    ),
    "version 1, a container that sees its own group as the root": (
        "3:cpu,cpuacct:/docker/4f40",
        V1.replace(" / ", " /docker/4f40 ", 1),
        {f"{CPU}/cpu.cfs_quota_us": "200000", f"{CPU}/cpu.cfs_period_us": "100000"},
        2,
    ),
    "a root that is not the mount's": (
        "3:cpu,cpuacct:/docker/4f40",
        V1.replace(" / ", " /elsewhere ", 1),
        {f"{CPU}/cpu.cfs_quota_us": "200000", f"{CPU}/cpu.cfs_period_us": "100000"},
        2,
    ),
    "both versions": (
        "3:cpu,cpuacct:/\n0::/a",
        f"{V1}\n{V2.replace('/sys/fs/cgroup', '/sys/fs/cgroup/unified')}",
        {
            f"{CPU}/cpu.cfs_quota_us": "400000",
            f"{CPU}/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/unified/a/cpu.max": "300000 100000",
        },
        3,
    ),
    "a path out of the mount": (
        "0::/../b",
        V2,
        {"sys/fs/cgroup/cpu.max": "200000 100000", "sys/fs/b/cpu.max": "1 1"},
        2,
    ),
    "nonsense": ("no\n:::\n0::/a", f"a b - c\n\n- \n{V2}", {"sys/fs/cgroup/a/cpu.max": "many"}, None),
    "a period of 0": ("0::/", V2, {"sys/fs/cgroup/cpu.max": "1000 0"}, None),
    "not text": ("0::/", V2, {"sys/fs/cgroup/cpu.max": b"\xff\xfe 1"}, None),
    "no control groups": ("", "", {}, None),
}


@pytest.mark.parametrize("case", CGROUPS)
def test_control_groups(case, tmp_path):
    groups, mounts, files, expected = CGROUPS[case]
    for name, text in {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert _cgroup.processors(tmp_path) == (expected or math.inf)


def test_a_system_without_control_groups(tmp_path):
    assert _cgroup.processors(tmp_path) == math.inf


# ------------------------------------------------------------------------------------- threads that lose time


class Loop:
    """Calls with a backoff of their own, on a clock of their own, with other work between them."""

    def __init__(self):
        self.now, self.lost = 100.0, 0.0
        self.backoff = Backoff(lambda: self.now)

    def run(self, seconds, lost, between=1e-3):
        """For so long, calls that lose so much if they have threads; the times at which they had them."""
        end, tries = self.now + seconds, []
        while self.now < end:
            self.now += between
            if not self.backoff.holds():
                tries.append(self.now)
                self.now += max(lost, 0)
                self.lost += lost
                self.backoff.note(lost)
        return tries


LATE, GAIN = 5e-3, -1e-4  # seconds: a scheduler's tick; what two threads save of a short call


def test_calls_have_threads_until_they_lose_time():
    loop = Loop()
    assert not loop.backoff.holds()
    loop.run(1.0, GAIN)
    assert not loop.backoff.holds()
    loop.run(0.1, LATE)
    assert loop.backoff.holds()


def test_calls_stay_on_one_thread_for_longer_each_time():
    tries = Loop().run(10.0, LATE)
    waits = [b - a for a, b in pairwise(tries)]
    assert all(b > 1.9 * a for a, b in pairwise(waits[:4]))
    assert all(0.99 < wait < 1.01 for wait in waits[4:])


def test_what_trials_lose_is_a_small_part_of_the_time():
    loop = Loop()
    loop.run(10.0, LATE)
    assert 0 < loop.lost < 0.01 * 10.0


@pytest.mark.parametrize("between", [1e-4, 1e-2, 0.3])
def test_a_crowd_that_has_gone_is_noticed_within_a_second(between):
    loop = Loop()
    loop.run(10.0, LATE, between)
    gone = loop.now
    tries = loop.run(5.0, GAIN, between)
    assert tries[0] - gone < 1 + 2 * between
    assert all(b - a < 1.01 * between for a, b in pairwise(tries))


def test_a_wait_is_forgotten_when_threads_are_worth_it_for_as_long():
    first, again, forgotten = Loop(), Loop(), Loop()
    for loop, good in ((first, 0.0), (again, 0.002), (forgotten, 0.1)):
        if loop is not first:
            loop.backoff.note(LATE)
            loop.run(4 * LATE + good, GAIN)
        loop.backoff.note(LATE)
    holds = []
    for loop in (first, again, forgotten):
        start = loop.now
        while loop.backoff.holds():
            loop.now += 1e-4
        holds.append(loop.now - start)
    assert holds[1] > 3 * holds[0]
    assert holds[2] <= holds[0]


def test_what_threads_gain_pays_for_a_late_one():
    loop = Loop()
    loop.run(1.0, GAIN)
    loop.backoff.note(LATE)
    assert not loop.backoff.holds()


def test_gains_of_an_hour_do_not_pay_for_a_crowd():
    loop, late = Loop(), 0
    for _ in range(1000):
        loop.backoff.note(100 * GAIN)
    while not loop.backoff.holds():
        loop.backoff.note(LATE)
        late += 1
    assert late <= 5


def test_calls_that_stay_on_one_thread(monkeypatch):
    monkeypatch.setattr(_threads._backoff, "holds", lambda: True)
    assert _threads.threads_for(10**6, 2) == 1
    assert _threads.threads_for(10**7, 2) == min(2, os.cpu_count())
    monkeypatch.setattr(_threads._backoff, "holds", lambda: False)
    assert _threads.threads_for(10**6, 2) == min(2, os.cpu_count())


WALKS = {
    "batches": ((300, 1000), 1),
    "rows": ((40, 5000), 1),
    "a row shared by threads": ((1, 200_000), 1),
    "flat rows": ((40_000, 10), 1),
    "columns": ((300, 1000), 0),
    "axes that are not one": ((30, 40, 50), (0, 2)),
}


@openmp
@pytest.mark.parametrize("walk", WALKS)
def test_each_call_with_threads_says_once_what_it_lost(isa, walk, monkeypatch, rng):
    shape, axis = WALKS[walk]
    x, seen = rng.normal(size=shape), []
    expected = fastlsm.log_softmax(x, axis, num_threads=1)
    monkeypatch.setattr(_api, "note_lost", seen.append)
    for threads in (2, 1):
        monkeypatch.setattr(_api, "threads_for", lambda *args, threads=threads: threads)
        assert np.array_equal(fastlsm.log_softmax(x, axis), expected)
    assert len(seen) == 1
    assert -1 < seen[0] < 60
    assert seen[0] != 0


def test_one_call_at_a_time_says_what_it_lost(monkeypatch, rng):
    x, turn, overlaps, count = rng.normal(size=(100, 1000)), threading.Lock(), [], [0]

    def note_lost(seconds):
        if not turn.acquire(blocking=False):
            overlaps.append(seconds)
            return
        time.sleep(1e-4)
        count[0] += 1
        turn.release()

    monkeypatch.setattr(_api, "note_lost", note_lost)
    monkeypatch.setattr(_api, "threads_for", lambda *args: 2)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fastlsm.log_softmax(x), range(100)))
    assert not overlaps
    assert count[0] > 0


# --------------------------------------------------------------------------------- what the threads do, or not

COUNT = """
import ctypes, os, signal, sys, threading, time
from pathlib import Path
import numpy as np
import fastlsm
from fastlsm import _threads

_threads._backoff.holds = lambda: False     # whatever else runs on this machine

def tasks():
    return set(map(int, os.listdir("/proc/self/task")))

def x_of(rows=300, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, 1000))

def expected(x):
    e = np.exp(x)
    return np.log(e / e.sum(-1, keepdims=True))

def wait_until(condition):
    while not condition():
        time.sleep(0.01)

def is_right(x, result):
    return np.allclose(result, expected(x), rtol=1e-12, atol=1e-12)
"""


@linux
def test_there_are_as_many_as_were_asked_for():
    script = """
x = x_of()
before = tasks()
assert is_right(x, fastlsm.log_softmax(x, num_threads=1)) and tasks() == before
assert is_right(x[:30], fastlsm.log_softmax(x[:30])) and tasks() == before      # small
assert is_right(x, fastlsm.log_softmax(x, num_threads=2)) and len(tasks() - before) == 1
assert is_right(x, fastlsm.log_softmax(x)) and len(tasks() - before) == 3
"""
    check(COUNT + script, OMP_NUM_THREADS="4")


def test_calls_from_many_threads(isa, rng):
    problems = [(rng.normal(size=(50 + i, 700)), rng.normal(size=(50 + i, 700))) for i in range(16)]
    expected = [fastlsm.log_softmax_backward(g, x, num_threads=1) for g, x in problems]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            results = pool.map(lambda p: fastlsm.log_softmax_backward(*p), problems)
            assert all(np.array_equal(a, b) for a, b in zip(results, expected, strict=True))


@linux
def test_calls_from_many_threads_do_not_have_a_team_each():
    script = """
from concurrent.futures import ThreadPoolExecutor

arrays = [x_of(100 + i, i) for i in range(16)]
right = [fastlsm.log_softmax(x, num_threads=1) for x in arrays]
before, most = tasks(), 0
with ThreadPoolExecutor(16) as pool:
    barrier = threading.Barrier(16)

    def call(i):
        barrier.wait()
        return all(np.array_equal(fastlsm.log_softmax(arrays[i]), right[i]) for _ in range(20)), len(tasks() - before)

    answers = list(pool.map(call, range(16)))
assert all(answer for answer, _ in answers)
assert max(count for _, count in answers) <= 16 + 4 * 3, answers
wait_until(lambda: len(tasks() - before) <= 3)     # the pool's threads take a moment to end
"""
    check(COUNT + script, OMP_NUM_THREADS="4")


@linux
def test_at_most_four_python_threads_ever_have_a_team():
    """libgomp keeps a team for each thread that has had one, for as long as that thread lives."""
    script = """
x = x_of()
before, counts, turn, end = tasks(), [], threading.Lock(), threading.Event()

def call():
    with turn:
        fastlsm.log_softmax(x)
        counts.append(len(tasks() - before))
    end.wait()

threads = [threading.Thread(target=call) for _ in range(10)]
for thread in threads:
    thread.start()
wait_until(lambda: len(counts) == 10)
end.set()
assert max(counts) <= 10 + 4 * 3, counts
"""
    check(COUNT + script, OMP_NUM_THREADS="4")


@openmp
@linux
def test_in_a_parallel_region_of_openmp_there_is_one():
    """Of the OpenMP library that fastlsm uses, started by hand."""
    script = """
from fastlsm import _runtime

library = _runtime.kernels.build_info()["openmp_library"]
if "gomp" not in library:
    sys.exit(0)
seen = []

@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def region(_):
    right = is_right(x, fastlsm.log_softmax(x)) and is_right(x, fastlsm.log_softmax(x, num_threads=4))
    seen.append((fastlsm.get_num_threads(), _threads.threads_for(10**9, 4), right))

x = x_of()
before = tasks()
ctypes.CDLL(library).GOMP_parallel(region, None, 3, 0)
assert seen == [(1, 1, True)] * 3, seen
assert len(tasks() - before) == 2, tasks()      # the region's own
assert fastlsm.get_num_threads() == 4
"""
    check(COUNT + script, OMP_NUM_THREADS="4", OMP_MAX_ACTIVE_LEVELS="3")


@openmp
@linux
def test_two_threads_on_one_processor_lose_time_and_calls_go_on_on_one():
    script = """
del _threads._backoff.holds
seen, note = [], _threads._backoff.note
_threads._backoff.note = lambda lost: (seen.append(lost), note(lost))
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
x = x_of()
for _ in range(50):
    assert is_right(x, fastlsm.log_softmax(x))
assert max(seen) > 0, seen
assert len(seen) < 50, seen
"""
    check(COUNT + script, OMP_NUM_THREADS="2")


@openmp
@linux
@several
@pytest.mark.parametrize(
    ("shape", "axis"), [((300, 1000), 1), ((300, 1000), 0), ((3, 100_000), 1), ((1, 300_000), 1)], ids=str
)
def test_two_threads_on_two_processors_gain_time(shape, axis):
    """Also where one of them has twice as much to do, and where they wait for each other in the middle."""
    script = f"""
seen = []
_threads._backoff.note = seen.append
x = x_of().reshape({shape})
while not seen or min(seen) >= 0:
    fastlsm.log_softmax(x, {axis})
"""
    check(COUNT + script, OMP_NUM_THREADS="2", timeout=300)  # on a busy machine it takes a while


@linux
def test_a_call_opens_no_file():
    script = """
x, opened = x_of(), []
fastlsm.get_num_threads()       # the control group's quota is read once
sys.addaudithook(lambda event, arguments: opened.append(arguments) if event == "open" else None)
for _ in range(20):
    fastlsm.log_softmax(x)
assert not opened, opened
open(os.devnull).close()
assert opened
"""
    check(COUNT + script, OMP_NUM_THREADS="2")


@linux
def test_the_team_sleeps_between_calls():
    script = """
fastlsm.log_softmax(x_of())
time.sleep(0.2)
before = time.process_time()
time.sleep(0.5)
used = time.process_time() - before
assert used < 0.1, used
"""
    check(COUNT + script, OMP_NUM_THREADS="4")
