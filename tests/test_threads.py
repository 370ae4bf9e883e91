"""Contract, Threads: num_threads, calls from many threads, and forked children."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastlsm


@pytest.mark.parametrize("num_threads", [1, 2, 64, 10**9, np.int64(2), None], ids=repr)
def test_num_threads_is_a_cap(num_threads, rng):
    x = rng.normal(size=(300, 1000))
    assert np.array_equal(fastlsm.log_softmax(x, num_threads=num_threads), fastlsm.log_softmax(x))


@pytest.mark.parametrize("num_threads", [0, -1, np.int32(-5), -(10**30)], ids=repr)
def test_num_threads_below_1(num_threads):
    with pytest.raises(ValueError, match=f"^num_threads must be at least 1, got {num_threads}$"):
        fastlsm.log_softmax([1.0], num_threads=num_threads)
    with pytest.raises(ValueError, match=f"^num_threads must be at least 1, got {num_threads}$"):
        fastlsm.log_softmax_backward([1.0], [1.0], num_threads=num_threads)


@pytest.mark.parametrize("num_threads", [1.0, "2", True, [2]], ids=repr)
def test_num_threads_that_is_no_integer(num_threads):
    with pytest.raises(TypeError, match=r"^num_threads must be an integer or None, got "):
        fastlsm.log_softmax([1.0], num_threads=num_threads)


def test_calls_from_many_threads(isa, rng):
    problems = [(rng.normal(size=(50 + i, 700)), rng.normal(size=(50 + i, 700))) for i in range(16)]
    expected = [fastlsm.log_softmax_backward(g, x, num_threads=1) for g, x in problems]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            results = pool.map(lambda p: fastlsm.log_softmax_backward(*p), problems)
            assert all(np.array_equal(a, b) for a, b in zip(results, expected, strict=True))


def _in_child(x, queue):
    queue.put(fastlsm.log_softmax(x))


@pytest.mark.thread_unsafe(reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes(rng):
    x = rng.normal(size=(300, 1000))
    expected = fastlsm.log_softmax(x, num_threads=2)  # the parent's threads are up
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(x, queue))
    child.start()
    assert np.array_equal(queue.get(timeout=60), expected)
    child.join(60)
    assert child.exitcode == 0
