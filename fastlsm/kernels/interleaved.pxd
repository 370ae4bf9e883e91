"""The walk over interleaved rows (include/interleaved.hpp): all `inner` rows of an outer place together.

LANES elements of each are a group, one run of memory. The loops over columns compute it as a row of a tile. What
remains of the rows in the end is less than a group.

Threads that share an outer place have some columns of all groups each, and in the last pass some groups. The columns'
lanes and constants are in the first thread's memory. Between two passes the first thread sets the constants, while the
others wait.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.string cimport memcpy, memset

from fastlsm.kernels.loops cimport (
    FACTOR, FACTOR_LOW, FACTOR_REST, LARGEST, LARGEST_LOW, LOST_MAGIC, LOWEST, Constants, RowsAhead, Strip,
    TeamTimer, add_rows, begin_maxima, end_part, exp_columns, expect_hidden, fill_with_lowest, from_column,
    gather_counts, gather_maxima, has_extreme_sum, has_marks, hide_largest, mark_little_rests, max_columns,
    mend_columns, openmp_team, openmp_time, set_first_constants, set_last_constants, spread_constants, spread_marks,
    spread_sums, stream_copy, stream_end, wait_for_team, write_columns,
)
from fastlsm.kernels.overflow cimport mend_sum
from fastlsm.kernels.plan cimport Plan
from fastlsm.kernels.problem cimport (
    LANES, Counted, Form, FormTraits, Format, Problem, arithmetic_format, blocks, counted_for, locate, part_length,
    real_size, size_of, traits_of, writes_from_exp, writes_over_operand,
)
from fastlsm.kernels.team cimport Range, Team, part_of
from fastlsm.kernels.workspace cimport RowConstants, Workspace

cdef extern from "workspace.hpp" nogil:
    enum:
        RESULT_BYTES

cdef extern from "tuning.hpp" nogil:
    enum:
        SLAB, STAGE, WIDEST_TILE


cdef struct Block:              # the rows of one outer place, as a thread sees them
    const char* diff_dst
    const char* src
    char* out
    char* exps                  # the first thread's scratch, if that holds exp of all; else the thread's own, of a slab
    Py_ssize_t rows
    Py_ssize_t bytes            # from an element to the next of its row
    Py_ssize_t exp_bytes        # the same of exp
    bint keeps_exp
    Range columns               # of a group: what the thread computes


cdef inline Block block_at(const Problem* p, const Plan* plan, Py_ssize_t outer, const Team* team) noexcept nogil:
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
    block.exps = <char*> team.workspaces[0 if block.keeps_exp else team.index].stage
    block.columns = part_of(LANES * p.inner, LANES, team.index, team.threads)
    return block


cdef inline Py_ssize_t slab_end(const Problem* p, Py_ssize_t start) noexcept nogil:
    """Elements of rows that are computed together from `start` on end here: whole groups of one part, or the last."""
    cdef Py_ssize_t groups = SLAB // (LANES * p.inner), part = part_length(p.n)
    return min(start + groups * LANES, min(p.n, (start // part + 1) * part))


cdef inline char* exp_at(const Block* block, Py_ssize_t start) noexcept nogil:
    return block.exps + (start * block.exp_bytes if block.keeps_exp else 0)


cdef inline char* last_group(const Plan* plan, const Block* block, const char* x, Py_ssize_t elements,
                             Workspace* w) noexcept nogil:
    """A copy of what remains of the rows. -inf fills the group."""
    fill_with_lowest(plan.format, w.flat, LANES * block.rows)
    memcpy(w.flat, x, elements * block.bytes)
    return <char*> w.flat


# ------------------------------------------------------------------------------------------------- passes

cdef inline void max_of_block(const Problem* p, const Plan* plan, const Block* block, const Constants& mine,
                              Workspace* w) noexcept nogil:
    cdef Py_ssize_t whole = p.n // LANES * LANES, pitch = LANES * block.bytes, j = 0, end
    cdef Py_ssize_t count = block.columns.last - block.columns.first, c = block.columns.first * size_of(plan.format)
    begin_maxima(plan.in_double, mine, count)
    while j < whole and not p.stopped:
        end = min(whole, slab_end(p, j))
        max_columns(plan.format, Strip(<char*> block.src + j * block.bytes + c, pitch), (end - j) // LANES, count, mine)
        j = end
    if p.n % LANES:
        max_columns(plan.format, Strip(last_group(plan, block, block.src + whole * block.bytes, p.n % LANES, w) + c,
                                       pitch), 1, count, mine)


cdef inline void exp_slab(const Problem* p, const Plan* plan, const Block* block, Counted counted, Py_ssize_t start,
                          Py_ssize_t end, const Constants& mine, Workspace* w) noexcept nogil:
    """exp of elements start to end - 1 of the rows, to scratch."""
    cdef Py_ssize_t groups = (end - start) // LANES, count = block.columns.last - block.columns.first
    cdef Py_ssize_t c = block.columns.first * size_of(plan.format)
    cdef Strip e = Strip(exp_at(block, start) + block.columns.first * real_size(plan.in_double),
                         LANES * block.exp_bytes)
    cdef Strip x = Strip(<char*> block.src + start * block.bytes, LANES * block.bytes)
    exp_columns(plan.format, counted, e, Strip(x.data + c, x.pitch), groups, count, mine, NULL, 0)
    if (end - start) % LANES:
        e.data += groups * e.pitch
        x.data = last_group(plan, block, x.data + groups * x.pitch, end % LANES, w)
        exp_columns(plan.format, counted, e, Strip(x.data + c, x.pitch), 1, count, mine, NULL, 0)


cdef inline void add_slab(const Problem* p, const Plan* plan, const Block* block, bint of_exp, bint hides,
                          Py_ssize_t start, Py_ssize_t end, const Constants& mine, double* lanes_hi, double* lanes_lo,
                          Workspace* w) noexcept nogil:
    """Add elements start to end - 1 of diff_dst, or of exp of src, to the thread's lanes."""
    cdef Format read = arithmetic_format(plan.in_double) if of_exp else plan.format
    cdef Py_ssize_t first = block.columns.first, count = block.columns.last - first
    cdef Py_ssize_t groups = (end - start) // LANES, rest = min(count, (end - start) % LANES * block.rows - first)
    cdef Strip x = Strip(<char*> block.diff_dst + start * block.bytes, LANES * block.bytes)
    if of_exp:
        if not hides:
            exp_slab(p, plan, block, counted_for(p.form, p.out.dtype), start, end, mine, w)
        elif not block.keeps_exp:           # the counts are marks by now
            exp_slab(p, plan, block, Counted.NOTHING, start, end, mine, w)
        x = Strip(exp_at(block, start), LANES * block.exp_bytes)
    x.data += first * size_of(read)
    if hides:
        hide_largest(plan.in_double, x, blocks(end - start, LANES), count, mine)
    add_rows(read, x.data, x.pitch, groups, count, lanes_hi + first, lanes_lo + first)
    if rest > 0:
        add_rows(read, x.data + groups * x.pitch, 0, 1, rest, lanes_hi + first, lanes_lo + first)


cdef inline void sum_of_block(const Problem* p, const Plan* plan, const Block* block, bint of_exp, bint hides,
                              const Constants& mine, double* hi, double* lo, Team* team) noexcept nogil:
    """The sums of diff_dst or of exp of src, part after part. The first thread has them at last.

    Where it `hides`, exp is summed once more, without the classes of LARGEST that leave little.
    """
    cdef Py_ssize_t first = block.columns.first, count = block.columns.last - first, length = part_length(p.n)
    cdef Py_ssize_t start = 0, stop, j, end
    cdef double* lanes_hi = team.workspaces.lanes
    cdef double* lanes_lo = lanes_hi + LANES * WIDEST_TILE // 2
    while start < p.n:
        stop = min(p.n, start + length)
        if start > 0:
            wait_for_team(team.timer, &team.begun)      # the lanes were being folded
        memset(lanes_hi + first, 0, count * sizeof(double))
        memset(lanes_lo + first, 0, count * sizeof(double))
        j = start
        while j < stop and not p.stopped:
            end = slab_end(p, j)
            add_slab(p, plan, block, of_exp, hides, j, end, mine, lanes_hi, lanes_lo, team.workspaces + team.index)
            j = end
        wait_for_team(team.timer, &team.begun)
        if team.index == 0:
            end_part(plan.in_double, start == 0, lanes_hi, lanes_lo, block.rows, stop - start, block.rows, hi, lo)
        start = stop


cdef inline void write_block(const Problem* p, const Plan* plan, const Block* block, const Constants& lanes,
                             Team* team) noexcept nogil:
    """Last pass: the result."""
    cdef Workspace* w = team.workspaces + team.index
    cdef bint extreme = traits_of(p.form).has_limits and has_extreme_sum(plan.in_double, lanes, block.rows)
    cdef Py_ssize_t most = RESULT_BYTES // (LANES * block.bytes) * LANES, end, groups
    cdef Range elements = part_of(p.n, LANES, team.index, team.threads)
    cdef Py_ssize_t j = elements.first
    while j < elements.last and not p.stopped:
        end = min(elements.last, j + most)
        groups = (end - j) // LANES
        if groups:
            write_groups(p, plan, block, extreme, j, groups, LANES * block.rows, lanes, w)
        if (end - j) % LANES:
            write_groups(p, plan, block, extreme, j + groups * LANES, 1, end % LANES * block.rows, lanes, w)
        j = end
    stream_end()


cdef inline void write_groups(const Problem* p, const Plan* plan, const Block* block, bint extreme,
                              Py_ssize_t start, Py_ssize_t groups, Py_ssize_t group, const Constants& lanes,
                              Workspace* w) noexcept nogil:
    """Groups of so many elements, from element `start` of the rows on."""
    cdef bint lies = not plan.streamed and not writes_over_operand(p)
    cdef Py_ssize_t pitch = LANES * block.bytes
    cdef char* out = block.out + start * block.bytes
    cdef Strip y = Strip(<char*> w.result, pitch)
    cdef Strip g = Strip(<char*> block.diff_dst + start * block.bytes, pitch)
    cdef Strip x = Strip(<char*> block.src + start * block.bytes, pitch)
    if lies:
        y.data = out
    if block.keeps_exp:
        x = Strip(exp_at(block, start), LANES * block.exp_bytes)
    if write_columns(
        p.form, plan.format, y, g, x, block.keeps_exp, RowsAhead(0, 0), groups, group, lanes, NULL, 0
    ) or extreme:
        mend_columns(plan.format, y, g, x, groups, group, lanes)
    if plan.streamed:
        stream_copy(out, y.data, groups * group * size_of(plan.format))
    elif not lies:
        memcpy(out, y.data, groups * group * size_of(plan.format))


# ------------------------------------------------------------------------------------------------- blocks

cdef inline void begin_block(const Problem* p, const Plan* plan, const Block* block, const Constants& constants,
                             const Constants& lanes) noexcept nogil:
    """The first constants of all rows, when their maxima and the sums of diff_dst are known."""
    cdef FormTraits traits = traits_of(p.form)
    cdef Py_ssize_t c
    if traits.needs_exp:
        gather_maxima(plan.in_double, lanes, constants, block.rows)
    if plan.in_double and traits.has_gradient:
        for c in range(block.rows):
            mend_sum(p, block.diff_dst + c * size_of(plan.format), constants, c)
    set_first_constants(plan.in_double, p.form, constants, block.rows, p.n)
    if traits.has_limits:
        spread_constants(plan.in_double, constants, lanes, FACTOR, FACTOR_REST, block.rows)
        spread_sums(constants, lanes, block.rows)
    else:
        spread_constants(plan.in_double, constants, lanes, LOST_MAGIC, LOWEST, block.rows)


cdef inline void mark_block(const Problem* p, const Plan* plan, const Block* block, const Constants& constants,
                            const Constants& lanes) noexcept nogil:
    """Let all know which classes of LARGEST leave little, if any do."""
    gather_counts(lanes, constants, block.rows)
    if mark_little_rests(plan.in_double, counted_for(p.form, p.out.dtype), constants, block.rows, p.n):
        spread_constants(plan.in_double, constants, lanes, LARGEST, LARGEST, block.rows)
        spread_marks(constants, lanes, block.rows)


cdef inline void end_block(const Problem* p, const Plan* plan, const Block* block, const Constants& constants,
                           const Constants& lanes) noexcept nogil:
    """The last constants, when the sums of exp are known."""
    cdef bint has_little = p.form == Form.BACKWARD_SRC and has_marks(constants, block.rows)
    if traits_of(p.form).counted == Counted.TIES:
        gather_counts(lanes, constants, block.rows)
    set_last_constants(plan.in_double, p.form, constants, block.rows)
    if has_little and block.keeps_exp:
        expect_hidden(plan.in_double, constants, block.rows)
    spread_constants(plan.in_double, constants, lanes, FACTOR, FACTOR_LOW, block.rows)
    if p.form == Form.BACKWARD_SRC:
        spread_constants(plan.in_double, constants, lanes, LARGEST, LARGEST_LOW, block.rows)


cdef inline void one_block(const Problem* p, const Plan* plan, Py_ssize_t outer, Team* team) noexcept nogil:
    cdef Block block = block_at(p, plan, outer, team)
    cdef FormTraits traits = traits_of(p.form)
    cdef RowConstants room
    cdef Constants constants = room.constants(), lanes = team.workspaces.constants.constants()
    cdef Constants mine = from_column(plan.in_double, lanes, block.columns.first)
    cdef bint leads = team.index == 0
    if traits.needs_exp:
        max_of_block(p, plan, &block, mine, team.workspaces + team.index)
    if traits.has_gradient:
        sum_of_block(p, plan, &block, False, False, mine, constants.diff_dst_hi, constants.diff_dst_lo, team)
    else:
        wait_for_team(team.timer, &team.begun)
    if leads:
        begin_block(p, plan, &block, constants, lanes)
    wait_for_team(team.timer, &team.begun)
    if traits.needs_exp:
        sum_of_block(p, plan, &block, True, False, mine, constants.exps_hi, constants.exps_lo, team)
        if p.form == Form.BACKWARD_SRC:
            if leads:
                mark_block(p, plan, &block, constants, lanes)
            wait_for_team(team.timer, &team.begun)
            if has_marks(lanes, block.rows):
                sum_of_block(p, plan, &block, True, True, mine, constants.exps_hi, constants.exps_lo, team)
        if leads:
            end_block(p, plan, &block, constants, lanes)
        wait_for_team(team.timer, &team.begun)
    write_block(p, plan, &block, lanes, team)
    wait_for_team(team.timer, &team.begun)          # then the lanes may be those of another block


cdef inline void share_of_blocks(const Problem* p, const Plan* plan, Py_ssize_t first, Py_ssize_t last,
                                 Team team) noexcept nogil:
    cdef Py_ssize_t i
    cdef Range elements, columns
    for i in range(first, last):
        one_block(p, plan, i, &team)
    if team.timer != NULL:
        # By the lesser of its two shares: a thread with few columns would seem the quickest.
        elements = part_of(p.n, LANES, team.index, team.threads)
        columns = part_of(LANES * p.inner, LANES, team.index, team.threads)
        team.timer.end_share(team.begun, (last - first) * min(
            elements.last - elements.first, (columns.last - columns.first) * p.n // (LANES * p.inner)))


cdef inline void timed_share_of_blocks(const Problem* p, const Plan* plan, Py_ssize_t first, Py_ssize_t last,
                                       Workspace* w, TeamTimer* timer) noexcept nogil:
    cdef double begun = openmp_time()
    share_of_blocks(p, plan, first, last, Team(w, 0, 1, NULL, 0))
    timer.end_share(begun, (last - first) * p.n)


cdef inline void walk_interleaved(const Problem* p, const Plan* plan, Workspace* workspaces,
                                  TeamTimer* timer) noexcept nogil:
    cdef Py_ssize_t count = plan.count // p.inner, i
    cdef int threads = plan.threads
    if threads == 1:
        share_of_blocks(p, plan, 0, count, Team(workspaces, 0, 1, NULL, 0))
        return
    timer.start()
    if count >= threads:
        for i in prange(threads, schedule="static", num_threads=threads):
            timed_share_of_blocks(p, plan, count * i // threads, count * (i + 1) // threads, workspaces + i, timer)
    else:
        with parallel(num_threads=threads):
            share_of_blocks(p, plan, 0, count, Team(workspaces, threadid(), openmp_team(), timer, openmp_time()))
    timer.stop(count * p.n)
