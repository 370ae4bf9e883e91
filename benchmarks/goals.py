"""What fastlsm wants to reach, as multiples of the strongest rival's speed and as a fraction of the bus."""

from typing import NamedTuple


class Goal(NamedTuple):
    dst: tuple  # geometric mean over the group's cells, and every cell
    others: tuple  # the same for the src form and for the forward, each
    bus: float | None = None  # fraction of the bus, float32, dst form
    microseconds: float | None = None  # of the group's first cell, float32, dst form

    def ratios(self, form):
        return self.dst if form == "dst" else self.others


GOALS = {
    "last axis, in the caches": Goal((1.6, 1.2), (2.5, 1.6), bus=0.60),
    "last axis, past the caches": Goal((1.5, 1.2), (2.2, 1.6), bus=0.85),
    "strided axis": Goal((2.0, 1.4), (2.5, 1.8), bus=0.70),
    "few classes": Goal((1.8, 1.3), (3.0, 2.0), bus=0.65),
    "long row": Goal((1.8, 1.5), (1.8, 1.5)),
    "views": Goal((2.0, 1.2), (2.0, 1.2)),
    "tiny": Goal((1.0, 0.8), (2.0, 1.2), microseconds=2.0),
}

BUS_ONLY_PAST_THE_CACHES = ("strided axis",)
