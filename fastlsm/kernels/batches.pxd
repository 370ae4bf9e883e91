"""Some rows that lie ready at once: their constants are computed side by side.

While rows are computed, those after them may be reduced: memory and arithmetic work at the same time. The processor
sees the next rows by itself where they are short.
"""

from libc.math cimport INFINITY

from fastlsm.kernels.convert cimport strip_at, unpack
from fastlsm.kernels.flat_rows cimport flat_batch
from fastlsm.kernels.loops cimport (
    Constants, Next, Stream, Strip, begin_maxima, exp_rows, expect_hidden, has_extreme_sum, mark_little_rests,
    max_rows, mend_rows, set_first_constants, set_last_constants, set_maximum, set_pattern, sum_others, sum_rows,
    write_rows,
)
from fastlsm.kernels.overflow cimport mend_sum
from fastlsm.kernels.plan cimport Plan, Walk
from fastlsm.kernels.problem cimport (
    LANES, Counted, Form, FormTraits, Problem, counted_for, locate, real_size, round_up, traits_of, writes_from_exp,
    writes_over_operand,
)
from fastlsm.kernels.workspace cimport Reduced, RowConstants, Workspace

cdef extern from "tuning.hpp" nogil:
    enum:
        MOST_TOGETHER


cdef inline Stream* begin_stream(const Plan* plan, Stream* flow, char* to) noexcept nogil:
    """The stream, if results are to go past the caches."""
    if not plan.streamed:
        return NULL
    flow.begin(to)
    return flow


cdef inline Py_ssize_t batch_at(const Problem* p, Py_ssize_t first, Py_ssize_t last, Py_ssize_t most) noexcept nogil:
    """How many rows from `first` on go together: each as far from the one before it."""
    return min(min(most, last - first), p.outer - first % p.outer)


cdef inline void batch(const Problem* p, const Plan* plan, Py_ssize_t first, Py_ssize_t count, Reduced* reduced,
                       bint is_reduced, Py_ssize_t next_count, Workspace* w, Stream* stream) noexcept nogil:
    """`count` rows from `first` on, which may be reduced already. Meanwhile reduce the `next_count` rows after them."""
    cdef RowConstants room
    cdef Constants constants = room.constants()
    cdef FormTraits traits = traits_of(p.form)
    cdef bint extreme = False, has_little = False
    cdef bint from_exp = writes_from_exp(p.form), over_itself = writes_over_operand(p)
    cdef Counted counted = counted_for(p.form, p.out.dtype)
    cdef Py_ssize_t n = p.n, bytes = n * p.out.itemsize, r
    cdef Strip src = strip_at(p, &p.src, first), diff_dst = strip_at(p, &p.diff_dst, first)
    cdef Strip out = strip_at(p, &p.out, first)
    # An element may be computed twice, so that results must not go where operands are still to be read.
    cdef Strip y = Strip(<char*> w.result, bytes) if over_itself else out
    cdef Strip e = Strip(<char*> w.stage, round_up(n, 4 * LANES) * real_size(plan.in_double) if from_exp else 0)
    cdef Next next = Next(Strip(NULL, 0), 0, reduced.max, reduced.diff_dst_hi, reduced.diff_dst_lo, NULL)
    if is_reduced:
        for r in range(count):
            constants.diff_dst_hi[r], constants.diff_dst_lo[r] = reduced.diff_dst_hi[r], reduced.diff_dst_lo[r]
            if traits.needs_exp:
                set_maximum(plan.in_double, constants, r, reduced.max[r])
    else:
        if traits.has_gradient:
            sum_rows(plan.format, diff_dst, count, n, plan.ahead, constants.diff_dst_hi, constants.diff_dst_lo,
                     NULL)
        if traits.needs_exp:
            begin_maxima(plan.in_double, constants, count)
            max_rows(plan.format, src, count, n, plan.ahead, constants)
    if plan.in_double and traits.has_gradient:
        for r in range(count):
            mend_sum(p, diff_dst.data + r * diff_dst.pitch, constants, r)
    set_first_constants(plan.in_double, p.form, constants, count, n)
    if traits.needs_exp:
        for r in range(count):
            constants.counts[r] = 0
        if next_count > 0:
            next.strip = strip_at(p, &p.src, first + count)
            next.rows = next_count
            for r in range(next_count):
                reduced.max[r] = -INFINITY
        exp_rows(plan.format, counted, e, src, count, n, plan.ahead, constants, NULL, next)
        if p.form == Form.BACKWARD_SRC:
            has_little = mark_little_rests(plan.in_double, counted, constants, count, n)
        if has_little:
            sum_others(plan.format, e, count, n, constants, NULL)
        set_last_constants(plan.in_double, p.form, constants, count)
        if has_little:
            expect_hidden(plan.in_double, constants, count)
    if traits.has_limits:
        extreme = has_extreme_sum(plan.in_double, constants, count)
    next.rows = 0
    if next_count > 0 and traits.has_gradient:
        next.strip = strip_at(p, &p.diff_dst, first + count)
        next.rows = next_count
    if over_itself:
        stream = NULL
    extreme |= write_rows(
        p.form, plan.format, y, diff_dst, e if from_exp else src, count, n, plan.ahead, stream, constants,
        next)
    if extreme:
        if stream != NULL:
            stream.close()
        mend_rows(plan.format, y, diff_dst, src, count, n, constants)
    if over_itself:
        unpack(plan.streamed, out, y.data, count, bytes)


cdef inline void share_of_batches(const Problem* p, const Plan* plan, Py_ssize_t first, Py_ssize_t last,
                                  Workspace* w) noexcept nogil:
    """Rows first to last - 1, some of them at a time."""
    cdef Reduced reduced
    cdef Stream flow
    cdef Stream* stream = begin_stream(plan, &flow, locate(p, &p.out, first))
    cdef bint is_reduced
    cdef Py_ssize_t i = first, count, next_count = 0
    if plan.walk == Walk.FLAT:
        set_pattern(plan.in_double, w.pattern, p.n)
    while i < last and not p.stopped:
        count = next_count if next_count > 0 else batch_at(p, i, last, plan.together)
        if plan.walk == Walk.FLAT:
            if flat_batch(p, plan, i, count, w, stream):
                i += count
                continue
            count = batch_at(p, i, last, min(count, <Py_ssize_t> MOST_TOGETHER))
        is_reduced = next_count > 0
        next_count = 0
        if plan.reads_next and i + count < last:
            # Each row of this batch reduces one of the next, so that no more rows can go together then.
            next_count = min(count, batch_at(p, i + count, last, plan.together))
        batch(p, plan, i, count, &reduced, is_reduced, next_count, w, stream)
        i += count
    if stream != NULL:
        stream.close()
