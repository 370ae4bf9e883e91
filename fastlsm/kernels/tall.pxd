"""The walk over tall columns: so long that their tiles would be narrow, or loaded more than once.

Each pass reads the operands where they lie, row by row, which is the order of memory. A tile is as wide as `inner`, if
that is not too wide. Its rows are then long runs of memory, often one, and threads that had half of its columns each
would cut them. So threads have rows instead. Where rows are added up, row j goes to lane j % LANES (include/bits.hpp),
and a thread has some of the lanes; of more threads than lanes, some columns of a lane. In the other passes it has
neighbouring rows.

The lanes and the constants of a tile are in the first thread's memory. Between two passes each thread sets the
constants of some columns. All threads wait for each other before and after.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.string cimport memset

from fastlsm.kernels.columns cimport Tile, locate_column, store_slab
from fastlsm.kernels.loops cimport (
    MAXIMUM, Constants, RowsAhead, Strip, TeamTimer, add_rows, begin_maxima, end_part, exp_columns, from_column,
    has_extreme_sum, has_marks, hide_largest, mark_little_rests, max_columns, mend_columns, openmp_team,
    openmp_time, set_first_constants, set_last_constants, stream_end, wait_for_team, write_columns,
)
from fastlsm.kernels.overflow cimport is_finite, mend_sum
from fastlsm.kernels.plan cimport Plan, is_ready
from fastlsm.kernels.problem cimport (
    LANES, Counted, Form, FormTraits, Format, Operand, Problem, arithmetic_format, blocks, counted_for, part_length,
    real_size, round_up, size_of, traits_of, writes_over_operand,
)
from fastlsm.kernels.team cimport Range, Team, part_of
from fastlsm.kernels.workspace cimport Workspace

cdef extern from "tuning.hpp" nogil:
    enum:
        MANY_TILES, WIDE_ROWS_AT_ONCE


cdef struct TileShare:          # what one thread of a team does of a tile
    Range lanes, lane_columns   # in a pass that adds up
    Range rows                  # in another pass
    Range columns               # between two passes


cdef inline TileShare share_of_tile(const Team* team, Py_ssize_t n, Py_ssize_t columns) noexcept nogil:
    cdef TileShare share
    cdef int with_lanes = min(team.threads, <int> LANES), groups = team.threads // with_lanes
    share.lanes = part_of(LANES, 1, team.index % with_lanes, with_lanes)
    share.lane_columns = Range(0, 0)
    if team.index < groups * with_lanes:
        share.lane_columns = part_of(columns, LANES, team.index // with_lanes, groups)
    share.rows = part_of(n, LANES, team.index, team.threads)
    share.columns = part_of(columns, LANES, team.index, team.threads)
    return share


cdef inline Strip rows_from(const Problem* p, const Operand* op, const Tile* tile, Py_ssize_t j) noexcept nogil:
    return Strip(locate_column(p, op, tile.first) + j * op.n, op.n)


# ------------------------------------------------------------------------------------------------- passes

cdef inline void add_part_of_rows(const Problem* p, const Plan* plan, const Tile* tile, const TileShare* share,
                                  bint of_exp, bint hides, Range part, Py_ssize_t stride, const Constants& constants,
                                  double* lanes, Workspace* w) noexcept nogil:
    """Add rows of diff_dst, or of exp of src, to the lanes of a thread."""
    # Where it hides, the counts are marks by now.
    cdef Counted counted = Counted.NOTHING if hides else counted_for(p.form, p.out.dtype)
    cdef Format read = arithmetic_format(plan.in_double) if of_exp else plan.format
    cdef Py_ssize_t c = share.lane_columns.first, width = min(tile.width, share.lane_columns.last) - c
    cdef Py_ssize_t size = size_of(plan.format), j, lane, count
    cdef Py_ssize_t padded = share.lane_columns.last - c    # what no row reaches is to be 0
    cdef double* lanes_hi = lanes + c
    cdef double* lanes_lo = lanes + LANES * stride + c
    cdef Constants of_columns = from_column(plan.in_double, constants, c)
    cdef Strip x, e = Strip(<char*> w.result, round_up(width, LANES) * real_size(plan.in_double))
    for lane in range(share.lanes.first, share.lanes.last):
        memset(lanes_hi + lane * stride, 0, padded * sizeof(double))
        if plan.in_double:
            memset(lanes_lo + lane * stride, 0, padded * sizeof(double))
    j = part.first
    while j < part.last and not p.stopped:
        for lane in range(share.lanes.first, min(share.lanes.last, part.last - j)):
            count = min(<Py_ssize_t> WIDE_ROWS_AT_ONCE, blocks(part.last - j - lane, LANES))
            x = rows_from(p, &p.src if of_exp else &p.diff_dst, tile, j + lane)
            x = Strip(x.data + c * size, LANES * x.pitch)
            if of_exp:
                exp_columns(plan.format, counted, e, x, count, width, of_columns, NULL, 0)
                x = e
            if hides:
                hide_largest(plan.in_double, e, count, round_up(width, LANES), of_columns)
            add_rows(read, x.data, x.pitch, count, width, lanes_hi + lane * stride, lanes_lo + lane * stride)
        j += WIDE_ROWS_AT_ONCE * LANES


cdef inline void sum_rows_of_tile(const Problem* p, const Plan* plan, const Tile* tile, const TileShare* share,
                                  bint of_exp, bint hides, const Constants& constants, double* hi, double* lo,
                                  Team* team) noexcept nogil:
    """The sum of each of a tile's columns, part after part. Returns when this thread's columns have theirs."""
    cdef Py_ssize_t stride = round_up(tile.width, LANES), length = part_length(p.n), start = 0
    cdef Py_ssize_t c = share.columns.first
    cdef double* lanes = team.workspaces.stage
    cdef Range part
    while start < p.n:
        part = Range(start, min(p.n, start + length))
        if start > 0:
            wait_for_team(team.timer, &team.begun)      # the lanes were being folded
        add_part_of_rows(p, plan, tile, share, of_exp, hides, part, stride, constants, lanes,
                         team.workspaces + team.index)
        wait_for_team(team.timer, &team.begun)
        end_part(plan.in_double, start == 0, lanes + c, lanes + LANES * stride + c, stride, part.last - part.first,
                 share.columns.last - c, hi + c, lo + c)
        start += length


cdef inline void write_rows_of_tile(const Problem* p, const Plan* plan, const Tile* tile, const TileShare* share,
                                    const Constants& constants, Workspace* w) noexcept nogil:
    cdef bint extreme = traits_of(p.form).has_limits and has_extreme_sum(plan.in_double, constants, tile.width)
    cdef bint lies = is_ready(&p.out, p.out.inner, plan.format) and not plan.streamed and not writes_over_operand(p)
    cdef Py_ssize_t j = share.rows.first, count
    cdef Strip y = Strip(<char*> w.result, tile.width * size_of(plan.format)), g, x
    while j < share.rows.last and not p.stopped:
        count = min(share.rows.last - j, <Py_ssize_t> WIDE_ROWS_AT_ONCE)
        g, x = rows_from(p, &p.diff_dst, tile, j), rows_from(p, &p.src, tile, j)
        if lies:
            y = rows_from(p, &p.out, tile, j)
        if write_columns(p.form, plan.format, y, g, x, False, RowsAhead(0, 0), count, tile.width, constants,
                         NULL, 0) or extreme:
            mend_columns(plan.format, y, g, x, count, tile.width, constants)
        if not lies:
            store_slab(p, plan, &p.out, tile, j, count, y, w)
        j += count
    stream_end()


# ------------------------------------------------------------------------------------------------- tiles

cdef inline void find_maxima(const Problem* p, const Plan* plan, const Tile* tile, const TileShare* share,
                             const Constants& own) noexcept nogil:
    cdef Py_ssize_t j = share.rows.first, count
    begin_maxima(plan.in_double, own, round_up(tile.width, LANES))
    while j < share.rows.last and not p.stopped:
        count = min(share.rows.last - j, <Py_ssize_t> (WIDE_ROWS_AT_ONCE * LANES))
        max_columns(plan.format, rows_from(p, &p.src, tile, j), count, tile.width, own)
        j += count


cdef inline void gather_maxima(const Plan* plan, const Range* columns, Team* team) noexcept nogil:
    """Raise the first thread's maxima of some columns by those that the others have found."""
    cdef Constants constants = from_column(plan.in_double, team.workspaces.constants.constants(), columns.first), other
    cdef int k
    for k in range(1, team.threads):
        other = from_column(plan.in_double, team.workspaces[k].constants.constants(), columns.first)
        max_columns(arithmetic_format(plan.in_double), Strip(other.values + MAXIMUM * other.pitch, 0), 1,
                    columns.last - columns.first, constants)


cdef inline void gather_counts(const Range* columns, Team* team) noexcept nogil:
    cdef double* counts = team.workspaces.constants.constants().counts
    cdef double* other
    cdef Py_ssize_t c
    cdef int k
    for k in range(1, team.threads):
        other = team.workspaces[k].constants.constants().counts
        for c in range(columns.first, columns.last):
            counts[c] += other[c]


cdef inline void one_tile(const Problem* p, const Plan* plan, const Tile* tile, Team* team) noexcept nogil:
    cdef FormTraits traits = traits_of(p.form)
    cdef Workspace* w = team.workspaces + team.index
    cdef Constants constants = team.workspaces.constants.constants(), own = w.constants.constants()
    cdef Constants counting = constants, mine
    cdef TileShare share = share_of_tile(team, p.n, round_up(tile.width, LANES))
    cdef Py_ssize_t first = share.columns.first, count = share.columns.last - first, c
    counting.counts = own.counts
    mine = from_column(plan.in_double, constants, first)
    if traits.needs_exp:
        find_maxima(p, plan, tile, &share, own)
    if traits.has_gradient:
        sum_rows_of_tile(p, plan, tile, &share, False, False, constants, constants.diff_dst_hi, constants.diff_dst_lo,
                         team)
        if plan.in_double:
            for c in range(first, min(share.columns.last, tile.width)):
                if not is_finite(constants, c):         # asked first, for locate_column divides
                    mend_sum(p, locate_column(p, &p.diff_dst, tile.first + c), constants, c)
    else:
        wait_for_team(team.timer, &team.begun)
    if traits.needs_exp:
        gather_maxima(plan, &share.columns, team)
    set_first_constants(plan.in_double, p.form, mine, count, p.n)
    wait_for_team(team.timer, &team.begun)
    if traits.needs_exp:
        sum_rows_of_tile(p, plan, tile, &share, True, False, counting, constants.exps_hi, constants.exps_lo, team)
        gather_counts(&share.columns, team)
        if p.form == Form.BACKWARD_SRC:
            mark_little_rests(plan.in_double, counted_for(p.form, p.out.dtype), mine, count, p.n)
            wait_for_team(team.timer, &team.begun)
            if has_marks(constants, tile.width):
                sum_rows_of_tile(p, plan, tile, &share, True, True, constants, constants.exps_hi, constants.exps_lo,
                                 team)
        set_last_constants(plan.in_double, p.form, mine, count)
        wait_for_team(team.timer, &team.begun)
    write_rows_of_tile(p, plan, tile, &share, constants, w)
    wait_for_team(team.timer, &team.begun)          # then the constants may be those of another tile


cdef inline Py_ssize_t tiles_of(const Problem* p, const Plan* plan) noexcept nogil:
    return plan.count // p.inner * blocks(p.inner, plan.together)


cdef inline void share_of_tiles(const Problem* p, const Plan* plan, Py_ssize_t start, Py_ssize_t stop,
                                Team team) noexcept nogil:
    cdef Py_ssize_t tiles = blocks(p.inner, plan.together), i, c
    cdef Tile tile
    cdef Range rows
    for i in range(start, stop):
        c = i % tiles * plan.together
        tile = Tile(i // tiles * p.inner + c, min(plan.together, p.inner - c))
        one_tile(p, plan, &tile, &team)
    if team.timer != NULL:
        rows = part_of(p.n, LANES, team.index, team.threads)
        team.timer.end_share(team.begun, (rows.last - rows.first) * (stop - start))


cdef inline void timed_share_of_tiles(const Problem* p, const Plan* plan, Py_ssize_t start, Py_ssize_t stop,
                                      Workspace* w, TeamTimer* timer) noexcept nogil:
    cdef double begun = openmp_time()
    share_of_tiles(p, plan, start, stop, Team(w, 0, 1, NULL, 0))
    timer.end_share(begun, (stop - start) * p.n)


cdef inline void walk_tall(const Problem* p, const Plan* plan, Workspace* workspaces, TeamTimer* timer) noexcept nogil:
    cdef Py_ssize_t tiles = tiles_of(p, plan), i
    cdef int threads = plan.threads
    if threads == 1:
        share_of_tiles(p, plan, 0, tiles, Team(workspaces, 0, 1, NULL, 0))
        return
    timer.start()
    if tiles % threads == 0 or tiles > MANY_TILES * threads:
        for i in prange(threads, schedule="static", num_threads=threads):
            timed_share_of_tiles(p, plan, tiles * i // threads, tiles * (i + 1) // threads, workspaces + i, timer)
    else:
        with parallel(num_threads=threads):
            share_of_tiles(p, plan, 0, tiles, Team(workspaces, threadid(), openmp_team(), timer, openmp_time()))
    timer.stop(tiles * p.n)
