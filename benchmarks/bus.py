"""The memory bus as a contender: the cell's bytes moved by `bus.c`, which is compiled when it is wanted."""

import ctypes
import os
import subprocess
import tempfile
from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmarks.machine import last_level_cache
from benchmarks.problem import aligned_empty
from benchmarks.rivals import Prepared, Unsupported

COMPILER = os.environ.get("CC", "cc")
SMALLEST_SHARED = 1 << 16  # bytes of the result; less is moved sooner than a second thread wakes


@cache
def _library():
    # Loaded libraries outlive their files.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bus.so"
        source = Path(__file__).with_name("bus.c")
        command = [*COMPILER.split(), "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", source, "-o", path]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise Unsupported(f"no C compiler: {error}") from error
        except subprocess.CalledProcessError as error:
            raise Unsupported(f"{COMPILER}: {error.stderr.strip()}") from error
        return ctypes.CDLL(str(path))


def _prepare(name, problem):
    function = getattr(_library(), name + ("_one" if problem.cell.operands == 1 else "_two"), None)
    if function is None:
        raise Unsupported(f"{COMPILER} has no streaming stores for this processor")
    words = max(1, problem.out.nbytes // 8)
    out, a, b = (aligned_empty(words, np.uint64) for _ in range(3))
    out[...] = a[...] = b[...] = 1  # pages of its own for each array
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (out, a, b)]
    threads = problem.threads if problem.out.nbytes >= SMALLEST_SHARED else 1
    call = partial(function, *pointers, ctypes.c_ssize_t(words), threads)
    call.arrays = out, a, b  # kept as long as the call
    return Prepared(call, None)


CONTENDERS = {
    "bus, ordinary stores": partial(_prepare, "copy"),
    "bus, streaming stores": partial(_prepare, "stream"),
}


def evictor(threads):
    """A call after which the caches hold nothing of the contenders'."""
    buffer = np.ones(4 * last_level_cache() // 8, np.uint64)
    call = partial(_library().evict, ctypes.c_void_p(buffer.ctypes.data), ctypes.c_ssize_t(buffer.size), threads)
    call.buffer = buffer
    return call
