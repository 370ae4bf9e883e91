"""Contract, Threads: how many there are, where the number comes from, and what they do not do."""

import math
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from processes import check

import fastlsm
from fastlsm import _cgroup, _runtime, _threads

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
    monkeypatch.setattr(_threads, "_is_crowded", lambda: False)
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
            return False, 6, 6

    monkeypatch.setattr(_threads, "kernels", Kernels)
    monkeypatch.setattr(_threads, "_quota", lambda: quota)
    monkeypatch.setattr(_threads, "_OMP_NUM_THREADS", None)
    assert _threads.available() == expected


def test_without_openmp(monkeypatch):
    class Kernels:
        def openmp_threads():
            return False, 0, 0

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


# ------------------------------------------------------------------------------------------ a machine that others load


def test_while_others_take_all_processors_short_calls_have_one_thread(monkeypatch):
    monkeypatch.setattr(_threads, "_CPUS", 2)
    monkeypatch.setattr(_threads, "_crowded", False)
    short, long = 10**6, 10**7
    for running, expected in [(1, 2), (2, 2), (3, 1), (2, 1), (1, 2), (2, 2), (0, 2)]:
        monkeypatch.setattr(_threads, "_running", lambda running=running: running)
        monkeypatch.setattr(_threads, "_looked", -1.0)
        assert _threads.threads_for(short, 2) == min(expected, os.cpu_count())
        assert _threads.threads_for(long, 2) == min(2, os.cpu_count())


def test_the_system_is_not_asked_at_each_call(monkeypatch):
    asked = []
    monkeypatch.setattr(_threads, "_running", lambda: asked.append(1) or 1)
    monkeypatch.setattr(_threads.time, "monotonic", lambda: 1e9)
    for _ in range(10):
        _threads._is_crowded()
    assert asked == [1]


@linux
def test_what_runs_is_counted():
    assert 1 <= _threads._running() < 10**6


def test_a_system_that_does_not_say_what_runs(monkeypatch):
    def refuse(*_):
        raise OSError

    monkeypatch.setattr("builtins.open", refuse)
    assert _threads._running() == 0


# --------------------------------------------------------------------------------- what the threads do, or not

COUNT = """
import ctypes, os, signal, sys, threading, time
from pathlib import Path
import numpy as np
import fastlsm
from fastlsm import _threads

_threads._is_crowded = lambda: False        # whatever else runs on this machine

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
