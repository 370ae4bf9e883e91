# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The kernels: log-softmax and its gradient over (outer, n, inner) views, any dtype, any strides.

A. The formulas, along the middle axis, of length n:

       log_softmax   dst      = (src - m) - L          m = max(src), L = log(sum(exp(src - m)))
       dst form      diff_src = diff_dst - exp(dst) * S                       S = sum(diff_dst)
       src form      diff_src = diff_dst - exp(src - m) * (S / sum(exp(src - m)))

   The three end in one of two element-wise loops, `x - m - L` or `g - exp(x - shift) * 2**-K * f`,
   with constants of the row that passes over it before have found: see `Row`.

B. Load, compute, store. `load` and `store` know dtypes and strides, decide once a block and
   convert; compute loops run on adjacent float (or double) in the first-level cache and know neither.
   So every layout and dtype gets the same bits by construction. An operand that is adjacent and of the
   arithmetic's type already is used where it lies.

C. Two walks. *rows*: vectors run along the axis. *columns*: vectors run across neighbouring rows, for
   an axis that is not adjacent in memory, and for very short rows, which are turned on loading.

D. The same bits in both walks, on every instruction set, with any number of threads. A row is cut into
   parts at places that depend on n alone (`part_length`). In a part, element j is added to lane j % 16;
   the 16 lanes are added as a fixed tree (l + 8 to l, then l + 4, l + 2, l + 1), the parts in order. Lanes are
   double. Where the arithmetic itself is double they carry the rounding errors along (Knuth's
   two-sum). The maximum and the number of times it occurs do not depend on an order.

E. Accuracy. src - m is formed only where it is exact: for |m| >= 256 (2048 in double), by Sterbenz's
   lemma, for every element that matters. Else the maximum leaves through the exponent:
   exp(src - K ln 2), K = floor(m / ln 2), costs nothing (vexp.h) and rounds nothing. The terms of the
   maximum are summed apart from the others, `others + ties * exp(m - K ln 2)`, the second term known
   to twice the precision, so that log1p sees `others` however small it is.
"""
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cython.parallel cimport prange, threadid
from libc.stdint cimport uint16_t
from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, fabs, floor
from libc.string cimport memcpy


cdef extern from "half.h" nogil:
    ctypedef struct bf16:
        uint16_t bits
    ctypedef struct f16:
        uint16_t bits
    float f32_from_bf16(bf16) noexcept
    float f32_from_f16(f16) noexcept
    bf16 bf16_from_f32(float) noexcept
    bf16 bf16_from_f64(double) noexcept
    f16 f16_from_f32(float) noexcept
    f16 f16_from_f64(double) noexcept
    void f32_from_f16_block(float*, const f16*, Py_ssize_t) noexcept
    void f16_from_f32_block(f16*, const float*, Py_ssize_t) noexcept

cdef extern from "vexp.h" nogil:
    const float EXP_F32_LO, EXP_F32_HI, MAGIC_F32
    const double EXP_F64_LO, EXP_F64_HI, MAGIC_F64, LN_2
    float exp_f32(float x, float magic, float lo, float hi) noexcept
    double exp_f64(double x, double magic, double lo, double hi) noexcept
    float exp_in_range_f32(float x, float magic, float lo) noexcept
    double exp_in_range_f64(double x, double magic, double lo) noexcept
    double exp_f64_with_tail(double x, double magic, double lo, double* tail) noexcept
    float toward_zero_f32(float f, double rest) noexcept
    double toward_zero_f64(double f, double rest) noexcept
    float minus_product_f32(float g, float y, float f, float f_low) noexcept
    double minus_product_f64(double g, double y, double f, double f_low) noexcept
    double log1p_f64(double x, double tail) noexcept
    double product_error(double a, double b, double p) noexcept

cdef extern from "traffic.h" nogil:
    void prefetch(const void* at, Py_ssize_t bytes) noexcept
    void stream_copy(void* to, const void* source, size_t bytes) noexcept
    void stream_end() noexcept

cdef extern from "threads.h" nogil:
    const int FASTLSM_OPENMP
    int fastlsm_max_threads() noexcept

cdef extern from "cpu.h":
    const char* FASTLSM_COMPILER
    int cpu_supports(const char* level) noexcept


ctypedef fused real:            # the arithmetic
    float
    double

ctypedef fused item:            # an array's element
    float
    double
    bf16
    f16

ctypedef fused raw_item:        # an array's element as a buffer can carry it
    float
    double
    uint16_t

cpdef enum DType:
    FLOAT32
    FLOAT64
    BFLOAT16
    FLOAT16

cpdef enum Form:
    LOG_SOFTMAX
    BACKWARD_SRC
    BACKWARD_DST

cdef enum:
    LANES = 16
    CHUNK = 1024                # elements that rows loads, computes and stores at a time
    TILE = 512                  # columns that are computed side by side, at most
    TURNED_TILE = 128           # the same where an operand has to be turned
    AHEAD = 2                   # rows of a tile that are asked for ahead of their use
    TURN = 32                   # elements of a column that are loaded together then
    LARGE_BYTES = 1 << 19       # operands from this size on are asked for ahead
    STREAM_BYTES = 1 << 24      # results from this size on are written past the caches
    STAGE = 16384               # doubles in a workspace for a tile of each operand
    KEEP = 2048                 # doubles in which a row keeps exp(src) from one pass to the next
    MIN_PART = 16384
    MAX_PARTS = 64
    MAX_LOOPS = 62


cdef struct Operand:
    char* data                  # element [0, 0, 0]
    DType dtype
    Py_ssize_t itemsize
    Py_ssize_t outer, n, inner  # bytes from an element to the next along each axis
    bint large                  # more than the second-level cache holds
    bint streamed               # written past the caches
    bint turned                 # elements along the axis are nearer to each other than along inner
    Py_ssize_t loops[MAX_LOOPS]

cdef struct Problem:
    Form form
    Py_ssize_t outer, n, inner  # extents
    int ndim                    # axes outside `outer` that could not be merged into it, and
    Py_ssize_t loops[MAX_LOOPS]  # their extents
    Operand diff_dst            # with LOG_SOFTMAX the same as
    Operand src                 # dst in the dst form
    Operand out

cdef struct Sum:                # hi + lo; lo stays 0 in float arithmetic
    double hi, lo

cdef struct Row:                # what the element-wise loops need to know of a row
    double shift, magic, lo, hi     # exp(x - shift) * 2**-K, as in vexp.h
    double factor, factor_low       # times their sum (backward); log(sum(exp(x - m))) (forward)
    double max
    Sum diff_dst                    # the sum, divided by
    double boost                    # a power of two that exp is multiplied by

cdef struct Part:               # what the passes over a part of a row find
    double max
    Sum diff_dst
    Sum others                  # sum of exp over the elements below the maximum
    Py_ssize_t ties             # the number of elements at the maximum


# ---------------------------------------------------------------------------------------- load, store

cdef inline void load_strided(real* to, const item* at, Py_ssize_t stride, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef const item* x
    for i in range(n):
        x = <const item*> (<const char*> at + i * stride)
        if item is bf16:
            to[i] = f32_from_bf16(x[0])
        elif item is f16:
            to[i] = f32_from_f16(x[0])
        else:
            to[i] = <real> x[0]


cdef inline void load_adjacent(real* to, const item* at, Py_ssize_t n) noexcept nogil:
    if item is f16 and real is float:
        f32_from_f16_block(to, at, n)
    else:
        load_strided(to, at, sizeof(item), n)


cdef inline void load_items(real* to, const item* at, Py_ssize_t stride, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if stride == sizeof(item):
        load_adjacent(to, at, n)
    elif stride == 0:                       # one number for all, as np.broadcast_to makes
        load_strided(to, at, 0, 1)
        for i in range(1, n):
            to[i] = to[0]
    else:
        load_strided(to, at, stride, n)


cdef inline bint is_native(DType dtype, const real* like) noexcept nogil:
    """Whether arrays of this dtype can be computed on where they lie."""
    if real is float:
        return dtype == FLOAT32
    else:
        return dtype == FLOAT64


cdef void load_into(
    real* to, const Operand* op, const char* at, Py_ssize_t stride, Py_ssize_t n
) noexcept nogil:
    if op.dtype == FLOAT32:
        load_items(to, <const float*> at, stride, n)
    elif op.dtype == FLOAT64:
        load_items(to, <const double*> at, stride, n)
    elif op.dtype == BFLOAT16:
        load_items(to, <const bf16*> at, stride, n)
    else:
        load_items(to, <const f16*> at, stride, n)


cdef inline const real* load(
    const Operand* op, const char* at, Py_ssize_t stride, Py_ssize_t n, real* scratch
) noexcept nogil:
    """n elements from `at` on, `stride` bytes apart, adjacent and in the arithmetic's type."""
    if stride == sizeof(real) and is_native(op.dtype, <const real*> scratch):
        return <const real*> at
    load_into(scratch, op, at, stride, n)
    return scratch


cdef inline void store_strided(item* at, const real* x, Py_ssize_t stride, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef item* to
    for i in range(n):
        to = <item*> (<char*> at + i * stride)
        if item is bf16:
            to[0] = bf16_from_f32(x[i]) if real is float else bf16_from_f64(x[i])
        elif item is f16:
            to[0] = f16_from_f32(x[i]) if real is float else f16_from_f64(x[i])
        else:
            to[0] = <item> x[i]


cdef inline void store_items(item* at, const real* x, Py_ssize_t stride, Py_ssize_t n) noexcept nogil:
    if stride == sizeof(item):
        if item is f16 and real is float:
            f16_from_f32_block(at, x, n)
        else:
            store_strided(at, x, sizeof(item), n)
    else:
        store_strided(at, x, stride, n)


cdef void store_from(
    const real* x, const Operand* op, char* at, Py_ssize_t stride, Py_ssize_t n
) noexcept nogil:
    if op.dtype == FLOAT32:
        store_items(<float*> at, x, stride, n)
    elif op.dtype == FLOAT64:
        store_items(<double*> at, x, stride, n)
    elif op.dtype == BFLOAT16:
        store_items(<bf16*> at, x, stride, n)
    else:
        store_items(<f16*> at, x, stride, n)


cdef inline void store(
    const Operand* op, char* at, Py_ssize_t stride, Py_ssize_t n, const real* x
) noexcept nogil:
    """The n elements x, rounded, to `at` and on, `stride` bytes apart."""
    if stride == sizeof(real) and is_native(op.dtype, x):
        if op.streamed:
            stream_copy(at, x, n * sizeof(real))
        else:
            memcpy(at, x, n * sizeof(real))
    else:
        store_from(x, op, at, stride, n)


cdef inline char* locate(const Problem* p, const Operand* op, Py_ssize_t outer) noexcept nogil:
    """The address of op[outer, 0, 0], `outer` counting on through the unmerged axes."""
    cdef char* at = op.data
    cdef int d
    if p.ndim == 0:
        return at + outer * op.outer
    at += outer % p.outer * op.outer
    outer //= p.outer
    for d in range(p.ndim - 1, -1, -1):
        at += outer % p.loops[d] * op.loops[d]
        outer //= p.loops[d]
    return at


# ------------------------------------------------------------------------------------------------ sums

cdef inline Sum add(Sum a, Sum b) noexcept nogil:
    """a + b, the error of the leading sum kept (two-sum). Infinite and NaN sums stay what hi is."""
    cdef double s = a.hi + b.hi
    cdef double t = s - a.hi
    return Sum(s, ((a.hi - (s - t)) + (b.hi - t)) + (a.lo + b.lo))


cdef inline double value(Sum a) noexcept nogil:
    cdef double s = a.hi + a.lo
    return s if s == s else a.hi            # past infinity the two-sum's error is NaN


cdef inline Sum quotient(Sum a, Sum b) noexcept nogil:
    """(a.hi + a.lo) / (b.hi + b.lo)."""
    cdef double q = a.hi / b.hi
    cdef double p = q * b.hi
    return Sum(q, (((a.hi - p) - product_error(q, b.hi, p)) + (a.lo - q * b.lo)) / b.hi)


cdef inline void clear_lanes(double* hi, double* lo, Py_ssize_t width, const real* like) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(width):
        hi[i] = 0
        if real is double:
            lo[i] = 0


cdef inline void add_to_lanes(double* hi, double* lo, const real* x, Py_ssize_t width) noexcept nogil:
    """hi[i] + lo[i] += x[i]: exactly, in double; in float lo is not used."""
    cdef Py_ssize_t i
    cdef double s, t
    for i in range(width):
        if real is float:
            hi[i] += x[i]
        else:
            s = hi[i] + x[i]
            t = s - hi[i]
            lo[i] += (hi[i] - (s - t)) + (x[i] - t)
            hi[i] = s


cdef inline void fold_lanes(
    double* hi, double* lo, Py_ssize_t used, Py_ssize_t width, const real* like
) noexcept nogil:
    """Leave the sums of the lanes, `width` sums side by side, in the first lane: the tree of note D.

    Lanes from `used` on hold nothing, and adding 0 would change no bit.
    """
    cdef Py_ssize_t i, step = LANES // 2
    cdef Sum s
    while step:
        for i in range((min(used, 2 * step) - step) * width):
            if real is float:
                hi[i] += hi[i + step * width]
            else:
                s = add(Sum(hi[i], lo[i]), Sum(hi[i + step * width], lo[i + step * width]))
                hi[i] = s.hi
                lo[i] = s.lo
        step //= 2


cdef inline Sum lane_sum(const double* hi, const double* lo, Py_ssize_t i, const real* like) noexcept nogil:
    if real is float:
        return Sum(hi[i], 0)
    else:
        return Sum(hi[i], lo[i])


cdef inline Py_ssize_t blocks(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    """How many blocks of `size`, the last perhaps shorter, n elements fill."""
    return (n + size - 1) // size


cdef inline Py_ssize_t part_length(Py_ssize_t n) noexcept nogil:
    """Where a row is cut: a multiple of CHUNK and of LANES, depending on n alone."""
    return max(MIN_PART, blocks(blocks(n, MAX_PARTS), 1024) * 1024)


# -------------------------------------------------------------------------------- constants of a row

# Without a branch that depends on the row, so that columns can do many rows at once.

cdef inline void set_factor(Row* row, Sum factor, const real* like) noexcept nogil:
    cdef double rounded = <real> value(factor), rest = (factor.hi - rounded) + factor.lo
    if real is float:
        row.factor = toward_zero_f32(<float> rounded, rest)
    else:
        row.factor = toward_zero_f64(rounded, rest)
    rest = (factor.hi - row.factor) + factor.lo
    row.factor_low = rest if fabs(row.factor) < INFINITY else 0


cdef inline void begin_row(Form form, Row* row, double max, Py_ssize_t n, Sum diff_dst,
                           const real* like) noexcept nogil:
    """How to take exp in a row whose maximum and sum of diff_dst are known (note E).

    That a sum of diff_dst is near the end of the arithmetic's range, or past it, does not mean that its
    product with softmax is. It is brought back by a power of two, by which exp is raised in turn.
    """
    cdef double K, magic, lo, hi, exponent_min, near
    cdef double size = fabs(diff_dst.hi), boost = 1, unboost = 1, boost_log2 = 0
    cdef bint is_near, is_large, is_small
    if real is float:                       # the sum is double, and small ones are exact
        magic, lo, hi, exponent_min, near = MAGIC_F32, EXP_F32_LO, EXP_F32_HI, -126, 256
        is_large = (size > FLT_MAX) & (size < INFINITY)
        boost = 2.0 ** 64 if is_large else 1
        unboost = 2.0 ** -64 if is_large else 1
        boost_log2 = 64 if is_large else 0
    else:
        magic, lo, hi, exponent_min, near = MAGIC_F64, EXP_F64_LO, EXP_F64_HI, -1022, 2048
        is_large = (size > 2.0 ** 900) & (size < INFINITY)
        is_small = (size < 2.0 ** -900) & (size > 0)
        boost = 2.0 ** 128 if is_large else (2.0 ** -128 if is_small else 1)
        unboost = 2.0 ** -128 if is_large else (2.0 ** 128 if is_small else 1)
        boost_log2 = 128 if is_large else (-128 if is_small else 0)
    is_near = (fabs(max) < near) & (n > 1)
    K = floor(max * (1 / LN_2)) if is_near and form != BACKWARD_DST else 0
    row.shift = 0 if is_near or form == BACKWARD_DST else max
    row.max = max
    row.boost = boost
    row.diff_dst = Sum(diff_dst.hi * unboost, diff_dst.lo * unboost)
    set_factor(row, row.diff_dst, like)
    K -= boost_log2
    row.magic = magic - K
    row.lo = lo if K == 0 else (K + exponent_min) * LN_2
    row.hi = hi if K == 0 else (K - exponent_min + 1) * LN_2


cdef inline void finish_row(
    Form form, Row* row, Sum others, double ties, const real* like
) noexcept nogil:
    """From the sum of exp: the factor of the src form, the logarithm of log_softmax."""
    cdef double tail
    cdef double K = (MAGIC_F32 if real is float else MAGIC_F64) - row.magic
    cdef double at_max = exp_f64_with_tail(row.max - row.shift, MAGIC_F64 - K, -INFINITY, &tail)
    cdef double all_at_max = ties * at_max
    cdef Sum ratio
    if form == BACKWARD_SRC:
        ratio = quotient(
            row.diff_dst, add(Sum(all_at_max, product_error(ties, at_max, all_at_max) + ties * tail), others))
        set_factor(row, Sum(ratio.hi * row.boost, ratio.lo * row.boost), like)
    else:
        ratio = add(quotient(others, Sum(at_max, tail)), Sum(ties - 1, 0))
        row.factor = log1p_f64(ratio.hi, ratio.lo)
        row.factor_low = 0


# ------------------------------------------------------------------------------- element-wise formulas

cdef inline real exp_of(real x, real magic, real lo, real hi) noexcept nogil:
    if real is float:
        return exp_f32(x, magic, lo, hi)
    else:
        return exp_f64(x, magic, lo, hi)


cdef inline real exp_in_range(real x, real magic, real lo) noexcept nogil:
    if real is float:
        return exp_in_range_f32(x, magic, lo)
    else:
        return exp_in_range_f64(x, magic, lo)


cdef inline real backward_of_exp(real g, real e, real factor, real factor_low) noexcept nogil:
    if real is float:
        return minus_product_f32(g, e, factor, factor_low)
    else:
        return minus_product_f64(g, e, factor, factor_low)


cdef inline real backward_of(
    real g, real x, real magic, real lo, real hi, real factor, real factor_low
) noexcept nogil:
    cdef real e = exp_in_range(x, magic, lo)
    # Beyond hi exp is infinite, for NaN it is NaN; factor_low has no part in either.
    return backward_of_exp(g, e, factor, factor_low) if x <= hi else g - (x + <real> INFINITY) * factor


# ------------------------------------------------------------------------------------------------ rows

cdef inline void add_chunk_to_lanes(double* hi, double* lo, const real* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n // LANES):
        add_to_lanes(hi, lo, x + i * LANES, LANES)
    i = n // LANES * LANES
    add_to_lanes(hi, lo, x + i, n - i)


cdef inline void prefetch_chunk(const Operand* op, const char* row, Py_ssize_t j, Py_ssize_t n) noexcept nogil:
    """Ask for n elements of a row from the j-th on, where the caches will not have them."""
    if op.large and op.n == op.itemsize:
        prefetch(row + j * op.itemsize, n * op.itemsize)


cdef inline void sum_part(const Operand* op, const char* row, Py_ssize_t start, Py_ssize_t stop,
                          Sum* total, const real* like) noexcept nogil:
    cdef real scratch[CHUNK]
    cdef double hi[LANES]
    cdef double lo[LANES]
    cdef Py_ssize_t b, j, w
    cdef const real* x
    clear_lanes(hi, lo, LANES, like)
    for b in range(blocks(stop - start, CHUNK)):
        j = start + b * CHUNK
        w = min(CHUNK, stop - j)
        x = load(op, row + j * op.n, op.n, w, scratch)
        add_chunk_to_lanes(hi, lo, x, w)
    fold_lanes(hi, lo, LANES, 1, like)
    total[0] = lane_sum(hi, lo, 0, like)


cdef inline void max_part(const Operand* op, const char* row, Py_ssize_t start, Py_ssize_t stop,
                          double* max, const real* like) noexcept nogil:
    """The maximum, NaN passed over."""
    cdef real scratch[CHUNK]
    cdef real lanes[LANES]
    cdef Py_ssize_t b, j, i, w, lane
    cdef const real* x
    for lane in range(LANES):
        lanes[lane] = -INFINITY
    for b in range(blocks(stop - start, CHUNK)):
        j = start + b * CHUNK
        w = min(CHUNK, stop - j)
        x = load(op, row + j * op.n, op.n, w, scratch)
        for i in range(w // LANES):
            for lane in range(LANES):
                lanes[lane] = x[i * LANES + lane] if x[i * LANES + lane] > lanes[lane] else lanes[lane]
        for i in range(w // LANES * LANES, w):
            lanes[0] = x[i] if x[i] > lanes[0] else lanes[0]
    for lane in range(1, LANES):
        lanes[0] = lanes[lane] if lanes[lane] > lanes[0] else lanes[0]
    max[0] = lanes[0]


cdef inline void exp_part(const Operand* op, const char* row, Py_ssize_t start, Py_ssize_t stop,
                          const Row* of, Part* part, real* kept, const real* like) noexcept nogil:
    """Sum exp over the elements below the maximum and count those at it; `kept`, if any, gets exp."""
    cdef real scratch[CHUNK]
    cdef real terms[CHUNK]
    cdef double hi[LANES]
    cdef double lo[LANES]
    cdef real max = <real> of.max, shift = <real> of.shift
    cdef real magic = <real> of.magic, exp_lo = <real> of.lo, exp_hi = <real> of.hi
    cdef Py_ssize_t b, j, i, w
    cdef int ties
    cdef real e
    cdef const real* x
    clear_lanes(hi, lo, LANES, like)
    part.ties = 0
    for b in range(blocks(stop - start, CHUNK)):
        j = start + b * CHUNK
        w = min(CHUNK, stop - j)
        x = load(op, row + j * op.n, op.n, w, scratch)
        ties = 0
        for i in range(w):
            ties += x[i] == max
        part.ties += ties
        if kept == NULL:
            for i in range(w):
                e = exp_of(x[i] - shift, magic, exp_lo, exp_hi)
                terms[i] = 0 if x[i] == max else e
        else:
            for i in range(w):
                e = exp_of(x[i] - shift, magic, exp_lo, exp_hi)
                kept[j + i] = e
                terms[i] = 0 if x[i] == max else e
        add_chunk_to_lanes(hi, lo, <const real*> terms, w)
    fold_lanes(hi, lo, LANES, 1, like)
    part.others = lane_sum(hi, lo, 0, like)


cdef inline void write_part(const Problem* p, const char* diff_dst, const char* src, char* out,
                            Py_ssize_t start, Py_ssize_t stop, const Row* of, const real* kept, bint last,
                            const real* like) noexcept nogil:
    """`last`: no row follows that might be asked for ahead."""
    cdef real src_scratch[CHUNK]
    cdef real diff_dst_scratch[CHUNK]
    cdef real scratch[CHUNK]
    cdef real max = <real> of.max, shift = <real> of.shift
    cdef real factor = <real> of.factor, factor_low = <real> of.factor_low
    cdef real magic = <real> of.magic, exp_lo = <real> of.lo, exp_hi = <real> of.hi
    cdef Py_ssize_t b, j, i, w
    cdef const real* x
    cdef const real* g
    cdef real* y
    cdef int beyond
    # Loops vectorise only where the result is not what they read from.
    cdef bint direct = (p.out.n == sizeof(real) and is_native(p.out.dtype, like) and not p.out.streamed
                        and out != diff_dst and out != src)
    for b in range(blocks(stop - start, CHUNK)):
        j = start + b * CHUNK
        w = min(CHUNK, stop - j)
        if not last:
            prefetch_chunk(&p.diff_dst, diff_dst + p.diff_dst.outer, j, w)
            if p.form != LOG_SOFTMAX:
                prefetch_chunk(&p.src, src + p.src.outer, j, w)
        if kept == NULL:
            x = load(&p.src, src + j * p.src.n, p.src.n, w, src_scratch)
        else:
            x = kept + j
        y = <real*> (out + j * p.out.n) if direct else <real*> scratch
        if p.form == LOG_SOFTMAX:
            for i in range(w):
                y[i] = (x[i] - max) - factor
        else:
            g = load(&p.diff_dst, diff_dst + j * p.diff_dst.n, p.diff_dst.n, w, diff_dst_scratch)
            if kept != NULL:
                for i in range(w):
                    y[i] = backward_of_exp(g[i], x[i], factor, factor_low)
            elif p.form == BACKWARD_DST:    # shift is 0; NaN and what exceeds exp_hi are rare
                beyond = 0
                for i in range(w):
                    beyond |= 1 - (x[i] <= exp_hi)
                    y[i] = backward_of_exp(g[i], exp_in_range(x[i], magic, exp_lo), factor, factor_low)
                if beyond:
                    for i in range(w):
                        y[i] = backward_of(g[i], x[i], magic, exp_lo, exp_hi, factor, factor_low)
            else:
                for i in range(w):
                    y[i] = backward_of(g[i], x[i] - shift, magic, exp_lo, exp_hi, factor, factor_low)
        if not direct:
            store(&p.out, out + j * p.out.n, p.out.n, w, <const real*> y)


cdef inline void reduce_part(const Problem* p, const char* diff_dst, const char* src, Py_ssize_t start,
                             Py_ssize_t stop, Part* part, const real* like) noexcept nogil:
    part.max = 0
    part.diff_dst = Sum(0, 0)
    if p.form != BACKWARD_DST:
        max_part(&p.src, src, start, stop, &part.max, like)
    if p.form != LOG_SOFTMAX:
        sum_part(&p.diff_dst, diff_dst, start, stop, &part.diff_dst, like)


cdef inline void begin_from_parts(const Problem* p, Row* row, const Part* parts, Py_ssize_t count,
                                  const real* like) noexcept nogil:
    cdef double max = -INFINITY
    cdef Sum diff_dst = Sum(0, 0)
    cdef Py_ssize_t i
    for i in range(count):
        max = parts[i].max if parts[i].max > max else max
        diff_dst = add(diff_dst, parts[i].diff_dst)
    begin_row(p.form, row, max, p.n, diff_dst, like)


cdef inline void finish_from_parts(const Problem* p, Row* row, const Part* parts, Py_ssize_t count,
                                   const real* like) noexcept nogil:
    cdef Sum others = Sum(0, 0)
    cdef Py_ssize_t ties = 0, i
    for i in range(count):
        others = add(others, parts[i].others)
        ties += parts[i].ties
    finish_row(p.form, row, others, ties, like)


cdef void one_row(const Problem* p, Py_ssize_t index, const real* like) noexcept nogil:
    cdef char* diff_dst = locate(p, &p.diff_dst, index)
    cdef char* src = locate(p, &p.src, index)
    cdef char* out = locate(p, &p.out, index)
    cdef double keep[KEEP]
    cdef real* kept = NULL
    cdef Part parts[MAX_PARTS]
    cdef Row row
    cdef Py_ssize_t length = part_length(p.n), count = blocks(p.n, length), i
    if p.form == BACKWARD_SRC and p.n * sizeof(real) <= sizeof(keep):
        kept = <real*> keep
    for i in range(count):
        reduce_part(p, diff_dst, src, i * length, min(p.n, (i + 1) * length), &parts[i], like)
    begin_from_parts(p, &row, parts, count, like)
    if p.form != BACKWARD_DST:
        for i in range(count):
            exp_part(&p.src, src, i * length, min(p.n, (i + 1) * length), &row, &parts[i], kept, like)
        finish_from_parts(p, &row, parts, count, like)
    write_part(p, diff_dst, src, out, 0, p.n, &row, kept, (index + 1) % p.outer == 0, like)
    stream_end()


cdef void split_row(const Problem* p, Py_ssize_t index, int threads, const real* like) noexcept nogil:
    """one_row with its parts spread over the threads."""
    cdef char* diff_dst = locate(p, &p.diff_dst, index)
    cdef char* src = locate(p, &p.src, index)
    cdef char* out = locate(p, &p.out, index)
    cdef Part parts[MAX_PARTS]
    cdef Row row
    cdef Py_ssize_t length = part_length(p.n), count = blocks(p.n, length), i
    for i in prange(count, schedule="static", num_threads=threads):
        reduce_part(p, diff_dst, src, i * length, min(p.n, (i + 1) * length), &parts[i], like)
    begin_from_parts(p, &row, parts, count, like)
    if p.form != BACKWARD_DST:
        for i in prange(count, schedule="static", num_threads=threads):
            exp_part(&p.src, src, i * length, min(p.n, (i + 1) * length), &row, &parts[i], <real*> NULL, like)
        finish_from_parts(p, &row, parts, count, like)
    for i in prange(count, schedule="static", num_threads=threads):
        write_part(p, diff_dst, src, out, i * length, min(p.n, (i + 1) * length), &row, <const real*> NULL, True,
                   like)
        stream_end()


cdef void rows(const Problem* p, Py_ssize_t count, int threads, const real* like) noexcept nogil:
    cdef Py_ssize_t i
    if count < threads and p.n > MIN_PART:
        for i in range(count):
            split_row(p, i, threads, like)
    else:
        for i in prange(count, schedule="static", num_threads=threads, use_threads_if=threads > 1):
            one_row(p, i, like)


# --------------------------------------------------------------------------------------------- columns

cdef struct Slab:               # some rows of a tile, in the arithmetic's type
    const char* data
    Py_ssize_t pitch            # bytes from one row of it to the next

cdef struct Workspace:          # of one thread; doubles hold floats as well
    double diff_dst[STAGE]
    double src[STAGE]
    double exp[STAGE]
    double flat[STAGE]
    double hi[LANES * TILE]
    double lo[LANES * TILE]
    double terms[TILE]
    double max[TILE]
    double shift[TILE]
    double magic[TILE]
    double exp_lo[TILE]
    double exp_hi[TILE]
    double factor[TILE]
    double factor_low[TILE]
    double diff_dst_hi[TILE]
    double diff_dst_lo[TILE]
    double others_hi[TILE]
    double others_lo[TILE]
    double ties[TILE]
    double boost[TILE]


cdef inline void prefetch_row(Slab slab, Py_ssize_t i, Py_ssize_t width, const real* scratch) noexcept nogil:
    """Ask for row i, unless it is in scratch already."""
    if slab.data != <const char*> scratch:
        prefetch(slab.data + i * slab.pitch, width * sizeof(real))


cdef inline void turn(real* to, const real* x, Py_ssize_t height, Py_ssize_t width) noexcept nogil:
    """`width` rows of `height` elements to `height` rows of `width`."""
    cdef real group[LANES]
    cdef Py_ssize_t b, i, c
    for b in range(width // LANES):
        for i in range(height):
            for c in range(LANES):
                group[c] = x[(b * LANES + c) * height + i]
            for c in range(LANES):
                to[i * width + b * LANES + c] = group[c]
    for c in range(width // LANES * LANES, width):
        for i in range(height):
            to[i * width + c] = x[c * height + i]


cdef inline Slab load_slab(const Operand* op, const char* at, Py_ssize_t height, Py_ssize_t width,
                           bint copy, real* scratch, real* flat) noexcept nogil:
    cdef real line[TURN]
    cdef const real* x
    cdef Py_ssize_t i, c, first, length, b
    if not copy and op.inner == sizeof(real) and is_native(op.dtype, <const real*> scratch):
        return Slab(at, op.n)
    if op.turned and op.n == op.itemsize and op.inner == height * op.itemsize:
        x = load(op, at, op.itemsize, height * width, flat)     # short rows, one behind the other
        turn(scratch, x, height, width)
    elif op.turned:
        for b in range(blocks(height, TURN)):
            first = b * TURN
            length = min(TURN, height - first)
            for c in range(width):
                x = load(op, at + c * op.inner + first * op.n, op.n, length, <real*> line)
                for i in range(length):
                    scratch[(first + i) * width + c] = x[i]
    else:
        for i in range(height):
            if i + AHEAD < height and op.inner == op.itemsize:
                prefetch(at + (i + AHEAD) * op.n, width * op.itemsize)
            load_into(scratch + i * width, op, at + i * op.n, op.inner, width)
    return Slab(<const char*> scratch, width * sizeof(real))


cdef inline void store_turned(const Operand* op, char* at, Py_ssize_t height, Py_ssize_t width,
                              const real* x, real* flat) noexcept nogil:
    cdef real line[TURN]
    cdef Py_ssize_t i, c, first, length, b
    if op.n == op.itemsize and op.inner == height * op.itemsize:
        turn(flat, x, width, height)
        store(op, at, op.itemsize, height * width, <const real*> flat)
        return
    for b in range(blocks(height, TURN)):
        first = b * TURN
        length = min(TURN, height - first)
        for c in range(width):
            for i in range(length):
                line[i] = x[(first + i) * width + c]
            store(op, at + c * op.inner + first * op.n, op.n, length, <const real*> line)


cdef inline void add_row_to_lanes(Workspace* w, double* sum_hi, double* sum_lo, Py_ssize_t j, Py_ssize_t n,
                                  Py_ssize_t part, const real* x, Py_ssize_t width) noexcept nogil:
    """Element j of each column; where a part ends, its sum is added to those of the parts before."""
    cdef Sum s
    cdef Py_ssize_t lane = j % LANES * width, c
    cdef Py_ssize_t before = j % part                # elements of this part that came before
    if before < LANES:
        clear_lanes(w.hi + lane, w.lo + lane, width, x)
    add_to_lanes(w.hi + lane, w.lo + lane, x, width)
    if before + 1 == part or j + 1 == n:
        fold_lanes(w.hi, w.lo, min(before + 1, <Py_ssize_t> LANES), width, x)
        for c in range(width):
            s = add(Sum(sum_hi[c], sum_lo[c]), lane_sum(w.hi, w.lo, c, x))
            sum_hi[c] = s.hi
            sum_lo[c] = s.lo


cdef void one_tile(const Problem* p, Py_ssize_t outer, Py_ssize_t first, Py_ssize_t width, Workspace* w,
                   const real* like) noexcept nogil:
    """`width` neighbouring columns, each from its first element to its last."""
    cdef char* diff_dst = locate(p, &p.diff_dst, outer) + first * p.diff_dst.inner
    cdef char* src = locate(p, &p.src, outer) + first * p.src.inner
    cdef char* out = locate(p, &p.out, outer) + first * p.out.inner
    cdef real* diff_dst_scratch = <real*> w.diff_dst
    cdef real* src_scratch = <real*> w.src
    cdef real* result = <real*> w.exp
    cdef real* flat = <real*> w.flat
    cdef real* terms = <real*> w.terms
    cdef real* max = <real*> w.max
    cdef real* shift = <real*> w.shift
    cdef real* magic = <real*> w.magic
    cdef real* exp_lo = <real*> w.exp_lo
    cdef real* exp_hi = <real*> w.exp_hi
    cdef real* factor = <real*> w.factor
    cdef real* factor_low = <real*> w.factor_low
    cdef Py_ssize_t room = STAGE * sizeof(double) // sizeof(real) // width
    cdef bint whole = p.n <= room           # the tile fits the scratch: what is loaded or computed stays
    cdef Row row
    cdef bint kept = whole and p.form == BACKWARD_SRC
    cdef Py_ssize_t slab = p.n if whole else room
    cdef Py_ssize_t part = part_length(p.n), b, j, i, c, height
    cdef Slab gs = Slab(NULL, 0), xs = Slab(NULL, 0)
    cdef const real* x
    cdef const real* g
    cdef real* y

    for c in range(width):
        w.diff_dst_hi[c] = w.diff_dst_lo[c] = w.others_hi[c] = w.others_lo[c] = w.ties[c] = 0
        max[c] = -INFINITY

    # First pass: the sum of diff_dst and the maximum of src.
    for b in range(blocks(p.n, slab)):
        j = b * slab
        height = min(slab, p.n - j)
        if p.form != LOG_SOFTMAX:
            gs = load_slab(&p.diff_dst, diff_dst + j * p.diff_dst.n, height, width, whole, diff_dst_scratch, flat)
            for i in range(height):
                g = <const real*> (gs.data + i * gs.pitch)
                if i + AHEAD < height:
                    prefetch_row(gs, i + AHEAD, width, <const real*> diff_dst_scratch)
                add_row_to_lanes(w, w.diff_dst_hi, w.diff_dst_lo, j + i, p.n, part, g, width)
        if p.form != BACKWARD_DST:
            xs = load_slab(&p.src, src + j * p.src.n, height, width, whole, src_scratch, flat)
            for i in range(height):
                x = <const real*> (xs.data + i * xs.pitch)
                for c in range(width):
                    max[c] = x[c] if x[c] > max[c] else max[c]

    for c in range(width):
        begin_row(p.form, &row, max[c], p.n, Sum(w.diff_dst_hi[c], w.diff_dst_lo[c]), like)
        w.diff_dst_hi[c] = row.diff_dst.hi
        w.diff_dst_lo[c] = row.diff_dst.lo
        w.boost[c] = row.boost
        shift[c] = <real> row.shift
        magic[c] = <real> row.magic
        exp_lo[c] = <real> row.lo
        exp_hi[c] = <real> row.hi
        factor[c] = <real> row.factor
        factor_low[c] = <real> row.factor_low

    # Second pass: exp, its sum below the maximum, and the number of elements at it.
    if p.form != BACKWARD_DST:
        for b in range(blocks(p.n, slab)):
            j = b * slab
            height = min(slab, p.n - j)
            if not whole:
                xs = load_slab(&p.src, src + j * p.src.n, height, width, False, src_scratch, flat)
            for i in range(height):
                x = <const real*> (xs.data + i * xs.pitch)
                y = result + i * width
                for c in range(width):
                    y[c] = exp_of(x[c] - shift[c], magic[c], exp_lo[c], exp_hi[c])
                for c in range(width):
                    terms[c] = 0 if x[c] == max[c] else y[c]
                    w.ties[c] += x[c] == max[c]
                add_row_to_lanes(w, w.others_hi, w.others_lo, j + i, p.n, part, <const real*> terms, width)
        for c in range(width):
            row.max = max[c]
            row.shift = shift[c]
            row.magic = magic[c]
            row.boost = w.boost[c]
            row.diff_dst = Sum(w.diff_dst_hi[c], w.diff_dst_lo[c])
            finish_row(p.form, &row, Sum(w.others_hi[c], w.others_lo[c]), w.ties[c], like)
            factor[c] = <real> row.factor
            factor_low[c] = <real> row.factor_low

    # Last pass: the result.
    for b in range(blocks(p.n, slab)):
        j = b * slab
        height = min(slab, p.n - j)
        if not whole or p.form == BACKWARD_DST:
            xs = load_slab(&p.src, src + j * p.src.n, height, width, False, src_scratch, flat)
        if not whole and p.form != LOG_SOFTMAX:
            gs = load_slab(&p.diff_dst, diff_dst + j * p.diff_dst.n, height, width, False, diff_dst_scratch, flat)
        for i in range(height):
            x = <const real*> (xs.data + i * xs.pitch)
            g = <const real*> (gs.data + i * gs.pitch)
            if i + AHEAD < height:
                prefetch_row(xs, i + AHEAD, width, <const real*> src_scratch)
                prefetch_row(gs, i + AHEAD, width, <const real*> diff_dst_scratch)
            y = result + i * width if p.out.turned or kept else terms
            if p.form == LOG_SOFTMAX:
                for c in range(width):
                    y[c] = (x[c] - max[c]) - factor[c]
            elif kept:
                for c in range(width):
                    y[c] = backward_of_exp(g[c], y[c], factor[c], factor_low[c])
            else:
                for c in range(width):
                    y[c] = backward_of(
                        g[c], x[c] - shift[c], magic[c], exp_lo[c], exp_hi[c], factor[c], factor_low[c])
            if not p.out.turned:
                store(&p.out, out + (j + i) * p.out.n, p.out.inner, width, <const real*> y)
        if p.out.turned:
            store_turned(&p.out, out + j * p.out.n, height, width, <const real*> result, flat)
    stream_end()


cdef void columns(const Problem* p, Py_ssize_t outer, Py_ssize_t width, Workspace* workspaces, int threads,
                  const real* like) noexcept nogil:
    cdef Py_ssize_t across = blocks(p.inner, width), i
    for i in prange(outer * across, schedule="static", num_threads=threads, use_threads_if=threads > 1):
        one_tile(p, i // across, i % across * width, min(width, p.inner - i % across * width),
                 workspaces + threadid(), like)


cdef Py_ssize_t tile_width(const Problem* p, Py_ssize_t outer, int threads) noexcept:
    """Columns in a tile: as many as pay, alike, and enough tiles for all threads."""
    cdef Py_ssize_t most = TURNED_TILE if p.diff_dst.turned or p.src.turned or p.out.turned else TILE
    cdef Py_ssize_t across = blocks(p.inner, most)
    if outer * across < threads:
        across = min(<Py_ssize_t> threads, blocks(p.inner, LANES))
    return blocks(blocks(p.inner, across), LANES) * LANES


# ---------------------------------------------------------------------------------------------- Python

cdef Operand describe(const raw_item[:, :, :] view) noexcept:
    cdef Operand op
    op.data = <char*> &view[0, 0, 0]
    op.itemsize = sizeof(raw_item)
    op.outer, op.n, op.inner = view.strides[0], view.strides[1], view.strides[2]
    op.turned = abs(op.n) < abs(op.inner)
    return op


cdef Operand operand(array, DType dtype) except *:
    """Where the elements of an (outer, n, inner) array are; 16-bit ones come as uint16."""
    cdef Operand op
    cdef Py_ssize_t nbytes
    if dtype == FLOAT32:
        op = describe[float](array)
    elif dtype == FLOAT64:
        op = describe[double](array)
    else:
        op = describe[uint16_t](array)
    op.dtype = dtype
    nbytes = array.nbytes
    op.large = nbytes >= LARGE_BYTES
    op.streamed = nbytes >= STREAM_BYTES
    return op


def run(form, wide, by_columns, list arrays, tuple loops, threads):
    """Compute the last of `arrays` from the others.

    Parameters
    ----------
    form : Form
    wide : bool
        Whether the arithmetic is double.
    by_columns : bool
        Whether to walk columns or rows; the result is the same. Rows want inner == 1.
    arrays : list of (array, DType)
        [diff_dst,] src (dst in the dst form), out: views of shape (outer, n, inner), without a 0 in it.
    loops : tuple of (extent, strides)
        Further axes, over which the views are repeated: strides in bytes, one for each array.
    threads : int
    """
    cdef Problem p
    cdef Py_ssize_t tasks, width = 0
    cdef Workspace* workspaces = NULL
    cdef int d, i, team = threads
    cdef bint in_double = wide, in_columns = by_columns
    cdef float as_float = 0
    cdef double as_double = 0
    cdef Operand operands[3]
    cdef int first = 3 - len(arrays)        # LOG_SOFTMAX has no diff_dst: its place gets src
    for i in range(3):
        array, dtype = arrays[max(i - first, 0)]
        operands[i] = operand(array, dtype)
        for d in range(len(loops)):
            operands[i].loops[d] = loops[d][1][max(i - first, 0)]
    p.form = form
    p.diff_dst, p.src, p.out = operands[0], operands[1], operands[2]
    p.outer, p.n, p.inner = array.shape
    p.ndim = len(loops)
    tasks = p.outer
    for d in range(p.ndim):
        p.loops[d] = loops[d][0]
        tasks *= p.loops[d]
    if in_columns:
        width = tile_width(&p, tasks, team)
        workspaces = <Workspace*> PyMem_RawMalloc(team * sizeof(Workspace))
        if workspaces == NULL:
            raise MemoryError
    with nogil:
        if in_columns and in_double:
            columns(&p, tasks, width, workspaces, team, &as_double)
        elif in_columns:
            columns(&p, tasks, width, workspaces, team, &as_float)
        elif in_double:
            rows(&p, tasks, team, &as_double)
        else:
            rows(&p, tasks, team, &as_float)
    PyMem_RawFree(workspaces)


def max_threads():
    """The threads OpenMP would take here and now: OMP_NUM_THREADS, threadpoolctl, the processors."""
    return fastlsm_max_threads()


def supports(level):
    """Whether this processor can run the kernels of an instruction-set level."""
    return bool(cpu_supports(level.encode()))


def build_info():
    """How this module was compiled."""
    return {"compiler": FASTLSM_COMPILER.decode(), "openmp": FASTLSM_OPENMP}
