"""fastlsm's gradient in a loop with one other call: as many threads as it decides, always one, always two.

Other libraries' threads stay awake for a while after a call, and sleep after a longer one; either way those of the next
call may begin late. So the loop is what is timed, for a second at a time: of the gradient's time the mean, for one
late thread in a hundred calls costs as much as all of them.
"""

import statistics
import time
from contextlib import nullcontext

from rich.table import Table

from benchmarks import company, machine
from benchmarks.cases import Cell, Shape, matches
from benchmarks.problem import Problem
from benchmarks.race import in_rounds
from benchmarks.rivals.fastlsm_itself import prepare
from benchmarks.stubborn import stubborn

SHAPES = ((1000, 1000), (100, 1000))
SECONDS, QUICK_SECONDS = 1.0, 0.1


def compare(options, progress):
    """The table, and by name why a library is not in it."""
    watch = machine.Watch()
    table = Table(title=f"float32, dst form, {options.threads} threads at most, us a call", title_justify="left")
    for heading in ("in a loop with", "shape", "as it decides", "always one", "always two", "by the better", "PyTorch"):
        table.add_column(heading, justify="right")
    others, missing = _others(options.rivals)
    try:
        from benchmarks.rivals.torch_eager import prepare_out as rival
    except (ImportError, OSError) as error:
        rival, missing["PyTorch"] = None, str(error)
    with progress:
        for (name, busy, other), shape in progress.track([(each, shape) for each in others for shape in SHAPES]):
            problem = Problem(Cell("float32", "dst", Shape("", "", shape, -1)), options.threads)
            with company.busy_processes(busy):
                figures = _race(other, _calls(problem, rival), options)
            decided, one, two = (figures[each] for each in ("decided", "one", "two"))
            cells = (f"{decided:,.0f}", f"{one:,.0f}", f"{two:,.0f}", f"{decided / min(one, two):.2f}")
            table.add_row(name, "x".join(map(str, shape)), *cells, f"{figures['rival']:,.0f}" if rival else "")
    table.caption = machine.taken({"others": watch.others(), "stolen": watch.stolen()})
    return table, missing


def _others(patterns):
    """Names, busy processes and calls of those that are installed, and the reasons of the others."""
    chosen, missing = [], {}
    for name, make in company.CALLS.items():
        if patterns and not any(matches(name, pattern) for pattern in patterns):
            continue
        try:
            chosen.append((name, 0, make()))
        except (ImportError, OSError) as error:
            missing[name] = str(error)
    name = "nothing, beside a busy process"
    if not patterns or any(matches(name, pattern) for pattern in patterns):
        chosen.append((name, 1, lambda: None))
    return chosen, missing


def _calls(problem, rival):
    """By name a call, and the context that it is timed in."""
    calls = {
        "decided": (prepare(problem).call, nullcontext),
        "one": (prepare(problem, num_threads=1).call, nullcontext),
        "two": (prepare(problem).call, stubborn),
    }
    return calls | ({"rival": (rival(problem).call, nullcontext)} if rival else {})


def _race(other, calls, options):
    """Microseconds of each call, in turns of a loop with the other: the median turn's mean."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    means = {name: [] for name in calls}
    for _ in in_rounds(options.rounds, float("inf")):
        for name, (call, context) in calls.items():
            with context():
                means[name].append(_mean_in_loop(other, call, seconds))
    return {name: statistics.median(each) * 1e6 for name, each in means.items()}


def _mean_in_loop(other, call, seconds):
    end, total, count = time.perf_counter() + seconds, 0.0, 0
    while (start := time.perf_counter()) < end:
        other()
        start = time.perf_counter()
        call()
        total += time.perf_counter() - start
        count += 1
    return total / count
