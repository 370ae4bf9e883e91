"""fastlsm as it is installed beside another commit's: what a change gains or costs, cell by cell."""

import json
from pathlib import Path

from threadpoolctl import threadpool_limits

import fastlsm
from benchmarks import bits, cases, commit, machine, spec, twin
from benchmarks.duel import duel, good
from benchmarks.problem import Problem
from benchmarks.race import estimate, paired_ratio, timed
from benchmarks.rivals.fastlsm_itself import prepare
from benchmarks.stubborn import stubborn

BEFORE, NOW = "before", "now"
SECONDS = 2.5  # of a cell's rounds: the whole table in about a quarter of an hour
THREADED = 32_768  # elements from which on a call has threads


def compare(options, console, progress):
    """A dictionary for JSON."""
    chosen = _chosen(options)
    packages = {BEFORE: twin.load(commit.built(options.beside, console.print)), NOW: fastlsm}
    watch = machine.Watch()
    results = {"machine": machine.describe(), "options": vars(options), "compared": [], "skipped": {}}
    with progress:
        with threadpool_limits(options.threads):
            results["builds"] = {name: twin.describe(package) for name, package in packages.items()}
        task = progress.add_task("", total=len(chosen))
        for name, (cell, threads) in chosen.items():
            progress.update(task, description=name)
            try:
                with threadpool_limits(threads), stubborn(*packages.values()):
                    results["compared"].append({"name": name} | _measure(cell, threads, packages, options.rounds))
            except Exception as error:  # another commit may not be able to; the rest is measured all the same
                results["skipped"][name] = f"{type(error).__name__}: {error}"
            results |= {"others": watch.others(), "stolen": watch.stolen()}
            progress.advance(task)
            if options.json:
                Path(options.json).write_text(json.dumps(results, indent=1))
    return results


def _chosen(options):
    """By name a cell and its threads: the hunt's that are named, or those of the table."""
    if options.problem:
        return {name: (spec.parse(name).cell, spec.parse(name).threads) for name in options.problem}
    cells = cases.select(options.only, options.quick, mixed=True)
    if not cells:
        raise SystemExit(f"no such cell: {' '.join(options.only)}; see --list")
    return {cell.name: (cell, options.threads) for cell in cells}


def _measure(cell, threads, packages, rounds):
    problem = Problem(cell, threads)
    calls = {name: prepare(problem, package).call for name, package in packages.items()}
    count, units = bits.differences(*(_result(problem, call) for call in calls.values()))
    estimates = {name: estimate(call, timed(call)) for name, call in calls.items()}
    pause = threads > 1 and cell.elements >= THREADED
    watch = machine.Watch()
    times = duel(calls, estimates, rounds, SECONDS, pause)
    seconds_of = {name: good(seconds) for name, seconds in times.items()}
    return {
        "dtype": cell.dtype,
        "form": cell.form,
        "shape": cell.shape.label,
        "group": cell.shape.group,
        "others": watch.others(),
        "stolen": watch.stolen(),
        "rounds": len(times[NOW]),
        "good": seconds_of,
        "ratio": seconds_of[BEFORE] / seconds_of[NOW],
        "paired ratio": paired_ratio(times[BEFORE], times[NOW]),
        "elements": cell.elements,
        "other bits": count,
        "units": units,
        "seconds": times,
    }


def _result(problem, call):
    problem.out[...] = 0  # neither passes with the other's result
    call()
    return problem.out.copy()
