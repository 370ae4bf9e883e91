"""Figures from a measured cell: ratios to the rivals and fractions of the bus. Shared by the tables and the picture."""

from statistics import geometric_mean

from benchmarks.goals import BUS_ONLY_PAST_THE_CACHES
from benchmarks.race import paired_ratio
from benchmarks.rivals import MODULES

FASTLSM = "fastlsm"
NUMBA = "Numba"  # a kernel written for this benchmark, no library's
OFF_THE_SCALE = 20  # times fastlsm's time: a library that takes longer has no fast path for the shape
SMALLEST_ON_SCALE = 1 << 20  # bytes: what it takes longer for fewer may be the call


def _is_bus(name):
    return name.startswith("bus")


def rival_ratios(cell):
    """A rival's time over fastlsm's; more than 1 where fastlsm is faster."""
    return {
        name: measured["ratio"]
        for name, measured in cell["contenders"].items()
        if name != FASTLSM and not _is_bus(name)
    }


def library_ratios(cell):
    """The same of each library at its best: it may have several ways to be called."""
    found = {}
    for name, ratio in rival_ratios(cell).items():
        library = next(library for library in MODULES if name.startswith(library))
        if library != NUMBA:
            found[library] = min(ratio, found.get(library, ratio))
    return found


def has_no_fast_path(cell, ratio):
    """Of a rival: no figure says that as well as words."""
    return ratio > OFF_THE_SCALE and cell["bytes"] >= SMALLEST_ON_SCALE


def best_library_ratio(cell):
    """Or None, if there was none."""
    return min(library_ratios(cell).values(), default=None)


def strongest(cell):
    """The rival hardest to beat and its ratio, or ("", None)."""
    return min(rival_ratios(cell).items(), key=lambda item: item[1], default=("", None))


def bus_times(cell):
    """The seconds of the faster of the two kinds of stores in each round, or None."""
    buses = [measured for name, measured in cell["contenders"].items() if _is_bus(name)]
    return min(buses, key=lambda measured: measured["median"])["seconds"] if buses else None


def bus_fraction(cell, name=FASTLSM):
    """A contender's speed as a fraction of the bus's."""
    times = bus_times(cell)
    return paired_ratio(times, cell["contenders"][name]["seconds"]) if times else None


def bus_fraction_of_group(cells, machine):
    """Geometric mean; in some groups that of the shapes past the caches alone."""
    last_level = max(machine["caches"].values(), default=0)
    fractions = [
        fraction
        for cell in cells
        if cell["group"] not in BUS_ONLY_PAST_THE_CACHES or cell["bytes"] > last_level
        if (fraction := bus_fraction(cell)) is not None
    ]
    return geometric_mean(fractions) if fractions else None
