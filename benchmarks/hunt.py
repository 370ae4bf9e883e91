"""A hunt for problems that fastlsm is slow at: random ones, raced beside the libraries and beside their neighbours.

Every answer is checked against float64 first. Then all take turns, in many short rounds, and the best round of each
counts, because other programs only ever add time. A problem that looks slow is raced again beside those that make it
look slow: other programs may have had every round of fastlsm's.

A library gets the layout as it is. JAX has no strides: it gets memory of its own, in which the axes lie as in the
caller's (`rivals/jax_jitted.py`). It takes part where the threads are as many as the process has.
"""

import itertools
import json
import time
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks import machine, measure, random_problems, rivals, spec
from benchmarks.cases import matches
from benchmarks.duel import MEASUREMENT
from benchmarks.figures import FASTLSM
from benchmarks.hunt_figures import suspects
from benchmarks.problem import Problem
from benchmarks.race import PAUSE, estimate, race, slow_ones, timed
from benchmarks.rivals import fastlsm_itself
from benchmarks.stubborn import stubborn

LEFT_OUT = {
    "torch.compile": "compiling takes it seconds for each problem; --rivals torch.compile has it take part",
    "Numba": "a kernel written for this benchmark, no library's; --rivals numba has it take part",
}
SECONDS = 2.5  # of a problem's rounds
LOOKS = 2  # races, at most
SLOW = 2.5  # times the fastest in the first calls: what cannot be the best library stays out of the race
MEMORY = 0.5  # of what is available
COPIES = 12  # of a problem's own bytes, at most, that its neighbours, its float64 and the libraries take


def hunt(options, progress):
    """A dictionary for JSON."""
    contenders, missing = rivals.load(options.rivals, LEFT_OUT)
    watch = machine.Watch()
    results = {
        "machine": machine.describe(),
        "options": vars(options),
        "missing": missing,
        "hunted": [],
        "left out": [],
    }
    with progress:
        task = progress.add_task("", total=len(options.problem) if options.problem else options.count)
        for each in _chosen(options):
            progress.update(task, description=each.name)
            if COPIES * each.cell.bytes > MEMORY * machine.available_memory():
                results["left out"].append(each.name)
                continue
            with threadpool_limits(each.threads), stubborn():
                results["hunted"].append(_measure(each, contenders, options.rounds))
            results |= {"others": watch.others(), "stolen": watch.stolen()}
            progress.advance(task)
            if options.json:  # each time: a rival that crashes takes the process with it
                Path(options.json).write_text(json.dumps(results, indent=1))
    if not results["hunted"]:
        raise SystemExit("no problem was drawn that fits into memory, and that --only has")
    return results


def _chosen(options):
    """The problems named, or those drawn, until their number or the time is reached."""
    if options.problem:
        yield from map(spec.parse, options.problem)
        return
    deadline = time.monotonic() + options.seconds
    drawn = itertools.takewhile(
        lambda _: time.monotonic() < deadline, random_problems.problems(options.seed, options.threads)
    )
    if options.only:
        drawn = (each for each in drawn if any(matches(each.name, pattern) for pattern in options.only))
    yield from itertools.islice(drawn, options.count)


def _measure(each, contenders, rounds):
    problem = Problem(each.cell, each.threads)
    prepared, skipped = measure.prepare(fastlsm_itself.CONTENDERS | contenders, problem)
    problem.expected = None  # as large as the operands together
    neighbours = random_problems.neighbours(each)
    libraries = [name for name in prepared if name != FASTLSM]
    prepared |= {how: _prepare_neighbour(other, each, problem) for how, other in neighbours.items()}

    calls = {name: contender.call for name, contender in prepared.items()}
    best = {name: estimate(call, timed(call)) for name, call in calls.items()}
    fastest = min(best[name] for name in (FASTLSM, *libraries))
    slow = slow_ones({name: calls[name] for name in libraries}, best, SLOW * fastest)
    racing = [name for name in calls if name not in slow]
    measured = {
        "name": each.name,
        "dtype": each.dtype,
        "form": each.form,
        "kind": each.kind,
        "offset": each.offset,
        "threads": each.threads,
        "elements": each.elements,
        "n": each.n,
        "rounds": 0,
        "skipped": skipped,
    }
    watch = machine.Watch()
    for _ in range(LOOKS):
        pause = PAUSE if each.threads > 1 else 0
        times = race(
            {name: calls[name] for name in racing}, best, rounds, SECONDS, pause=pause, measurement=MEASUREMENT
        )
        best |= {name: min(best[name], *seconds) for name, seconds in times.items()}
        measured["rounds"] += len(times[FASTLSM])
        measured |= {
            "others": watch.others(),
            "seconds": best[FASTLSM],
            "libraries": {name: best[name] for name in libraries},
            "neighbours": {
                how: {"problem": other.name, "elements": other.elements, "seconds": best[how]}
                for how, other in neighbours.items()
            },
        }
        racing = [FASTLSM, *suspects(measured)]
        if len(racing) == 1:
            break
    return measured


def _prepare_neighbour(other, each, problem):
    """It is fastlsm's alone. One that lies where the problem lies has been checked with it."""
    prepare = partial(fastlsm_itself.prepare, num_threads=other.threads)
    if other.cell == each.cell:
        return prepare(problem)
    prepared, _ = measure.prepare({FASTLSM: prepare}, Problem(other.cell, other.threads))
    return prepared[FASTLSM]
