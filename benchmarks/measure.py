"""A cell from its operands to its figures: prepare, check, measure memory, race."""

from benchmarks import bus, machine, memory, reference
from benchmarks.figures import FASTLSM
from benchmarks.problem import Problem
from benchmarks.race import estimate, median, paired_ratio, race, slow_ones, timed
from benchmarks.rivals import NotApplicable, Unsupported
from benchmarks.rivals.fastlsm_itself import CONTENDERS as ITSELF

BUSES = tuple(bus.CONTENDERS)
SECONDS = 8  # of a cell's race, after which few rounds have to do
QUICK_SECONDS = 2
SLOW = 20  # times the fastest


def measure(cell, rivals, options, evict=None):
    """A dictionary for JSON."""
    problem = Problem(cell, options.threads)
    prepared, skipped = prepare({**ITSELF, **rivals, **bus.CONTENDERS}, problem)
    estimates, extra = {}, {}
    for name, contender in prepared.items():
        estimates[name], extra[name] = _first_measurement(contender, options.memory and name not in BUSES)
    calls = {name: contender.call for name, contender in prepared.items()}
    fastest = min(seconds for name, seconds in estimates.items() if name not in BUSES)
    slow = slow_ones(calls, estimates, SLOW * fastest)
    watch = machine.Watch()
    times = race(calls, estimates, options.rounds, QUICK_SECONDS if options.quick else SECONDS, slow, evict)
    return {
        "name": cell.name,
        "dtype": cell.dtype,
        "form": cell.form,
        "shape": cell.shape.label,
        "group": cell.shape.group,
        "bytes": cell.bytes,
        "others": watch.others(),
        "contenders": {
            name: {
                "seconds": seconds,
                "median": median(seconds),
                "ratio": paired_ratio(seconds, times[FASTLSM]),
                "extra bytes": extra[name],
            }
            for name, seconds in times.items()
        },
        "skipped": skipped,
    }


def prepare(contenders, problem):
    """Those that can do the problem, each checked, and of the others the reasons."""
    prepared, skipped = {}, {}
    for name, function in contenders.items():
        try:
            prepared[name] = _checked(function(problem), problem)
        except NotApplicable:
            pass
        except Exception as error:  # whatever a rival fails with is its reason to be left out
            skipped[name] = _reason(error)
    if FASTLSM not in prepared:
        raise SystemExit(f"{problem.cell.name}: {skipped[FASTLSM]}")
    return prepared, skipped


def _checked(contender, problem):
    problem.out[...] = 0  # nobody passes with the last one's result
    contender.call()
    if contender.result is not None:
        reference.check(contender.result(), problem.expected, problem.cell.dtype)
    return contender


def _first_measurement(contender, with_memory):
    """Seconds of a call, and its peak extra memory or None: from the same call, as one may take seconds."""
    first = []

    def call():
        first.append(timed(contender.call))

    extra = None
    if with_memory:
        extra = contender.scratch + memory.peak_extra(call)
    else:
        call()
    return estimate(contender.call, first[0]), extra


def _reason(error):
    if isinstance(error, (Unsupported, reference.WrongAnswer)):
        return str(error)
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
