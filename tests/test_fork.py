"""Contract, Threads: after a fork the child computes, on one thread, and never hangs.

With PyTorch or Numba installed (`pip install '.[rivals]'`), also beside their OpenMP.
"""

import importlib.util
import os
import sys

import pytest
from processes import check

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
    pytest.mark.thread_unsafe(reason="each is a process, or several"),
]
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

START = """
import multiprocessing, os, sys, threading, warnings
import numpy as np
import fastlsm
from fastlsm import _threads

_threads._backoff.holds = lambda: False     # whatever else runs on this machine

# Python 3.12 and later warn of any fork beside threads.
warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
arrays = [np.random.default_rng(i).normal(size=(140 + i, 1000)) for i in range(8)]     # for four threads
expected = [x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in arrays]


def right():
    return all(np.allclose(fastlsm.log_softmax(x), y, rtol=1e-12, atol=1e-12) for x, y in zip(arrays, expected))


def fork(run):
    '''Run it in a forked child, and expect it to return a true value.'''
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if run() else 2
        finally:
            os._exit(code)
    return child


def join(child):
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 0, f"the child ended with {code}"


assert right()              # with threads
"""


def test_a_forked_child_computes():
    check(START + "join(fork(right))", OMP_NUM_THREADS="4")


def test_a_child_of_a_child():
    check(START + "join(fork(lambda: right() and (join(fork(right)) or True)))", OMP_NUM_THREADS="4")


@linux
def test_a_forked_child_computes_on_one_thread():
    script = """
def run():
    before = len(os.listdir("/proc/self/task"))
    return right() and len(os.listdir("/proc/self/task")) == before

join(fork(run))
assert right()
"""
    check(START + script, OMP_NUM_THREADS="4")


def test_a_forked_child_says_so():
    script = """
def run():
    fastlsm.set_num_threads(3)
    return fastlsm.get_num_threads() == 1 and fastlsm.show_config("dicts")["threads"] == expected

expected = {"count": 1, "from": "a forked child" if fastlsm.get_num_threads() == 4 else "built without OpenMP"}
join(fork(run))
"""
    check(START + script, OMP_NUM_THREADS="4")


def test_a_fork_while_other_threads_compute():
    """Whatever they were doing at that moment, a lock they held included."""
    script = """
enough = threading.Event()

def work():
    while not enough.is_set():
        fastlsm.log_softmax(arrays[0])

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(100):
    join(fork(lambda: len(fastlsm.log_softmax(arrays[1])) == 141))
enough.set()
for thread in threads:
    thread.join()
assert right()
"""
    check(START + script, OMP_NUM_THREADS="4")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method):
    script = """
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        results = pool.map(fastlsm.log_softmax, arrays)
    assert all(np.allclose(r, y, rtol=1e-12, atol=1e-12) for r, y in zip(results, expected))
"""
    check(START + script, method, OMP_NUM_THREADS="4")


def test_a_pre_forking_server():
    """As gunicorn works: imported and used before the workers are forked, which serve many requests each."""
    script = """
import socket

server = socket.create_server(("127.0.0.1", 0))


def serve():
    for _ in range(10):
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as file:
            x = np.frombuffer(file.read(arrays[0].nbytes)).reshape(140, 1000)
            file.write(fastlsm.log_softmax(x).tobytes())
    return True


workers = [fork(serve) for _ in range(2)]


def ask(answers):
    with socket.create_connection(server.getsockname()) as connection, connection.makefile("rwb") as file:
        file.write(arrays[0].tobytes())
        file.flush()
        answers.append(np.frombuffer(file.read(arrays[0].nbytes)).reshape(140, 1000))


answers = []
for _ in range(5):
    clients = [threading.Thread(target=ask, args=[answers]) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
for worker in workers:
    join(worker)
assert len(answers) == 20 and all(np.allclose(a, expected[0], rtol=1e-12, atol=1e-12) for a in answers)
"""
    check(START + script, OMP_NUM_THREADS="4")


TORCH = """
import torch

def other():
    return torch.log_softmax(torch.ones(1000, 1000), -1).sum().item() < 0
"""
NUMBA = """
import numba
numba.config.THREADING_LAYER = "omp"

@numba.njit(parallel=True)
def total(x):
    s = 0.0
    for i in numba.prange(len(x)):
        s += x[i]
    return s

def other():
    return total(np.ones(100_000)) == 100_000 and numba.threading_layer() == "omp"
"""


@pytest.mark.parametrize("module", ["torch", "numba"])
def test_beside_the_openmp_of_others(module):
    """Both have used their threads when the child is forked, and use them afterwards."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    script = """
assert other() and right()
join(fork(right))
assert other() and right()
children = [fork(right) for _ in range(3)]
assert other() and right()
for child in children:
    join(child)
"""
    other = {"torch": TORCH, "numba": NUMBA}[module]
    check(
        "import warnings; warnings.simplefilter('ignore')\n" + START + other + script, OMP_NUM_THREADS="4", timeout=180
    )
