"""The timing: contenders take turns in rounds, and what counts are ratios within a round.

Whatever else the machine does falls on all of a round's contenders alike, so that the paired ratio is steady where
the times are not. The order changes between rounds. Before each turn there is a pause, in which the last contender's
threads go to sleep, and one call that is not timed.
"""

import gc
import random
import statistics
import time

MEASUREMENT = 0.004  # seconds of calls
PAUSE = 0.015  # longer than OpenMP's idle threads spin
SLOW = 20  # times the fastest: few rounds, no call to warm up
SLOW_ROUNDS = 2
LEAST_ROUNDS = 5


def timed(call, repeats=1):
    """Seconds of one call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def race(calls, estimates, rounds, seconds, evict=None):
    """For each name the seconds of a call in each round, None in those that it sat out.

    `estimates` are seconds of one call; after `seconds` in all, few rounds have to do.
    """
    fastest = min(estimates.values())
    repeats = {name: max(1, int(MEASUREMENT / estimate)) for name, estimate in estimates.items()}
    times = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle
    deadline = time.monotonic() + seconds
    gc.disable()
    try:
        for number in range(rounds):
            if number >= LEAST_ROUNDS and time.monotonic() > deadline:
                break
            shuffle(order)
            for name in order:
                slow = estimates[name] > SLOW * fastest
                if slow and number >= SLOW_ROUNDS:
                    times[name].append(None)
                    continue
                time.sleep(PAUSE)
                if evict:
                    evict()
                    times[name].append(timed(calls[name]))
                    continue
                if not slow:
                    calls[name]()
                times[name].append(timed(calls[name], repeats[name]))
    finally:
        gc.enable()
    return times


def median(times):
    return statistics.median(t for t in times if t is not None)


def paired_ratio(numerator, denominator):
    """Median over the rounds that both ran in."""
    pairs = zip(numerator, denominator, strict=True)
    return statistics.median(a / b for a, b in pairs if a is not None and b is not None)
