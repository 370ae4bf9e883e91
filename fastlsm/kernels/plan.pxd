"""The plan: from a problem to which walk computes it, how wide its tiles are, and how many rows go together.

`plan_for` only reads the problem; `arrange` then orders the problem's axes as the plan says. `python tests/plans.py`
prints the plans of a grid of shapes.
"""

from fastlsm.kernels.layout cimport distance
from fastlsm.kernels.problem cimport (
    LANES, DType, Form, Format, Operand, Problem, arithmetic_format, blocks, caches, format_of, has_quick_ends,
    is_narrow, part_length, round_up, traits_of, writes_from_exp,
)

cdef extern from "item.hpp" nogil:
    const bint HAS_MASKS "Item<float>::QUICK_ENDS"
    const bint HAS_MASKS_OF_16_BITS "Item<f16>::QUICK_ENDS"
    const bint HAS_QUICK_PICK "Isa::QUICK_PICK"

cdef extern from "tuning.hpp" nogil:
    enum:
        FEW_COLUMNS, FLAT_ELEMENTS, FLAT_ROW, FLAT_ROW_BESIDE_MASKS, KEPT_ROW, LEAST_DST_ROW_READ_AHEAD, LEAST_FLAT_RUN,
        LEAST_INTERLEAVED, LEAST_INTERLEAVED_DST, LEAST_NEAR, LEAST_READ_AHEAD, LEAST_STREAMED_ROW, LEAST_STREAMED_RUN,
        LEAST_TALL, LEAST_TALL_COLUMNS, LEAST_TALL_DST, LEAST_TALL_TILE, LEAST_WIDE_RUN, LONGER_PACKED_ROW,
        MOST_FLAT_ROWS, MOST_INTERLEAVED, MOST_TOGETHER, NARROWEST_TILE, NEAR_RUN, NEAR_TILE, PACKED_ROW, SLAB,
        TOGETHER_ELEMENTS, TURNED_DST_ROW, TURNED_READY_ROW, TURNED_ROW, WIDEST_TALL_TILE, WIDEST_TILE


cdef enum class Walk:
    ROWS                        # one after the other, in parts and chunks
    BATCHES                     # some rows together, where they lie
    FLAT                        # short rows as one run of elements, where they lie or packed
    COLUMNS                     # tiles of neighbouring columns
    INTERLEAVED                 # neighbouring columns that are all of one run of memory, and few
    TALL                        # long columns: row by row, as memory has them, once for each pass

cdef struct Plan:
    Walk walk
    bint in_double              # the arithmetic
    Format format               # how the loops read elements: of the operands where they lie, else of scratch
    Py_ssize_t count            # rows or columns
    Py_ssize_t together         # rows that go together, or columns of a tile
    int threads
    bint ahead                  # rows come from afar: loops ask for elements ahead of their use
    bint reads_next             # while a row is computed, the next one is reduced
    bint exchanged              # columns are counted along `outer`, for along `inner` there is only one
    bint near                   # tiles are computed where they lie, in the caches
    bint streamed               # results go past the caches
    bint few                    # rows of few classes, which few_classes.hpp computes
    bint wide                   # tiles come from afar in long runs, in which processors read ahead themselves


cdef inline bint is_ready(const Operand* op, Py_ssize_t stride, Format format) noexcept nogil:
    """Whether the loops can compute on an operand where it lies, along the axis of that stride."""
    return stride == op.itemsize and format_of(op.dtype) == format


cdef inline Py_ssize_t row_stride(const Problem* p, const Operand* op) noexcept nogil:
    """Bytes from a row to the next, before `arrange`."""
    return op.outer if p.inner == 1 else op.inner


cdef inline Py_ssize_t stage_elements(bint in_double) noexcept nogil:
    """Elements of the arithmetic's type that an operand's half of the stage holds."""
    return caches.stage if in_double else 2 * caches.stage


cdef inline Py_ssize_t columns_in_one_go(Py_ssize_t inner, Py_ssize_t count) noexcept nogil:
    """How many columns are cut into tiles together. A tile within `inner` is read and written where it lies."""
    return inner if inner >= LEAST_WIDE_RUN else count


cdef inline Format common_format(const Problem* p, Format arithmetic, bint adjacent) noexcept nogil:
    """The layout of all operands if they are adjacent and of one dtype, else the arithmetic's."""
    cdef bint alike = p.diff_dst.dtype == p.out.dtype and p.src.dtype == p.out.dtype
    return format_of(p.out.dtype) if alike and adjacent else arithmetic


cdef inline Py_ssize_t longest_turned_row(const Problem* p, const Plan* plan, bint ready) noexcept nogil:
    """Rows up to this length are computed as columns, turned on loading and on storing."""
    cdef bint quick_end = has_quick_ends(plan.format) or HAS_MASKS and p.n % LANES == 0
    cdef Py_ssize_t longest
    if not ready:
        return TURNED_ROW
    if HAS_MASKS_OF_16_BITS:
        return TURNED_READY_ROW if traits_of(p.form).needs_exp else TURNED_DST_ROW
    longest = TURNED_ROW if traits_of(p.form).needs_exp and not quick_end else FLAT_ROW
    if plan.in_double:
        return longest // 2
    return longest - longest // 4 if is_narrow(plan.format) else longest


cdef inline bint has_gaps(const Problem* p, const Operand* op) noexcept nogil:
    """Whether rows are not adjacent to each other."""
    return row_stride(p, op) != p.n * op.itemsize


cdef inline Py_ssize_t longest_flat_row(const Problem* p, const Plan* plan) noexcept nogil:
    """Rows up to this length are gone through as one run. Those that have gaps between them are packed for that."""
    cdef Py_ssize_t longest = FLAT_ROW_BESIDE_MASKS if HAS_MASKS_OF_16_BITS and not plan.in_double else FLAT_ROW
    cdef int packed = has_gaps(p, &p.src) + has_gaps(p, &p.out)
    if traits_of(p.form).has_gradient:
        packed += has_gaps(p, &p.diff_dst)
    if packed == 0:
        return longest
    if is_narrow(plan.format):          # beside masks, batches of the dst form are as quick from 16 elements on
        return longest // 2 if HAS_MASKS_OF_16_BITS and not traits_of(p.form).needs_exp else longest - longest // 4
    # Other rows can be turned to columns where they lie.
    return LONGER_PACKED_ROW if packed == 1 and not writes_from_exp(p.form) else PACKED_ROW


cdef inline bint is_flat(const Problem* p, const Plan* plan, bint ready) noexcept nogil:
    """Whether rows are so short that they are gone through as one run, where they lie or packed."""
    cdef Py_ssize_t evenly = p.outer if p.inner == 1 else p.inner       # rows, each as far from the one before it
    if not (HAS_QUICK_PICK and ready and plan.count >= FEW_COLUMNS):
        return False
    if evenly != plan.count and evenly * p.n < LEAST_FLAT_RUN:
        return False
    return p.n <= longest_flat_row(p, plan)


cdef inline bint has_few_classes(const Problem* p, const Plan* plan) noexcept nogil:
    """Whether few_classes.hpp computes the rows. Its bits differ, so this depends on form, n and dtypes alone."""
    return not plan.in_double and 1 < p.n <= traits_of(p.form).few_classes


cdef inline bint is_along(const Operand* op) noexcept nogil:
    """Whether an operand's elements along the axis are not farther apart than along `inner`."""
    return op.n == op.itemsize or distance(op.n) <= distance(op.inner)


cdef inline bint reads_next(const Problem* p, const Plan* plan, bint ready) noexcept nogil:
    """Whether a row is reduced while the row before it is computed, so that memory and arithmetic overlap.

    Rows of narrow elements wait little for memory: of them only the dst form's are.
    """
    if p.n > KEPT_ROW:                      # such rows are not loaded as a whole
        return not is_narrow(plan.format)
    if not traits_of(p.form).needs_exp:
        return plan.ahead and p.n >= LEAST_DST_ROW_READ_AHEAD
    return ready and not is_narrow(plan.format) and p.n * p.src.itemsize >= LEAST_READ_AHEAD


cdef inline Py_ssize_t inner_stride(const Operand* op, const Plan* plan) noexcept nogil:
    return op.outer if plan.exchanged else op.inner


cdef inline bint is_turned(const Operand* op, Py_ssize_t inner) noexcept nogil:
    """Whether elements along the axis are nearer to each other than columns, which are `inner` apart."""
    return distance(op.n) < distance(inner)


cdef inline bint is_ready_along_inner(const Problem* p, const Plan* plan) noexcept nogil:
    """Whether rows of a tile can be computed where they lie."""
    return (
        is_ready(&p.diff_dst, inner_stride(&p.diff_dst, plan), plan.format)
        and is_ready(&p.src, inner_stride(&p.src, plan), plan.format)
    )


cdef inline Py_ssize_t widest_tall(const Plan* plan) noexcept nogil:
    return WIDEST_TILE if plan.in_double else WIDEST_TALL_TILE


cdef inline Py_ssize_t tile_width(const Problem* p, const Plan* plan, Py_ssize_t inner) noexcept nogil:
    """The columns of a tile: the caches keep as many, and each thread gets a tile."""
    cdef Py_ssize_t n = p.n, in_one_go = columns_in_one_go(inner, plan.count), room = stage_elements(plan.in_double)
    cdef Py_ssize_t widest = (WIDEST_TILE // 2 if plan.in_double else WIDEST_TILE) if plan.wide else NEAR_TILE
    cdef Py_ssize_t most = min(max((room if plan.wide else SLAB) // n, <Py_ssize_t> NARROWEST_TILE),
                               widest) // LANES * LANES
    cdef bint in_place = p.form != Form.BACKWARD_SRC and (p.form != Form.LOG_SOFTMAX or inner % LANES == 0)
    cdef Py_ssize_t sets, share, tiles
    if plan.near and not traits_of(p.form).needs_exp:     # it needs no scratch but the lanes
        most = NEAR_RUN if inner <= NEAR_RUN else NARROWEST_TILE
    elif plan.wide and inner <= widest and n * inner > room and in_place and is_ready_along_inner(p, plan):
        most = widest                       # all of inner: a tile is one run of memory, computed where it lies
    elif plan.wide and inner <= widest_tall(plan) and n * round_up(inner, LANES) <= room:
        most = widest_tall(plan)            # the same, loaded to scratch
    elif room < n * most <= 2 * room:       # half as wide, a tile need not be loaded twice
        most //= 2
    elif n * most > room:                   # it is loaded twice, and then long runs are worth more than the cache
        most = widest
    sets = min(plan.count // in_one_go, <Py_ssize_t> plan.threads)
    share = blocks(plan.threads, sets)
    tiles = blocks(blocks(in_one_go, most), share) * share
    return round_up(blocks(in_one_go, tiles), LANES)


cdef inline void plan_flat_rows(const Problem* p, Plan* plan) noexcept nogil:
    plan.walk = Walk.FLAT
    plan.together = min(FLAT_ELEMENTS // p.n, min(blocks(plan.count, plan.threads), <Py_ssize_t> MOST_FLAT_ROWS))
    plan.together = round_up(plan.together, LANES)


cdef inline bint is_interleaved(const Problem* p, const Plan* plan) noexcept nogil:
    """Whether the rows of an outer place are few, and one run of memory. They are counted along `inner`."""
    cdef Py_ssize_t item = p.out.itemsize
    cdef Py_ssize_t least = LEAST_INTERLEAVED if traits_of(p.form).needs_exp else LEAST_INTERLEAVED_DST
    if not 1 < p.inner <= MOST_INTERLEAVED or p.n < least:
        return False
    return (
        p.diff_dst.dtype == p.out.dtype and p.src.dtype == p.out.dtype
        and p.diff_dst.inner == item and p.src.inner == item and p.out.inner == item
        and p.diff_dst.n == item * p.inner and p.src.n == item * p.inner and p.out.n == item * p.inner
    )


cdef inline void plan_interleaved(const Problem* p, Plan* plan) noexcept nogil:
    plan.walk = Walk.INTERLEAVED
    plan.format = format_of(p.out.dtype)
    plan.together = p.inner


cdef inline bint is_tall(const Problem* p, const Plan* plan, Py_ssize_t inner) noexcept nogil:
    """Whether to go through columns row by row, and to read them again for each pass."""
    cdef Py_ssize_t elements = p.n * inner
    if inner < LEAST_TALL_COLUMNS or not is_ready_along_inner(p, plan):
        return False
    if is_turned(&p.out, inner_stride(&p.out, plan)):
        return False
    if not traits_of(p.form).needs_exp:
        return p.n >= LEAST_TALL_DST and elements >= LEAST_TALL_TILE
    if writes_from_exp(p.form) and not p.out.far:           # a tile of columns keeps exp
        return min(elements, p.n * NARROWEST_TILE) > 2 * stage_elements(plan.in_double)
    return p.n >= LEAST_TALL


cdef inline Py_ssize_t tall_tile_width(const Plan* plan, Py_ssize_t inner) noexcept nogil:
    return round_up(blocks(inner, blocks(inner, widest_tall(plan))), LANES)


cdef inline void plan_columns(const Problem* p, Plan* plan, Format arithmetic, bint in_chunks) noexcept nogil:
    cdef Py_ssize_t inner
    cdef bint turned, adjacent
    plan.walk = Walk.COLUMNS
    plan.exchanged = p.inner == 1
    inner = p.outer if plan.exchanged else p.inner
    turned = (
        is_turned(&p.diff_dst, inner_stride(&p.diff_dst, plan))
        or is_turned(&p.src, inner_stride(&p.src, plan))
        or is_turned(&p.out, inner_stride(&p.out, plan))
    )
    adjacent = (
        inner_stride(&p.diff_dst, plan) == p.diff_dst.itemsize
        and inner_stride(&p.src, plan) == p.src.itemsize
        and inner_stride(&p.out, plan) == p.out.itemsize
    )
    plan.format = common_format(p, arithmetic, adjacent and not turned)
    plan.wide = p.out.far and inner >= LEAST_WIDE_RUN and not turned
    # Shorter columns are cheaper to copy to scratch.
    plan.near = not plan.wide and not plan.in_double and LEAST_NEAR <= p.n <= part_length(p.n)
    plan.near &= is_ready_along_inner(p, plan)
    if not in_chunks and is_tall(p, plan, inner):
        plan.walk = Walk.TALL
        plan.together = tall_tile_width(plan, inner)
    else:
        plan.together = tile_width(p, plan, inner)


cdef inline void plan_rows(const Problem* p, Plan* plan, bint ready) noexcept nogil:
    cdef Py_ssize_t longest = TOGETHER_ELEMENTS // 2 if is_narrow(plan.format) else TOGETHER_ELEMENTS // 4
    plan.reads_next = reads_next(p, plan, ready)
    if ready and p.n <= longest:
        plan.together = (TOGETHER_ELEMENTS // 2 if plan.in_double else TOGETHER_ELEMENTS) // p.n
        plan.together = min(plan.together, min(<Py_ssize_t> MOST_TOGETHER, blocks(plan.count, plan.threads)))
    plan.walk = Walk.BATCHES if plan.together > 1 else Walk.ROWS


cdef inline bint is_streamed(const Problem* p, const Plan* plan) noexcept nogil:
    """Whether results go past the caches: those that these do not keep, in runs of memory that are not short.

    A cache line that is written in part is slow to go past them.
    """
    cdef Py_ssize_t row = p.n * p.out.itemsize, pitch = row_stride(p, &p.out), neighbours = p.inner
    if not p.out.far or plan.walk == Walk.INTERLEAVED or pitch == row:
        return p.out.far
    if plan.walk != Walk.COLUMNS and plan.walk != Walk.TALL:
        return row >= LEAST_STREAMED_ROW
    if plan.exchanged:
        neighbours = p.outer
    if plan.walk == Walk.TALL and p.out.n == neighbours * p.out.itemsize:
        return True
    return (row if is_turned(&p.out, pitch) else neighbours * p.out.itemsize) >= LEAST_STREAMED_RUN


cdef inline Plan plan_for(const Problem* p, int threads, bint in_chunks) noexcept nogil:
    """The plan: here is decided between rows and columns. `in_chunks`: the rows are chunks of longer ones."""
    cdef Plan plan, columns
    cdef Format arithmetic
    cdef bint adjacent, ready, along
    cdef int d
    plan.in_double = DType.FLOAT64 in (p.diff_dst.dtype, p.src.dtype, p.out.dtype)
    arithmetic = arithmetic_format(plan.in_double)
    adjacent = p.diff_dst.n == p.diff_dst.itemsize and p.src.n == p.src.itemsize and p.out.n == p.out.itemsize
    along = is_along(&p.diff_dst) and is_along(&p.src) and is_along(&p.out)
    ready = adjacent and p.diff_dst.dtype == p.out.dtype and p.src.dtype == p.out.dtype
    plan.format = common_format(p, arithmetic, adjacent)
    plan.threads = threads
    plan.count = p.outer * p.inner
    for d in range(p.ndim):
        plan.count *= p.loops[d]
    plan.together = 1
    plan.ahead = ready and plan.count * p.n * p.out.itemsize >= caches.ahead_from
    plan.exchanged = plan.near = plan.wide = plan.reads_next = False
    plan.few = not in_chunks and has_few_classes(p, &plan)
    if is_flat(p, &plan, ready):
        plan_flat_rows(p, &plan)
    elif plan.few:
        plan_columns(p, &plan, arithmetic, in_chunks)
        plan.format = arithmetic
    elif not in_chunks and is_interleaved(p, &plan):
        plan_interleaved(p, &plan)
    elif plan.count >= FEW_COLUMNS and (p.n <= longest_turned_row(p, &plan, ready) or not along):
        plan_columns(p, &plan, arithmetic, in_chunks)
    else:
        columns = plan
        plan_rows(p, &plan, ready)
        if not along:
            plan_columns(p, &columns, arithmetic, in_chunks)
            if columns.walk == Walk.TALL:       # others are too few for vectors
                plan = columns
    plan.streamed = is_streamed(p, &plan)
    return plan


cdef inline void arrange(Problem* p, const Plan* plan) noexcept nogil:
    """Order the problem's axes as the walk counts its rows or columns; the elements stay the same."""
    cdef Operand* operands[3]
    cdef Operand* op
    operands[:] = [&p.diff_dst, &p.src, &p.out]
    if plan.walk == Walk.COLUMNS or plan.walk == Walk.TALL:
        if plan.exchanged:
            p.outer, p.inner = p.inner, p.outer
            for op in operands:
                op.outer, op.inner = op.inner, op.outer
    elif plan.walk != Walk.INTERLEAVED and p.inner > 1:     # rows are counted along `outer` and the loops
        if p.outer > 1:
            for op in operands:
                op.loops[p.ndim] = op.outer
            p.loops[p.ndim] = p.outer
            p.ndim += 1
        for op in operands:
            op.outer = op.inner
        p.outer, p.inner = p.inner, 1
