"""The timing: contenders take turns in rounds, and what counts are ratios within a round.

Whatever else the machine does falls on all of a round's contenders alike, so that the paired ratio is steady where
the times are not. The order changes between rounds. Before each turn there is a pause, in which the last contender's
threads go to sleep, and one call that is not timed. fastlsm would soon stay on one thread where it takes long to wake
them, for longer than a turn: so it is timed in `stubborn`.
"""

import gc
import random
import statistics
import time

MEASUREMENT = 0.004  # seconds of calls
PAUSE = 0.015  # longer than OpenMP's idle threads spin
LEAST_ROUNDS = 5  # however long they take
SLOW_ROUNDS = 1  # of those that would hold up the others


def timed(call, repeats=1):
    """Seconds of one call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def estimate(call, first):
    """Seconds of one call, from more of them where the `first` was short."""
    return first if first > MEASUREMENT else timed(call, max(1, int(MEASUREMENT / first)))


def slow_ones(calls, estimates, limit):
    """The names that take longer than `limit` seconds, twice: one call may have been disturbed."""
    for name, call in calls.items():
        if estimates[name] > limit:
            estimates[name] = min(estimates[name], timed(call))
    return {name for name in calls if estimates[name] > limit}


def in_rounds(rounds, seconds):
    """The rounds' numbers, with no garbage collected; once `seconds` have gone by, the fewest rounds have to do."""
    deadline = time.monotonic() + seconds
    gc.disable()
    try:
        for number in range(rounds):
            if number >= LEAST_ROUNDS and time.monotonic() > deadline:
                break
            yield number
    finally:
        gc.enable()


def race(calls, estimates, rounds, seconds, slow=(), evict=None, pause=PAUSE, measurement=MEASUREMENT):
    """For each name the seconds of a call in each round, None in those that it sat out.

    `estimates` are seconds of one call, `slow` the names that get fewer rounds and no call to warm up, `measurement`
    the seconds of calls in one turn.
    """
    repeats = {name: max(1, int(measurement / estimates[name])) for name in calls}
    times = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle
    for number in in_rounds(rounds, seconds):
        shuffle(order)
        for name in order:
            if name in slow and number >= SLOW_ROUNDS:
                times[name].append(None)
                continue
            if evict:
                evict()
            time.sleep(pause)
            if evict:
                times[name].append(timed(calls[name]))
                continue
            if name not in slow:
                calls[name]()
            times[name].append(timed(calls[name], repeats[name]))
    return times


def median(times):
    return statistics.median(t for t in times if t is not None)


def paired_ratio(numerator, denominator):
    """Median over the rounds that both ran in."""
    pairs = zip(numerator, denominator, strict=True)
    return statistics.median(a / b for a, b in pairs if a is not None and b is not None)
