"""Rows of which this process has a chunk: their reduction to partials, and the last step from a row's totals.

The passes are those of whole rows and columns, and the plan says which. A chunk of a row is reduced part after part, so
that the caches keep a part for both of its passes. Each part has a partial, whatever the walk: bits are the same.
"""

from cpython.buffer cimport Py_buffer
from cython.parallel cimport prange
from libc.math cimport INFINITY, fabs

from fastlsm.kernels.batches cimport begin_stream
from fastlsm.kernels.columns cimport (
    Place, Tile, exp_tile, find_place, locate_column, reduce_tile, tile_at, tiles_of, write_tile,
)
from fastlsm.kernels.layout cimport is_one_axis
from fastlsm.kernels.loops cimport (
    Constants, Partial, ScaledSum, Stream, Sum, TeamTimer, has_extreme_sum, openmp_time, set_constants,
    set_exps, set_first_constants, set_maximum, set_sum, sum_of_huge,
)
from fastlsm.kernels.plan cimport Plan, Walk
from fastlsm.kernels.problem cimport MAX_DIMENSIONS, Form, Operand, Problem, blocks, locate, part_length, traits_of
from fastlsm.kernels.rows cimport Line, exp_part, line_at, max_part, sum_part, write_part
from fastlsm.kernels.workspace cimport Part, RowConstants, Workspace

# What is done to rows.
cdef enum class Job:
    REDUCE_SRC                  # the maximum and exp
    REDUCE_DIFF_DST             # the sum
    FINISH                      # the results


cdef inline void lay_out_rows(Problem* p, const Py_buffer* arrays) noexcept nogil:
    """Rows run along the last axis of diff_dst, src and out, and are counted in C order of the others."""
    cdef int axes[MAX_DIMENSIONS]               # outermost first; of merged ones the innermost, whose strides they have
    cdef Py_ssize_t extents[MAX_DIMENSIONS]
    cdef Operand* operands[3]
    cdef int last = arrays[0].ndim - 1, count = 0, i, k, d
    operands[:] = [&p.diff_dst, &p.src, &p.out]
    for d in range(last):
        if arrays[0].shape[d] == 1:
            continue
        if count > 0 and is_one_axis(arrays, axes[count - 1], d):
            count -= 1
            extents[count] *= arrays[0].shape[d]
        else:
            extents[count] = arrays[0].shape[d]
        axes[count] = d
        count += 1
    p.n = arrays[0].shape[last]
    p.inner = extents[count - 1] if count > 0 else 1
    p.outer = extents[count - 2] if count > 1 else 1
    p.ndim = max(count - 2, 0)
    for k in range(3):
        operands[k].n = arrays[k].strides[last] if p.n > 1 else arrays[k].itemsize
        operands[k].inner = arrays[k].strides[axes[count - 1]] if count > 0 else operands[k].n
        operands[k].outer = arrays[k].strides[axes[count - 2]] if count > 1 else 0
        for i in range(p.ndim):
            p.loops[i], operands[k].loops[i] = extents[i], arrays[k].strides[axes[i]]


cdef inline void set_sum_of(const Operand* op, Sum sum, const char* data, Py_ssize_t n, Partial* to) noexcept nogil:
    """Where the sum is past the range, the elements are summed once more, in another unit."""
    cdef ScaledSum scaled
    scaled.sum, scaled.unit = sum, 1
    if not (fabs(sum.hi) < INFINITY and fabs(sum.lo) < INFINITY):
        scaled = sum_of_huge(op.dtype, data, op.n, n)
    set_sum(to, scaled)


# ------------------------------------------------------------------------------------------------- along rows

cdef inline void reduce_part(const Problem* p, const Plan* plan, Job job, Py_ssize_t index, Py_ssize_t start,
                             Py_ssize_t stop, Partial* to) noexcept nogil:
    cdef RowConstants room
    cdef Constants constants = room.constants()
    cdef Line line = line_at(p, plan, &p.src, index, NULL)
    cdef Part part
    if job == Job.REDUCE_DIFF_DST:
        set_sum_of(&p.src, sum_part(p, plan, &line, start, stop), line.data + start * p.src.n, stop - start, to)
        return
    set_maximum(plan.in_double, constants, 0, max_part(p, plan, &line, start, stop, constants))
    set_first_constants(plan.in_double, p.form, constants, 1, stop - start)
    exp_part(p, plan, &line, start, stop, constants, &part, NULL, NULL, &part)
    constants.exps_hi[0], constants.exps_lo[0], constants.counts[0] = part.exps.hi, part.exps.lo, part.count
    set_exps(plan.in_double, to, constants, 0)


cdef inline void finish_part(const Problem* p, const Plan* plan, Py_ssize_t index, Py_ssize_t start, Py_ssize_t stop,
                             const Partial* totals) noexcept nogil:
    cdef RowConstants room
    cdef Constants constants = room.constants()
    cdef Line src = line_at(p, plan, &p.src, index, NULL), diff_dst = line_at(p, plan, &p.diff_dst, index, NULL)
    cdef Stream flow
    cdef char* out = locate(p, &p.out, index)
    cdef Stream* stream = begin_stream(plan, &flow, out + start * p.out.n)
    cdef Part unused
    cdef bint extreme
    set_constants(plan.in_double, p.form, constants, totals, 1, 1)
    extreme = traits_of(p.form).has_limits and has_extreme_sum(plan.in_double, constants, 1)
    write_part(p, plan, &diff_dst, &src, out, start, stop, constants, extreme, NULL, NULL, &unused, stream)
    if stream != NULL:
        stream.close()


# ------------------------------------------------------------------------------------------------- over columns

cdef inline void reduce_columns(const Problem* p, const Plan* plan, Job job, const Tile* tile, Partial* to,
                                Py_ssize_t step, Workspace* w) noexcept nogil:
    """The partials of a tile's columns, `step` apart."""
    cdef Place at = find_place(p, plan, tile, False, 0, w)
    cdef Constants constants = w.constants.constants()
    cdef Py_ssize_t c
    reduce_tile(p, plan, &at, constants, w)
    if job == Job.REDUCE_DIFF_DST:
        for c in range(tile.width):
            set_sum_of(&p.src, Sum(constants.diff_dst_hi[c], constants.diff_dst_lo[c]),
                       locate_column(p, &p.src, tile.first + c), p.n, to + c * step)
        return
    set_first_constants(plan.in_double, p.form, constants, at.columns, p.n)
    exp_tile(p, plan, &at, NULL, constants, w)
    for c in range(tile.width):
        set_exps(plan.in_double, to + c * step, constants, c)


cdef inline void finish_columns(const Problem* p, const Plan* plan, const Tile* tile, const Partial* totals,
                                Workspace* w) noexcept nogil:
    cdef Place at = find_place(p, plan, tile, False, 0, w)
    cdef Constants constants = w.constants.constants()
    cdef bint extreme
    set_constants(plan.in_double, p.form, constants, totals, tile.width, at.columns)
    extreme = traits_of(p.form).has_limits and has_extreme_sum(plan.in_double, constants, tile.width)
    # No pass before this one has left anything in scratch.
    at.keeps_exp = False
    at.src.whole &= at.src.lies
    at.diff_dst.whole &= at.diff_dst.lies
    write_tile(p, plan, &at, extreme, NULL, constants, w)


# ------------------------------------------------------------------------------------------------- both

cdef inline void work_on_part(const Problem* p, const Plan* plan, Job job, Py_ssize_t i, Partial* partials,
                              Workspace* w) noexcept nogil:
    """Part i of all parts of all rows, or of all tiles."""
    cdef Py_ssize_t length = part_length(p.n), parts = blocks(p.n, length)
    cdef Py_ssize_t index = i // parts, part = i % parts, start = part * length, stop = min(p.n, start + length)
    cdef Problem of_part
    cdef Tile tile
    if p.stopped:
        return
    if plan.walk != Walk.COLUMNS:
        if job == Job.FINISH:
            finish_part(p, plan, index, start, stop, partials + index)
        else:
            reduce_part(p, plan, job, index, start, stop, partials + i)
        return
    tile = tile_at(p, plan, index)
    if job != Job.FINISH:
        of_part = p[0]
        of_part.n = stop - start
        of_part.src.data += start * p.src.n
        of_part.diff_dst.data += start * p.diff_dst.n
        reduce_columns(&of_part, plan, job, &tile, partials + tile.first * parts + part, parts, w)
    elif part == 0:                             # of all parts
        finish_columns(p, plan, &tile, partials + tile.first, w)


cdef inline void share_of_parts(const Problem* p, const Plan* plan, Job job, Py_ssize_t first, Py_ssize_t last,
                                Partial* partials, Workspace* w) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(first, last):
        work_on_part(p, plan, job, i, partials, w)


cdef inline void timed_share_of_parts(const Problem* p, const Plan* plan, Job job, Py_ssize_t first, Py_ssize_t last,
                                      Partial* partials, Workspace* w, TeamTimer* timer) noexcept nogil:
    cdef double begun = openmp_time()
    share_of_parts(p, plan, job, first, last, partials, w)
    timer.end_share(begun, last - first)


cdef inline void walk_chunks(const Problem* p, const Plan* plan, Job job, Partial* partials, Workspace* workspaces,
                             TeamTimer* timer) noexcept nogil:
    """To reduce, there is a partial for each part of each row; to finish, the totals of each row."""
    cdef Py_ssize_t rows = tiles_of(p, plan) if plan.walk == Walk.COLUMNS else plan.count
    cdef Py_ssize_t count = rows * blocks(p.n, part_length(p.n)), i
    cdef int threads = plan.threads
    if threads > 1:
        timer.start()
        for i in prange(threads, schedule="static", num_threads=threads):
            timed_share_of_parts(p, plan, job, count * i // threads, count * (i + 1) // threads, partials,
                                 workspaces + i, timer)
        timer.stop(count)
    else:
        share_of_parts(p, plan, job, 0, count, partials, workspaces)
