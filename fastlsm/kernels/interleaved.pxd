"""The walk over interleaved rows (include/interleaved.hpp): all `inner` rows of an outer place together.

LANES elements of each are a group, one run of memory. The loops over columns compute it as a row of a tile. What
remains of the rows in the end is less than a group.
"""

from cython.parallel cimport prange

from fastlsm.kernels.loops cimport (
    FACTOR, FACTOR_LOW, FACTOR_REST, LARGEST, LARGEST_LOW, LOWEST, MAXIMUM, Constants, RowsAhead, Strip, TeamTimer,
    begin_maxima, exp_columns, expect_hidden, gather_maxima, gather_ties, has_extreme_sum, has_largest, hide_largest,
    mark_little_rests, max_columns, mend_columns, openmp_time, set_first_constants, set_last_constants,
    spread_constants, spread_sums, spread_ties, stream_copy, stream_end, sum_interleaved, write_columns,
)
from fastlsm.kernels.overflow cimport mend_sum
from fastlsm.kernels.plan cimport Plan
from fastlsm.kernels.problem cimport (
    LANES, Form, Format, FormTraits, Operand, Problem, arithmetic_format, blocks, locate, part_length, real_size,
    size_of, traits_of, writes_from_exp, writes_over_operand,
)
from fastlsm.kernels.workspace cimport RowConstants, Workspace
from libc.string cimport memcpy, memset

cdef extern from "workspace.hpp" nogil:
    enum:
        RESULT_BYTES

cdef extern from "tuning.hpp" nogil:
    enum:
        SLAB, STAGE, WIDEST_TILE


cdef struct Block:              # the rows of one outer place
    const char* diff_dst
    const char* src
    char* out
    Py_ssize_t rows
    Py_ssize_t bytes            # from an element to the next of its row
    Py_ssize_t exp_bytes        # the same of exp in scratch
    bint keeps_exp              # scratch holds all exp; else that of a slab


cdef inline Block block_at(const Problem* p, const Plan* plan, Py_ssize_t outer) noexcept nogil:
    cdef Block block
    cdef Py_ssize_t room = 2 * STAGE if plan.in_double else 4 * STAGE
    block.diff_dst = locate(p, &p.diff_dst, outer)
    block.src = locate(p, &p.src, outer)
    block.out = locate(p, &p.out, outer)
    block.rows = p.inner
    block.bytes = p.inner * size_of(plan.format)
    block.exp_bytes = p.inner * real_size(plan.in_double)
    # The last group is computed as a whole.
    block.keeps_exp = writes_from_exp(p.form) and (p.n + LANES) * p.inner <= room
    return block


cdef inline Py_ssize_t slab_end(const Problem* p, Py_ssize_t start) noexcept nogil:
    """Elements of rows that are computed together from `start` on end here: whole groups of one part, or the last."""
    cdef Py_ssize_t groups = SLAB // (LANES * p.inner), part = part_length(p.n)
    return min(start + groups * LANES, min(p.n, (start // part + 1) * part))


cdef inline char* exp_at(const Block* block, Py_ssize_t start, Workspace* w) noexcept nogil:
    return <char*> w.stage + (start * block.exp_bytes if block.keeps_exp else 0)


cdef inline char* last_group(const Block* block, const char* x, Py_ssize_t elements, Workspace* w) noexcept nogil:
    """A copy of what remains of the rows. NaN fills the group: maxima pass it over, and its exp is in no sum."""
    memset(w.flat, 0xff, LANES * block.bytes)
    memcpy(w.flat, x, elements * block.bytes)
    return <char*> w.flat


cdef inline void reduce_block(const Problem* p, const Plan* plan, const Block* block, const Constants& constants,
                              const Constants& lanes, Workspace* w) noexcept nogil:
    """First pass: the sums of diff_dst and the maxima of src."""
    cdef FormTraits traits = traits_of(p.form)
    cdef Py_ssize_t group = LANES * block.rows, j = 0, end, c
    cdef Strip x
    for c in range(block.rows):
        constants.diff_dst_hi[c] = constants.diff_dst_lo[c] = 0
    if traits.needs_exp:
        begin_maxima(plan.in_double, lanes, group)
    while j < p.n and not p.stopped:
        end = slab_end(p, j)
        if traits.has_gradient:
            sum_interleaved(plan.format, block.diff_dst + j * block.bytes, block.rows, p.n, j, end - j, w.lanes,
                            w.lanes + LANES * WIDEST_TILE // 2, constants.diff_dst_hi, constants.diff_dst_lo)
        if traits.needs_exp:
            x = Strip(<char*> block.src + j * block.bytes, LANES * block.bytes)
            max_columns(plan.format, x, (end - j) // LANES, group, lanes)
            if (end - j) % LANES:
                x.data = last_group(block, block.src + end // LANES * LANES * block.bytes, end % LANES, w)
                max_columns(plan.format, x, 1, group, lanes)
        j = end
    if traits.needs_exp:
        gather_maxima(plan.in_double, lanes, constants, block.rows)
    if plan.in_double and traits.has_gradient:
        for c in range(block.rows):
            mend_sum(p, block.diff_dst + c * size_of(plan.format), constants, c)


cdef inline void exp_slab(const Problem* p, const Plan* plan, const Block* block, bint apart, Py_ssize_t start,
                          Py_ssize_t end, const Constants& lanes, Workspace* w) noexcept nogil:
    """exp of elements start to end - 1 of the rows, to scratch."""
    cdef Py_ssize_t group = LANES * block.rows, groups = (end - start) // LANES
    cdef Strip e = Strip(exp_at(block, start, w), LANES * block.exp_bytes)
    cdef Strip x = Strip(<char*> block.src + start * block.bytes, LANES * block.bytes)
    exp_columns(plan.format, apart, e, x, groups, group, lanes, NULL, 0)
    if (end - start) % LANES:
        e.data += groups * e.pitch
        x.data = last_group(block, x.data + groups * x.pitch, end % LANES, w)
        exp_columns(plan.format, apart, e, x, 1, group, lanes, NULL, 0)


cdef inline void sum_exp(const Problem* p, const Plan* plan, const Block* block, bint hides, const Constants& constants,
                         const Constants& lanes, Workspace* w) noexcept nogil:
    """Second pass: exp and its sums. Once more, if `hides`, without the classes of LARGEST that leave little."""
    cdef bint apart = traits_of(p.form).apart
    cdef Py_ssize_t group = LANES * block.rows, j = 0, end, c
    cdef Strip e
    for c in range(block.rows):
        constants.exps_hi[c] = constants.exps_lo[c] = 0
    while j < p.n and not p.stopped:
        end = slab_end(p, j)
        if not (hides and block.keeps_exp):
            exp_slab(p, plan, block, apart, j, end, lanes, w)
        e = Strip(exp_at(block, j, w), LANES * block.exp_bytes)
        if hides:
            hide_largest(plan.in_double, e, blocks(end - j, LANES), group, lanes)
        sum_interleaved(arithmetic_format(plan.in_double), e.data, block.rows, p.n, j, end - j, w.lanes,
                        w.lanes + LANES * WIDEST_TILE // 2, constants.exps_hi, constants.exps_lo)
        j = end


cdef inline void write_block(const Problem* p, const Plan* plan, const Block* block, bint extreme, bint largest,
                             const Constants& lanes, Workspace* w) noexcept nogil:
    """Last pass: the result."""
    cdef bint lies = not p.out.far and not writes_over_operand(p)
    cdef Py_ssize_t most = RESULT_BYTES // (LANES * block.bytes) * LANES, j = 0, end, groups
    while j < p.n and not p.stopped:
        end = min(slab_end(p, j), j + most)
        groups = (end - j) // LANES
        if groups:
            write_groups(p, plan, block, extreme, largest, j, groups, LANES * block.rows, lies, lanes, w)
        if (end - j) % LANES:
            write_groups(p, plan, block, extreme, largest, j + groups * LANES, 1, end % LANES * block.rows, lies, lanes,
                         w)
        j = end
    stream_end()


cdef inline void write_groups(const Problem* p, const Plan* plan, const Block* block, bint extreme, bint largest,
                              Py_ssize_t start, Py_ssize_t groups, Py_ssize_t group, bint lies, const Constants& lanes,
                              Workspace* w) noexcept nogil:
    """Groups of so many elements, from element `start` of the rows on."""
    cdef Py_ssize_t pitch = LANES * block.bytes
    cdef char* out = block.out + start * block.bytes
    cdef Strip y = Strip(<char*> w.result, pitch)
    cdef Strip g = Strip(<char*> block.diff_dst + start * block.bytes, pitch)
    cdef Strip x = Strip(<char*> block.src + start * block.bytes, pitch)
    if lies:
        y.data = out
    if block.keeps_exp:
        x = Strip(exp_at(block, start, w), LANES * block.exp_bytes)
    if write_columns(
        p.form, plan.format, y, g, x, largest, block.keeps_exp, RowsAhead(0, 0), groups, group, lanes, NULL, 0
    ) or extreme:
        mend_columns(plan.format, y, g, x, groups, group, lanes)
    if p.out.far:
        stream_copy(out, y.data, groups * group * size_of(plan.format))
    elif not lies:
        memcpy(out, y.data, groups * group * size_of(plan.format))


cdef inline void one_block(const Problem* p, const Plan* plan, Py_ssize_t outer, Workspace* w) noexcept nogil:
    cdef Block block = block_at(p, plan, outer)
    cdef RowConstants room
    cdef Constants constants = room.constants(), lanes = w.constants.constants()
    cdef Py_ssize_t rows = block.rows
    cdef bint extreme = False, largest = False, has_little = False
    reduce_block(p, plan, &block, constants, lanes, w)
    set_first_constants(plan.in_double, p.form, constants, rows, p.n)
    if traits_of(p.form).has_limits:
        extreme = has_extreme_sum(plan.in_double, constants, rows)
        spread_constants(plan.in_double, constants, lanes, FACTOR, FACTOR_REST, rows)
        spread_sums(constants, lanes, rows)
    if traits_of(p.form).needs_exp:
        spread_constants(plan.in_double, constants, lanes, MAXIMUM, LOWEST, rows)
        sum_exp(p, plan, &block, False, constants, lanes, w)
        gather_ties(lanes, constants, rows)     # begin_maxima has set these to 0
        if p.form == Form.BACKWARD_SRC:
            has_little = mark_little_rests(plan.in_double, constants, rows, p.n)
        if has_little:
            spread_constants(plan.in_double, constants, lanes, LARGEST, LARGEST, rows)
            spread_ties(constants, lanes, rows)
            sum_exp(p, plan, &block, True, constants, lanes, w)
        set_last_constants(plan.in_double, p.form, constants, rows)
        if has_little and block.keeps_exp:
            expect_hidden(plan.in_double, constants, rows)
        largest = p.form == Form.BACKWARD_SRC and has_largest(plan.in_double, constants, rows)
        spread_constants(plan.in_double, constants, lanes, FACTOR, FACTOR_LOW, rows)
        if p.form == Form.BACKWARD_SRC:
            spread_constants(plan.in_double, constants, lanes, LARGEST, LARGEST_LOW, rows)
    write_block(p, plan, &block, extreme, largest, lanes, w)


cdef inline void share_of_blocks(const Problem* p, const Plan* plan, Py_ssize_t first, Py_ssize_t last,
                                 Workspace* w) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(first, last):
        if p.stopped:
            break
        one_block(p, plan, i, w)


cdef inline void timed_share_of_blocks(const Problem* p, const Plan* plan, Py_ssize_t first, Py_ssize_t last,
                                       Workspace* w, TeamTimer* timer) noexcept nogil:
    cdef double begun = openmp_time()
    share_of_blocks(p, plan, first, last, w)
    timer.end_share(begun, last - first)


cdef inline void walk_interleaved(const Problem* p, const Plan* plan, Workspace* workspaces,
                                  TeamTimer* timer) noexcept nogil:
    cdef Py_ssize_t count = plan.count // p.inner, i
    cdef int threads = plan.threads
    if threads > 1:
        timer.start()
        for i in prange(threads, schedule="static", num_threads=threads):
            timed_share_of_blocks(p, plan, count * i // threads, count * (i + 1) // threads, workspaces + i, timer)
        timer.stop(count)
    else:
        share_of_blocks(p, plan, 0, count, workspaces)
