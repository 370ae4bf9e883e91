"""Free-threaded Python and subinterpreters: calls share no state, and a second interpreter is refused, cleanly."""

import subprocess
import sys
import sysconfig

import pytest


def python(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd="/")


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has a GIL")
def test_importing_leaves_the_gil_disabled():
    done = python("import numpy, sys; assert not sys._is_gil_enabled(); import fastlsm; print(sys._is_gil_enabled())")
    assert done.stdout == "False\n", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_call_leaves_the_kernels_own_memory_as_it_was():
    """What a call remembered, another one in another thread would see."""
    code = """
import ctypes
import ml_dtypes
import numpy as np
from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile
import fastlsm
from fastlsm import _runtime

rng = np.random.default_rng(0)

def call(dtype, result_dtype=None):
    g, x = (rng.normal(size=(60, 70, 8)).astype(dtype) for _ in range(2))
    for axis in range(3):
        for a, b in ((g, x), (g[::2, ::-1], x[::2, ::-1]), (np.asfortranarray(g), x)):
            fastlsm.log_softmax(b, axis, num_threads=1)
            fastlsm.log_softmax_backward(a, b, axis, num_threads=1, dtype=result_dtype)
            fastlsm.log_softmax_backward(a, dst=b, axis=axis, num_threads=1, out=np.empty_like(a))

with open(_runtime.kernels.__file__, "rb") as file:
    segments = [s.header for s in ELFFile(file).iter_segments("PT_LOAD") if s["p_flags"] & P_FLAGS.PF_W]
with open("/proc/self/maps") as maps:
    base = int(next(line for line in maps if _runtime.kernels.__file__ in line).split("-")[0], 16)

def memory():
    return [ctypes.string_at(base + segment.p_vaddr, segment.p_memsz) for segment in segments]

call(np.float32)                # the dynamic linker looks functions up at their first call
call(np.float64, np.float16)
before = memory()
assert before
for dtype in (np.float64, np.float16, ml_dtypes.bfloat16, np.float32):
    call(dtype)
    call(dtype, ml_dtypes.bfloat16)
print(memory() == before)
"""
    done = python(code)
    assert done.stdout == "True\n", done.stderr


def test_no_dtype_is_remembered():
    code = """
import sys
import ml_dtypes
import numpy as np
import fastlsm
from fastlsm import _runtime

dtype = np.dtype(ml_dtypes.bfloat16, metadata={"of": "this test"})
x = np.zeros((3, 4), dtype)
before = sys.getrefcount(dtype)
assert _runtime.kernels.native_code(dtype, "x") >= 0
fastlsm.log_softmax_backward(x, x)
print(sys.getrefcount(dtype) - before)
"""
    done = python(code)
    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("what", ["fastlsm", "kernels"])
def test_a_second_interpreter_is_refused(what, isolated):
    """By NumPy (older ones only warn) and by the kernels themselves, here with a stand-in for NumPy."""
    code = f"""
import sys
try:
    import _interpreters
    interpreter = _interpreters.create({"isolated" if isolated else "legacy"!r})
except ImportError:
    import _xxsubinterpreters as _interpreters
    interpreter = _interpreters.create(isolated={isolated})
import fastlsm
from fastlsm import _runtime

there = '''
import sys
import types
import warnings
from importlib.util import module_from_spec, spec_from_file_location

warnings.simplefilter("ignore")

class Anything:
    def __init__(self, *args):
        pass

try:
    if {what == "fastlsm"}:
        import fastlsm
    names = ["ndarray", "dtype", "empty", "empty_like", "float16", "float32", "float64"]
    sys.modules["numpy"] = types.SimpleNamespace(**dict.fromkeys(names, Anything))
    spec = spec_from_file_location(NAME, FILE)
    spec.loader.exec_module(module_from_spec(spec))
except ImportError:
    print("refused", flush=True)
'''
there = there.replace("NAME", repr(_runtime.kernels.__name__)).replace("FILE", repr(_runtime.kernels.__file__))
_interpreters.run_string(interpreter, there)
_interpreters.destroy(interpreter)
print(fastlsm.log_softmax([0.0, 0.0]))
"""
    done = python(code)
    assert done.stdout == "refused\n[-0.69314718 -0.69314718]\n", done.stderr
    assert done.returncode == 0
