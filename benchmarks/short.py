"""Why cells fall short of their goals, as far as it was measured, and what was tried: for the report.

The figures are of float32 on two virtual processors of an Intel Xeon with AVX-512 (2 MB of second-level cache each),
where one core reads 11 GB/s from memory, 15 GB/s while it streams results. "x0.9" is the speed beside the code as is.
"""

from typing import NamedTuple

MACHINE = "the Xeon of README"


class Reason(NamedTuple):
    why: str
    tried: str


REASONS = {
    "last axis, in the caches": Reason(
        "The arithmetic: in the first-level cache the dst form takes 9 cycles for 16 elements (15 operations on two "
        "ports are 7.5) and the sums in double 2 to 3.5; 100 x 1000 as a whole is within a tenth of that. Numba's "
        "loop has 12 operations, with fastmath, and float sums: neither the bounds nor the equal bits allow that.",
        "two rows' sums at once (x1.0); S folded into the exponent (no fewer operations); the next row's sum "
        "together with this row's results (x0.95 to 1.0; done in the other forms, where it gave 1.05 to 1.2); "
        "log_softmax without counting its maxima (x1.05 to 1.1, but rows of which one class has all the mass would "
        "be slower).",
    ),
    "last axis, past the caches": Reason(
        "The next row is read while this one is computed, at 70 to 85 % of what the copy loop reaches, which "
        "computes nothing. A row's diff_dst is read twice, the second time from the second-level cache.",
        "streaming stores straight from the loop (x1.0 to 1.03), ordinary ones (x0.92 to 0.96), prefetching into "
        "the second-level cache (x0.83 to 0.96), chunks of 128 elements in which memory and arithmetic take turns "
        "(x0.85).",
    ),
    "strided axis": Reason(
        "A tile is copied to scratch, summed and written. The copy waits for memory, 40 % of the dst form at "
        "8x512x512 (where the arithmetic is 34 %), and nothing is computed meanwhile.",
        "a tile read while the last one is written (x0.82 to 1.0), prefetching it into the second-level cache "
        "(x0.83 to 0.96), tiles 2048 wide (x0.91 to 1.0).",
    ),
    "few classes": Reason(
        "What a row has one of: its maximum's exact exp, a division and log1p in double are a third of log_softmax "
        "for 3 classes and a fifth for 10; turning the rows for their sums is a fifth of the dst form.",
        "rows in masked vectors (x0.4 to 0.75 for 5 classes), runs of 1024 and of 3584 elements for 2048 (x0.92 to "
        "1.06), 16 rows at a time from beginning to end (x0.4 to 0.9: loads wait for the stores before them).",
    ),
    "long row": Reason(
        "Each form is two or three parallel loops. Two rows of half the length, which need one, take 56 us for 79.",
        "one thread (x0.6).",
    ),
    "views": Reason(
        "Channels-last is few classes. Rows with gaps between them take 1.1 to 1.3 times as long as adjacent ones "
        "on one thread and on two; elements with gaps are copied together first.",
        "the whole call in the compiled function (done: 2 us for 41 before the kernel begins).",
    ),
    "tiny": Reason(
        "The call itself: 1.2 us for 4 x 8 and 0.9 with `out`, 1.4 and 1.0 for 1 x 2. A Numba function is compiled "
        "for these types and layouts, writes into an array that it is given, and checks nothing else.",
        "typed memoryviews (0.22 us each; taken by hand 0.05), one compiled function for the whole of a common call "
        "(done).",
    ),
}
