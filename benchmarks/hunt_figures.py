"""Figures from a hunted problem: the ratio to the best library, and the cliffs between it and its neighbours."""

SLOW = 1.2  # times as fast as the best library, and below is named
CLIFF = 1.5  # times a neighbour's time, and above is named


def ratio(problem):
    """The best library's time over fastlsm's: above 1 where fastlsm is faster."""
    return min(problem["libraries"].values()) / problem["seconds"] if problem["libraries"] else None


def best_library(problem):
    return min(problem["libraries"], key=problem["libraries"].get)


def cliffs(problem):
    """How many times its neighbour's time the problem takes, and how they differ.

    That is the time of a call, or of an element if that is less: a longer row may take longer, and an element of a
    shorter row, too.
    """
    for how, other in problem["neighbours"].items():
        calls = problem["seconds"] / other["seconds"]
        yield min(calls, calls * other["elements"] / problem["elements"]), how


def suspects(problem):
    """The libraries and the neighbours that make the problem look slow."""
    slowest = problem["seconds"] * SLOW
    yield from (name for name, seconds in problem["libraries"].items() if seconds < slowest)
    yield from (how for cliff, how in cliffs(problem) if cliff > CLIFF)
