"""What --json has written, read again; several runs as one: of races the medians, of hunts the best."""

import json
from itertools import chain
from pathlib import Path
from statistics import median

from benchmarks.cases import select
from benchmarks.figures import FASTLSM


def load(paths):
    runs = [_read(path) for path in paths]
    hunts = [run for run in runs if "hunted" in run]
    if hunts and len(hunts) < len(runs):
        raise SystemExit("some of these files are from hunts, and some from races: they are not to be put together")
    return hunts_together(runs) if hunts else races_together(runs)


def _read(path):
    try:
        run = json.loads(Path(path).read_text())
        (run["hunted"] if "hunted" in run else run["cells"])[0]["others"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SystemExit(f"{path} is nothing that --json has written in a race or a hunt: {error!r}") from None
    return run


def _most(values):
    return max((value for value in values if value is not None), default=None)


def _by_name(problems):
    found = {}
    for problem in problems:
        found.setdefault(problem["name"], []).append(problem)
    return found


def races_together(runs):
    """Each figure is the median of the runs'. Those of a cell that only some runs have are the median of these."""
    cells = [_median_cell(cells) for cells in _by_name(cell for run in runs for cell in run["cells"]).values()]
    names = [cell.name for cell in select()]
    cells.sort(key=lambda cell: names.index(cell["name"]))
    return runs[0] | {"cells": cells, "others": _most(run["others"] for run in runs), "runs": len(runs)}


def _median_cell(cells):
    rounds = [len(cell["contenders"][FASTLSM]["seconds"]) for cell in cells]
    contenders = {}
    for name in dict.fromkeys(chain.from_iterable(cell["contenders"] for cell in cells)):
        measured = [cell["contenders"].get(name) for cell in cells]
        present = [each for each in measured if each]
        contenders[name] = {
            # Those of a round stay beside each other.
            "seconds": [
                seconds
                for each, number in zip(measured, rounds, strict=True)
                for seconds in (each["seconds"] if each else [None] * number)
            ],
            "median": median(each["median"] for each in present),
            "ratio": median(each["ratio"] for each in present),
            "extra bytes": _most(each["extra bytes"] for each in present),
        }
    return cells[0] | {"others": _most(cell["others"] for cell in cells), "contenders": contenders}


def hunts_together(runs):
    """Of a problem that was hunted more than once, the best of each contender."""
    problems = [_best_problem(same) for same in _by_name(each for run in runs for each in run["hunted"]).values()]
    together = {
        "hunted": problems,
        "left out": list(chain.from_iterable(run["left out"] for run in runs)),
        "others": _most(run["others"] for run in runs),
        "stolen": _most(run["stolen"] for run in runs),
    }
    return runs[0] | together


def _best_problem(problems):
    libraries, neighbours = {}, {}
    for problem in problems:
        for name, seconds in problem["libraries"].items():
            libraries[name] = min(seconds, libraries.get(name, seconds))
        for how, other in problem["neighbours"].items():
            neighbours[how] = min(other, neighbours.get(how, other), key=lambda each: each["seconds"])
    return problems[0] | {
        "seconds": min(problem["seconds"] for problem in problems),
        "rounds": sum(problem["rounds"] for problem in problems),
        "others": _most(problem["others"] for problem in problems),
        "libraries": libraries,
        "neighbours": neighbours,
    }
