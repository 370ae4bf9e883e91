"""Contract, Around the functions: what importing does to the process, and what it says when it fails."""

import importlib.machinery
import shutil
import subprocess
import sys

import conftest
import pytest
from processes import check, python

import fastlsm

pytestmark = pytest.mark.thread_unsafe(reason="each is a process, or several")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or knows the files' format")

# ---------------------------------------------------------------------------------------- what stays as it was

STATE = """
import ctypes, os, signal, sys, warnings
from pathlib import Path
import numpy as np

libc, libm = ctypes.CDLL(None), ctypes.CDLL("libm.so.6")


def environment():
    '''The process's own, which os.environ is a copy of.'''
    entries, i = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ"), 0
    found = {}
    while entries[i]:
        name, _, found[name] = entries[i].partition(b"=")
        i += 1
    return found


def floating_point():
    '''Rounding, traps, and whether subnormal numbers are: written, read.'''
    tiny = np.float32(1e-40), 5e-324
    return (
        libm.fegetround(), libm.fegetexcept(), np.geterr(),
        tiny[0] * np.float32(1) != 0, tiny[1] * 1.0 != 0, np.float32(1e-38) * np.float32(0.01) != 0, 1e-308 * 0.01 != 0,
    )


def state():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own = ~(0b11 << 31)     # without the two that libc uses for threads
    return {
        "environment": environment(),
        "os.environ": dict(os.environ),
        "floating point": floating_point(),
        "signals": [int(status[key], 16) & own for key in ("SigBlk", "SigIgn", "SigCgt")],
        "handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "threads": len(os.listdir("/proc/self/task")),
        "warnings": list(warnings.filters),
        "path": list(sys.path),
        "directory": os.getcwd(),
        "affinity": os.sched_getaffinity(0),
        "files": sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) < 3),
    }


def compare(before, after):
    for key in before:
        assert before[key] == after[key], (key, before[key], after[key])
    assert all(after["floating point"][3:]), after["floating point"]
"""


@linux
@pytest.mark.parametrize("level", conftest.LEVELS)
def test_importing_changes_nothing_in_the_process(level):
    script = """
before = state()
import fastlsm
compare(before, state())
assert fastlsm._runtime.level == sys.argv[1]
"""
    check(STATE + script, level, FASTLSM_ISA=level, OMP_NUM_THREADS="4")


@linux
@pytest.mark.parametrize("level", conftest.LEVELS)
def test_calling_changes_nothing_but_the_number_of_threads(level):
    script = """
before = state()
import fastlsm
fastlsm._threads._backoff.holds = lambda: False     # whatever else runs on this machine
rng = np.random.default_rng(1)
for dtype in (np.float32, np.float16, np.float64):
    x, g = (rng.normal(size=(200, 1000)).astype(dtype) for _ in range(2))
    for axis in range(2):
        fastlsm.log_softmax(x, axis)
        fastlsm.log_softmax_backward(g, x, axis)
        fastlsm.log_softmax_backward(g, dst=x, axis=axis)
after = state()
assert after.pop("threads") == before.pop("threads") + 3
compare(before, after)

# Subnormal numbers also in the threads: the gradient of a row without mass.
g = np.full((200, 1000), 1e-40, np.float32)
result = fastlsm.log_softmax_backward(g, dst=np.full_like(g, -np.inf))
assert np.array_equal(result, g) and g[0, 0] != 0
"""
    check(STATE + script, FASTLSM_ISA=level, OMP_NUM_THREADS="4")


def test_importing_brings_numpy_and_nothing_else():
    script = """
import sys
import numpy

before = set(sys.modules)
import fastlsm

new = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
new = {name for name in new if "cython" not in name}  # Cython's own runtime registers itself
assert new <= {"fastlsm", "numpy"}, new
"""
    check(script)


def test_importing_is_silent():
    done = python("import fastlsm")  # with warnings as errors
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---------------------------------------------------------------------------------------- kernels that can't be used


# Setuptools' finder for an editable install would bring the kernels that the copy lacks.
IMPORT = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in finder.__module__]
sys.path.insert(0, sys.argv[1])
import fastlsm
print(fastlsm.__file__)
"""


PATCHELF = shutil.which("patchelf")


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, to be damaged; calling it imports that and returns the last line of what it said."""
    folder = tmp_path / "fastlsm"
    shutil.copytree(fastlsm.__path__[0], folder, ignore=shutil.ignore_patterns("__pycache__"))

    class Copy:
        path = folder

        def kernels(self, level):
            (file,) = folder.glob(f"_kernels_{level}.*")
            return file

        def repair(self, level):
            """Do to its kernels what auditwheel does: a longer RPATH, for which segments are added to the file."""
            subprocess.run([PATCHELF, "--set-rpath", ":".join(["$ORIGIN/_libs"] * 99), self.kernels(level)], check=True)

        def import_(self, **environment):
            done = python(IMPORT, tmp_path, **environment)
            if done.returncode == 0:
                assert done.stdout.strip() == str(folder / "__init__.py")
                return "imported"
            assert done.returncode == 1, done
            return done.stderr.splitlines()[-1]

    return Copy()


LOWEST, BEST = conftest.LEVELS[-1], conftest.LEVELS[0]


def test_a_copy_is_imported(copy):
    assert copy.import_() == "imported"


def test_no_kernels(copy):
    for file in copy.path.glob("_kernels_*"):
        file.unlink()
    assert copy.import_() == (
        f"ImportError: fastlsm's compiled kernels are missing from {copy.path}. If that is the source folder, it hides "
        "the installed package: run Python elsewhere, or compile in place with 'pip install -e .'. If not, reinstall "
        "fastlsm."
    )


def test_kernels_for_another_python(copy):
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    for file in copy.path.glob(f"_kernels_*{suffix}"):
        file.rename(str(file).replace(suffix, ".cpython-399-riscv.so"))
    said = copy.import_()
    assert said.startswith(f"ImportError: fastlsm's compiled kernels are missing from {copy.path}: ")
    assert f"_kernels_{BEST}.cpython-399-riscv.so" in said
    assert "are not for this Python" in said
    assert "reinstall fastlsm" in said


def cut(share):
    return lambda data: data[: int(len(data) * share)]


DAMAGE = {
    "empty": lambda data: b"",
    "nearly empty": lambda data: data[:100],
    "a tenth": cut(0.1),
    "half": cut(0.5),
    "nearly all": lambda data: data[:-4096],
    "text": lambda data: b"<html>not found</html>" * 1000,
    "another processor": lambda data: data[:18] + b"\xf3\x00" + data[20:],
    "another word length": lambda data: data[:4] + b"\x01" + data[5:],
    "a library that is not there": lambda data: data.replace(b"libc.so.6", b"libx.so.6"),
}


REPAIRED = pytest.param(True, id="in a wheel", marks=pytest.mark.skipif(not PATCHELF, reason="needs patchelf"))


@linux
@pytest.mark.parametrize("level", sorted({LOWEST, BEST}))
@pytest.mark.parametrize("repaired", [pytest.param(False, id="as built"), REPAIRED])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_kernels(damage, repaired, level, copy):
    if repaired:
        copy.repair(level)
        assert copy.import_(FASTLSM_ISA=level) == "imported"
    file = copy.kernels(level)
    data = file.read_bytes()
    assert data[4] == 2, "of 64 bits"
    file.write_bytes(DAMAGE[damage](data))
    said = copy.import_(FASTLSM_ISA="")
    assert said.startswith(f"ImportError: fastlsm's compiled kernels in {file} cannot be loaded: ")
    assert said.endswith("Reinstall fastlsm for this Python: pip install --force-reinstall --no-cache-dir fastlsm")


@pytest.mark.skipif(LOWEST == BEST, reason="there is one level only")
def test_another_level_than_a_damaged_one_can_be_forced(copy):
    copy.kernels(BEST).write_bytes(b"")
    assert copy.import_(FASTLSM_ISA=LOWEST) == "imported"
