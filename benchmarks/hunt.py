"""A hunt for problems that fastlsm is slow at: random ones, raced beside the libraries and beside their neighbours.

Every answer is checked against float64 first. Then all take turns, in many short rounds, and the best round of each
counts, because other programs only ever add time. A library gets the layout as it is; JAX, which has no strides, gets
memory of its own in which the axes lie as in the caller's (`rivals/jax_jitted.py`), and takes part where the threads
are as many as the process has.
"""

import itertools
import json
import time
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks import drawing, machine, measure, rivals, spec
from benchmarks.cases import matches
from benchmarks.measure import FASTLSM
from benchmarks.problem import Problem
from benchmarks.race import PAUSE, estimate, race, timed
from benchmarks.rivals import fastlsm_itself

LEFT_OUT = {
    "torch.compile": "compiling takes it seconds for each problem; --rivals torch.compile has it take part",
    "Numba": "a kernel written for this benchmark, no library's; --rivals numba has it take part",
}
SECONDS = 2.5  # of a problem's rounds
MEASUREMENT = 0.002  # seconds of calls in one turn: few, so that some go undisturbed
SLOW = 2.5  # times the fastest, at first sight: what cannot be the best library has one round
MEMORY = 0.5  # of what is available, for operands, results, their float64 and the libraries' copies
COPIES = 12  # of a problem's own bytes, at most, that it takes in all


def hunt(options, progress):
    """A dictionary for JSON."""
    contenders, missing = rivals.load(options.rivals, LEFT_OUT)
    watch = machine.Watch()
    results = {
        "machine": machine.describe(),
        "options": vars(options),
        "missing": missing,
        "hunted": [],
        "too large": [],
    }
    with progress:
        task = progress.add_task("", total=len(options.problem) if options.problem else options.count)
        for each in _chosen(options):
            progress.update(task, description=each.name)
            if COPIES * each.cell.bytes > MEMORY * machine.available_memory():
                results["too large"].append(each.name)
                continue
            with threadpool_limits(each.threads):
                results["hunted"].append(_measure(each, contenders, options.rounds))
            results |= {"others": watch.others(), "stolen": watch.stolen()}
            progress.advance(task)
            if options.json:
                Path(options.json).write_text(json.dumps(results, indent=1))
    return results


def _chosen(options):
    """The specs: those named, or those drawn, until their number or the time is reached."""
    if options.problem:
        yield from map(spec.parse, options.problem)
        return
    drawn = drawing.problems(options.seed, options.threads)
    if options.only:
        drawn = (each for each in drawn if any(matches(each.name, pattern) for pattern in options.only))
    deadline = time.monotonic() + options.seconds
    yield from itertools.takewhile(lambda _: time.monotonic() < deadline, itertools.islice(drawn, options.count))


def _measure(each, contenders, rounds):
    problem = Problem(each.cell, each.threads)
    prepared, skipped = measure.prepare(fastlsm_itself.CONTENDERS | contenders, problem)
    problem.expected = None  # as large as the operands together
    neighbours = drawing.neighbours(each)
    for name, neighbour in neighbours.items():
        prepared[name] = _prepare_neighbour(neighbour, each, problem)
    calls = {name: contender.call for name, contender in prepared.items()}
    estimates = {name: estimate(call, timed(call)) for name, call in calls.items()}
    fastest = min(estimates[name] for name in calls if name not in neighbours)
    slow = {name for name in calls if estimates[name] > SLOW * fastest and name not in (FASTLSM, *neighbours)}
    watch = machine.Watch()
    pause = PAUSE if each.threads > 1 else 0
    times = race(calls, estimates, rounds, SECONDS, slow, pause=pause, measurement=MEASUREMENT)
    best = {name: min(seconds for seconds in times[name] if seconds is not None) for name in times}
    return {
        "name": each.name,
        "dtype": each.dtype,
        "form": each.form,
        "kind": each.kind,
        "offset": each.offset,
        "threads": each.threads,
        "elements": each.elements,
        "n": each.n,
        "others": watch.others(),
        "rounds": len(times[FASTLSM]),
        "seconds": best[FASTLSM],
        "libraries": {name: best[name] for name in best if name != FASTLSM and name not in neighbours},
        "neighbours": {
            name: {"problem": other.name, "elements": other.elements, "seconds": best[name]}
            for name, other in neighbours.items()
        },
        "skipped": skipped,
    }


def _prepare_neighbour(neighbour, each, problem):
    """It is fastlsm's alone. One that lies where the problem lies has been checked with it."""
    prepare = partial(fastlsm_itself.prepare, num_threads=neighbour.threads)
    if neighbour.cell == each.cell:
        return prepare(problem)
    prepared, _ = measure.prepare({FASTLSM: prepare}, Problem(neighbour.cell, neighbour.threads))
    return prepared[FASTLSM]
