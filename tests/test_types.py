"""Contract, Signatures: the types in __init__.pyi, as type checkers and Python see them."""

import importlib.util
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastlsm

pytestmark = pytest.mark.thread_unsafe(reason="processes, and the number of threads")

CALLS = Path(__file__).with_name("typed_calls.py")


@pytest.fixture
def folder(tmp_path):
    """Of the calls and the stub, and no more: where a checker finds the package depends on how it is installed."""
    shutil.copy(CALLS, tmp_path)
    (tmp_path / "fastlsm").mkdir()
    for name in ("__init__.pyi", "py.typed"):
        shutil.copy(Path(fastlsm.__file__).with_name(name), tmp_path / "fastlsm")
    return tmp_path


def check(folder, module, *options):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    command = [sys.executable, "-m", module, *options, CALLS.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy(folder):
    check(folder, "mypy", "--strict")


def test_pyright(folder):
    """basedpyright, because it comes with the node that it runs on; pyright loads one from elsewhere."""
    strict = {"typeCheckingMode": "strict", "reportUnnecessaryTypeIgnoreComment": True}
    (folder / "pyrightconfig.json").write_text(json.dumps(strict))
    check(folder, "basedpyright", "--pythonpath", sys.executable)


def test_that_the_results_have_those_types():
    runpy.run_path(str(CALLS))
