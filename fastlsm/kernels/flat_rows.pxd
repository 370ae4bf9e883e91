"""Rows so short that they are computed as one run of elements. Those with gaps between them are packed for that.

Their sums, maxima and exp are those of columns: the rows are turned to columns in scratch.
"""

from fastlsm.kernels.convert cimport load_turned, packed, strip_at, unpack
from fastlsm.kernels.loops cimport (
    Constants, RowsAhead, Stream, Strip, begin_maxima, exp_columns, expect_hidden, has_extreme_sum, hide_largest,
    mark_little_rests, max_columns, prefetch, set_first_constants, set_last_constants, store_elements, sum_columns,
    turn, write_columns, write_few, write_flat,
)
from fastlsm.kernels.overflow cimport mend_sum
from fastlsm.kernels.plan cimport Plan
from fastlsm.kernels.problem cimport (
    LANES, Counted, Form, FormTraits, Format, Operand, Problem, arithmetic_format, counted_for, real_size, round_up,
    traits_of, writes_from_exp, writes_over_operand,
)
from fastlsm.kernels.workspace cimport Workspace

cdef extern from "tuning.hpp" nogil:
    enum:
        PACK_AHEAD, STAGE


cdef inline bint flat_batch(const Problem* p, const Plan* plan, Py_ssize_t first, Py_ssize_t count, Workspace* w,
                            Stream* stream) noexcept nogil:
    """Compute `count` rows. False: it is not done, for a sum or a dst is beyond the dst form's step."""
    if plan.few:
        few_batch(p, plan, first, count, w)
        return True
    cdef FormTraits traits = traits_of(p.form)
    cdef Counted counted = counted_for(p.form, p.out.dtype)
    cdef bint has_little = False
    cdef Constants constants = w.constants.constants()
    cdef Format arithmetic = arithmetic_format(plan.in_double)
    cdef Py_ssize_t n = p.n, columns = round_up(count, LANES), c
    cdef Py_ssize_t pitch = columns * real_size(plan.in_double)
    cdef Strip gs = Strip(<char*> w.stage, pitch), xs = Strip(<char*> (w.stage + STAGE), pitch)
    cdef Py_ssize_t row = n * p.out.itemsize, rows_ahead = PACK_AHEAD if plan.ahead else 0
    cdef const char* x = packed(strip_at(p, &p.src, first), count, row, rows_ahead,
                                <char*> (w.stage + STAGE + STAGE // 2))
    cdef const char* g = x
    cdef Strip out = strip_at(p, &p.out, first)
    cdef bint through_result = writes_over_operand(p) or writes_from_exp(p.form) or out.pitch != row
    cdef char* y = <char*> w.result if through_result else out.data
    if through_result:
        stream = NULL
    if traits.has_gradient:
        g = packed(strip_at(p, &p.diff_dst, first), count, row, rows_ahead, <char*> (w.stage + STAGE // 2))
        turn_rows(p, plan, &p.diff_dst, g, count, gs, w)
        sum_columns(arithmetic, gs.data, pitch, n, columns, constants.diff_dst_hi, constants.diff_dst_lo)
        if plan.in_double:
            for c in range(count):
                mend_sum(p, g + c * row, constants, c)
    if traits.has_limits:
        set_first_constants(plan.in_double, p.form, constants, count, n)
        if has_extreme_sum(plan.in_double, constants, count):
            return False
    else:
        turn_rows(p, plan, &p.src, x, count, xs, w)
        begin_maxima(plan.in_double, constants, columns)
        max_columns(arithmetic, xs, n, columns, constants)
        set_first_constants(plan.in_double, p.form, constants, columns, n)
        exp_columns(arithmetic, counted, xs, xs, n, columns, constants, NULL, 0)
        sum_columns(arithmetic, xs.data, pitch, n, columns, constants.exps_hi, constants.exps_lo)
        if p.form == Form.BACKWARD_SRC:
            has_little = mark_little_rests(plan.in_double, counted, constants, columns, n)
        if has_little:
            hide_largest(plan.in_double, xs, n, columns, constants)
            sum_columns(arithmetic, xs.data, pitch, n, columns, constants.exps_hi, constants.exps_lo)
        set_last_constants(plan.in_double, p.form, constants, columns)
        if has_little:
            expect_hidden(plan.in_double, constants, columns)
    if writes_from_exp(p.form):
        write_turned(p, plan, g, x, y, count, gs, xs, constants, w)
    else:
        if stream != NULL:
            stream.seek(y)
        if write_flat(p.form, plan.format, y, g, x, count, n, constants, w.pattern, plan.ahead, stream):
            if stream != NULL:
                stream.close()
            return False
    if through_result:
        unpack(plan.streamed, out, y, count, row)
    return True


cdef inline void turn_rows(const Problem* p, const Plan* plan, const Operand* op, const char* at, Py_ssize_t count,
                           Strip to, Workspace* w) noexcept nogil:
    load_turned(plan.in_double, op, at, p.n * op.itemsize, p.n, count, to, w.flat)


cdef inline void write_turned(const Problem* p, const Plan* plan, const char* g, const char* x, char* y,
                              Py_ssize_t count, Strip gs, Strip exps, const Constants& constants,
                              Workspace* w) noexcept nogil:
    """The last step on columns, which are then turned back to rows. So short a row mostly has a class of LARGEST."""
    cdef Format arithmetic = arithmetic_format(plan.in_double)
    cdef Py_ssize_t n = p.n, bytes = count * p.out.itemsize, size = real_size(plan.in_double), j
    cdef RowsAhead no_rows = RowsAhead(0, 0)
    for j in range(n):
        if plan.ahead:                      # of the rows that come next
            prefetch(g + (n + j) * bytes, bytes)
            prefetch(x + (n + j) * bytes, bytes)
        write_columns(
            p.form, arithmetic, Strip(gs.data + j * gs.pitch, 0), Strip(gs.data + j * gs.pitch, 0),
            Strip(exps.data + j * exps.pitch, 0), True, no_rows, 1, gs.pitch // size, constants, NULL, 0)
    turn_back(p, plan, gs, count, y, w)


cdef inline void turn_back(const Problem* p, const Plan* plan, Strip x, Py_ssize_t count, char* to,
                           Workspace* w) noexcept nogil:
    """Columns to adjacent rows."""
    cdef Py_ssize_t row = p.n * real_size(plan.in_double)
    if plan.format == arithmetic_format(plan.in_double):
        turn(plan.in_double, to, row, x.data, x.pitch, p.n, count)
    else:
        turn(plan.in_double, <char*> w.flat, row, x.data, x.pitch, p.n, count)
        store_elements(plan.in_double, w.flat, p.out.dtype, to, p.out.itemsize, count * p.n)


cdef inline void turn_few(const Problem* p, const Plan* plan, const Operand* op, Py_ssize_t first, Py_ssize_t count,
                          Strip to, char* scratch, Workspace* w) noexcept nogil:
    """`count` rows to columns, by way of `scratch` where they have gaps."""
    cdef Strip x = strip_at(p, op, first)
    cdef Py_ssize_t row = p.n * op.itemsize
    turn_rows(p, plan, op, packed(x, count, row, PACK_AHEAD if plan.ahead else 0, scratch), count, to, w)
    if plan.ahead and x.pitch == row:
        prefetch(x.data + count * row, count * row)     # the rows that come next


cdef inline void few_batch(const Problem* p, const Plan* plan, Py_ssize_t first, Py_ssize_t count,
                           Workspace* w) noexcept nogil:
    """`count` rows of few classes, in one pass. Both halves of the stage begin with columns; packed rows come after."""
    cdef Py_ssize_t row = p.n * p.out.itemsize, pitch = round_up(count, LANES) * real_size(plan.in_double)
    cdef Strip gs = Strip(<char*> w.stage, pitch), xs = Strip(<char*> (w.stage + STAGE), pitch)
    cdef Strip out = strip_at(p, &p.out, first)
    cdef bint through_result = plan.streamed or out.pitch != row
    cdef char* y = <char*> w.result if through_result else out.data
    turn_few(p, plan, &p.src, first, count, xs, <char*> (w.stage + STAGE + STAGE // 2), w)
    if traits_of(p.form).has_gradient:
        turn_few(p, plan, &p.diff_dst, first, count, gs, <char*> (w.stage + STAGE // 2), w)
    write_few(p.form, xs, gs, xs, p.n, count)
    turn_back(p, plan, xs, count, y, w)
    if through_result:
        unpack(plan.streamed, out, y, count, row)
