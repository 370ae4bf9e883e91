"""setup.py: what it needs, and what it says where that is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastlsm

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("setuptools", minversion="77")
pytestmark = [
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="the tests were moved out of the source folder"),
    pytest.mark.thread_unsafe(reason="each is a process"),
]
NO_COMPILER = (
    "error: fastlsm has to be compiled here, which needs a compiler for C++17 (gcc 9 or newer, or clang) and Python's "
    "headers (Debian's package python3-dev), but a file that includes Python.h does not compile"
)


@pytest.fixture
def source(tmp_path):
    """A copy of what is built; beside it a Cython that says when it is run. (setuptools looks for Cython.Distutils.)"""
    folder = tmp_path / "source"
    shutil.copytree(ROOT / "fastlsm", folder / "fastlsm", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, folder)
    (tmp_path / "Cython").mkdir()
    (tmp_path / "Cython" / "__init__.py").touch()
    (tmp_path / "Cython" / "Build.py").write_text("raise SystemExit('Cython was run')")
    return folder


def build(source, command, *, first="pass", **variables):
    """Run setup.py as pip does, after the statements in `first`."""
    script = f"import runpy, sys; sys.argv = ['setup.py', *sys.argv[1:]]; {first}; runpy.run_path('setup.py')"
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(source.parent), "FASTLSM_LEVELS": "", **variables}
    arguments = [sys.executable, "-c", script, "--quiet", *command.split()]
    return subprocess.run(arguments, cwd=source, env=variables, capture_output=True, text=True, timeout=60)


def fake_compiler(folder, text):
    """The compiler's arguments are in `$*`."""
    compiler = folder / "compiler"
    compiler.write_text(f"#!/bin/sh\n{text}\n")
    compiler.chmod(0o755)
    return {"CC": str(compiler), "CXX": str(compiler)}


def test_metadata_need_neither_cython_nor_a_compiler(source, tmp_path):
    done = build(source, f"egg_info --egg-base {tmp_path}", PATH="", CC="/no/compiler", CXX="/no/compiler")
    assert done.returncode == 0, done.stderr
    metadata = (tmp_path / "fastlsm.egg-info" / "PKG-INFO").read_text()
    assert f"\nVersion: {fastlsm.__version__}\n" in metadata


@pytest.mark.skipif(sys.platform != "linux", reason="distutils picks compilers in other ways elsewhere")
@pytest.mark.parametrize("fails", ["", "exit 1"], ids=["no compiler", "a compiler that fails"])
def test_without_a_compiler_one_sentence_says_so_before_cython_runs(fails, source, tmp_path):
    compilers = fake_compiler(tmp_path, fails) if fails else {"CC": "/no/compiler", "CXX": "/no/compiler"}
    done = build(source, "build_ext", **compilers)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == NO_COMPILER
    assert not (source / "build").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="distutils picks compilers in other ways elsewhere")
@pytest.mark.parametrize(
    ("openmp", "said"),
    [
        ("1", "error: FASTLSM_OPENMP=1 asks for OpenMP, but the compiler builds no program with -fopenmp"),
        ("0", "Cython was run"),
        ("", "Cython was run"),
    ],
)
def test_a_compiler_without_openmp(openmp, said, source, tmp_path):
    compilers = fake_compiler(tmp_path, 'case "$*" in *-fopenmp*) exit 1 ;; esac')
    done = build(source, "build_ext", FASTLSM_OPENMP=openmp, **compilers)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == said


def test_windows_is_refused_by_name(source):
    done = build(source, "egg_info", first="sys.platform = 'win32'")
    assert done.returncode == 1
    assert done.stderr == "fastlsm does not support Windows yet; it runs on Linux, under WSL too, and on macOS\n"
