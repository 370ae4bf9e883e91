"""Contract, Around the functions: show_config."""

import numpy as np
import pytest
from conftest import LEVELS

import fastlsm
from fastlsm import _runtime

pytestmark = pytest.mark.thread_unsafe(reason="prints, and changes what it prints")


def test_as_dicts():
    config = fastlsm.show_config(mode="dicts")
    assert config["build"]["version"] == fastlsm.__version__
    assert config["build"]["compiler"].split()[0] in ("gcc", "clang")
    levels = config["instruction sets"]
    assert levels["usable"] == LEVELS
    assert set(levels["usable"]) <= set(levels["built"]) <= set(_runtime.LEVELS)
    assert levels["chosen"] == _runtime.level
    openmp = config["OpenMP"]
    assert (openmp["version"] > 0) == (openmp["library"] is not None)


def test_the_threads():
    fastlsm.set_num_threads(1)
    try:
        assert fastlsm.show_config("dicts")["threads"] == {"count": 1, "from": "set_num_threads"}
    finally:
        fastlsm.set_num_threads(None)
    assert fastlsm.show_config("dicts")["threads"]["count"] == fastlsm.get_num_threads()


def test_as_text(capsys):
    assert fastlsm.show_config() is None
    printed = capsys.readouterr().out
    for section, entries in fastlsm.show_config("dicts").items():
        assert f"{section}:\n" in printed
        for key, value in entries.items():
            assert f"\n  {key}: {', '.join(value) if isinstance(value, list) else value}\n" in printed


@pytest.mark.parametrize("mode", ["text", "", None, 1, np.array(["stdout", "dicts"]), ["stdout"]], ids=repr)
def test_another_mode(mode):
    with pytest.raises(ValueError, match=r"^Invalid `mode`, use one of: stdout, dicts; got "):
        fastlsm.show_config(mode)
