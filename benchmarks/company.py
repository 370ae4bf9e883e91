"""What else runs where fastlsm does: other libraries' calls, each with threads of its own, and busy processes."""

import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import numpy as np

SIDE = 512  # of a matrix; its product takes about as long as the gradient of 1000 x 1000
ROWS = 1000
PAUSE = 0.02  # seconds: longer than OpenMP's idle threads spin
STARTUP = 0.3


@contextmanager
def busy_processes(count):
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(process.kill)
        if count:
            time.sleep(STARTUP)
        yield


def _square():
    return np.random.default_rng(1).standard_normal((SIDE, SIDE), np.float32)


def _numpy_matmul():
    a = _square()
    return lambda: a @ a


def _torch_matmul():
    import torch

    a = torch.from_numpy(_square())
    return lambda: torch.matmul(a, a)


def _torch_softmax():
    import torch

    x = torch.zeros(ROWS, ROWS)
    return lambda: torch.softmax(x, -1)


def _numba_prange():
    import numba

    @numba.njit(parallel=True)
    def total(x):
        result = 0.0
        for i in numba.prange(len(x)):
            result += x[i]
        return result

    x = np.ones(ROWS * ROWS)
    return lambda: total(x)


def _jax_softmax():
    import jax

    softmax, x = jax.jit(jax.nn.softmax), jax.numpy.zeros((ROWS, ROWS))
    return lambda: softmax(x).block_until_ready()


def _pause():
    return lambda: time.sleep(PAUSE)


def _nothing():
    return lambda: None


CALLS = {  # by name a function that prepares the call, or raises ImportError
    "nothing": _nothing,
    f"a pause of {PAUSE * 1e3:.0f} ms": _pause,
    "NumPy's matmul": _numpy_matmul,
    "torch's matmul": _torch_matmul,
    "torch's softmax": _torch_softmax,
    "Numba's prange": _numba_prange,
    "JAX's softmax": _jax_softmax,
}
