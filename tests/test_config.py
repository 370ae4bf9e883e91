"""Contract, Around the functions: show_config, and the package as a command."""

import json
import platform
import sys

import numpy as np
import pytest
from conftest import LEVELS
from processes import check

import fastlsm
from fastlsm import __main__, _runtime

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


# ------------------------------------------------------------------------------------------------- the command


def test_the_command(capsys):
    fastlsm.show_config()
    configuration = capsys.readouterr().out
    assert __main__.main([]) == 0
    printed = capsys.readouterr().out
    assert configuration in printed
    assert f"Python: {sys.version}" in printed
    assert f"NumPy: {np.__version__}" in printed
    assert printed.endswith("self-check:\n  result: passed\n")


def test_the_command_prints_json(capsys):
    assert __main__.main(["--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report.items() >= fastlsm.show_config("dicts").items()
    assert report["environment"]["platform"] == platform.platform()
    assert report["self-check"] == {"result": "passed"}
    speed = report["speed"]
    assert 0 < speed["ns per element"] < float("inf")
    assert speed["GB/s"] == pytest.approx(12 / speed["ns per element"], rel=0.3)  # three float32 an element


@pytest.mark.parametrize("wrong", ["log_softmax", "log_softmax_backward"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_command_finds_wrong_results(monkeypatch, capsys, wrong, options):
    right = getattr(fastlsm, wrong)
    monkeypatch.setattr(fastlsm, wrong, lambda *args, **named: right(*args, **named) + 1e-9)
    assert __main__.main(options) == 1
    assert "FAILED: the results are not NumPy's" in capsys.readouterr().out


def test_the_command_in_a_process():
    script = "import runpy, sys; sys.argv = ['', *sys.argv[1:]]; runpy.run_module('fastlsm', run_name='__main__')"
    assert json.loads(check(script, "--json"))["self-check"] == {"result": "passed"}
    assert "--json" in check(script, "--help")
