"""The caches: read from the system once; they decide how a result is computed, and change nothing of it."""

import os
from pathlib import Path

import numpy as np
import pytest
import reference
from conftest import kernels_of

import fastlsm
from fastlsm import _caches, _runtime

KB, MB = 1 << 10, 1 << 20
pytestmark = pytest.mark.thread_unsafe(reason="sets the caches of the process")


@pytest.fixture
def processor(tmp_path):
    """The folder of the first processor that this process may use."""
    first = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return tmp_path / f"cpu{first}"


def describe(processor, *caches):
    for index, entries in enumerate(caches):
        folder = processor / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        for name, text in zip(("level", "type", "size", "shared_cpu_list"), entries, strict=True):
            (folder / name).write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("size", "sharers", "expected"),
    [("1024K", "0", MB), ("2M", "0-1", MB), ("524288", "3", 512 * KB), ("12M", "0-1,4-5", 3 * MB)],
)
def test_linux_tells(processor, size, sharers, expected):
    describe(
        processor,
        ("1", "Data", "48K", "0"),
        ("2", "Instruction", "64K", "0"),
        ("2", "Unified", size, sharers),
        ("3", "Unified", "32768K", "0-7"),
    )
    assert _caches.second_level(processor.parent) == (expected, "Linux")


@pytest.mark.parametrize(
    "caches",
    [
        [],
        [("1", "Data", "48K", "0")],
        [("2", "Unified", "", "0")],
        [("2", "Unified", "1024K", "")],
        [("two", "Unified", "1024K", "0")],
    ],
)
def test_what_the_system_does_not_tell_is_assumed(processor, caches):
    describe(processor, *caches)
    assert _caches.second_level(processor.parent) == (2 * MB, "assumed")


def test_the_limits_follow_the_cache():
    assert _caches.limits(2 * MB) == {"ahead_from": 512 * KB, "far_from": 16 * MB, "stage": 65536}
    assert _caches.limits(256 * KB) == {"ahead_from": 64 * KB, "far_from": 2 * MB, "stage": 8192}
    assert _caches.limits(0) == _caches.limits(128 * KB)
    assert _caches.limits(1 << 40) == _caches.limits(8 * MB)


def test_this_machines_is_shown():
    size, source = _caches.second_level()
    assert fastlsm.show_config("dicts")["second-level cache"] == {"bytes": size, "from": source}
    assert source == "Linux" or not Path("/sys/devices/system/cpu/cpu0/cache/index2/shared_cpu_list").exists()


NONE = {"ahead_from": 0, "far_from": 0, "stage": 0}
SHAPES = [((1030, 700), 0), ((3000, 200), 0), ((40, 3000), 0), ((2, 300, 129), 1), ((300, 700), 1), ((40, 20), 1)]


@pytest.mark.parametrize("limits", [NONE, _caches.limits(128 * KB), _caches.limits(8 * MB)], ids=["none", "128K", "8M"])
def test_other_caches_give_the_same_bits(isa, limits):
    rng = np.random.default_rng(5)
    problems = [(*rng.normal(size=(2, *shape)), axis) for shape, axis in SHAPES]

    def results():
        for dtype in reference.DTYPES:
            for diff_dst, src, axis in problems:
                g, x = diff_dst.astype(dtype), src.astype(dtype)
                yield fastlsm.log_softmax(x, axis).tobytes()
                yield fastlsm.log_softmax_backward(g, x, axis).tobytes()
                yield fastlsm.log_softmax_backward(g, dst=x, axis=axis).tobytes()

    here = list(results())
    kernels = kernels_of(isa)
    a = np.empty((3000, 200), np.float32)
    plan = kernels.plan(kernels.FORMS["BACKWARD_SRC"], a, a, a, 0)
    try:
        kernels.set_caches(**limits)
        assert list(results()) == here
        found = kernels.plan(kernels.FORMS["BACKWARD_SRC"], a, a, a, 0)
    finally:
        kernels.set_caches(**_caches.limits(_runtime.second_level_cache[0]))
    if limits["far_from"] <= a.nbytes:
        assert found != plan
