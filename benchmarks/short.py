"""Why cells fall short of their goals, as far as it was measured, and what was tried: for the report.

The figures are of float32 on two virtual processors of an Intel Xeon with AVX-512 (2 MB of second-level cache each),
where one core reads 11 GB/s from memory, 15 GB/s while it streams results. "x0.9" is the speed beside the code as is.
"""

from typing import NamedTuple

MACHINE = "a Xeon (Sapphire Rapids)"


class Reason(NamedTuple):
    why: str
    tried: str


REASONS = {
    "last axis, in the caches": Reason(
        "The arithmetic: in the first-level cache the dst form takes 9 cycles for 16 elements (15 operations on "
        "two ports are 7.5) and the sums in double 2 to 3.5; 100 x 1000 as a whole is within a tenth of that. "
        "Numba's loop has 12 operations, with fastmath, and float sums: neither the bounds nor the equal bits "
        "allow that. Kept to AVX2, 8 elements take 8 cycles: 14 of the 15 operations and a conversion for the sum go "
        "to two ports. For each vector, log_softmax has 24 operations in three passes, the src form 28 in four.",
        "two rows' sums at once (x1.0); S folded into the exponent (no fewer operations); the next row's sum "
        "together with this row's results (x0.95 to 1.0; done in the other forms, where it gave 1.05 to 1.2); "
        "log_softmax without counting its maxima (x1.05 to 1.1, but rows of which one class has all the mass "
        "would be slower); log_softmax's exp in three operations fewer (done: x1.03 to 1.1); a dst out of range found "
        "in the exponents' bits for the maximum (AVX-512 x0.96 to 1.02, AVX2 x0.98 to 1.05); exp added up 512 at a "
        "time (x0.95 to 1.04); two vectors together for four on AVX2 (x0.86 to 0.99).",
    ),
    "last axis, past the caches": Reason(
        "The dst form reaches 88 % of the bus; 1.5 times Numba's speed would be 92 %. The src form and log_softmax "
        "have twice and 1.4 times its arithmetic (100x1000 on one thread: 0.76 and 0.55 ns an element for 0.40).",
        "reading 2 KB ahead in the loops, the next row summed meanwhile, and streaming each line as soon as it is full "
        "(done, all three: x1.3 to 1.5; without reading ahead, streaming straight from the loop was x1.0 to 1.03), "
        "ordinary stores (x0.92 to 0.96), prefetching into the second-level cache (x0.83 to 0.96), chunks "
        "of 128 elements in which memory and arithmetic take turns (x0.85), the next row read meanwhile if elements "
        "have 16 bits (x0.95 to 1.07: there it is arithmetic that is waited for).",
    ),
    "strided axis": Reason(
        "Memory, and what is not done while it is waited for: at 16x21x256x256 on one thread the traffic of the "
        "dst form's tiles alone, nothing computed, takes 1.1 ns an element (0.86 for the same bytes in one run), "
        "the kernel 1.4. In the caches (33x77x129, 64x1000x7x7) rows of 129 and 49 elements leave vectors partly "
        "empty and lie across cache lines; src and log_softmax copy theirs. Of float64, the errors that the sums carry "
        "along take 6 operations for 1.",
        "the next tile loaded meanwhile (done for long runs: x1.1 to 1.2; of short ones x0.9), four rows at a "
        "time for the constants' sake (done: x1.1 to 1.3), computing where operands lie (done: x1.05 to 1.5), "
        "16-bit elements converted in the loops (done: dst x1.1 to 1.8, src x1.0 to 1.4, forward x1.0 to 1.5), their "
        "rows made float before they are summed (x0.83 to 1.05), "
        "whole matrices of 512 columns in the second-level cache (x0.83), two rows to their lanes at once (x0.95 "
        "to 1.0), lanes in memory for columns of 10 to 21 (x0.74 to 0.86), loading and summing in turns of 256 "
        "columns (x1.0), tiles 2048 wide (x0.91 to 1.0), prefetching into the second-level cache (x0.83 to 0.96), "
        "reading ahead in the loops as along rows (x0.96 to 1.06).",
    ),
    "few classes": Reason(
        "What a row has one of. The logarithm or the factor in double, which the bounds need, and the constants "
        "before it are 44 % of log_softmax and 41 % of the src form for 3 classes, 20 % and 17 % for 10; turning "
        "rows into columns and back is 17 % and 39 % of the src form. Of the src form of 3 classes, a fifth is the "
        "maximum's exp, worked out once more: without that, the error is 2.4 units.",
        "an exp and a logarithm of fewer terms for float (done: x1.06 to 1.25), rows in masked vectors (x0.4 to "
        "0.75 for 5 classes), runs of 1024 and of 3584 elements for 2048 (x0.92 to 1.06), 16 rows at a time from "
        "beginning to end (x0.4 to 0.9: loads wait for the stores before them); for 64 classes one row after the "
        "other, the next one read meanwhile (x0.77 to 1.07), half as many rows together (x0.97 to 1.0). For the dst "
        "form of 32 and more, each row from its sum to its results (done: x1.2 to 1.5), for log_softmax and the src "
        "form four vectors of exp at a time (done: x1.1; bfloat16 x1.05 to 1.2). On AVX2, rows of 48 to 127 instead of "
        "columns, with masks at their ends and lanes folded in registers (done: x1.2 to 1.5).",
    ),
    "long row": Reason(
        "The threads wait for each other once or twice, where the constants need the whole row.",
        "one parallel region instead of two or three (done: x1.07 to 1.09), exp kept for the src form (done: x1.2 to "
        "1.4), one thread (x0.6).",
    ),
    "views": Reason(
        "Channels-last is few classes. Rows with gaps between them take 1.1 to 1.3 times as long as adjacent ones "
        "on one thread and on two; elements with gaps are copied together first, which Numba does not: "
        "every second element takes 1.7 to 2.8 times as long as padded rows (dst form; twice the memory).",
        "the whole call in the compiled function (done: 2 us for 41 before the kernel begins); every second element "
        "stored in vectors (done, float32: x1.05 to 1.4; of float64 x1.0); loading them in blocks of 64 and asking for "
        "the next (x0.75 to 1.0).",
    ),
    "tiny": Reason(
        "The call itself: 1.2 us for 4 x 8 and 0.9 with `out`, 1.4 and 1.0 for 1 x 2. A Numba function is "
        "compiled for these types and layouts, writes into an array that it is given, and checks nothing else.",
        "typed memoryviews (0.22 us each; taken by hand 0.05), one compiled function for the whole of a common "
        "call (done).",
    ),
}
