"""The timing of two builds of one package: many short rounds, and of each build a good one.

Other programs only ever add time, so that a round that few others beat says more than a median of the disturbed. The
very best says less: on a busy machine one build may have both processors in a single round, and the other in none. Of
a build beside itself, the ratio of the rounds that a tenth beat strayed about half as far from 1 as that of the best,
on a machine at rest, and about a third as far on a busy one. The two change places each round, and each has a call that
is not timed before those that are, so that the caches are as it leaves them itself.

Calls with threads have a pause before them, as in `race.py`. The two share OpenMP's threads, which spin for a while
after a call; but a commit that asks for the system's load takes a thread that spins for another program's, and stays
on one.
"""

import time

from benchmarks.race import PAUSE, in_rounds, timed

MEASUREMENT = 0.002  # seconds of calls: few, so that some rounds go undisturbed


def good(times):
    """The time that one round in ten beats."""
    return sorted(times)[len(times) // 10]


def duel(calls, estimates, rounds, seconds, pause):
    """For each name the seconds of a call in each round."""
    repeats = {name: max(1, int(MEASUREMENT / each)) for name, each in estimates.items()}
    times = {name: [] for name in calls}
    order = list(calls)
    for _ in in_rounds(rounds, seconds):
        for name in order:
            if pause:
                time.sleep(PAUSE)
            calls[name]()
            times[name].append(timed(calls[name], repeats[name]))
        order.reverse()
    return times
