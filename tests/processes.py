"""Python in a process of its own that does not outlive its test."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

HANG = 60  # seconds; what is run here takes a few


def python(script, *args, timeout=HANG, **environment):
    """Run `script`, with warnings as errors, and return the completed process; the test fails if it hangs.

    Whatever it started and left behind is killed.
    """
    command = [sys.executable, "-W", "error", "-c", script, *map(str, args)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        cwd="/",
        env={**_inherited(), "PYTHONIOENCODING": "utf-8", **environment},
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout)
        hangs = False
    except subprocess.TimeoutExpired:
        hangs = True
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if hangs:
        pytest.fail("it hangs; so far:\n{}\n{}".format(*process.communicate()))
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _inherited():
    """The environment that this process was given, without what may have been set since, by the package too."""
    if not os.path.exists("/proc/self/environ"):
        return os.environ
    with open("/proc/self/environ", "rb") as file:
        entries = os.fsdecode(file.read()).split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def check(script, *args, **options):
    """Run a script that must succeed, and return what it printed."""
    done = python(script, *args, **options)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
