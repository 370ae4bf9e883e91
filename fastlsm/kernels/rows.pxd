"""The walks along rows: one pipeline of reduce, constants, exp, constants, write.

`one_row` takes a row in parts and chunks, whatever its dtypes and strides; threads may share its parts. Rows that lie
ready and are not long go in batches (batches.pxd).
"""

from cython.parallel cimport parallel, prange, threadid
from libc.math cimport INFINITY
from libc.string cimport memcpy, memset

from fastlsm.kernels.batches cimport begin_stream, share_of_batches
from fastlsm.kernels.loops cimport (
    Constants, LaneSums, Next, Stream, Strip, Sum, TeamTimer, add, exp_rows, expect_hidden, has_extreme_sum,
    load_elements, mark_little_rests, max_rows, maximum_of, mend_rows, openmp_team, openmp_time,
    set_first_constants, set_last_constants, set_maximum, store_elements, stream_copy, sum_others, sum_rows, total,
    wait_for_team, write_rows,
)
from fastlsm.kernels.overflow cimport mend_sum
from fastlsm.kernels.plan cimport Plan, Walk, is_ready
from fastlsm.kernels.problem cimport (
    MOST_COUNTED, Counted, Form, FormTraits, Operand, Problem, blocks, counted_for, locate, part_length, real_size,
    size_of, traits_of, writes_from_exp, writes_over_operand,
)
from fastlsm.kernels.workspace cimport Chunk, KeptRow, Part, Parts, RowConstants, Workspace

cdef extern from "tuning.hpp" nogil:
    enum:
        CHUNK, KEPT_ROW, STAGE


cdef struct Line:               # a row of an operand
    const Operand* op
    const char* data
    Py_ssize_t size             # of an element of data
    bint is_ready               # the loops can compute on data

cdef struct Share:              # a thread's parts of a row
    Py_ssize_t first, last, length
    TeamTimer* timer            # of the threads that have the other parts, or NULL
    double begun                # when a thread that never waited would have begun


cdef inline Line line_at(const Problem* p, const Plan* plan, const Operand* op, Py_ssize_t index,
                         void* keep) noexcept nogil:
    """Row `index`. A short one that does not lie ready is loaded to `keep`, if that is given."""
    cdef Line line
    line.op = op
    line.data = locate(p, op, index)
    line.size = op.itemsize
    line.is_ready = is_ready(op, op.n, plan.format)
    if p.n <= KEPT_ROW and not line.is_ready and keep != NULL:
        load_elements(plan.in_double, keep, op.dtype, line.data, op.n, p.n)
        line.data = <const char*> keep
        line.size = size_of(plan.format)
        line.is_ready = True
    return line


cdef inline Strip load_chunk(const Plan* plan, const Line* line, Py_ssize_t j, Py_ssize_t n,
                             void* scratch) noexcept nogil:
    """n elements from the j-th on."""
    if line.is_ready:
        return Strip(<char*> line.data + j * line.size, 0)
    load_elements(plan.in_double, scratch, line.op.dtype, line.data + j * line.op.n, line.op.n, n)
    return Strip(<char*> scratch, 0)


cdef inline Py_ssize_t chunk_of(Py_ssize_t n, bint in_one_go) noexcept nogil:
    return n if in_one_go else CHUNK


cdef inline void clear(LaneSums* lanes) noexcept nogil:
    memset(lanes, 0, sizeof(LaneSums))


cdef inline Sum sum_part(const Problem* p, const Plan* plan, const Line* line, Py_ssize_t start,
                         Py_ssize_t stop) noexcept nogil:
    cdef Chunk scratch
    cdef LaneSums lanes
    cdef Py_ssize_t chunk = chunk_of(stop - start, line.is_ready), j = start, n
    clear(&lanes)
    while j < stop and not p.stopped:
        n = min(chunk, stop - j)
        sum_rows(plan.format, load_chunk(plan, line, j, n, scratch.elements), 1, n, plan.ahead, NULL, NULL, &lanes)
        j += n
    return total(plan.in_double, &lanes)


cdef inline double max_part(const Problem* p, const Plan* plan, const Line* line, Py_ssize_t start, Py_ssize_t stop,
                            const Constants& constants) noexcept nogil:
    """The maximum, NaN passed over."""
    cdef Chunk scratch
    cdef Py_ssize_t chunk = chunk_of(stop - start, line.is_ready), j = start, n
    set_maximum(plan.in_double, constants, 0, -INFINITY)
    while j < stop and not p.stopped:
        n = min(chunk, stop - j)
        max_rows(plan.format, load_chunk(plan, line, j, n, scratch.elements), 1, n, plan.ahead, constants)
        j += n
    return maximum_of(plan.in_double, constants, 0)


cdef inline char* at_part(char* kept, Py_ssize_t elements, const Plan* plan) noexcept nogil:
    """Where exp of an element is kept, if it is."""
    if kept == NULL:
        return NULL
    return kept + elements * real_size(plan.in_double)


cdef inline void exp_part(const Problem* p, const Plan* plan, const Line* src, Py_ssize_t start, Py_ssize_t stop,
                          const Constants& constants, Part* part, char* kept, const Line* next_src,
                          Part* next_part) noexcept nogil:
    """Sum exp; `kept`, if any, gets it. Meanwhile find the maximum of this part of the next row, if any."""
    cdef Chunk scratch, next_scratch, exps
    cdef LaneSums lanes
    cdef Counted counted = counted_for(p.form, p.out.dtype)
    cdef bint in_one_go = kept != NULL and src.is_ready and (next_src == NULL or next_src.is_ready)
    cdef Py_ssize_t chunk = min(chunk_of(stop - start, in_one_go), <Py_ssize_t> MOST_COUNTED), j = start, n
    cdef Next next = Next(Strip(NULL, 0), 0, &next_part.max, NULL, NULL, NULL)
    cdef Strip x, e = Strip(NULL, 0)
    clear(&lanes)
    constants.counts[0] = 0
    if next_src != NULL:
        next.rows = 1
        next_part.max = -INFINITY
    while j < stop and not p.stopped:
        n = min(chunk, stop - j)
        x = load_chunk(plan, src, j, n, scratch.elements)
        e.data = at_part(kept, j - start, plan) if kept != NULL else <char*> exps.elements
        if next_src != NULL:
            next.strip = load_chunk(plan, next_src, j, n, next_scratch.elements)
        exp_rows(plan.format, counted, e, x, 1, n, plan.ahead, constants, &lanes, next)
        j += n
    part.exps = part.others = total(plan.in_double, &lanes)
    part.count = constants.counts[0]


cdef inline Sum others_of_part(const Problem* p, const Plan* plan, const Line* src, Py_ssize_t start, Py_ssize_t stop,
                               const Constants& constants, char* kept) noexcept nogil:
    """The sum of exp without that of the class of LARGEST."""
    cdef Chunk scratch, exps
    cdef LaneSums lanes, unused
    cdef Py_ssize_t chunk = chunk_of(stop - start, kept != NULL), j = start, n
    cdef Next no_next = Next(Strip(NULL, 0), 0, NULL, NULL, NULL, NULL)
    cdef Strip e
    clear(&lanes)
    clear(&unused)
    while j < stop and not p.stopped:
        n = min(chunk, stop - j)
        if kept != NULL:
            e = Strip(at_part(kept, j - start, plan), 0)
        else:
            e = Strip(<char*> exps.elements, 0)
            exp_rows(plan.format, Counted.NOTHING, e, load_chunk(plan, src, j, n, scratch.elements), 1, n, plan.ahead,
                     constants, &unused, no_next)
        sum_others(plan.format, e, 1, n, constants, &lanes)
        j += n
    return total(plan.in_double, &lanes)


cdef inline void write_part(const Problem* p, const Plan* plan, const Line* diff_dst, const Line* src, char* out,
                            Py_ssize_t start, Py_ssize_t stop, const Constants& constants, bint extreme, char* kept,
                            const Line* next_diff_dst, Part* next_part, Stream* stream) noexcept nogil:
    """The results. Meanwhile sum this part of the next row's diff_dst, if any."""
    cdef Chunk src_scratch, diff_dst_scratch, next_scratch, exps, result
    cdef LaneSums lanes, unused
    cdef FormTraits traits = traits_of(p.form)
    cdef bint from_exp = writes_from_exp(p.form), out_is_ready = is_ready(&p.out, p.out.n, plan.format)
    # An element may be computed twice, so that results must not go where operands are still to be read.
    cdef bint direct = out_is_ready and not writes_over_operand(p)
    cdef bint in_one_go = direct and (kept != NULL or src.is_ready and not from_exp)
    cdef Py_ssize_t j = start, chunk, n
    cdef Next next = Next(Strip(NULL, 0), 0, NULL, NULL, NULL, &lanes), no_next = next
    cdef Strip g = Strip(NULL, 0), y = g, x, e
    if not direct:
        stream = NULL
    in_one_go &= (not traits.has_gradient or diff_dst.is_ready) and (next_diff_dst == NULL or next_diff_dst.is_ready)
    chunk = chunk_of(stop - start, in_one_go)
    clear(&lanes)
    clear(&unused)
    if next_diff_dst != NULL:
        next.rows = 1
    while j < stop and not p.stopped:
        n = min(chunk, stop - j)
        if kept != NULL:
            x = Strip(at_part(kept, j - start, plan), 0)
        else:
            x = load_chunk(plan, src, j, n, src_scratch.elements)
        if from_exp and kept == NULL:       # the row is too long to keep all its exp: once more
            e = Strip(<char*> exps.elements, 0)
            exp_rows(plan.format, Counted.NOTHING, e, x, 1, n, plan.ahead, constants, &unused, no_next)
            x = e
        if traits.has_gradient:
            g = load_chunk(plan, diff_dst, j, n, diff_dst_scratch.elements)
        if next_diff_dst != NULL:
            next.strip = load_chunk(plan, next_diff_dst, j, n, next_scratch.elements)
        y.data = out + j * p.out.n if direct else <char*> result.elements
        if write_rows(p.form, plan.format, y, g, x, 1, n, plan.ahead, stream, constants,
                      next) or extreme:
            if stream != NULL:
                stream.close()
            mend_rows(plan.format, y, g, x, 1, n, constants)
        if direct:
            pass
        elif not out_is_ready:
            store_elements(plan.in_double, y.data, p.out.dtype, out + j * p.out.n, p.out.n, n)
        elif plan.streamed:
            stream_copy(out + j * p.out.n, y.data, n * p.out.itemsize)
        else:
            memcpy(out + j * p.out.n, y.data, n * p.out.itemsize)
        j += n
    if next_diff_dst != NULL:
        next_part.diff_dst = total(plan.in_double, &lanes)


cdef inline bint begin_from_parts(const Problem* p, const Plan* plan, const Part* parts, Py_ssize_t count,
                                  Py_ssize_t index, const Constants& constants) noexcept nogil:
    """Returns whether diff_dst was read once more."""
    cdef double max = -INFINITY
    cdef Sum diff_dst = Sum(0, 0)
    cdef bint mended = False
    cdef Py_ssize_t i
    for i in range(count):
        max = parts[i].max if parts[i].max > max else max
        diff_dst = add(diff_dst, parts[i].diff_dst)
    constants.diff_dst_hi[0], constants.diff_dst_lo[0] = diff_dst.hi, diff_dst.lo
    if plan.in_double and traits_of(p.form).has_gradient:
        mended = mend_sum(p, locate(p, &p.diff_dst, index), constants, 0)
    if traits_of(p.form).needs_exp:
        set_maximum(plan.in_double, constants, 0, max)
    set_first_constants(plan.in_double, p.form, constants, 1, p.n)
    return mended


cdef inline void sum_parts_of_exp(const Part* parts, Py_ssize_t count, const Constants& constants) noexcept nogil:
    cdef Sum exps = Sum(0, 0)
    cdef double counts = 0
    cdef Py_ssize_t i
    for i in range(count):
        exps = add(exps, parts[i].exps)
        counts += parts[i].count
    constants.exps_hi[0], constants.exps_lo[0], constants.counts[0] = exps.hi, exps.lo, counts


cdef inline void sum_parts_of_others(const Part* parts, Py_ssize_t count, const Constants& constants) noexcept nogil:
    cdef Sum others = Sum(0, 0)
    cdef Py_ssize_t i
    for i in range(count):
        others = add(others, parts[i].others)
    constants.exps_hi[0], constants.exps_lo[0] = others.hi, others.lo


cdef inline bint has_maximum(const Plan* plan, const Part* part, const Constants& constants) noexcept nogil:
    return part.max == maximum_of(plan.in_double, constants, 0)


cdef inline void one_row(const Problem* p, const Plan* plan, Py_ssize_t index, Share share, Part* parts, bint reduced,
                         bint reduces_next, Part* next_parts, Workspace* w, Stream* stream) noexcept nogil:
    """A share of a row, which may be reduced already; meanwhile, if wanted, reduce the next row to `next_parts`.

    Threads that share a row wait for each other where its constants need all parts.
    """
    cdef KeptRow keep_diff_dst, keep_src, keep_exp
    cdef RowConstants room
    cdef Constants constants = room.constants()
    cdef FormTraits traits = traits_of(p.form)
    cdef Py_ssize_t length = share.length, count = blocks(p.n, length), elements, start, stop, i
    cdef Line src = line_at(p, plan, &p.src, index, keep_src.elements), diff_dst = src, of_next_src, of_next_diff_dst
    cdef Line* next_src = NULL
    cdef Line* next_diff_dst = NULL
    cdef char* out = locate(p, &p.out, index)
    cdef char* kept = NULL
    cdef bint extreme = False, has_little = False
    if traits.has_gradient:
        diff_dst = line_at(p, plan, &p.diff_dst, index, keep_diff_dst.elements)
    elements = min(p.n, (share.last - share.first) * length)
    if writes_from_exp(p.form) and elements <= KEPT_ROW:
        kept = <char*> keep_exp.elements
    elif writes_from_exp(p.form) and elements <= (2 * STAGE if plan.in_double else 4 * STAGE):
        kept = <char*> w.stage
    if reduces_next and traits.needs_exp:
        of_next_src = line_at(p, plan, &p.src, index + 1, NULL)
        next_src = &of_next_src
    if reduces_next and traits.has_gradient:
        of_next_diff_dst = line_at(p, plan, &p.diff_dst, index + 1, NULL)
        next_diff_dst = &of_next_diff_dst
    for i in range(share.first, share.last):
        start, stop = i * length, min(p.n, (i + 1) * length)
        if not reduced:
            parts[i].diff_dst = sum_part(p, plan, &diff_dst, start, stop) if traits.has_gradient else Sum(0, 0)
            parts[i].max = max_part(p, plan, &src, start, stop, constants) if traits.needs_exp else 0
        if reduces_next and not traits.has_gradient:
            next_parts[i].diff_dst = Sum(0, 0)
        if reduces_next and not traits.needs_exp:
            next_parts[i].max = 0
    wait_for_team(share.timer, &share.begun)
    if begin_from_parts(p, plan, parts, count, index, constants):
        wait_for_team(share.timer, &share.begun)   # all have read what one may write now
    if traits.needs_exp:
        for i in range(share.first, share.last):
            exp_part(p, plan, &src, i * length, min(p.n, (i + 1) * length), constants, &parts[i],
                     at_part(kept, (i - share.first) * length, plan), next_src, next_parts + i)
        wait_for_team(share.timer, &share.begun)
        sum_parts_of_exp(parts, count, constants)
        if p.form == Form.BACKWARD_SRC:
            has_little = mark_little_rests(plan.in_double, counted_for(p.form, p.out.dtype), constants, 1, p.n)
        if has_little:
            for i in range(share.first, share.last):
                if has_maximum(plan, &parts[i], constants):
                    parts[i].others = others_of_part(p, plan, &src, i * length, min(p.n, (i + 1) * length), constants,
                                                     at_part(kept, (i - share.first) * length, plan))
            wait_for_team(share.timer, &share.begun)
            sum_parts_of_others(parts, count, constants)
        set_last_constants(plan.in_double, p.form, constants, 1)
        if has_little and kept != NULL:
            expect_hidden(plan.in_double, constants, 1)
    if traits.has_limits:
        extreme = has_extreme_sum(plan.in_double, constants, 1)
    for i in range(share.first, share.last):
        write_part(p, plan, &diff_dst, &src, out, i * length, min(p.n, (i + 1) * length), constants, extreme,
                   at_part(kept, (i - share.first) * length, plan), next_diff_dst, next_parts + i, stream)
    if share.timer != NULL:
        share.timer.end_share(share.begun, min(p.n, share.last * length) - share.first * length)


cdef inline void share_of_rows(const Problem* p, const Plan* plan, Py_ssize_t first, Py_ssize_t last,
                               Workspace* w) noexcept nogil:
    """Rows first to last - 1, one after the other."""
    cdef Parts of_this, of_next
    cdef Stream flow
    cdef Stream* stream = begin_stream(plan, &flow, locate(p, &p.out, first))
    cdef Share share = Share(0, blocks(p.n, part_length(p.n)), part_length(p.n), NULL, 0)
    cdef Part* parts = of_this.parts
    cdef Part* next_parts = of_next.parts
    cdef Py_ssize_t i
    cdef bint reduced = False, reduces_next
    for i in range(first, last):
        if p.stopped:
            break
        reduces_next = plan.reads_next and i + 1 < last
        one_row(p, plan, i, share, parts, reduced, reduces_next, next_parts, w, stream)
        parts, next_parts = next_parts, parts
        reduced = reduces_next
    if stream != NULL:
        stream.close()


cdef inline void share_of_row(const Problem* p, const Plan* plan, Py_ssize_t index, Part* parts, int thread,
                              int threads, Workspace* w, TeamTimer* timer) noexcept nogil:
    """The parts of one thread."""
    cdef Stream flow
    cdef Py_ssize_t length = part_length(p.n), count = blocks(p.n, length)
    cdef Share share = Share(count * thread // threads, count * (thread + 1) // threads, length, timer, openmp_time())
    cdef Stream* stream = begin_stream(plan, &flow, locate(p, &p.out, index) + share.first * length * p.out.n)
    one_row(p, plan, index, share, parts, False, False, parts, w, stream)
    if stream != NULL:
        stream.close()


cdef inline void split_row(const Problem* p, const Plan* plan, Py_ssize_t index, Workspace* workspaces,
                           TeamTimer* timer) noexcept nogil:
    """A row whose parts are spread over the threads."""
    cdef Parts of_row
    timer.start()
    with parallel(num_threads=plan.threads):
        share_of_row(p, plan, index, of_row.parts, threadid(), openmp_team(), workspaces + threadid(), timer)
    timer.stop(p.n)


cdef inline void share_out(const Problem* p, const Plan* plan, Py_ssize_t first, Py_ssize_t last,
                           Workspace* w) noexcept nogil:
    if plan.walk == Walk.ROWS:
        share_of_rows(p, plan, first, last, w)
    else:
        share_of_batches(p, plan, first, last, w)


cdef inline void timed_share(const Problem* p, const Plan* plan, Py_ssize_t first, Py_ssize_t last, Workspace* w,
                             TeamTimer* timer) noexcept nogil:
    cdef double begun = openmp_time()
    share_out(p, plan, first, last, w)
    timer.end_share(begun, last - first)


cdef inline void walk_rows(const Problem* p, const Plan* plan, Workspace* workspaces, TeamTimer* timer) noexcept nogil:
    cdef Py_ssize_t shares = blocks(plan.count, plan.together), i
    cdef int threads = plan.threads
    if plan.count < threads and p.n > part_length(p.n):
        for i in range(plan.count):
            split_row(p, plan, i, workspaces, timer)
    elif threads > 1:
        timer.start()
        for i in prange(threads, schedule="static", num_threads=threads):
            timed_share(p, plan, shares * i // threads * plan.together,
                        min(plan.count, shares * (i + 1) // threads * plan.together), workspaces + i, timer)
        timer.stop(plan.count)
    else:                                   # a team of one costs as much as a small problem
        share_out(p, plan, 0, plan.count, workspaces)
