"""On older processors, emulated, nothing is loaded that they cannot run, whatever the environment says."""

import os
import platform
import shutil
import subprocess
import sys

import pytest

from fastlsm import _runtime

QEMU = shutil.which("qemu-x86_64")

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="emulates x86-64 with the Python of the host"),
    pytest.mark.skipif(not {"v3", "v4"} <= set(_runtime.built_levels()), reason="wants to see v3 and v4 refused"),
    pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 (Debian's qemu-user)"),
]

# As old as NumPy's wheels allow (x86-64-v2); and all that the emulator has, which is v3.
OLD = "Nehalem"
NEW = "max"


def python_on(processor, code, **environment):
    return subprocess.run(
        [QEMU, "-cpu", processor, sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "FASTLSM_ISA": "", **environment},
    )


def test_an_old_processor_gets_the_baseline():
    code = """
import sys
import fastlsm
print(*[name for name in sys.modules if name.startswith("fastlsm._kernels_")])
print(fastlsm.log_softmax([[0.0] * 1000] * 100)[0, 0])
"""
    done = python_on(OLD, code)
    assert done.stdout == "fastlsm._kernels_baseline\n-6.907755278982137\n", done.stderr


@pytest.mark.parametrize("level", ["v3", "v4"])
def test_a_level_cannot_be_forced_on_a_processor_without_it(level):
    done = python_on(OLD, "import fastlsm", FASTLSM_ISA=level)
    last = done.stderr.splitlines()[-1]
    assert last == f"ImportError: FASTLSM_ISA={level!r}: this processor lacks it; there is baseline"


def test_v4_cannot_be_forced_on_a_processor_with_v3():
    done = python_on(NEW, "import fastlsm", FASTLSM_ISA="v4")
    last = done.stderr.splitlines()[-1]
    assert last == "ImportError: FASTLSM_ISA='v4': this processor lacks it; there is v3, baseline"


# NumPy and the C library themselves need the others.
@pytest.mark.parametrize("feature", ["", "avx", "avx2", "fma", "bmi2", "f16c", "movbe", "abm"])
def test_v3_wants_every_feature_of_its_own(feature):
    processor = f"{NEW},-{feature}" if feature else NEW
    done = python_on(processor, "from fastlsm import _runtime; print(*_runtime.usable_levels())")
    assert done.stdout == ("baseline\n" if feature else "v3 baseline\n"), done.stderr
