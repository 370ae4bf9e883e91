"""Fixtures that every file uses. The numeric tests run once on each instruction set of this processor."""

import importlib
import itertools
import threading

import numpy as np
import pytest
from hypothesis import settings

import fastlsm
from fastlsm import _api, _runtime, partials

settings.register_profile("default", deadline=None, max_examples=150, derandomize=True)
settings.load_profile("default")

LEVELS = _runtime.usable_levels()


def pytest_report_header():
    return f"fastlsm {fastlsm.__version__} from {fastlsm.__path__[0]}: kernels {', '.join(LEVELS)}"


def kernels_of(level):
    return importlib.import_module(f"fastlsm._kernels_{level}")


@pytest.fixture(scope="class", params=LEVELS)  # for a function, its end; Hypothesis refuses what is called "function"
def isa(request):
    """Runs the test with the kernels of each level in turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_api, "kernels", kernels_of(request.param))
        patch.setattr(partials, "kernels", kernels_of(request.param))
        yield request.param


@pytest.fixture
def rng():
    """Random numbers; where a test runs in several threads, others in each."""
    seeds = itertools.count(20)

    class PerThread(threading.local):
        def __init__(self):
            self.generator = np.random.default_rng(next(seeds))

        def __getattr__(self, name):
            return getattr(self.generator, name)

    return PerThread()


@pytest.fixture
def nothing_else(monkeypatch):
    """Calls that the kernels do not take as they are fail."""

    def refuse(*args):
        raise AssertionError("this call went the general way")

    monkeypatch.setattr(_api, "_convert_and_run", refuse)
