"""fastlsm without rivals: what a second thread gains, also on a loaded machine, and the time per element by size."""

import os
import statistics
from functools import partial
from types import SimpleNamespace

from rich.table import Table

from benchmarks.cases import DTYPES, FORMS, Cell, Shape
from benchmarks.company import busy_processes
from benchmarks.machine import available_memory, last_level_cache
from benchmarks.problem import Problem, aligned_empty
from benchmarks.race import estimate, paired_ratio, race, timed
from benchmarks.rivals.fastlsm_itself import prepare
from benchmarks.stubborn import stubborn

SECONDS = 3
SCALING_SHAPES = ((128, 1000), (1024, 1000))
LOADED_SHAPES = ((128, 1000), (1024, 1000), (8192, 1000))
LOADED_CALLS = 150
LINEAR_DTYPES = ("float32", "bfloat16")
LINEAR_N = 1000
LINEAR_SHAPES = {  # by what the table calls them: the shape of so many elements, and the axis
    f"rows of {LINEAR_N}": lambda size: ((size // LINEAR_N, LINEAR_N), 1),
    f"columns of {LINEAR_N}": lambda size: ((LINEAR_N, size // LINEAR_N), 0),
    "one row": lambda size: ((1, size), 1),
}
LINEAR_SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)


def scaling(options, progress):
    """One thread against two, by the same call with `num_threads`."""
    table = Table(title="two threads over one", title_justify="left")
    for heading in ("shape", "dtype", *FORMS):
        table.add_column(heading, justify="right")
    for shape in progress.track(SCALING_SHAPES):
        for dtype in DTYPES:
            gains = (_gain(Cell(dtype, form, Shape("", "", shape, -1)), options) for form in FORMS)
            table.add_row("x".join(map(str, shape)), dtype, *(f"{gain:.2f}" for gain in gains))
    return table


def _gain(cell, options):
    problem = Problem(cell, 2)
    times = _race({threads: prepare(problem, num_threads=threads).call for threads in (1, 2)}, options)
    return paired_ratio(times[1], times[2])


def loaded(options, progress):
    """One thread, two, and as many as fastlsm takes by itself, beside busy processes: median and slowest twentieth."""
    table = Table(title="float32, dst form, us a call: median, 95th percentile", title_justify="left")
    for heading in ("busy processes", "shape", "one thread", "two", "by itself"):
        table.add_column(heading, justify="right")
    for busy in progress.track(range(os.cpu_count() + 1)):
        for shape in LOADED_SHAPES:
            problem = Problem(Cell("float32", "dst", Shape("", "", shape, -1)), 2)
            calls = [
                prepare(problem, num_threads=1).call,
                partial(_with_threads, prepare(problem, num_threads=2).call),
                prepare(problem).call,
            ]
            with busy_processes(busy):
                times = [[timed(call) for call in calls] for _ in range(LOADED_CALLS)]
            columns = (sorted(each) for each in zip(*times, strict=True))
            figures = (f"{statistics.median(c) * 1e6:,.0f}, {c[-len(c) // 20] * 1e6:,.0f}" for c in columns)
            table.add_row(str(busy), "x".join(map(str, shape)), *figures)
    return table


def _with_threads(call):
    with stubborn():
        call()


def linear(options, progress):
    """Time per element of the dst form: past the caches it should be the same for all sizes."""
    table = Table(title="dst form, ns per element, best round", title_justify="left")
    table.add_column("elements", justify="right")
    columns = [(dtype, name) for name in LINEAR_SHAPES for dtype in LINEAR_DTYPES]
    for dtype, name in columns:
        table.add_column(f"{dtype}, {name}", justify="right")
    past_the_caches = {column: [] for column in columns}
    for size in progress.track(LINEAR_SIZES):
        row = []
        for dtype, name in columns:
            nanoseconds = _nanoseconds(size, dtype, *LINEAR_SHAPES[name](size), options)
            row.append("no memory" if nanoseconds is None else f"{nanoseconds:.3f}")
            if nanoseconds and 3 * size * DTYPES[dtype].itemsize > last_level_cache():
                past_the_caches[dtype, name].append(nanoseconds)
        table.add_row(f"{size:,}", *row)
    table.add_section()
    spread = (f"{max(each) / min(each):.2f}" if each else "" for each in past_the_caches.values())
    table.add_row("past the caches, slowest by fastest", *spread)
    return table


def _nanoseconds(size, dtype, shape, axis, options):
    """None if there is no memory. Without the float64 reference that a checked problem has: too much, beside them."""
    if 3 * size * DTYPES[dtype].itemsize > 0.9 * available_memory():
        return None
    diff_dst, dst, out = (aligned_empty(size, DTYPES[dtype]) for _ in range(3))
    diff_dst[...], dst[...], out[...] = 0.5, -6.5, 0
    arrays = (array.reshape(shape) for array in (diff_dst, dst, out))
    problem = SimpleNamespace(form="dst", axis=axis, **dict(zip(("diff_dst", "x", "out"), arrays, strict=True)))
    return min(_race({"fastlsm": prepare(problem).call}, options)["fastlsm"]) / size * 1e9


def _race(calls, options):
    for call in calls.values():
        call()
    estimates = {name: estimate(call, timed(call)) for name, call in calls.items()}
    with stubborn():
        return race(calls, estimates, options.rounds, SECONDS)
