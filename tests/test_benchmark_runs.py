"""Several runs of the benchmark as one; a run of a mode that needs no library."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the last: `import fastlsm` goes on meaning what it meant

from benchmarks import runs
from benchmarks.figures import bus_fraction, library_ratios


def contender(ratio, seconds):
    return {"ratio": ratio, "median": seconds[0], "seconds": seconds, "extra bytes": None}


def race(**contenders):
    cell = {"name": "float32/dst/4x8", "others": 0.01, "contenders": contenders}
    return {"cells": [cell], "others": 0.01}


def test_races_give_medians():
    three = [
        race(fastlsm=contender(1, [2.0]), PyTorch=contender(ratio, [2 * ratio]), bus=contender(ratio, [1.0]))
        for ratio in (1.5, 9.0, 1.7)
    ]
    (cell,) = runs.races_together(three)["cells"]
    assert library_ratios(cell) == {"PyTorch": 1.7}
    assert bus_fraction(cell) == 0.5
    assert cell["contenders"]["fastlsm"]["seconds"] == [2.0, 2.0, 2.0]


def test_a_contender_that_a_run_lacks_stays_beside_the_others_rounds():
    two = [race(fastlsm=contender(1, [1.0, 1.0])), race(fastlsm=contender(1, [2.0]), bus=contender(2, [1.0]))]
    (cell,) = runs.races_together(two)["cells"]
    assert cell["contenders"]["bus"]["seconds"] == [None, None, 1.0]
    assert bus_fraction(cell) == 0.5


def hunted(seconds, library, neighbour):
    problem = {
        "name": "x",
        "seconds": seconds,
        "rounds": 5,
        "others": None,
        "libraries": {"JAX": library},
        "neighbours": {"aligned": {"problem": "y", "elements": 8, "seconds": neighbour}},
    }
    return {"hunted": [problem], "left out": [], "others": 0.5, "stolen": 0.0}


def test_hunts_give_the_best():
    (problem,) = runs.hunts_together([hunted(3, 2, 7), hunted(2, 4, 6)])["hunted"]
    assert (problem["seconds"], problem["libraries"]["JAX"], problem["neighbours"]["aligned"]["seconds"]) == (2, 2, 6)
    assert problem["rounds"] == 10


def test_hunts_and_races_do_not_mix(tmp_path):
    race_file, hunt_file, other = (tmp_path / name for name in ("race", "hunt", "other"))
    race_file.write_text(json.dumps(race(fastlsm=contender(1, [1.0]))))
    hunt_file.write_text(json.dumps(hunted(1, 1, 1)))
    other.write_text("[]")
    with pytest.raises(SystemExit, match="not to be put together"):
        runs.load([race_file, hunt_file])
    with pytest.raises(SystemExit, match="nothing that --json has written"):
        runs.load([other])


@pytest.mark.thread_unsafe(reason="replaces what the whole process uses")
def test_a_loop_with_what_is_installed(monkeypatch):
    """A row for each other call and shape, also beside a busy process; what is not installed is named."""
    progress = pytest.importorskip("rich.progress")
    from benchmarks import company, loop

    calls = []

    def absent():
        raise ImportError("no such library")

    monkeypatch.setattr(company, "CALLS", {"a call": lambda: lambda: calls.append(1), "absent": absent})
    monkeypatch.setattr(loop, "SHAPES", ((40, 1000), (40, 100)))
    monkeypatch.setattr(loop, "QUICK_SECONDS", 0.01)
    options = SimpleNamespace(rivals=None, quick=True, rounds=1, threads=2)
    table, missing = loop.compare(options, progress.Progress(disable=True))
    names, shapes, *figures, _ = (list(column.cells) for column in table.columns)
    assert names == ["a call"] * 2 + ["nothing, beside a busy process"] * 2
    assert shapes == ["40x1000", "40x100"] * 2
    assert all(float(figure.replace(",", "")) > 0 for column in figures for figure in column)
    assert missing["absent"] == "no such library"
    assert len(calls) >= 6
