"""Contract, Around the functions: the kernels' level, and how to force one."""

import os
import subprocess
import sys

import conftest
import numpy as np
import pytest
from processes import python

import fastlsm
from fastlsm import _api, _runtime


def test_the_best_usable_level_runs():
    code = "from fastlsm import _runtime; print(_runtime.level, _runtime.kernels.__name__)"
    done = python(code, FASTLSM_ISA="")
    assert done.stdout.split() == [conftest.LEVELS[0], f"fastlsm._kernels_{conftest.LEVELS[0]}"], done.stderr


@pytest.mark.parametrize("level", conftest.LEVELS)
def test_a_level_can_be_forced(level):
    code = "import fastlsm._api as api; print(api.kernels.__name__, api.log_softmax([0.0, 0.0]))"
    done = python(code, FASTLSM_ISA=level)
    assert done.stdout == f"fastlsm._kernels_{level} [-0.69314718 -0.69314718]\n", done.stderr


@pytest.mark.parametrize(
    "level",
    [
        *("v5", "V4", "avx2", "arm65", "generic v4", " v3", "v3 ", "v3\n", "v3,baseline", ".", "v3.so"),
        *("../v3", "v3/../v3", "/v3", "fastlsm._kernels_v3", "v\xb3", "\udcff"),
    ],
    ids=ascii,
)
def test_an_unknown_level_is_an_import_error(level):
    """Whatever the variable holds, no file is looked for by it."""
    done = python("import fastlsm", FASTLSM_ISA=level)
    last = done.stderr.splitlines()[-1]
    assert last == (
        f"ImportError: FASTLSM_ISA={level!r}: there is no such level; there is {', '.join(conftest.LEVELS)}"
    )


def test_nothing_is_loaded_from_the_working_directory(tmp_path):
    """Python itself looks there with -c and -m, so this runs a script that lies elsewhere."""
    here = tmp_path / "here"
    for name in (
        "numpy",
        "fastlsm",
        "ml_dtypes",
        "_api",
        "_runtime",
        *(f"_kernels_{level}" for level in _runtime.LEVELS),
    ):
        folder = here / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise SystemExit('loaded from the working directory')")
    script = tmp_path / "script.py"
    script.write_text("import fastlsm, ml_dtypes, numpy\nfastlsm.log_softmax(numpy.zeros(9, ml_dtypes.bfloat16))")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_level_that_the_processor_lacks_is_an_import_error(monkeypatch):
    monkeypatch.setattr(_runtime, "usable_levels", lambda: conftest.LEVELS[-1:])
    if len(conftest.LEVELS) == 1:
        pytest.skip("there is one level only")
    monkeypatch.setenv("FASTLSM_ISA", conftest.LEVELS[0])
    with pytest.raises(ImportError) as error:
        _runtime._choose()
    assert str(error.value) == (
        f"FASTLSM_ISA={conftest.LEVELS[0]!r}: this processor lacks it; there is {conftest.LEVELS[-1]}"
    )


def test_the_installed_package_is_what_is_tested():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    source = os.path.join(here, "fastlsm")
    folder = os.path.dirname(os.path.abspath(fastlsm.__file__))
    # An editable install builds the kernels in place; then the two are one folder, and compiled.
    assert folder != source or any(name.startswith("_kernels_") for name in os.listdir(source))


def test_the_fixture_changes_the_kernels(isa):
    assert _api.kernels.__name__ == f"fastlsm._kernels_{isa}"


def test_no_level_needs_more_than_its_module(rng):
    """Each level's module imports by itself."""
    x = rng.normal(size=(4, 5))
    for level in conftest.LEVELS:
        module = conftest.kernels_of(level)
        assert module.supports(level)
        assert set(module.build_info()) == {"compiler", "openmp", "openmp_library"}
    assert np.isfinite(fastlsm.log_softmax(x)).all()
