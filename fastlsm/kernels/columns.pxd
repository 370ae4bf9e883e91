"""The walk over columns: vectors run across neighbouring rows, a tile of columns after the other.

A column is one softmax here, and a row is one place along the axis. Columns are numbered through all of `outer`: column
q is [q // inner, :, q % inner]. A tile is a range of neighbouring columns. In scratch a row of a tile is adjacent.
Beyond the tile's width it goes on to a multiple of LANES, and these columns are computed in vain.

A tile that the caches keep is computed where it lies. Another tile is loaded to scratch, where possible while the tile
before it is computed. A tile that does not fit into scratch is loaded in slabs, some of its rows at a time, once for
each pass. A vector that lies in two cache lines takes twice as long. So scratch begins at a line, and no tile crosses
the end of `inner` if that is at least LEAST_WIDE_RUN.
"""

from cython.parallel cimport prange

from fastlsm.kernels.convert cimport clear_unused, load_turned, store_turned
from fastlsm.kernels.loops cimport (
    Constants, Copy, RowsAhead, Strip, TeamTimer, begin_maxima, copy_rows, exp_columns, expect_hidden,
    has_extreme_sum, hide_largest, load_elements, mark_little_rests, max_columns, mend_columns, openmp_time,
    prefetch, set_first_constants, set_last_constants, store_elements, stream_copy, stream_end, sum_slab,
    sum_where_it_lies, write_columns, write_few,
)
from fastlsm.kernels.overflow cimport is_finite, mend_sum
from fastlsm.kernels.plan cimport Plan, columns_in_one_go, is_ready, is_turned, stage_elements
from fastlsm.kernels.problem cimport (
    LANES, Counted, Form, FormTraits, Format, Operand, Problem, arithmetic_format, blocks, counted_for, is_narrow,
    locate, part_length, real_size, round_up, size_of, traits_of, writes_from_exp,
)
from fastlsm.kernels.workspace cimport Workspace

cdef extern from "workspace.hpp" nogil:
    enum:
        RESULT_BYTES

cdef extern from "tuning.hpp" nogil:
    enum:
        MANY_CONSTANTS, NEAR_RUN, ROWS_AHEAD, SLAB, STAGE, WIDE_ROWS_AT_ONCE, WIDEST_TILE


cdef struct Tile:
    Py_ssize_t first, width     # columns

cdef struct Source:             # where a tile's rows of an operand, of exp, or of the result are
    Strip strip
    bint lies                   # where the operand itself lies; else in scratch
    bint whole                  # all rows are there; else those of one slab at a time

cdef struct Place:
    Tile tile
    Py_ssize_t columns          # of a row in scratch
    Source summed               # diff_dst as the first pass reads it
    Source diff_dst             # diff_dst as the last pass reads it
    Source src
    Source exps
    Source out
    bint is_loaded              # scratch holds its rows already
    bint keeps_exp              # the last pass finds all exp in scratch


# ---------------------------------------------------------------------------------------------- load and store

cdef inline char* locate_column(const Problem* p, const Operand* op, Py_ssize_t q) noexcept nogil:
    return locate(p, op, q // p.inner) + q % p.inner * op.inner


cdef inline Py_ssize_t run_at(const Problem* p, const Tile* tile, Py_ssize_t c) noexcept nogil:
    """How many columns from the tile's c-th on are neighbours in memory."""
    return min(tile.width - c, p.inner - (tile.first + c) % p.inner)


cdef inline bint is_in_one_run(const Problem* p, const Tile* tile) noexcept nogil:
    return tile.first % p.inner + tile.width <= p.inner


cdef inline Strip beside(Strip strip, Py_ssize_t bytes) noexcept nogil:
    return Strip(strip.data + bytes, strip.pitch)


cdef inline void load_slab(const Problem* p, const Plan* plan, const Operand* op, const Tile* tile, Py_ssize_t start,
                           Py_ssize_t height, Strip to, Workspace* w) noexcept nogil:
    """`height` rows of a tile, from row `start` on."""
    cdef Py_ssize_t size = size_of(plan.format), c = 0, i, run
    cdef const char* at
    while c < tile.width:
        run = run_at(p, tile, c)
        at = locate_column(p, op, tile.first + c) + start * op.n
        if is_ready(op, op.inner, plan.format):
            copy_rows(to.data + c * size, to.pitch, at, op.n, height, run * size, 0 if plan.wide else ROWS_AHEAD)
        elif is_turned(op, op.inner):
            load_turned(plan.in_double, op, at, op.inner, height, run, beside(to, c * size), w.flat)
        else:
            for i in range(height):
                if op.inner == op.itemsize and not plan.wide:
                    prefetch(at + (i + ROWS_AHEAD) * op.n, run * op.itemsize)
                load_elements(plan.in_double, to.data + i * to.pitch + c * size, op.dtype, at + i * op.n, op.inner, run)
        c += run
    clear_unused(to, height, tile.width * size)


cdef inline void store_slab(const Problem* p, const Plan* plan, const Operand* op, const Tile* tile, Py_ssize_t start,
                            Py_ssize_t height, Strip x, Workspace* w) noexcept nogil:
    cdef Py_ssize_t size = size_of(plan.format), c = 0, i, run
    cdef char* at
    while c < tile.width:
        run = run_at(p, tile, c)
        at = locate_column(p, op, tile.first + c) + start * op.n
        if is_ready(op, op.inner, plan.format):
            if plan.streamed and op.n == x.pitch == run * size:
                stream_copy(at, x.data, height * run * size)
            elif plan.streamed:
                for i in range(height):
                    stream_copy(at + i * op.n, x.data + i * x.pitch + c * size, run * size)
            else:
                copy_rows(at, op.n, x.data + c * size, x.pitch, height, run * size, 0)
        elif is_turned(op, op.inner):
            store_turned(plan.in_double, plan.streamed, op, at, height, run, beside(x, c * size), w.flat)
        else:
            for i in range(height):
                store_elements(plan.in_double, x.data + i * x.pitch + c * size, op.dtype, at + i * op.n, op.inner, run)
        c += run


# ------------------------------------------------------------------------------------------------- places

cdef inline Py_ssize_t slab_height(const Problem* p, const Plan* plan, Py_ssize_t j, Py_ssize_t columns) noexcept nogil:
    """Rows from j on that are loaded and computed together: whole rounds of the lanes, within a part."""
    cdef Py_ssize_t n = p.n, part = part_length(n)
    cdef Py_ssize_t most = (stage_elements(plan.in_double) if plan.wide else SLAB) // columns
    if n <= most:
        return n
    return min(max(most // LANES, <Py_ssize_t> 1) * LANES, min(n, (j // part + 1) * part) - j)


cdef inline Strip rows_of(const Source* source, Py_ssize_t slab, Py_ssize_t i) noexcept nogil:
    """From row i on of the slab that begins with row `slab`."""
    return Strip(source.strip.data + ((slab if source.whole else 0) + i) * source.strip.pitch, source.strip.pitch)


cdef inline Source lying(const Problem* p, const Operand* op, const Tile* tile) noexcept nogil:
    return Source(Strip(locate_column(p, op, tile.first), op.n), True, True)


cdef enum:
    OF_DIFF_DST, OF_SRC


cdef inline char* stage_of(const Plan* plan, int operand, Py_ssize_t half, Workspace* w) noexcept nogil:
    """Where a tile of an operand is loaded. If the next tile is loaded meanwhile, the two use alternate halves.

    Narrow operands take half of the place; exp has the rest.
    """
    cdef Py_ssize_t size = STAGE // 2 if is_narrow(plan.format) else STAGE
    return <char*> (w.stage + operand * size + half * (size // 2))


cdef inline Place find_place(const Problem* p, const Plan* plan, const Tile* tile, bint is_loaded, Py_ssize_t half,
                             Workspace* w) noexcept nogil:
    """An operand that is ready is read where it lies if it is read once, is near, or does not fit into scratch."""
    cdef Place at
    cdef FormTraits traits = traits_of(p.form)
    cdef Py_ssize_t columns = round_up(tile.width, LANES), pitch = columns * size_of(plan.format)
    cdef bint whole = p.n * columns <= stage_elements(plan.in_double)
    cdef bint near = plan.near and columns <= NEAR_RUN and (whole or not traits.needs_exp)
    cdef Py_ssize_t exp_pitch = columns * real_size(plan.in_double)
    at.tile = tile[0]
    at.columns = columns
    at.is_loaded = is_loaded
    at.keeps_exp = whole and writes_from_exp(p.form)
    at.summed = Source(Strip(stage_of(plan, OF_DIFF_DST, half, w), pitch), False, whole)
    at.diff_dst = at.summed
    at.src = Source(Strip(stage_of(plan, OF_SRC, half, w), pitch), False, whole)
    # Narrow operands leave exp a place of its own. Otherwise exp overwrites src if all of exp is kept, and else
    # diff_dst, which the last pass loads again.
    at.exps = Source(Strip(<char*> w.stage, exp_pitch), False, at.keeps_exp)
    if is_narrow(plan.format):
        at.exps.strip.data = <char*> (w.stage + STAGE)
    elif at.keeps_exp:
        at.exps.strip.data = at.src.strip.data
    at.out = Source(Strip(<char*> w.result, pitch), False, False)
    if is_in_one_run(p, tile):
        if (
            traits.has_gradient and (near or not whole)
            and is_ready(&p.diff_dst, p.diff_dst.inner, plan.format)
        ):
            at.diff_dst = lying(p, &p.diff_dst, tile)
            if near:
                at.summed = at.diff_dst
        if is_ready(&p.src, p.src.inner, plan.format) and (
            not traits.needs_exp or (near or not whole) and tile.width == columns
        ):
            at.src = lying(p, &p.src, tile)
        if is_ready(&p.out, p.out.inner, plan.format) and not plan.streamed:
            if not (at.src.lies and p.out.data == p.src.data or at.diff_dst.lies and p.out.data == p.diff_dst.data):
                at.out = lying(p, &p.out, tile)
    return at


cdef inline void fetch(const Problem* p, const Plan* plan, const Operand* op, const Place* at, const Source* to,
                       Py_ssize_t slab, Py_ssize_t height, Workspace* w) noexcept nogil:
    """Load rows of a tile unless they are read where they lie."""
    if not to.lies:
        load_slab(p, plan, op, &at.tile, slab, height, rows_of(to, slab, 0), w)


cdef inline void fetch_first(const Problem* p, const Plan* plan, const Operand* op, const Place* at, const Source* to,
                             Py_ssize_t slab, Py_ssize_t height, Workspace* w) noexcept nogil:
    """The same for the first time, when the rows may be loaded already."""
    if at.is_loaded and not to.lies:
        clear_unused(rows_of(to, slab, 0), height, at.tile.width * size_of(plan.format))
    else:
        fetch(p, plan, op, at, to, slab, height, w)


# ------------------------------------------------------------------------------------------------- passes

cdef inline void reduce_tile(const Problem* p, const Plan* plan, const Place* at, const Constants& constants,
                             Workspace* w) noexcept nogil:
    """First pass: the sum of diff_dst and the maximum of src."""
    cdef FormTraits traits = traits_of(p.form)
    cdef bint sums = traits.has_gradient and not at.summed.lies
    # Tiles of double are half as wide, so that both sets of lanes fit. float has one set.
    cdef double* lanes_lo = w.lanes + LANES * WIDEST_TILE // 2
    cdef Py_ssize_t j = 0, c, height
    cdef Strip x
    for c in range(at.columns):
        constants.diff_dst_hi[c] = constants.diff_dst_lo[c] = 0
    if traits.needs_exp:
        begin_maxima(plan.in_double, constants, at.columns)
    if traits.has_gradient and not sums:
        sum_where_it_lies(
            plan.format, at.summed.strip.data, at.summed.strip.pitch, p.n, at.tile.width, at.columns, w.lanes, lanes_lo,
            constants.diff_dst_hi, constants.diff_dst_lo)
    while j < p.n and not p.stopped:
        height = slab_height(p, plan, j, at.columns)
        if sums:
            fetch_first(p, plan, &p.diff_dst, at, &at.summed, j, height, w)
            x = rows_of(&at.summed, j, 0)
            sum_slab(plan.format, x.data, x.pitch, p.n, j, height, at.columns, w.lanes, lanes_lo, constants.diff_dst_hi,
                     constants.diff_dst_lo)
        if traits.needs_exp:
            fetch_first(p, plan, &p.src, at, &at.src, j, height, w)
            max_columns(plan.format, rows_of(&at.src, j, 0), height, at.columns, constants)
        j += height
    if plan.in_double and traits.has_gradient:
        for c in range(at.tile.width):
            if not is_finite(constants, c):         # asked first, for locate_column divides
                mend_sum(p, locate_column(p, &p.diff_dst, at.tile.first + c), constants, c)


cdef inline void exp_tile(const Problem* p, const Plan* plan, const Place* at, const Copy* next,
                          const Constants& constants, Workspace* w) noexcept nogil:
    """Second pass: exp and its sum."""
    cdef Format arithmetic = arithmetic_format(plan.in_double)
    cdef Py_ssize_t j = 0, c, height
    cdef Strip e
    for c in range(at.columns):
        constants.exps_hi[c] = constants.exps_lo[c] = constants.counts[c] = 0
    while j < p.n and not p.stopped:
        height = slab_height(p, plan, j, at.columns)
        if not at.src.whole:
            fetch(p, plan, &p.src, at, &at.src, j, height, w)
        e = rows_of(&at.exps, j, 0)
        exp_columns(plan.format, counted_for(p.form, p.out.dtype), e, rows_of(&at.src, j, 0), height, at.columns,
                    constants, next, j)
        sum_slab(arithmetic, e.data, e.pitch, p.n, j, height, at.columns, w.lanes, w.lanes + LANES * WIDEST_TILE // 2,
                 constants.exps_hi, constants.exps_lo)
        j += height


cdef inline void sum_others_of_tile(const Problem* p, const Plan* plan, const Place* at, const Constants& constants,
                                    Workspace* w) noexcept nogil:
    """The sums of exp once more, without those of the classes of LARGEST that leave little."""
    cdef Format arithmetic = arithmetic_format(plan.in_double)
    cdef Py_ssize_t j = 0, c, height
    cdef Strip e
    for c in range(at.columns):
        constants.exps_hi[c] = constants.exps_lo[c] = 0
    while j < p.n and not p.stopped:
        height = slab_height(p, plan, j, at.columns)
        e = rows_of(&at.exps, j, 0)
        if not at.keeps_exp:
            fetch(p, plan, &p.src, at, &at.src, j, height, w)
            exp_columns(plan.format, Counted.NOTHING, e, rows_of(&at.src, j, 0), height, at.columns, constants, NULL, 0)
        hide_largest(plan.in_double, e, height, at.columns, constants)
        sum_slab(arithmetic, e.data, e.pitch, p.n, j, height, at.columns, w.lanes, w.lanes + LANES * WIDEST_TILE // 2,
                 constants.exps_hi, constants.exps_lo)
        j += height


cdef inline void write_tile(const Problem* p, const Plan* plan, const Place* at, bint extreme,
                            const Copy* next, const Constants& constants, Workspace* w) noexcept nogil:
    """Last pass: the result."""
    cdef FormTraits traits = traits_of(p.form)
    cdef const Source* from_source = &at.exps if at.keeps_exp else &at.src
    cdef RowsAhead ahead = RowsAhead(ROWS_AHEAD * p.out.n if at.out.lies else 0, 0)
    cdef Py_ssize_t columns = at.columns, j = 0, i, height, count
    # Results that do not go where they lie wait in w.result, which holds as many rows.
    cdef Py_ssize_t at_once = p.n if at.out.lies else RESULT_BYTES // at.out.strip.pitch
    cdef Strip y, g, x
    if plan.wide:
        at_once = min(at_once, <Py_ssize_t> WIDE_ROWS_AT_ONCE)
    if not traits.needs_exp and at.src.lies and not plan.wide:
        ahead.src = ROWS_AHEAD * p.src.n
    if at.out.lies or at.diff_dst.lies or from_source.lies:
        columns = at.tile.width
    while j < p.n and not p.stopped:
        height = slab_height(p, plan, j, at.columns)
        if not at.keeps_exp and (not traits.needs_exp or not at.src.whole):
            fetch(p, plan, &p.src, at, &at.src, j, height, w)
        if traits.has_gradient and not at.diff_dst.whole:
            fetch(p, plan, &p.diff_dst, at, &at.diff_dst, j, height, w)
        i = 0
        while i < height:
            count = min(height - i, at_once)
            y = rows_of(&at.out, j, i if at.out.lies else 0)
            g, x = rows_of(&at.diff_dst, j, i), rows_of(from_source, j, i)
            if write_columns(p.form, plan.format, y, g, x, at.keeps_exp, ahead, count, columns, constants,
                             next, j + i) or extreme:
                mend_columns(plan.format, y, g, x, count, columns, constants)
            if not at.out.lies:
                store_slab(p, plan, &p.out, &at.tile, j + i, count, y, w)
            i += count
        j += height
    stream_end()


cdef inline const Copy* describe_copy(Copy* copy, const Problem* p, const Plan* plan, const Operand* op,
                                      const Tile* next, char* to) noexcept nogil:
    """How to load the next tile while another is computed; NULL if there is no next tile."""
    cdef Py_ssize_t size = size_of(plan.format)
    if next.width == 0:
        return NULL
    copy.source = locate_column(p, op, next.first)
    copy.source_pitch = op.n
    copy.to = to
    copy.to_pitch = round_up(next.width, LANES) * size
    copy.bytes = next.width * size
    return copy


cdef inline void one_tile(const Problem* p, const Plan* plan, const Tile* tile, bint is_loaded, const Tile* next,
                          Py_ssize_t half, Workspace* w) noexcept nogil:
    """A tile's columns, each from its first element to its last.

    It may be loaded already, to one half of the stage; meanwhile the next, if any, is loaded to the other.
    """
    cdef Place at = find_place(p, plan, tile, is_loaded, half, w)
    cdef Constants constants = w.constants.constants()
    cdef bint extreme = False, has_little = False
    cdef Copy copy
    cdef const Copy* meanwhile
    reduce_tile(p, plan, &at, constants, w)
    set_first_constants(plan.in_double, p.form, constants, at.columns, p.n)
    if traits_of(p.form).needs_exp:
        meanwhile = describe_copy(&copy, p, plan, &p.src, next, stage_of(plan, OF_SRC, 1 - half, w))
        exp_tile(p, plan, &at, meanwhile, constants, w)
        if p.form == Form.BACKWARD_SRC:
            has_little = mark_little_rests(plan.in_double, counted_for(p.form, p.out.dtype), constants, at.columns, p.n)
        if has_little:
            sum_others_of_tile(p, plan, &at, constants, w)
        set_last_constants(plan.in_double, p.form, constants, at.columns)
        if has_little and at.keeps_exp:
            expect_hidden(plan.in_double, constants, at.columns)
    if traits_of(p.form).has_limits:
        extreme = has_extreme_sum(plan.in_double, constants, at.columns)
    meanwhile = NULL
    if traits_of(p.form).has_gradient:
        meanwhile = describe_copy(&copy, p, plan, &p.diff_dst, next, stage_of(plan, OF_DIFF_DST, 1 - half, w))
    write_tile(p, plan, &at, extreme, meanwhile, constants, w)


cdef inline Strip rows_of_few(const Problem* p, const Plan* plan, const Operand* op, const Tile* tile, char* scratch,
                              Workspace* w) noexcept nogil:
    """A tile of an operand where it lies, if it can be computed there; else loaded to `scratch`."""
    cdef Strip rows = Strip(scratch, round_up(tile.width, LANES) * real_size(plan.in_double))
    if is_in_one_run(p, tile) and is_ready(op, op.inner, plan.format):
        return Strip(locate_column(p, op, tile.first), op.n)
    load_slab(p, plan, op, tile, 0, p.n, rows, w)
    return rows


cdef inline void few_tile(const Problem* p, const Plan* plan, const Tile* tile, Workspace* w) noexcept nogil:
    """A tile of few classes, in one pass."""
    cdef Strip x = rows_of_few(p, plan, &p.src, tile, stage_of(plan, OF_SRC, 0, w), w), g = x, y
    cdef bint lies = is_in_one_run(p, tile) and is_ready(&p.out, p.out.inner, plan.format) and not plan.streamed
    if traits_of(p.form).has_gradient:
        g = rows_of_few(p, plan, &p.diff_dst, tile, stage_of(plan, OF_DIFF_DST, 0, w), w)
    if lies:
        y = Strip(locate_column(p, &p.out, tile.first), p.out.n)
    else:
        y = Strip(<char*> w.result, round_up(tile.width, LANES) * real_size(plan.in_double))
    write_few(p.form, y, g, x, p.n, tile.width)
    if not lies:
        store_slab(p, plan, &p.out, tile, 0, p.n, y, w)
        stream_end()


cdef inline Py_ssize_t tiles_of(const Problem* p, const Plan* plan) noexcept nogil:
    cdef Py_ssize_t in_one_go = columns_in_one_go(p.inner, plan.count)
    return plan.count // in_one_go * blocks(in_one_go, plan.together)


cdef inline Tile tile_at(const Problem* p, const Plan* plan, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t in_one_go = columns_in_one_go(p.inner, plan.count), tiles = blocks(in_one_go, plan.together)
    cdef Py_ssize_t start = i % tiles * plan.together
    return Tile(i // tiles * in_one_go + start, min(plan.together, in_one_go - start))


cdef inline void share_of_tiles(const Problem* p, const Plan* plan, Py_ssize_t start, Py_ssize_t stop,
                                Workspace* w) noexcept nogil:
    """The tiles of one thread. The next is loaded while one is computed, if it lies as it will be in scratch."""
    cdef FormTraits traits = traits_of(p.form)
    cdef Py_ssize_t row = plan.together * real_size(plan.in_double), half = 0, i
    cdef bint loads_next = row >= MANY_CONSTANTS and 2 * p.n * plan.together <= stage_elements(plan.in_double)
    cdef bint is_loaded = False
    cdef Tile tile, next
    loads_next &= not plan.few
    if traits.has_gradient:
        loads_next &= is_ready(&p.diff_dst, p.diff_dst.inner, plan.format)
    if traits.needs_exp:
        loads_next &= is_ready(&p.src, p.src.inner, plan.format)
    for i in range(start, stop):
        next = Tile(0, 0)
        if loads_next and i + 1 < stop:
            next = tile_at(p, plan, i + 1)
        tile = tile_at(p, plan, i)
        if plan.few:
            few_tile(p, plan, &tile, w)
            continue
        one_tile(p, plan, &tile, is_loaded, &next, half, w)
        if loads_next:
            half = 1 - half
        is_loaded = next.width > 0


cdef inline void timed_share_of_tiles(const Problem* p, const Plan* plan, Py_ssize_t start, Py_ssize_t stop,
                                      Workspace* w, TeamTimer* timer) noexcept nogil:
    cdef double begun = openmp_time()
    share_of_tiles(p, plan, start, stop, w)
    timer.end_share(begun, stop - start)


cdef inline void walk_columns(const Problem* p, const Plan* plan, Workspace* workspaces,
                              TeamTimer* timer) noexcept nogil:
    cdef Py_ssize_t tiles = tiles_of(p, plan), i
    cdef int threads = plan.threads
    if threads > 1:
        timer.start()
        for i in prange(threads, schedule="static", num_threads=threads):
            timed_share_of_tiles(p, plan, tiles * i // threads, tiles * (i + 1) // threads, workspaces + i, timer)
        timer.stop(tiles)
    else:
        share_of_tiles(p, plan, 0, tiles, workspaces)
