# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, subinterpreters_compatible=no
"""The kernels: log-softmax and its gradient over (outer, n, inner) views, any dtype, any strides.

A. The formulas, along the middle axis, of length n:

       log_softmax   dst      = (src - m) - L          m = max(src), L = log(sum(exp(src - m)))
       dst form      diff_src = diff_dst - exp(dst) * S                       S = sum(diff_dst)
       src form      diff_src = diff_dst - exp(src - m) * (S / sum(exp(src - m)))

   The three end in one of three element-wise loops, `x - m - L`, `g - exp(x - shift) * 2**-K * f` or
   `g + exp(x) * f` (vexp.h), with constants of the row that passes over it before have found: see `Row`.

B. Load, compute, store. `load_into` and `store` know dtypes and strides, decide once a block and
   convert; compute loops run on adjacent float (or double) in the first-level cache and know neither.
   So every layout and dtype gets the same bits by construction. An operand that is adjacent and of the
   arithmetic's type already is used where it lies; so is one of 16 bits if all are such, which the loops convert
   as they load and store (`Problem.type`). The loops are in loops.h, in vectors.

   Along rows that are not near, loops ask for what they will read 2 KB further on (`Problem.ahead`), and what is
   more than the caches hold is written past them as soon as it fills a line (traffic.h).

C. Two walks. *rows*: vectors run along the axis, a row after the other, or some short ones together, their
   constants in vectors too; one long row is cut into parts, for all threads. While a row is computed, the maximum
   and the sum of the next are found, or the processor sees the next by itself: what memory and arithmetic do at the
   same time costs once. Very short rows
   that are adjacent are turned (turn.h) for what runs along the axis, and written as one run of elements.
   *columns*: vectors run across neighbouring rows, a tile of them after the other, for an axis that is not the
   nearest in memory, and for very short rows apart, which are turned on loading and on storing. Near tiles are computed
   on where they lie; far ones are loaded to scratch, the next while one is computed. Scratch begins at a cache line,
   and tiles end where `inner` does: a vector that lies in two lines takes twice as long.

D. The same bits in both walks, on every instruction set, with any number of threads. A row is cut into
   parts at places that depend on n alone (`part_length`). In a part, element j is added to lane j % 16;
   the 16 lanes are added as a fixed tree (l + 8 to l, then l + 4, l + 2, l + 1), the parts in order. Lanes are
   double. Where the arithmetic itself is double they carry the rounding errors along (Knuth's
   two-sum). The maximum and the number of times it occurs do not depend on an order.

E. Accuracy. src - m is formed only where it is exact: for |m| >= 256 (2048 in double), by Sterbenz's
   lemma, for every element that matters. Else the maximum leaves through the exponent:
   exp(src - K ln 2), K = floor(m / ln 2), costs nothing (vexp.h) and rounds nothing. In the forward the terms
   of the maximum are summed apart from the others, `others + ties * exp(m - K ln 2)`, the second term known
   more exactly than the arithmetic's type holds, so that log1p sees `others` however small it is. The src form
   needs the whole sum alone: there the term of the maximum, which is all of it where one class has all the mass,
   is taken out afterwards and the better one put in.
"""
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.long cimport PyLong_AsLongAndOverflow
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport uint16_t
from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, fabs, floor
from libc.string cimport memcpy, memset

from fastlsm.kernels.layout cimport (
    are_far_apart, have_same_places, have_same_shape, is_aligned, lay_out, may_overlap_itself, order_of_result,
)
from fastlsm.kernels.problem cimport (
    BACKWARD_DST, BACKWARD_SRC, BFLOAT16, FLOAT16, FLOAT32, FLOAT64, LOG_SOFTMAX, DType, Form, Operand, Problem,
)

import _thread
import os
import threading
from weakref import ref

import numpy


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

cdef extern from "vectors.h" nogil:
    enum:
        MASKED_VECTORS, MASKED_HALVES, QUICK_PICK
    enum:
        ITEM_REAL, ITEM_BF16, ITEM_F16
    void f32_from_f16_block(float*, const f16*, Py_ssize_t) noexcept
    void f16_from_f32_block(f16*, const float*, Py_ssize_t) noexcept
    void store_every_second_f32(float*, const float*, Py_ssize_t) noexcept

cdef extern from "vexp.h" nogil:
    const float MAGIC_F32
    const double MAGIC_F64, LN_2
    const int BIAS_F32, BIAS_F64
    double exp_f64_with_tail(double x, double magic, double* tail) noexcept
    double exp_f64_for_f32(double x, double magic) noexcept
    double cut_to_f32(double x) noexcept
    double toward_zero_f64(double f, double rest) noexcept
    double log1p_f64(double x, double tail) noexcept
    double log1p_f64_for_f32(double x) noexcept
    double product_error(double a, double b, double p) noexcept

cdef extern from "lanes.h" nogil:
    void clear_lanes(double* lanes) noexcept
    void fold_row_f32(double* hi, double* lo) noexcept
    void fold_row_f64(double* hi, double* lo) noexcept

cdef extern from "column_lanes.h" nogil:
    void add_rows_f32(
        double* hi, double* lo, const void* x, Py_ssize_t rows, Py_ssize_t pitch, int type) noexcept
    void add_rows_f64(
        double* hi, double* lo, const void* x, Py_ssize_t rows, Py_ssize_t pitch, int type) noexcept
    void rows_to_lanes_f32(double* lanes, Py_ssize_t width, const void* x, Py_ssize_t pitch, Py_ssize_t rows,
                           Py_ssize_t n, Py_ssize_t ahead, int type) noexcept
    void sum_columns_f32(double* hi, double* lo, const void* x, Py_ssize_t n, Py_ssize_t pitch, Py_ssize_t columns,
                         int type) noexcept
    void sum_columns_f64(double* hi, double* lo, const void* x, Py_ssize_t n, Py_ssize_t pitch, Py_ssize_t columns,
                         int type) noexcept

cdef extern from "traffic.h" nogil:
    enum:
        CACHE_LINE
    void* next_line(void* at) noexcept
    void prefetch(const void* at, Py_ssize_t bytes) noexcept
    void copy_rows(void* to, Py_ssize_t to_pitch, const void* source, Py_ssize_t source_pitch, Py_ssize_t rows,
                   Py_ssize_t bytes, Py_ssize_t ahead) noexcept
    void stream_copy(void* to, const void* source, size_t bytes) noexcept
    void stream_end() noexcept
    ctypedef struct Stream:
        pass
    void stream_begin(Stream*, void* to) noexcept
    void stream_close(Stream*) noexcept
    void stream_row(Stream*, Py_ssize_t bytes, void* next) noexcept

cdef extern from "loops.h" nogil:
    enum:
        OF_FACTOR, OF_FACTOR_LOW, OF_MAX, OF_SHIFT, OF_MAGIC, OF_EXP_LO, CONSTANTS
    enum:
        MANY_COLUMNS
    ctypedef struct Copy:
        const char* source
        char* to
        Py_ssize_t source_pitch, to_pitch, bytes
    ctypedef struct Pitches:
        Py_ssize_t y, g, x, y_ahead, x_ahead
    void sum_row_f32(const void* x, Py_ssize_t n, double* hi, double* lo, int type, bint ahead) noexcept
    void sum_row_f64(const void* x, Py_ssize_t n, double* hi, double* lo, int type, bint ahead) noexcept
    void total_of_row_f32(const void* x, Py_ssize_t n, double* high, double* low, int type, bint ahead) noexcept
    void total_of_row_f64(const void* x, Py_ssize_t n, double* high, double* low, int type, bint ahead) noexcept
    Py_ssize_t exp_total_of_row_f32(float* e, const void* x, Py_ssize_t n, const float* of, Py_ssize_t stride,
                                    bint below, double* high, double* low, int type, bint ahead, const void* next,
                                    float* next_max) noexcept
    Py_ssize_t exp_total_of_row_f64(double* e, const void* x, Py_ssize_t n, const double* of, Py_ssize_t stride,
                                    bint below, double* high, double* low, int type, bint ahead, const void* next,
                                    double* next_max) noexcept
    float max_row_f32(const void* x, Py_ssize_t n, float max, int type, bint ahead) noexcept
    double max_row_f64(const void* x, Py_ssize_t n, double max, int type, bint ahead) noexcept
    Py_ssize_t exp_row_f32(float* e, const void* x, Py_ssize_t n, const float* of, Py_ssize_t stride, bint below,
                           double* hi, double* lo, int type, bint ahead, const void* next, float* next_max) noexcept
    float exp_one_f32(float x, float shift, float magic, float lo) noexcept
    Py_ssize_t exp_row_f64(double* e, const void* x, Py_ssize_t n, const double* of, Py_ssize_t stride, bint below,
                           double* hi, double* lo, int type, bint ahead, const void* next, double* next_max) noexcept
    double exp_one_f64(double x, double shift, double magic, double lo) noexcept
    void forward_row_f32(void* y, const void* x, Py_ssize_t n, const float* of, Py_ssize_t stride, int type, bint ahead,
                         Stream* stream) noexcept
    void forward_row_f64(void* y, const void* x, Py_ssize_t n, const double* of, Py_ssize_t stride, int type,
                         bint ahead, Stream* stream) noexcept
    void backward_of_exp_row_f32(
        void* y, const void* g, const float* e, Py_ssize_t n, const float* of, Py_ssize_t stride, int type,
        bint ahead, Stream* stream, const void* next, double* next_hi, double* next_lo) noexcept
    void backward_of_exp_row_f64(
        void* y, const void* g, const double* e, Py_ssize_t n, const double* of, Py_ssize_t stride, int type,
        bint ahead, Stream* stream, const void* next, double* next_hi, double* next_lo) noexcept
    bint set_dst_constants_f32(float* of, Py_ssize_t stride, double hi, double lo) noexcept
    bint set_dst_constants_f64(double* of, Py_ssize_t stride, double hi, double lo) noexcept
    void backward_dst_row_f32(void* y, const void* g, const void* x, Py_ssize_t n, const float* of,
                              Py_ssize_t stride, double hi, double lo, int type, bint ahead, Stream* stream,
                              const void* next, double* next_hi, double* next_lo) noexcept
    void backward_dst_row_f64(void* y, const void* g, const void* x, Py_ssize_t n, const double* of,
                              Py_ssize_t stride, double hi, double lo, int type, bint ahead, Stream* stream,
                              const void* next, double* next_hi, double* next_lo) noexcept
    void backward_src_row_f32(
        void* y, const void* g, const void* x, Py_ssize_t n, const float* of, Py_ssize_t stride, int type,
        bint ahead, Stream* stream) noexcept
    void backward_src_row_f64(
        void* y, const void* g, const void* x, Py_ssize_t n, const double* of, Py_ssize_t stride, int type,
        bint ahead, Stream* stream) noexcept
    void backward_dst_columns_f32(void* y, const void* g, const void* x, const Pitches* pitch, Py_ssize_t rows,
                                  Py_ssize_t n, const float* of, Py_ssize_t stride, const double* hi,
                                  const double* lo, bint extreme, const Copy* next, Py_ssize_t row, int type) noexcept
    void forward_columns_f32(void* y, const void* x, const Pitches* pitch, Py_ssize_t rows, Py_ssize_t n,
                             const float* of, Py_ssize_t stride, int type) noexcept
    void backward_of_exp_columns_f32(void* y, const void* g, const float* e, const Pitches* pitch, Py_ssize_t rows,
                                     Py_ssize_t n, const float* of, Py_ssize_t stride, const Copy* next,
                                     Py_ssize_t row, int type) noexcept
    void backward_src_columns_f32(void* y, const void* g, const void* x, const Pitches* pitch, Py_ssize_t rows,
                                  Py_ssize_t n, const float* of, Py_ssize_t stride, int type) noexcept
    void max_columns_f32(float* max, const void* x, Py_ssize_t n, Py_ssize_t pitch, Py_ssize_t columns,
                         int type) noexcept
    void exp_columns_f32(float* e, const void* x, const Pitches* pitch, Py_ssize_t rows, Py_ssize_t n,
                         const float* of, Py_ssize_t stride, float* ties, bint below, const Copy* next,
                         Py_ssize_t row, int type) noexcept
    void backward_dst_columns_f64(void* y, const void* g, const void* x, const Pitches* pitch, Py_ssize_t rows,
                                  Py_ssize_t n, const double* of, Py_ssize_t stride, const double* hi,
                                  const double* lo, bint extreme, const Copy* next, Py_ssize_t row, int type) noexcept
    void forward_columns_f64(void* y, const void* x, const Pitches* pitch, Py_ssize_t rows, Py_ssize_t n,
                             const double* of, Py_ssize_t stride, int type) noexcept
    void backward_of_exp_columns_f64(void* y, const void* g, const double* e, const Pitches* pitch, Py_ssize_t rows,
                                     Py_ssize_t n, const double* of, Py_ssize_t stride, const Copy* next,
                                     Py_ssize_t row, int type) noexcept
    void backward_src_columns_f64(void* y, const void* g, const void* x, const Pitches* pitch, Py_ssize_t rows,
                                  Py_ssize_t n, const double* of, Py_ssize_t stride, int type) noexcept
    void max_columns_f64(double* max, const void* x, Py_ssize_t n, Py_ssize_t pitch, Py_ssize_t columns,
                         int type) noexcept
    void exp_columns_f64(double* e, const void* x, const Pitches* pitch, Py_ssize_t rows, Py_ssize_t n,
                         const double* of, Py_ssize_t stride, double* ties, bint below, const Copy* next,
                         Py_ssize_t row, int type) noexcept
    void sum_rows_f32(const void* x, Py_ssize_t pitch, Py_ssize_t rows, Py_ssize_t n, bint ahead, double* hi,
                      double* lo, int type) noexcept
    void max_rows_f32(float* max, const void* x, Py_ssize_t pitch, Py_ssize_t rows, Py_ssize_t n, bint ahead,
                      int type) noexcept
    void exp_rows_f32(float* e, Py_ssize_t room, const void* x, Py_ssize_t pitch, Py_ssize_t rows, Py_ssize_t n,
                      const float* of, Py_ssize_t stride, bint below, double* hi, double* lo, double* ties,
                      int type) noexcept
    void dst_rows_f32(void* y, Py_ssize_t y_pitch, const void* g, Py_ssize_t g_pitch, const void* x, Py_ssize_t x_pitch,
                      Py_ssize_t rows, Py_ssize_t n, void* stage, bint ahead, bint streamed, int type) noexcept
    void of_exp_rows_f32(void* y, Py_ssize_t y_pitch, const void* g, Py_ssize_t g_pitch, const float* e,
                         Py_ssize_t room, Py_ssize_t rows, Py_ssize_t n, const float* of, Py_ssize_t stride,
                         Stream* stream, int type) noexcept
    void forward_rows_f32(void* y, Py_ssize_t y_pitch, const void* x, Py_ssize_t x_pitch, Py_ssize_t rows, Py_ssize_t n,
                          const float* of, Py_ssize_t stride, Stream* stream, int type) noexcept
    void set_pattern_f32(void* pattern, Py_ssize_t n) noexcept
    void set_pattern_f64(void* pattern, Py_ssize_t n) noexcept
    bint set_dst_factors_f32(
        float* of, Py_ssize_t stride, const double* hi, const double* lo, Py_ssize_t rows) noexcept
    bint set_dst_factors_f64(
        double* of, Py_ssize_t stride, const double* hi, const double* lo, Py_ssize_t rows) noexcept
    bint dst_flat_f32(void* y, const void* g, const void* x, Py_ssize_t rows, Py_ssize_t n, const float* of,
                      Py_ssize_t stride, const void* pattern, bint ahead, Stream* stream, int type) noexcept
    bint dst_flat_f64(void* y, const void* g, const void* x, Py_ssize_t rows, Py_ssize_t n, const double* of,
                      Py_ssize_t stride, const void* pattern, bint ahead, Stream* stream, int type) noexcept
    void forward_flat_f32(void* y, const void* x, Py_ssize_t rows, Py_ssize_t n, const float* of, Py_ssize_t stride,
                          const void* pattern, bint ahead, Stream* stream, int type) noexcept
    void forward_flat_f64(void* y, const void* x, Py_ssize_t rows, Py_ssize_t n, const double* of, Py_ssize_t stride,
                          const void* pattern, bint ahead, Stream* stream, int type) noexcept
    void sum_rows_f64(const void* x, Py_ssize_t pitch, Py_ssize_t rows, Py_ssize_t n, bint ahead, double* hi,
                      double* lo, int type) noexcept
    void max_rows_f64(double* max, const void* x, Py_ssize_t pitch, Py_ssize_t rows, Py_ssize_t n, bint ahead,
                      int type) noexcept
    void exp_rows_f64(double* e, Py_ssize_t room, const void* x, Py_ssize_t pitch, Py_ssize_t rows, Py_ssize_t n,
                      const double* of, Py_ssize_t stride, bint below, double* hi, double* lo, double* ties,
                      int type) noexcept
    void dst_rows_f64(void* y, Py_ssize_t y_pitch, const void* g, Py_ssize_t g_pitch, const void* x, Py_ssize_t x_pitch,
                      Py_ssize_t rows, Py_ssize_t n, void* stage, bint ahead, bint streamed, int type) noexcept
    void of_exp_rows_f64(void* y, Py_ssize_t y_pitch, const void* g, Py_ssize_t g_pitch, const double* e,
                         Py_ssize_t room, Py_ssize_t rows, Py_ssize_t n, const double* of, Py_ssize_t stride,
                         Stream* stream, int type) noexcept
    void forward_rows_f64(void* y, Py_ssize_t y_pitch, const void* x, Py_ssize_t x_pitch, Py_ssize_t rows, Py_ssize_t n,
                          const double* of, Py_ssize_t stride, Stream* stream, int type) noexcept

cdef extern from "turn.h" nogil:
    void turn_f32(char*, Py_ssize_t, const char*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    void turn_f64(char*, Py_ssize_t, const char*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept

cdef extern from "openmp.h" nogil:
    const int FASTLSM_OPENMP
    int openmp_max_threads() noexcept
    int openmp_processors() noexcept
    bint openmp_in_parallel() noexcept
    int openmp_team(int wanted) noexcept
    void openmp_barrier() noexcept
    const char* openmp_library() noexcept

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

cdef enum:
    LANES = 16
    CHUNK = 1024                # elements that rows loads, computes and stores at a time
    # Columns of float that are computed side by side, at most; half as many of double, both multiples of LANES. Not a
    # power of two, so that the elements of a column fall into different cache sets.
    TILE = 1344
    NEAR_TILE = 496             # what is near is better in smaller ones
    OF_STRIDE = TILE + 2 * LANES    # no power of two either
    WIDE = 48                   # an inner extent from which on tiles end where it does
    NEAR_RUN = 256              # columns whose lanes the first-level cache keeps
    NARROW = 128                # columns that are worth the jump from one row of a tile to the next
    SLAB = 8192                 # elements of a tile that are loaded, computed and stored at a time
    AHEAD = 4                   # rows of a tile that are asked for ahead of their use, if near
    AHEAD_FROM = 1 << 19        # bytes from which on rows are asked for ahead of their use: three such fill a cache
    FAR_BYTES = 1 << 24         # from this size on results are written past the caches
    STAGE = 32768               # doubles, or twice as many floats, of a tile that is kept in a workspace
    TOGETHER = 4096             # elements of short rows that are done together, in
    MOST_TOGETHER = 64          # rows at most
    SHORT_ROW = 64              # rows up to this length are short
    FLAT_ROW = 47               # adjacent rows up to this length are gone through as one run, at most
    FLAT_TOGETHER = 2048        # elements of such a run
    KEEP = 2048                 # the longest row that is kept, loaded, on the stack
    LONG_ENOUGH = 2048          # bytes of a row that is read while the one before it is computed
    MIN_PART = 16384
    MAX_PARTS = 64
    LONG = 1 << 24              # elements for each thread from which on signals are answered
    BRIEF = 8192                # elements up to which the GIL is kept, and nothing else runs meanwhile


cdef struct Sum:                # hi + lo; lo stays 0 in float arithmetic
    double hi, lo

cdef struct Row:                # what the element-wise loops need to know of a row
    double shift, magic, lo         # exp(x - shift) * 2**-K, as in vexp.h
    double factor, factor_low       # times their sum (backward); log(sum(exp(x - m))) (forward)
    double max
    Sum diff_dst                    # the sum, divided by
    double boost                    # a power of two that exp is multiplied by

cdef struct Part:               # what the passes over a part of a row find
    double max
    Sum diff_dst
    Sum exps                    # sum of exp, in the forward over the elements below the maximum, and
    Py_ssize_t ties             # the number of those at it


cdef struct Workspace:          # of one thread; doubles hold floats as well
    double stage[2 * STAGE]     # tiles if they fit, else slabs of some of their rows (stage_of); exp of rows
    double result[SLAB]
    double flat[SLAB]
    double lanes[LANES * TILE]  # of LANES columns, then those of the next; of double hi, from the middle on lo
    double constants[CONSTANTS * OF_STRIDE]     # as loops.h has them
    double pattern[FLAT_ROW * LANES]    # of flat rows (flat_rows_of_real.h)
    double boost[TILE]          # as in Row
    double diff_dst_hi[TILE]
    double diff_dst_lo[TILE]
    double exps_hi[TILE]        # as in Part
    double exps_lo[TILE]
    double ties[TILE]
    double next_diff_dst_hi[MOST_TOGETHER]      # of the rows after those that are done together
    double next_diff_dst_lo[MOST_TOGETHER]
    double next_max[MOST_TOGETHER]


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
    elif stride == 2 * sizeof(item):        # a constant, for shuffles
        load_strided(to, at, 2 * sizeof(item), n)
    else:
        load_strided(to, at, stride, n)


cdef inline int item_type(const Operand* op) noexcept nogil:
    return ITEM_BF16 if op.dtype == BFLOAT16 else (ITEM_F16 if op.dtype == FLOAT16 else ITEM_REAL)


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
    elif item is float and real is float and stride == 2 * <Py_ssize_t> sizeof(item):
        store_every_second_f32(<float*> at, <const float*> x, n)
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
        if op.far:
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


cdef inline Sum row_sum(double* hi, double* lo, const real* like) noexcept nogil:
    if real is float:
        fold_row_f32(hi, lo)
    else:
        fold_row_f64(hi, lo)
    return lane_sum(hi, lo, 0, like)


cdef inline Py_ssize_t blocks(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    """How many blocks of `size`, the last perhaps shorter, n elements fill."""
    return (n + size - 1) // size


cdef inline Py_ssize_t room(const real* like) noexcept nogil:
    """Elements that there is scratch for."""
    return STAGE * <Py_ssize_t> (sizeof(double) // sizeof(real))


cdef inline Py_ssize_t part_length(Py_ssize_t n) noexcept nogil:
    """Where a row is cut: a multiple of CHUNK and of LANES, depending on n alone."""
    return max(MIN_PART, blocks(blocks(n, MAX_PARTS), 1024) * 1024)


# -------------------------------------------------------------------------------- constants of a row

# Without a branch that depends on the row, so that columns can do many rows at once.

cdef inline void set_factor(Row* row, Sum factor, const real* like) noexcept nogil:
    cdef double rounded, rest
    if real is float:
        row.factor = <float> cut_to_f32(factor.hi)
    else:
        rounded = value(factor)
        row.factor = toward_zero_f64(rounded, (factor.hi - rounded) + factor.lo)
    rest = (factor.hi - row.factor) + factor.lo
    row.factor_low = rest if fabs(row.factor) < INFINITY else 0


cdef inline void begin_row(Row* row, double max, Py_ssize_t n, Sum diff_dst, const real* like) noexcept nogil:
    """How to take exp of src in a row whose maximum and sum of diff_dst are known (note E).

    That a sum of diff_dst is near the end of the arithmetic's range, or past it, does not mean that its
    product with softmax is. It is brought back by a power of two, by which exp is raised in turn.
    """
    cdef double K, magic, exponent_min, near
    cdef double size = fabs(diff_dst.hi), boost = 1, unboost = 1, boost_log2 = 0
    cdef bint is_near, is_large, is_small
    if real is float:                       # the sum is double, and small ones are exact
        magic, exponent_min, near = MAGIC_F32 + BIAS_F32, -126, 256
        is_large = (size > FLT_MAX) & (size < INFINITY)
        boost = 2.0 ** 64 if is_large else 1
        unboost = 2.0 ** -64 if is_large else 1
        boost_log2 = 64 if is_large else 0
    else:
        magic, exponent_min, near = MAGIC_F64 + BIAS_F64, -1022, 2048
        is_large = (size > 2.0 ** 900) & (size < INFINITY)
        is_small = (size < 2.0 ** -900) & (size > 0)
        boost = 2.0 ** 128 if is_large else (2.0 ** -128 if is_small else 1)
        unboost = 2.0 ** -128 if is_large else (2.0 ** 128 if is_small else 1)
        boost_log2 = 128 if is_large else (-128 if is_small else 0)
    is_near = (fabs(max) < near) & (n > 1)
    K = floor(max * (1 / LN_2)) if is_near else 0
    row.shift = 0 if is_near else max
    row.max = max
    row.boost = boost
    row.diff_dst = Sum(diff_dst.hi * unboost, diff_dst.lo * unboost)
    K -= boost_log2
    row.magic = magic - K
    row.lo = (K + exponent_min - 1) * LN_2
    row.factor = row.factor_low = 0


cdef inline double exp_at_max(const Row* row, double* tail) noexcept nogil:
    return exp_f64_with_tail(row.max - row.shift, row.magic, tail)


cdef inline double exp_at_max_f32(const Row* row, double sign) noexcept nogil:
    """exp of the maximum, or with sign -1, 1 / exp."""
    cdef double K = MAGIC_F32 + BIAS_F32 - row.magic
    return exp_f64_for_f32(sign * (row.max - row.shift), MAGIC_F64 + BIAS_F64 - sign * K)


cdef inline void finish_backward(Row* row, Sum exps, const real* like) noexcept nogil:
    """The factor of the src form, from the sum of exp, in which that of the maximum is replaced by a better one.

    The loop's own exp, off by up to 0.61 units, stays in the numerators. Where one class has nearly all the mass, its
    softmax would come out above 1 for more than half a unit: a fifth of that error is left in the sum, for which the
    others, whose error it is then too, have room.
    """
    cdef double at_max, error, tail = 0
    cdef Sum ratio
    if real is float:
        at_max = exp_at_max_f32(row, 1)
        error = exp_one_f32(<float> row.max, <float> row.shift, <float> row.magic, <float> row.lo) - at_max
        ratio = Sum(row.diff_dst.hi / (exps.hi - 0.8 * error), 0)
    else:
        at_max = exp_at_max(row, &tail)
        error = exp_one_f64(row.max, row.shift, row.magic, row.lo) - at_max
        exps = add(exps, Sum(-at_max - error, 0))
        ratio = quotient(row.diff_dst, add(Sum(at_max, tail + 0.2 * (error - tail)), exps))
    set_factor(row, Sum(ratio.hi * row.boost, ratio.lo * row.boost), like)


cdef inline void finish_forward(Row* row, Sum others, double ties, const real* like) noexcept nogil:
    """The logarithm of log_softmax, from the same."""
    cdef double at_max, tail = 0
    cdef Sum ratio
    if real is float:
        row.factor = log1p_f64_for_f32(others.hi * exp_at_max_f32(row, -1) + (ties - 1))
    else:
        at_max = exp_at_max(row, &tail)
        ratio = add(quotient(others, Sum(at_max, tail)), Sum(ties - 1, 0))
        row.factor = log1p_f64(ratio.hi, ratio.lo)
    row.factor_low = 0


cdef inline void set_constants(real* of, Py_ssize_t stride, const Row* row) noexcept nogil:
    of[OF_MAX * stride] = <real> row.max
    of[OF_SHIFT * stride] = <real> row.shift
    of[OF_MAGIC * stride] = <real> row.magic
    of[OF_EXP_LO * stride] = <real> row.lo
    of[OF_FACTOR * stride] = <real> row.factor
    of[OF_FACTOR_LOW * stride] = <real> row.factor_low


cdef inline bint set_dst_constants(real* of, Py_ssize_t stride, Sum diff_dst) noexcept nogil:
    """Whether the sum is too large or too small for them."""
    if real is float:
        return set_dst_constants_f32(of, stride, diff_dst.hi, diff_dst.lo)
    else:
        return set_dst_constants_f64(of, stride, diff_dst.hi, diff_dst.lo)


cdef inline void get_constants(const Workspace* w, Py_ssize_t c, Row* row, const real* like) noexcept nogil:
    cdef const real* of = <const real*> w.constants + c
    row.max = of[OF_MAX * OF_STRIDE]
    row.shift = of[OF_SHIFT * OF_STRIDE]
    row.magic = of[OF_MAGIC * OF_STRIDE]
    row.lo = of[OF_EXP_LO * OF_STRIDE]
    row.boost = w.boost[c]
    row.diff_dst = Sum(w.diff_dst_hi[c], w.diff_dst_lo[c])


cdef bint begin_rows(Form form, Workspace* w, Py_ssize_t count, Py_ssize_t n, const real* like) noexcept nogil:
    """The first constants of `count` rows or columns, side by side. Is there an extreme one (vexp.h)?"""
    cdef real* of = <real*> w.constants
    cdef bint extreme = False
    cdef Py_ssize_t c
    cdef Row row
    if form == BACKWARD_DST:
        for c in range(count):
            extreme |= set_dst_constants(of + c, OF_STRIDE, Sum(w.diff_dst_hi[c], w.diff_dst_lo[c]))
        return extreme
    for c in range(count):
        begin_row(&row, of[OF_MAX * OF_STRIDE + c], n, Sum(w.diff_dst_hi[c], w.diff_dst_lo[c]), like)
        set_constants(of + c, OF_STRIDE, &row)
        w.boost[c] = row.boost
        w.diff_dst_hi[c] = row.diff_dst.hi
        w.diff_dst_lo[c] = row.diff_dst.lo
    return False


cdef void finish_rows(Form form, Workspace* w, Py_ssize_t count, const real* like) noexcept nogil:
    """The last, when the sums of exp are known."""
    cdef real* of = <real*> w.constants
    cdef Py_ssize_t c
    cdef Row row
    if form == BACKWARD_SRC:
        for c in range(count):
            get_constants(w, c, &row, like)
            finish_backward(&row, Sum(w.exps_hi[c], w.exps_lo[c]), like)
            of[OF_FACTOR * OF_STRIDE + c] = <real> row.factor
            of[OF_FACTOR_LOW * OF_STRIDE + c] = <real> row.factor_low
    else:
        for c in range(count):
            get_constants(w, c, &row, like)
            finish_forward(&row, Sum(w.exps_hi[c], w.exps_lo[c]), w.ties[c], like)
            of[OF_FACTOR * OF_STRIDE + c] = <real> row.factor
            of[OF_FACTOR_LOW * OF_STRIDE + c] = <real> row.factor_low


# ------------------------------------------------------------------------------------------------ rows

cdef struct Line:               # a row of an operand
    const Operand* op
    const char* data
    Py_ssize_t size             # of an element of data
    bint loaded                 # data can be computed on


cdef inline bint is_ready(const Problem* p, const Operand* op, const real* like) noexcept nogil:
    """Whether rows can be computed on where they lie."""
    return p.type != ITEM_REAL or op.n == sizeof(real) and is_native(op.dtype, like)


cdef inline Line line_at(const Problem* p, const Operand* op, Py_ssize_t index, real* keep) noexcept nogil:
    """Row `index`; one that is short is loaded into `keep` unless it is ready."""
    cdef Line line
    line.op = op
    line.data = locate(p, op, index)
    line.size = op.itemsize
    line.loaded = is_ready(p, op, <const real*> keep)
    if p.n <= KEEP and not line.loaded:
        load_into(keep, op, line.data, op.n, p.n)
        line.data = <const char*> keep
        line.size = sizeof(real)
        line.loaded = True
    return line


cdef inline const void* load_chunk(const Line* line, Py_ssize_t j, Py_ssize_t n, real* scratch) noexcept nogil:
    """n elements from the j-th on."""
    if line.loaded:
        return line.data + j * line.size
    load_into(scratch, line.op, line.data + j * line.op.n, line.op.n, n)
    return scratch


cdef inline real max_of(const Problem* p, const void* x, Py_ssize_t n, real max) noexcept nogil:
    if real is float:
        return max_row_f32(x, n, max, p.type, p.ahead)
    else:
        return max_row_f64(x, n, max, p.type, p.ahead)


cdef inline void add_to_lanes(const Problem* p, const void* x, Py_ssize_t n, double* hi, double* lo,
                              const real* like) noexcept nogil:
    if real is float:
        sum_row_f32(x, n, hi, lo, p.type, p.ahead)
    else:
        sum_row_f64(x, n, hi, lo, p.type, p.ahead)


cdef inline Py_ssize_t chunk_of(Py_ssize_t n, bint loaded) noexcept nogil:
    """So many elements at a time: all that can be computed on where they lie."""
    return n if loaded else CHUNK


cdef inline Sum sum_part(
    const Problem* p, const Line* line, Py_ssize_t start, Py_ssize_t stop, const real* like
) noexcept nogil:
    cdef real scratch[CHUNK]
    cdef double hi[LANES]
    cdef double lo[LANES]
    cdef Py_ssize_t chunk = chunk_of(stop - start, line.loaded), b, j, w
    cdef const void* x
    clear_lanes(hi)
    clear_lanes(lo)
    for b in range(blocks(stop - start, chunk)):
        if p.stopped:
            break
        j = start + b * chunk
        w = min(chunk, stop - j)
        x = load_chunk(line, j, w, <real*> scratch)
        add_to_lanes(p, x, w, hi, lo, like)
    return row_sum(hi, lo, like)


cdef inline double max_part(
    const Problem* p, const Line* line, Py_ssize_t start, Py_ssize_t stop, const real* like
) noexcept nogil:
    """The maximum, NaN passed over."""
    cdef real scratch[CHUNK]
    cdef real max = -INFINITY
    cdef Py_ssize_t chunk = chunk_of(stop - start, line.loaded), b, j, w
    cdef const void* x
    for b in range(blocks(stop - start, chunk)):
        if p.stopped:
            break
        j = start + b * chunk
        w = min(chunk, stop - j)
        x = load_chunk(line, j, w, <real*> scratch)
        max = max_of(p, x, w, max)
    return max


cdef inline void exp_part(const Problem* p, const Line* src, Py_ssize_t start, Py_ssize_t stop, const real* of,
                          Part* part, real* kept, const Line* next, Part* next_part) noexcept nogil:
    """Sum exp; `kept`, if any, gets it. Meanwhile find the maximum of this part of the next row, if any."""
    cdef real scratch[CHUNK]
    cdef real next_scratch[CHUNK]
    cdef real exps[CHUNK]
    cdef double hi[LANES]
    cdef double lo[LANES]
    cdef Py_ssize_t chunk = chunk_of(stop - start, kept != NULL and src.loaded and (next == NULL or next.loaded))
    cdef Py_ssize_t b, j, w
    cdef const void* x
    cdef const void* next_x = NULL
    cdef real next_max = -INFINITY
    cdef real* e
    cdef bint below = p.form == LOG_SOFTMAX
    clear_lanes(hi)
    clear_lanes(lo)
    part.ties = 0
    for b in range(blocks(stop - start, chunk)):
        if p.stopped:
            break
        j = start + b * chunk
        w = min(chunk, stop - j)
        x = load_chunk(src, j, w, <real*> scratch)
        e = kept + (j - start) if kept != NULL else <real*> exps
        if next != NULL:
            next_x = load_chunk(next, j, w, <real*> next_scratch)
        if real is float:
            part.ties += exp_row_f32(e, x, w, of, 1, below, hi, lo, p.type, p.ahead, next_x, &next_max)
        else:
            part.ties += exp_row_f64(e, x, w, of, 1, below, hi, lo, p.type, p.ahead, next_x, &next_max)
    part.exps = row_sum(hi, lo, of)
    if next != NULL:
        next_part.max = next_max


cdef inline void write_chunk(const Problem* p, void* y, const void* g, const void* x, const real* e, Py_ssize_t n,
                             const real* of, Py_ssize_t stride, Sum diff_dst, Stream* stream, const void* next,
                             double* hi, double* lo) noexcept nogil:
    """n results, to y, by way of the stream if there is one. `e`, if any, is exp.

    Meanwhile n elements of `next`, if any, are added to lanes.
    """
    if real is float:
        if p.form == LOG_SOFTMAX:
            forward_row_f32(y, x, n, of, stride, p.type, p.ahead, stream)
        elif e != NULL:
            backward_of_exp_row_f32(y, g, e, n, of, stride, p.type, p.ahead, stream, next, hi, lo)
        elif p.form == BACKWARD_DST:
            backward_dst_row_f32(
                y, g, x, n, of, stride, diff_dst.hi, diff_dst.lo, p.type, p.ahead, stream, next, hi, lo)
        else:
            backward_src_row_f32(y, g, x, n, of, stride, p.type, p.ahead, stream)
            if next != NULL:
                add_to_lanes(p, next, n, hi, lo, of)
    else:
        if p.form == LOG_SOFTMAX:
            forward_row_f64(y, x, n, of, stride, p.type, p.ahead, stream)
        elif e != NULL:
            backward_of_exp_row_f64(y, g, e, n, of, stride, p.type, p.ahead, stream, next, hi, lo)
        elif p.form == BACKWARD_DST:
            backward_dst_row_f64(
                y, g, x, n, of, stride, diff_dst.hi, diff_dst.lo, p.type, p.ahead, stream, next, hi, lo)
        else:
            backward_src_row_f64(y, g, x, n, of, stride, p.type, p.ahead, stream)
            if next != NULL:
                add_to_lanes(p, next, n, hi, lo, of)


cdef inline void write_part(const Problem* p, const Line* diff_dst, const Line* src, char* out, Py_ssize_t start,
                            Py_ssize_t stop, const real* of, Sum sum, const real* kept, const Line* next,
                            Part* next_part) noexcept nogil:
    """The results. Meanwhile sum this part of the next row's diff_dst, if any."""
    cdef real src_scratch[CHUNK]
    cdef real diff_dst_scratch[CHUNK]
    cdef real next_scratch[CHUNK]
    cdef real result[CHUNK + LANES]
    cdef real* scratch = <real*> next_line(<real*> result)
    cdef double hi[LANES]
    cdef double lo[LANES]
    cdef Py_ssize_t chunk, b, j, w
    cdef const void* g = NULL
    cdef const void* x = NULL
    cdef const void* next_g = NULL
    cdef const real* e = NULL
    cdef char* at
    cdef Stream flow
    cdef Stream* stream = NULL
    cdef bint as_it_is = is_ready(p, &p.out, of), loaded = kept != NULL or src.loaded
    # Elements are computed again where dst was out of range, so it must not be written over what it is read from.
    cdef bint direct = as_it_is and out != src.data and out != diff_dst.data
    loaded &= (p.form == LOG_SOFTMAX or diff_dst.loaded) and (next == NULL or next.loaded)
    chunk = chunk_of(stop - start, direct and loaded)
    if direct and p.out.far:
        stream = &flow
        stream_begin(stream, out + start * p.out.n)
    clear_lanes(hi)
    clear_lanes(lo)
    for b in range(blocks(stop - start, chunk)):
        if p.stopped:
            break
        j = start + b * chunk
        w = min(chunk, stop - j)
        if kept != NULL:
            e = kept + (j - start)
        else:
            x = load_chunk(src, j, w, <real*> src_scratch)
        if p.form != LOG_SOFTMAX:
            g = load_chunk(diff_dst, j, w, <real*> diff_dst_scratch)
        if next != NULL:
            next_g = load_chunk(next, j, w, <real*> next_scratch)
        at = out + j * p.out.n
        write_chunk(p, at if direct else <char*> scratch, g, x, e, w, of, 1, sum, stream, next_g, hi, lo)
        if direct:
            continue
        if not as_it_is:
            store(&p.out, at, p.out.n, w, <const real*> scratch)
        elif p.out.far:
            stream_copy(at, <const void*> scratch, w * p.out.itemsize)
        else:
            memcpy(at, <const void*> scratch, w * p.out.itemsize)
    if stream != NULL:
        stream_close(stream)
    stream_end()
    if next != NULL:
        next_part.diff_dst = row_sum(hi, lo, of)


cdef inline void reduce_part(const Problem* p, const Line* diff_dst, const Line* src, Py_ssize_t start,
                             Py_ssize_t stop, Part* part, const real* like) noexcept nogil:
    part.max = 0
    part.diff_dst = Sum(0, 0)
    if p.form != BACKWARD_DST:
        part.max = max_part(p, src, start, stop, like)
    if p.form != LOG_SOFTMAX:
        part.diff_dst = sum_part(p, diff_dst, start, stop, like)


cdef inline void begin_from_parts(const Problem* p, Row* row, const Part* parts, Py_ssize_t count,
                                  const real* like) noexcept nogil:
    cdef double max = -INFINITY
    cdef Sum diff_dst = Sum(0, 0)
    cdef Py_ssize_t i
    for i in range(count):
        max = parts[i].max if parts[i].max > max else max
        diff_dst = add(diff_dst, parts[i].diff_dst)
    if p.form == BACKWARD_DST:              # which wants no more of it
        row.shift = row.magic = row.lo = row.max = 0
        row.diff_dst = diff_dst
    else:
        begin_row(row, max, p.n, diff_dst, like)


cdef inline void finish_from_parts(const Problem* p, Row* row, const Part* parts, Py_ssize_t count,
                                   const real* like) noexcept nogil:
    cdef Sum exps = Sum(0, 0)
    cdef Py_ssize_t ties = 0, i
    for i in range(count):
        exps = add(exps, parts[i].exps)
        ties += parts[i].ties
    if p.form == BACKWARD_SRC:
        finish_backward(row, exps, like)
    else:
        finish_forward(row, exps, ties, like)


cdef inline void set_row(Form form, real* of, const Row* row) noexcept nogil:
    cdef int i
    for i in range(CONSTANTS):
        of[i] = 0
    if form == BACKWARD_DST:
        set_dst_constants(of, 1, row.diff_dst)
    else:
        set_constants(of, 1, row)


cdef inline real* kept_at(real* kept, Py_ssize_t j) noexcept nogil:
    return kept + j if kept != NULL else NULL


cdef void one_row(const Problem* p, Py_ssize_t index, Part* parts, bint reduced, Part* next_parts, Workspace* w,
                  const real* like) noexcept nogil:
    """Compute a row, whose parts may be reduced already; meanwhile reduce those of the next, if it is wanted."""
    cdef double keep_diff_dst[KEEP]
    cdef double keep_src[KEEP]
    cdef double keep_exp[KEEP]
    cdef real* kept = NULL
    cdef real of[CONSTANTS]
    cdef Row row
    cdef Py_ssize_t length = part_length(p.n), count = blocks(p.n, length), i
    cdef Line src = line_at(p, &p.src, index, <real*> keep_src), diff_dst = src
    cdef Line of_next_src, of_next_diff_dst
    cdef Line* next_src = NULL
    cdef Line* next_diff_dst = NULL
    cdef char* out = locate(p, &p.out, index)
    if p.form != LOG_SOFTMAX:
        diff_dst = line_at(p, &p.diff_dst, index, <real*> keep_diff_dst)
    if p.form == BACKWARD_SRC and p.n <= KEEP:
        kept = <real*> keep_exp
    elif p.form == BACKWARD_SRC and p.n <= 2 * room(like):
        kept = <real*> w.stage              # all that rows take of a workspace
    if next_parts != NULL and p.form != BACKWARD_DST:
        of_next_src = line_at(p, &p.src, index + 1, <real*> NULL)
        next_src = &of_next_src
    if next_parts != NULL and p.form != LOG_SOFTMAX:
        of_next_diff_dst = line_at(p, &p.diff_dst, index + 1, <real*> NULL)
        next_diff_dst = &of_next_diff_dst
    for i in range(count):
        if not reduced:
            reduce_part(p, &diff_dst, &src, i * length, min(p.n, (i + 1) * length), &parts[i], like)
        if next_parts != NULL:              # what its form has none of
            next_parts[i].max = 0
            next_parts[i].diff_dst = Sum(0, 0)
    begin_from_parts(p, &row, parts, count, like)
    set_row(p.form, <real*> of, &row)
    if p.form != BACKWARD_DST:
        for i in range(count):
            exp_part(p, &src, i * length, min(p.n, (i + 1) * length), <const real*> of, &parts[i],
                     kept_at(kept, i * length), next_src, next_parts + i)
        finish_from_parts(p, &row, parts, count, like)
        set_row(p.form, <real*> of, &row)
    for i in range(count):
        write_part(p, &diff_dst, &src, out, i * length, min(p.n, (i + 1) * length), <const real*> of, row.diff_dst,
                   kept_at(kept, i * length), next_diff_dst, next_parts + i)


cdef inline void fill_up(void* to, Py_ssize_t height, Py_ssize_t bytes, Py_ssize_t pitch) noexcept nogil:
    """The columns in vain: anything that is not slow."""
    cdef Py_ssize_t i
    if bytes < pitch:
        for i in range(height):
            memset(<char*> to + i * pitch + bytes, 0, pitch - bytes)


cdef inline void turn_rows(const Operand* op, const char* at, Py_ssize_t n, Py_ssize_t count, real* to,
                           Py_ssize_t pitch, Workspace* w) noexcept nogil:
    load_turned(op, at, op.outer, n, count, to, pitch, <real*> w.flat)
    fill_up(to, n, count * sizeof(real), pitch * sizeof(real))


cdef inline void sum_turned(double* hi, double* lo, const real* x, Py_ssize_t n, Py_ssize_t pitch) noexcept nogil:
    if real is float:
        sum_columns_f32(hi, lo, x, n, pitch * sizeof(real), pitch, ITEM_REAL)
    else:
        sum_columns_f64(hi, lo, x, n, pitch * sizeof(real), pitch, ITEM_REAL)


cdef bint some_flat_rows(const Problem* p, Py_ssize_t first, Py_ssize_t count, Workspace* w, char* y,
                         Stream* stream, const real* like) noexcept nogil:
    """Compute `count` adjacent rows (flat_rows_of_real.h), to y. False: not done, a dst or a sum is extreme."""
    cdef real* of = <real*> w.constants
    cdef real* max = of + OF_MAX * OF_STRIDE
    cdef real* gs = <real*> w.stage
    cdef real* xs = <real*> (w.stage + STAGE)
    cdef const char* g = locate(p, &p.diff_dst, first)
    cdef const char* x = locate(p, &p.src, first)
    cdef Py_ssize_t n = p.n, pitch = blocks(count, LANES) * LANES, c, bytes
    cdef Pitches rows
    if p.form == LOG_SOFTMAX:
        for c in range(pitch):
            w.diff_dst_hi[c] = w.diff_dst_lo[c] = 0
    else:
        turn_rows(&p.diff_dst, g, n, count, gs, pitch, w)
        sum_turned(w.diff_dst_hi, w.diff_dst_lo, <const real*> gs, n, pitch)
    if p.form == BACKWARD_DST:
        if real is float:
            return not set_dst_factors_f32(of, OF_STRIDE, w.diff_dst_hi, w.diff_dst_lo, count) and not dst_flat_f32(
                y, g, x, count, n, of, OF_STRIDE, w.pattern, p.ahead, stream, p.type)
        else:
            return not set_dst_factors_f64(of, OF_STRIDE, w.diff_dst_hi, w.diff_dst_lo, count) and not dst_flat_f64(
                y, g, x, count, n, of, OF_STRIDE, w.pattern, p.ahead, stream, p.type)
    turn_rows(&p.src, x, n, count, xs, pitch, w)
    for c in range(pitch):
        max[c] = -INFINITY
        w.ties[c] = 0
    max_slab(max, <const void*> xs, n, pitch * sizeof(real), pitch, ITEM_REAL)
    begin_rows(p.form, w, pitch, n, like)
    exp_slab(w, xs, pitch, <const void*> xs, pitch * sizeof(real), n, p.form == LOG_SOFTMAX, NULL, 0, ITEM_REAL)
    sum_turned(w.exps_hi, w.exps_lo, <const real*> xs, n, pitch)
    finish_rows(p.form, w, pitch, like)
    if p.form == LOG_SOFTMAX:
        if real is float:
            forward_flat_f32(y, x, count, n, of, OF_STRIDE, w.pattern, p.ahead, stream, p.type)
        else:
            forward_flat_f64(y, x, count, n, of, OF_STRIDE, w.pattern, p.ahead, stream, p.type)
        return True
    bytes = count * p.out.itemsize
    rows = Pitches(pitch * sizeof(real), pitch * sizeof(real), pitch * sizeof(real), 0, 0)
    for c in range(n):
        if p.ahead:
            prefetch(g + (n + c) * bytes, bytes)
            prefetch(x + (n + c) * bytes, bytes)
        write_columns(p.form, gs + c * pitch, gs + c * pitch, xs + c * pitch, &rows, 1, pitch, w, True, False, NULL, 0,
                      ITEM_REAL, like)
    if p.type == ITEM_REAL:
        turn(y, n * sizeof(real), <const char*> gs, pitch * sizeof(real), n, count, like)
    else:
        turn(<char*> w.flat, n * sizeof(real), <const char*> gs, pitch * sizeof(real), n, count, like)
        store(&p.out, y, p.out.itemsize, count * n, <const real*> w.flat)
    return True


cdef void some_short_rows(const Problem* p, Py_ssize_t first, Py_ssize_t count, Workspace* w, char* y,
                          Py_ssize_t pitch, Stream* stream, const real* like) noexcept nogil:
    """Compute `count` rows of log_softmax or the src form, to y and on (short_rows_of_real.h)."""
    cdef real* of = <real*> w.constants
    cdef real* e = <real*> w.stage
    cdef Py_ssize_t n = p.n, room = blocks(n, LANES) * LANES, r
    cdef const char* g = locate(p, &p.diff_dst, first)
    cdef const char* x = locate(p, &p.src, first)
    cdef bint forward = p.form == LOG_SOFTMAX
    if forward:
        for r in range(count):
            w.diff_dst_hi[r] = w.diff_dst_lo[r] = 0
    elif real is float:
        sum_rows_f32(g, p.diff_dst.outer, count, n, p.ahead, w.diff_dst_hi, w.diff_dst_lo, p.type)
    else:
        sum_rows_f64(g, p.diff_dst.outer, count, n, p.ahead, w.diff_dst_hi, w.diff_dst_lo, p.type)
    if real is float:
        max_rows_f32(of + OF_MAX * OF_STRIDE, x, p.src.outer, count, n, p.ahead, p.type)
        begin_rows(p.form, w, count, n, like)
        exp_rows_f32(e, room, x, p.src.outer, count, n, of, OF_STRIDE, forward, w.exps_hi, w.exps_lo, w.ties, p.type)
        finish_rows(p.form, w, count, like)
        if forward:
            forward_rows_f32(y, pitch, x, p.src.outer, count, n, of, OF_STRIDE, stream, p.type)
        else:
            of_exp_rows_f32(y, pitch, g, p.diff_dst.outer, e, room, count, n, of, OF_STRIDE, stream, p.type)
    else:
        max_rows_f64(of + OF_MAX * OF_STRIDE, x, p.src.outer, count, n, p.ahead, p.type)
        begin_rows(p.form, w, count, n, like)
        exp_rows_f64(e, room, x, p.src.outer, count, n, of, OF_STRIDE, forward, w.exps_hi, w.exps_lo, w.ties, p.type)
        finish_rows(p.form, w, count, like)
        if forward:
            forward_rows_f64(y, pitch, x, p.src.outer, count, n, of, OF_STRIDE, stream, p.type)
        else:
            of_exp_rows_f64(y, pitch, g, p.diff_dst.outer, e, room, count, n, of, OF_STRIDE, stream, p.type)


cdef void one_by_one(const Problem* p, Py_ssize_t first, Py_ssize_t count, bint reduced, Py_ssize_t next_count,
                     Workspace* w, bint direct, Stream* stream, const real* like) noexcept nogil:
    """Compute `count` rows of log_softmax or the src form, to where they go or to w.result; only their constants are
    computed side by side.

    The rows may be reduced already; meanwhile `next_count` of those after them are.
    """
    cdef real* constants = <real*> w.constants
    cdef real* e = NULL
    cdef const real* of
    cdef Py_ssize_t n = p.n, r, bytes = n * p.out.itemsize
    cdef Py_ssize_t room = blocks(n, 4 * LANES) * 4 * LANES            # see exp_row
    cdef const char* x
    cdef const char* g
    cdef const char* next
    cdef char* y
    cdef real next_max
    cdef double hi[LANES]
    cdef double lo[LANES]
    cdef Sum sum
    cdef bint forward = p.form == LOG_SOFTMAX
    for r in range(count):
        constants[OF_MAX * OF_STRIDE + r] = <real> w.next_max[r] if reduced else max_of[real](
            p, locate(p, &p.src, first + r), n, -INFINITY)
        if forward:
            w.diff_dst_hi[r] = w.diff_dst_lo[r] = 0
        elif reduced:
            w.diff_dst_hi[r], w.diff_dst_lo[r] = w.next_diff_dst_hi[r], w.next_diff_dst_lo[r]
        elif real is float:
            total_of_row_f32(
                locate(p, &p.diff_dst, first + r), n, w.diff_dst_hi + r, w.diff_dst_lo + r, p.type, p.ahead)
        else:
            total_of_row_f64(
                locate(p, &p.diff_dst, first + r), n, w.diff_dst_hi + r, w.diff_dst_lo + r, p.type, p.ahead)
    begin_rows(p.form, w, count, n, like)
    for r in range(count):
        of = constants + r
        e = <real*> w.stage + (0 if forward else r * room)
        x = locate(p, &p.src, first + r)
        next = locate(p, &p.src, first + count + r) if r < next_count else NULL
        next_max = -INFINITY
        if real is float:
            w.ties[r] = exp_total_of_row_f32(
                e, x, n, of, OF_STRIDE, forward, w.exps_hi + r, w.exps_lo + r, p.type, p.ahead, next, &next_max)
        else:
            w.ties[r] = exp_total_of_row_f64(
                e, x, n, of, OF_STRIDE, forward, w.exps_hi + r, w.exps_lo + r, p.type, p.ahead, next, &next_max)
        w.next_max[r] = next_max
    finish_rows(p.form, w, count, like)
    for r in range(count):
        of = constants + r
        x = locate(p, &p.src, first + r)
        g = locate(p, &p.diff_dst, first + r)
        y = locate(p, &p.out, first + r) if direct else <char*> w.result + r * bytes
        next = locate(p, &p.diff_dst, first + count + r) if r < next_count and not forward else NULL
        if next != NULL:
            clear_lanes(hi)
            clear_lanes(lo)
        if p.form == BACKWARD_SRC:
            e = <real*> w.stage + r * room
        write_chunk(p, y, g, x, e, n, of, OF_STRIDE, Sum(0, 0), stream, next, hi, lo)
        if next != NULL:
            sum = row_sum(hi, lo, like)
            w.next_diff_dst_hi[r], w.next_diff_dst_lo[r] = sum.hi, sum.lo
        if stream != NULL:
            stream_row(stream, 0, locate(p, &p.out, first + r + 1))


cdef void some_dst_rows(const Problem* p, Py_ssize_t first, Py_ssize_t count, Workspace* w,
                        bint over_itself, const real* like) noexcept nogil:
    """Compute `count` rows of the dst form (dst_rows_of_real.h)."""
    cdef Py_ssize_t evenly
    cdef const char* g
    cdef const char* x
    cdef char* y
    cdef void* stage = <void*> w.result if over_itself else NULL
    while count:
        evenly = min(count, p.outer - first % p.outer)      # so many are each as far from the one before it
        g, x, y = locate(p, &p.diff_dst, first), locate(p, &p.src, first), locate(p, &p.out, first)
        if real is float:
            dst_rows_f32(
                y, p.out.outer, g, p.diff_dst.outer, x, p.src.outer, evenly, p.n, stage, p.ahead, p.out.far, p.type)
        else:
            dst_rows_f64(
                y, p.out.outer, g, p.diff_dst.outer, x, p.src.outer, evenly, p.n, stage, p.ahead, p.out.far, p.type)
        first += evenly
        count -= evenly


cdef inline bint ends_are_quick(const Problem* p) noexcept nogil:
    """Whether the end of a short row goes into a vector as quickly as the rest of it."""
    return MASKED_HALVES or MASKED_VECTORS and (p.type == ITEM_REAL or p.n % LANES == 0)


cdef bint some_rows(const Problem* p, Py_ssize_t first, Py_ssize_t count, bint reduced, Py_ssize_t next_count,
                    Workspace* w, const real* like) noexcept nogil:
    """`count` short rows that can be computed on where they lie. Whether the `next_count` after them are reduced."""
    cdef Py_ssize_t r, bytes = p.n * p.out.itemsize
    cdef char* y
    cdef bint in_double = sizeof(real) == sizeof(double)
    cdef bint apart = first % p.outer + count > p.outer         # not the same distance from each to the next
    cdef bint flat = p.flat and not apart
    cdef bint few = p.n < (SHORT_ROW // 2 if in_double else 2 * SHORT_ROW) and ends_are_quick(p) and not apart
    cdef bint dst = p.form == BACKWARD_DST, over_itself = p.out.data == p.src.data or p.out.data == p.diff_dst.data
    cdef bint direct = not over_itself and not (flat and p.form == BACKWARD_SRC and p.out.far)
    cdef Stream flow
    cdef Stream* stream = NULL
    y = locate(p, &p.out, first) if direct else <char*> w.result
    if p.out.far and direct and (flat or not dst):
        stream = &flow
        stream_begin(stream, y)
    if flat and some_flat_rows(p, first, count, w, y, stream, like):
        reduced = False
    elif dst:
        if flat:                        # and what is not as it should be has been sent on already
            stream_end()
        some_dst_rows(p, first, count, w, over_itself, like)
        return False
    elif few:
        some_short_rows(p, first, count, w, y, p.out.outer if direct else bytes, stream, like)
        reduced = False
    else:
        one_by_one(p, first, count, reduced, next_count, w, direct, stream, like)
        reduced = next_count > 0
    if stream != NULL:
        stream_close(stream)
    if direct:
        return reduced
    # Rows that are adjacent go together, for only whole cache lines stream.
    if p.out.outer == bytes and not apart:
        bytes, count = count * bytes, 1
    for r in range(count):
        y = locate(p, &p.out, first + r)
        if p.out.far:
            stream_copy(y, <const char*> w.result + r * bytes, bytes)
        else:
            memcpy(y, <const char*> w.result + r * bytes, bytes)
    stream_end()
    return reduced


cdef void share_of_row(const Problem* p, const Line* diff_dst, const Line* src, char* out, Part* parts, int thread,
                       int threads, Workspace* workspaces, const real* like) noexcept nogil:
    """The parts of one thread in one_row. The threads wait for each other where a row's constants need all parts."""
    cdef real of[CONSTANTS]
    cdef Row row
    cdef Py_ssize_t length = part_length(p.n), count = blocks(p.n, length), i
    cdef Py_ssize_t first = count * thread // threads, last = count * (thread + 1) // threads
    cdef real* kept = NULL
    if p.form == BACKWARD_SRC and (last - first) * length <= 2 * room(like):
        kept = <real*> workspaces[thread].stage
    for i in range(first, last):
        reduce_part(p, diff_dst, src, i * length, min(p.n, (i + 1) * length), &parts[i], like)
    openmp_barrier()
    begin_from_parts(p, &row, parts, count, like)
    set_row(p.form, <real*> of, &row)
    if p.form != BACKWARD_DST:
        for i in range(first, last):
            exp_part(p, src, i * length, min(p.n, (i + 1) * length), <const real*> of, &parts[i],
                     kept_at(kept, (i - first) * length), <const Line*> NULL, <Part*> NULL)
        openmp_barrier()
        finish_from_parts(p, &row, parts, count, like)
        set_row(p.form, <real*> of, &row)
    for i in range(first, last):
        write_part(p, diff_dst, src, out, i * length, min(p.n, (i + 1) * length), <const real*> of, row.diff_dst,
                   kept_at(kept, (i - first) * length), <const Line*> NULL, <Part*> NULL)


cdef void split_row(const Problem* p, Py_ssize_t index, Workspace* workspaces, int threads,
                    const real* like) noexcept nogil:
    """one_row with its parts spread over the threads."""
    cdef Part parts[MAX_PARTS]
    cdef Line src = line_at(p, &p.src, index, <real*> NULL)          # too long to be kept
    cdef Line diff_dst = line_at(p, &p.diff_dst, index, <real*> NULL)
    with parallel(num_threads=threads):
        share_of_row(p, &diff_dst, &src, locate(p, &p.out, index), <Part*> parts, threadid(), openmp_team(threads),
                     workspaces, like)


cdef inline bint read_ahead(const Problem* p, const real* like) noexcept nogil:
    """Whether a row is read while the one before it is computed, or memory and arithmetic would wait for each other.

    With 16-bit elements or near ones of the dst form there is little to wait for.
    """
    if p.type != ITEM_REAL:
        return False
    if p.n > KEEP:                          # and so is not loaded as a whole
        return True
    if p.form == BACKWARD_DST and not p.diff_dst.far:
        return False
    return p.n * p.src.itemsize >= LONG_ENOUGH and is_ready(p, &p.src, like) and is_ready(p, &p.diff_dst, like)


cdef void share_of_rows(const Problem* p, Py_ssize_t first, Py_ssize_t last, Py_ssize_t together,
                        Workspace* workspace, const real* like) noexcept nogil:
    """Rows first to last - 1, `together` of them at a time."""
    cdef Part parts[2][MAX_PARTS]
    cdef bint ahead = read_ahead(p, like), reduced = False
    if p.flat and real is float:
        set_pattern_f32(workspace.pattern, p.n)
    elif p.flat:
        set_pattern_f64(workspace.pattern, p.n)
    cdef Part* next_parts
    cdef Py_ssize_t i = first, count, next_count
    while i < last and not p.stopped:
        count = min(together, last - i)
        next_count = min(together, last - i - count) if ahead else 0
        if together > 1:
            reduced = some_rows(p, i, count, reduced, next_count, workspace, like)
        else:
            next_parts = parts[(i + 1) % 2] if next_count else NULL
            one_row(p, i, parts[i % 2], reduced, next_parts, workspace, like)
            reduced = next_count > 0
        i += count


cdef void rows(const Problem* p, Py_ssize_t count, Py_ssize_t together, Workspace* workspaces, int threads,
               const real* like) noexcept nogil:
    cdef Py_ssize_t i, shares = blocks(count, together)
    if count < threads and p.n > MIN_PART:
        for i in range(count):
            split_row(p, i, workspaces, threads, like)
    elif threads > 1:
        for i in prange(threads, schedule="static", num_threads=threads):
            share_of_rows(p, shares * i // threads * together, min(count, shares * (i + 1) // threads * together),
                          together, workspaces + i, like)
    else:                                   # a team of one costs as much as a small problem
        share_of_rows(p, 0, count, together, workspaces, like)


# --------------------------------------------------------------------------------------------- columns

# The columns of all of `outer` are counted on: column q is [q // inner, :, q % inner]. A tile is `width`
# neighbours of them; in scratch a row of a tile is adjacent, in the arithmetic's type, and `pitch` elements
# from the next. `pitch` is a multiple of LANES: what exceeds `width` is computed in vain.

cdef inline void turn(char* to, Py_ssize_t to_pitch, const char* source, Py_ssize_t source_pitch,
                      Py_ssize_t rows, Py_ssize_t columns, const real* like) noexcept nogil:
    if real is float:
        turn_f32(to, to_pitch, source, source_pitch, rows, columns)
    else:
        turn_f64(to, to_pitch, source, source_pitch, rows, columns)


cdef inline void load_turned(const Operand* op, const char* at, Py_ssize_t apart, Py_ssize_t height, Py_ssize_t width,
                             real* to, Py_ssize_t pitch, real* flat) noexcept nogil:
    """Of `width` rows, `apart` bytes from each to the next, `height` elements."""
    cdef Py_ssize_t c
    if op.n == sizeof(real) and is_native(op.dtype, <const real*> flat):
        turn(<char*> to, pitch * sizeof(real), at, apart, width, height, <const real*> flat)
        return
    if op.n == op.itemsize and apart == height * op.itemsize:
        load_into(flat, op, at, op.itemsize, height * width)
    else:
        for c in range(width):
            load_into(flat + c * height, op, at + c * apart, op.n, height)
    turn(<char*> to, pitch * sizeof(real), <const char*> flat, height * sizeof(real), width, height,
         <const real*> flat)


cdef inline void store_turned(const Operand* op, char* at, Py_ssize_t height, Py_ssize_t width,
                              const real* x, Py_ssize_t pitch, real* flat) noexcept nogil:
    cdef Py_ssize_t c
    if op.n == sizeof(real) and is_native(op.dtype, x) and not op.far:
        turn(at, op.inner, <const char*> x, pitch * sizeof(real), height, width, x)
        return
    turn(<char*> flat, height * sizeof(real), <const char*> x, pitch * sizeof(real), height, width, x)
    if op.n == op.itemsize and op.inner == height * op.itemsize:
        store(op, at, op.itemsize, height * width, <const real*> flat)
    else:
        for c in range(width):
            store(op, at + c * op.inner, op.n, height, <const real*> (flat + c * height))


cdef inline char* locate_column(const Problem* p, const Operand* op, Py_ssize_t q) noexcept nogil:
    return locate(p, op, q // p.inner) + q % p.inner * op.inner


cdef struct Tile:
    Py_ssize_t first, width


cdef inline bint lies_adjacent(const Problem* p, const Operand* op, const real* like) noexcept nogil:
    """Whether rows of a tile can be computed on where they lie."""
    return p.type != ITEM_REAL or op.inner == sizeof(real) and is_native(op.dtype, like)


cdef inline Py_ssize_t item_size(const Problem* p, const real* like) noexcept nogil:
    """Bytes of an operand's element in scratch."""
    return <Py_ssize_t> sizeof(real) if p.type == ITEM_REAL else p.out.itemsize


cdef inline void load_slab(const Problem* p, const Operand* op, const Tile* tile, Py_ssize_t start, Py_ssize_t height,
                           char* to, Py_ssize_t pitch, real* flat) noexcept nogil:
    """`height` rows of a tile, from row `start` on."""
    cdef Py_ssize_t size = item_size(p, <const real*> flat), c = 0, i, run
    cdef const char* at
    while c < tile.width:
        run = min(tile.width - c, p.inner - (tile.first + c) % p.inner)
        at = locate_column(p, op, tile.first + c) + start * op.n
        if lies_adjacent(p, op, <const real*> flat):
            copy_rows(to + c * size, pitch, at, op.n, height, run * size, 0 if p.wide else AHEAD)
        elif op.turned:
            load_turned(op, at, op.inner, height, run, <real*> to + c, pitch // size, flat)
        else:
            for i in range(height):
                if op.inner == op.itemsize and not p.wide:
                    prefetch(at + (i + AHEAD) * op.n, run * op.itemsize)
                load_into(<real*> (to + i * pitch) + c, op, at + i * op.n, op.inner, run)
        c += run
    fill_up(to, height, tile.width * size, pitch)


cdef inline void store_slab(const Problem* p, const Operand* op, const Tile* tile, Py_ssize_t start, Py_ssize_t height,
                            const char* x, Py_ssize_t pitch, real* flat) noexcept nogil:
    cdef Py_ssize_t size = item_size(p, <const real*> flat), c = 0, i, run
    cdef char* at
    while c < tile.width:
        run = min(tile.width - c, p.inner - (tile.first + c) % p.inner)
        at = locate_column(p, op, tile.first + c) + start * op.n
        if lies_adjacent(p, op, <const real*> flat):
            if op.far:
                for i in range(height):
                    stream_copy(at + i * op.n, x + i * pitch + c * size, run * size)
            else:
                copy_rows(at, op.n, x + c * size, pitch, height, run * size, 0)
        elif op.turned:
            store_turned(op, at, height, run, <const real*> x + c, pitch // size, flat)
        else:
            for i in range(height):
                store_from(<const real*> (x + i * pitch) + c, op, at + i * op.n, op.inner, run)
        c += run


cdef inline void max_slab(real* max, const void* x, Py_ssize_t height, Py_ssize_t pitch, Py_ssize_t columns,
                          int type) noexcept nogil:
    """The maximum of each column, NaN passed over."""
    if real is float:
        max_columns_f32(max, x, height, pitch, columns, type)
    else:
        max_columns_f64(max, x, height, pitch, columns, type)


cdef void exp_slab(Workspace* w, real* e, Py_ssize_t columns, const void* x, Py_ssize_t pitch, Py_ssize_t height,
                   bint below, const Copy* next, Py_ssize_t row, int type) noexcept nogil:
    """exp; of what is below the maximum, with how often that was reached, or of all."""
    cdef real ties[TILE]
    cdef Pitches bytes = Pitches(columns * sizeof(real), 0, pitch, 0, 0)
    cdef Py_ssize_t c
    for c in range(columns):
        ties[c] = 0
    if real is float:
        exp_columns_f32(
            e, x, &bytes, height, columns, <const float*> w.constants, OF_STRIDE, ties, below, next, row, type)
    else:
        exp_columns_f64(
            e, x, &bytes, height, columns, <const double*> w.constants, OF_STRIDE, ties, below, next, row, type)
    for c in range(columns):
        w.ties[c] += ties[c]


cdef void sum_slab(Workspace* w, double* sum_hi, double* sum_lo, const void* x, Py_ssize_t pitch, Py_ssize_t n,
                   Py_ssize_t start, Py_ssize_t height, Py_ssize_t columns, int type, const real* like) noexcept nogil:
    """Add a slab, the rows from `start` on of n, to the lanes of its columns; where a part ends, those to the sums.

    LANES columns at a time and lane by lane, so that the sums of a lane stay in registers.
    """
    cdef Py_ssize_t part = part_length(n), size = sizeof(real) if type == ITEM_REAL else sizeof(bf16), b, s, lane, c
    cdef bint begins = start % part == 0, ends = (start + height) % part == 0 or start + height == n
    cdef double hi[LANES]
    cdef double lo[LANES]
    cdef double* lanes_hi
    cdef double* lanes_lo
    cdef const char* at
    cdef Sum sum
    if height == n:                         # all there is, in one slab
        if real is float:
            sum_columns_f32(sum_hi, sum_lo, x, height, pitch, columns, type)
        else:
            sum_columns_f64(sum_hi, sum_lo, x, height, pitch, columns, type)
        return
    for b in range(columns // LANES):
        s = b * LANES
        lanes_hi = w.lanes + s * LANES
        lanes_lo = lanes_hi + (LANES * TILE // 2 if real is double else 0)
        for lane in range(min(<Py_ssize_t> LANES, height)):
            for c in range(LANES):
                hi[c] = 0 if begins else lanes_hi[lane * LANES + c]
                lo[c] = 0 if begins or real is float else lanes_lo[lane * LANES + c]
            at = <const char*> x + lane * pitch + s * size
            if real is float:
                add_rows_f32(hi, lo, at, blocks(height - lane, LANES), LANES * pitch, type)
            else:
                add_rows_f64(hi, lo, at, blocks(height - lane, LANES), LANES * pitch, type)
            for c in range(LANES):
                lanes_hi[lane * LANES + c] = hi[c]
                if real is double:
                    lanes_lo[lane * LANES + c] = lo[c]
        if ends:
            fold_lanes(lanes_hi, lanes_lo, min(start % part + height, <Py_ssize_t> LANES), LANES, like)
            for c in range(LANES):
                sum = add(Sum(sum_hi[s + c], sum_lo[s + c]), lane_sum(lanes_hi, lanes_lo, c, like))
                sum_hi[s + c] = sum.hi
                sum_lo[s + c] = sum.lo


cdef inline void sum_near(Workspace* w, const void* x, Py_ssize_t pitch, Py_ssize_t n, Py_ssize_t width, int type,
                          const real* like) noexcept nogil:
    """Sum a tile where it lies, row by row, as the processor reads ahead. The lanes are in memory, but near."""
    cdef Py_ssize_t columns = blocks(width, LANES) * LANES, c
    rows_to_lanes_f32(w.lanes, columns, x, pitch, n, width, AHEAD, type)
    fold_lanes(w.lanes, <double*> NULL, min(n, <Py_ssize_t> LANES), columns, like)
    for c in range(columns):
        w.diff_dst_hi[c] = w.lanes[c]


cdef inline void write_columns(Form form, void* y, const void* g, const void* x, const Pitches* pitch, Py_ssize_t rows,
                               Py_ssize_t n, const Workspace* w, bint is_exp, bint extreme, const Copy* next,
                               Py_ssize_t row, int type, const real* like) noexcept nogil:
    """Rows of a tile's results. x may be exp already."""
    cdef const real* of = <const real*> w.constants
    if real is float:
        if form == LOG_SOFTMAX:
            forward_columns_f32(y, x, pitch, rows, n, of, OF_STRIDE, type)
        elif is_exp:
            backward_of_exp_columns_f32(y, g, <const float*> x, pitch, rows, n, of, OF_STRIDE, next, row, type)
        elif form == BACKWARD_SRC:
            backward_src_columns_f32(y, g, x, pitch, rows, n, of, OF_STRIDE, type)
        else:
            backward_dst_columns_f32(
                y, g, x, pitch, rows, n, of, OF_STRIDE, w.diff_dst_hi, w.diff_dst_lo, extreme, next, row, type)
    else:
        if form == LOG_SOFTMAX:
            forward_columns_f64(y, x, pitch, rows, n, of, OF_STRIDE, type)
        elif is_exp:
            backward_of_exp_columns_f64(y, g, <const double*> x, pitch, rows, n, of, OF_STRIDE, next, row, type)
        elif form == BACKWARD_SRC:
            backward_src_columns_f64(y, g, x, pitch, rows, n, of, OF_STRIDE, type)
        else:
            backward_dst_columns_f64(
                y, g, x, pitch, rows, n, of, OF_STRIDE, w.diff_dst_hi, w.diff_dst_lo, extreme, next, row, type)


cdef inline Py_ssize_t slab_height(const Problem* p, Py_ssize_t j, Py_ssize_t columns, const real* like) noexcept nogil:
    """Rows from j on that are loaded and computed together: whole rounds of the lanes, within a part."""
    cdef Py_ssize_t n = p.n, part = part_length(n), most = (room(like) if p.wide else SLAB) // columns
    if n <= most:
        return n
    return min(most // LANES * LANES, min(n, (j // part + 1) * part) - j)


cdef struct Strip:              # rows of a tile of one operand, or of exp, or of the result
    char* data
    Py_ssize_t pitch            # bytes from each to the next
    bint lies                   # where the operand itself lies; else in scratch
    bint whole                  # all of them; else those of one slab at a time


cdef inline char* row_of(const Strip* strip, Py_ssize_t slab, Py_ssize_t i) noexcept nogil:
    """Row i of the slab that begins with row `slab`."""
    return strip.data + ((slab if strip.whole else 0) + i) * strip.pitch


cdef inline Strip lying(const Problem* p, const Operand* op, const Tile* tile) noexcept nogil:
    return Strip(locate_column(p, op, tile.first), op.n, True, True)


cdef enum:
    OF_DIFF_DST, OF_SRC


cdef inline char* stage_of(Workspace* w, const Problem* p, int operand, Py_ssize_t half,
                           const real* like) noexcept nogil:
    """Where a tile of an operand is loaded to, in whole or, two in turns, to halves. 16-bit ones leave room for exp."""
    cdef Py_ssize_t size = STAGE if p.type == ITEM_REAL else STAGE // 2
    return <char*> (w.stage + operand * size + half * (size // 2))


cdef struct Place:              # where the rows of a tile are
    Tile tile
    Py_ssize_t columns          # of a row in scratch
    Strip summed                # diff_dst as it is summed, and
    Strip diff_dst              # as it is read at last
    Strip src
    Strip exps
    Strip out
    bint loaded                 # what is in scratch is there already
    bint kept                   # so is exp, for the last pass
    bint by_row                 # a few rows are written at a time: then writing does not wait until reading ends


cdef void find_place(Place* at, const Problem* p, const Tile* tile, bint loaded, Py_ssize_t half, Workspace* w,
                     const real* like) noexcept nogil:
    """What is read once, or is near, or does not fit into scratch, is read where it lies."""
    cdef Py_ssize_t columns = blocks(tile.width, LANES) * LANES, in_scratch = columns * item_size(p, like)
    cdef bint whole = p.n * columns <= room(like)       # what is loaded stays
    cdef bint near = p.near and columns <= NEAR_RUN and (whole or p.form == BACKWARD_DST)
    cdef bint in_one_run = tile.first % p.inner + tile.width <= p.inner
    at.tile = tile[0]
    at.columns = columns
    at.loaded = loaded
    at.kept = whole and p.form == BACKWARD_SRC
    at.summed = Strip(stage_of(w, p, OF_DIFF_DST, half, like), in_scratch, False, whole)
    at.diff_dst = at.summed
    at.src = Strip(stage_of(w, p, OF_SRC, half, like), in_scratch, False, whole)
    at.exps = Strip(<char*> w.stage, columns * sizeof(real), False, at.kept)    # diff_dst is not needed at that time
    if p.type != ITEM_REAL:
        at.exps.data = <char*> (w.stage + STAGE)
    elif at.kept:
        at.exps.data = at.src.data
    at.out = Strip(<char*> w.result, in_scratch, False, False)
    if in_one_run:
        if p.form != LOG_SOFTMAX and (near or not whole) and lies_adjacent(p, &p.diff_dst, like):
            at.diff_dst = lying(p, &p.diff_dst, tile)
            if near:
                at.summed = at.diff_dst
        if lies_adjacent(p, &p.src, like) and (
            p.form == BACKWARD_DST or (near or not whole) and tile.width == columns
        ):
            at.src = lying(p, &p.src, tile)
        if lies_adjacent(p, &p.out, like) and not p.out.far:
            if not (at.src.lies and p.out.data == p.src.data or at.diff_dst.lies and p.out.data == p.diff_dst.data):
                at.out = lying(p, &p.out, tile)
    at.by_row = in_one_run and not at.out.lies and not p.out.turned


cdef inline void fetch(const Problem* p, const Operand* op, const Place* at, const Strip* to, Py_ssize_t slab,
                       Py_ssize_t height, Workspace* w, const real* like) noexcept nogil:
    """Load rows of a tile unless they are where they are wanted."""
    if not to.lies:
        load_slab(p, op, &at.tile, slab, height, row_of(to, slab, 0), to.pitch, <real*> w.flat)


cdef inline void fetch_first(const Problem* p, const Operand* op, const Place* at, const Strip* to, Py_ssize_t slab,
                             Py_ssize_t height, Workspace* w, const real* like) noexcept nogil:
    """The same for the first time."""
    if at.loaded and not to.lies:
        fill_up(row_of(to, slab, 0), height, at.tile.width * item_size(p, like), to.pitch)
    else:
        fetch(p, op, at, to, slab, height, w, like)


cdef inline void reduce_tile(const Problem* p, const Place* at, Workspace* w, const real* like) noexcept nogil:
    """First pass: the sum of diff_dst and the maximum of src."""
    cdef real* max = <real*> w.constants + OF_MAX * OF_STRIDE
    cdef Py_ssize_t j = 0, c, height
    cdef bint near = p.form != LOG_SOFTMAX and at.summed.lies
    for c in range(at.columns):
        w.diff_dst_hi[c] = w.diff_dst_lo[c] = 0
    if p.form != BACKWARD_DST:
        for c in range(at.columns):
            w.exps_hi[c] = w.exps_lo[c] = w.ties[c] = 0
            max[c] = -INFINITY
    if near:
        sum_near(w, at.summed.data, at.summed.pitch, p.n, at.tile.width, p.type, like)
    while j < p.n and not p.stopped:
        height = slab_height(p, j, at.columns, like)
        if p.form != LOG_SOFTMAX and not near:
            fetch_first(p, &p.diff_dst, at, &at.summed, j, height, w, like)
            sum_slab(w, w.diff_dst_hi, w.diff_dst_lo, row_of(&at.summed, j, 0), at.summed.pitch, p.n, j, height,
                     at.columns, p.type, like)
        if p.form != BACKWARD_DST:
            fetch_first(p, &p.src, at, &at.src, j, height, w, like)
            max_slab(max, row_of(&at.src, j, 0), height, at.src.pitch, at.columns, p.type)
        j += height


cdef inline void exp_tile(const Problem* p, const Place* at, const Copy* next, Workspace* w,
                          const real* like) noexcept nogil:
    """Second pass: exp and its sum."""
    cdef Py_ssize_t j = 0, height
    while j < p.n and not p.stopped:
        height = slab_height(p, j, at.columns, like)
        if not at.src.whole:
            fetch(p, &p.src, at, &at.src, j, height, w, like)
        exp_slab(w, <real*> row_of(&at.exps, j, 0), at.columns, row_of(&at.src, j, 0), at.src.pitch, height,
                 p.form == LOG_SOFTMAX, next, j, p.type)
        sum_slab(w, w.exps_hi, w.exps_lo, row_of(&at.exps, j, 0), at.exps.pitch, p.n, j, height, at.columns, ITEM_REAL,
                 like)
        j += height


cdef inline void write_tile(const Problem* p, const Place* at, bint extreme, const Copy* next, Workspace* w,
                            const real* like) noexcept nogil:
    """Last pass: the result."""
    cdef const Strip* x = &at.exps if at.kept else &at.src
    cdef Pitches rows = Pitches(at.out.pitch, at.diff_dst.pitch, x.pitch, 0, 0)
    cdef Py_ssize_t columns = at.columns, at_once = 4 if at.by_row else p.n, j = 0, i, height, count
    cdef real* flat = <real*> w.flat
    cdef char* y
    if at.out.lies:
        rows.y_ahead = AHEAD * p.out.n
    if p.form == BACKWARD_DST and at.src.lies and not p.wide:
        rows.x_ahead = AHEAD * p.src.n
    if at.out.lies or at.diff_dst.lies or x.lies:
        columns = at.tile.width
    while j < p.n and not p.stopped:
        height = slab_height(p, j, at.columns, like)
        if p.form != LOG_SOFTMAX and not at.diff_dst.whole:
            fetch(p, &p.diff_dst, at, &at.diff_dst, j, height, w, like)
        if p.form == BACKWARD_DST or not x.whole:
            fetch(p, &p.src, at, &at.src, j, height, w, like)
        i = 0
        while i < height:
            count = min(height - i, at_once)
            y = row_of(&at.out, j, 0 if at.by_row else i)
            write_columns(p.form, y, row_of(&at.diff_dst, j, i), row_of(x, j, i), &rows, count, columns, w, at.kept,
                          extreme, next, j + i, p.type, like)
            if at.by_row:
                store_slab(p, &p.out, &at.tile, j + i, count, y, at.out.pitch, flat)
            i += count
        if not at.out.lies and not at.by_row:
            store_slab(p, &p.out, &at.tile, j, height, at.out.data, at.out.pitch, flat)
        j += height
    stream_end()


cdef const Copy* load_meanwhile(Copy* copy, const Problem* p, const Operand* op, const Tile* next, char* to,
                                const real* like) noexcept nogil:
    """What it takes to load a tile while another is computed; NULL if there is none."""
    if next.width == 0:
        return NULL
    copy.source = locate_column(p, op, next.first)
    copy.source_pitch = op.n
    copy.to = to
    copy.to_pitch = blocks(next.width, LANES) * LANES * item_size(p, like)
    copy.bytes = next.width * item_size(p, like)
    return copy


cdef void one_tile(const Problem* p, const Tile* tile, bint loaded, const Tile* next, Py_ssize_t half, Workspace* w,
                   const real* like) noexcept nogil:
    """A tile's columns, each from its first element to its last.

    It may be `loaded` already, to one half of the scratch; meanwhile the next, if any, is loaded to the other.
    """
    cdef bint extreme
    cdef Place at
    cdef Copy copy
    cdef const Copy* meanwhile
    find_place(&at, p, tile, loaded, half, w, like)
    reduce_tile(p, &at, w, like)
    extreme = begin_rows(p.form, w, at.columns, p.n, like)
    if p.form != BACKWARD_DST:
        meanwhile = load_meanwhile(&copy, p, &p.src, next, stage_of(w, p, OF_SRC, 1 - half, like), like)
        exp_tile(p, &at, meanwhile, w, like)
        finish_rows(p.form, w, at.columns, like)
    meanwhile = load_meanwhile(&copy, p, &p.diff_dst, next, stage_of(w, p, OF_DIFF_DST, 1 - half, like), like)
    write_tile(p, &at, extreme, meanwhile, w, like)


cdef inline Py_ssize_t tiled_together(const Problem* p, Py_ssize_t count) noexcept nogil:
    """How many columns are cut into tiles together: a tile within `inner` is read and written where it lies."""
    return p.inner if p.inner >= WIDE else count


cdef inline Tile tile_at(const Problem* p, Py_ssize_t i, Py_ssize_t count, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t together = tiled_together(p, count), tiles = blocks(together, width)
    cdef Py_ssize_t start = i % tiles * width
    return Tile(i // tiles * together + start, min(width, together - start))


cdef void share_of_tiles(const Problem* p, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t count, Py_ssize_t width,
                         Workspace* w, const real* like) noexcept nogil:
    """The tiles of one thread; the next is loaded while one is computed, if it lies as it will be in scratch."""
    cdef bint ahead = width * <Py_ssize_t> sizeof(real) >= MANY_COLUMNS and 2 * p.n * width <= room(like)
    cdef bint loaded = False
    cdef Py_ssize_t i, half = 0
    cdef Tile tile, next
    if p.form != LOG_SOFTMAX:
        ahead &= lies_adjacent(p, &p.diff_dst, like)
    if p.form != BACKWARD_DST:
        ahead &= lies_adjacent(p, &p.src, like)
    for i in range(start, stop):
        next = Tile(0, 0)
        if ahead and i + 1 < stop:
            next = tile_at(p, i + 1, count, width)
        tile = tile_at(p, i, count, width)
        one_tile(p, &tile, loaded, &next, half, w, like)
        if ahead:
            half = 1 - half
        loaded = next.width > 0


cdef void columns(const Problem* p, Py_ssize_t count, Py_ssize_t width, Workspace* workspaces, int threads,
                  const real* like) noexcept nogil:
    cdef Py_ssize_t together = tiled_together(p, count), tiles = count // together * blocks(together, width), i
    if threads > 1:
        for i in prange(threads, schedule="static", num_threads=threads):
            share_of_tiles(p, tiles * i // threads, tiles * (i + 1) // threads, count, width, workspaces + i, like)
    else:
        share_of_tiles(p, 0, tiles, count, width, workspaces, like)


cdef inline bint read_where_it_lies(const Problem* p, const real* like) noexcept nogil:
    """Whether a far tile that does not fit into scratch is not loaded for its last pass (find_place)."""
    if not p.wide or p.form == BACKWARD_SRC or p.form == LOG_SOFTMAX and p.inner % LANES != 0:
        return False
    return lies_adjacent(p, &p.diff_dst, like) and lies_adjacent(p, &p.src, like)


cdef Py_ssize_t tile_width(const Problem* p, Py_ssize_t count, int threads, const real* like) noexcept:
    """Columns in a tile: as many as keep it in the caches, and enough tiles for all threads."""
    cdef Py_ssize_t n = p.n, together = tiled_together(p, count), space = room(like) if p.wide else SLAB
    cdef Py_ssize_t widest = (TILE if real is float else TILE // 2) if p.wide else NEAR_TILE
    cdef Py_ssize_t most = min(max(space // n, <Py_ssize_t> NARROW), widest) // LANES * LANES
    if p.near and p.form == BACKWARD_DST:       # and needs no scratch but the lanes
        most = NEAR_RUN if p.inner <= NEAR_RUN else NARROW
    elif p.inner <= widest and n * p.inner > room(like) and read_where_it_lies(p, like):
        most = widest                       # all of inner: a tile is one run of memory, and is read as that
    elif room(like) < n * most <= 2 * room(like):     # half as wide, a tile need not be loaded twice
        most //= 2
    elif n * most > room(like):             # it must be, and then long runs are worth more than the cache
        most = widest
    cdef Py_ssize_t sets = min(count // together, <Py_ssize_t> threads), share = blocks(threads, sets)
    cdef Py_ssize_t tiles = blocks(blocks(together, most), share) * share
    return blocks(blocks(together, tiles), LANES) * LANES


# ---------------------------------------------------------------------------------------------- Python

cpdef enum:
    ELEMENTS_PER_THREAD = 32768     # below which another thread costs more than it saves

cdef enum:
    FEW_COLUMNS = 16            # fewer do not fill a vector: rather walk along the axis
    FEW_NEIGHBOURS = 6          # runs of fewer adjacent columns are not worth their loads

FORMS = {"LOG_SOFTMAX": LOG_SOFTMAX, "BACKWARD_SRC": BACKWARD_SRC, "BACKWARD_DST": BACKWARD_DST}

cdef object main_thread = threading.main_thread, get_ident = threading.get_ident, team = threading.Lock()
cdef object ndarray = numpy.ndarray, empty = numpy.empty, empty_like = numpy.empty_like
cdef object float32 = numpy.dtype(numpy.float32), float64 = numpy.dtype(numpy.float64)
cdef object float16 = numpy.dtype(numpy.float16)


cdef int code_of(dtype) except -2:
    """The DType of a dtype in native byte order, or -1. Nothing is remembered: threads share what is global."""
    if dtype is float32:
        return FLOAT32
    if dtype is float64:
        return FLOAT64
    if dtype is float16:
        return FLOAT16
    # bfloat16 is known by its name, so that ml_dtypes need not be imported. No structured or void type is aligned so,
    # whatever it calls itself.
    if dtype.itemsize == dtype.alignment == 2 and dtype.isnative and dtype.type.__name__ == "bfloat16":
        return BFLOAT16
    if dtype == float32:            # the same with metadata, say
        return FLOAT32
    if dtype == float64:
        return FLOAT64
    if dtype == float16:
        return FLOAT16
    return -1


cdef object native(dtype):
    return dtype if dtype.isnative else dtype.newbyteorder("=")


cpdef int native_code(dtype, name) except -1:
    """The DType of a dtype in any byte order. If there is none, a TypeError names the argument."""
    cdef int code = code_of(native(dtype))
    if code < 0:
        raise TypeError(f"{name} has dtype {dtype}; supported are float32, bfloat16, float16 and float64")
    return code


cdef void set_operand(Operand* op, const Py_buffer* buffer, DType dtype) noexcept:
    op.data = <char*> buffer.buf
    op.dtype = dtype
    op.itemsize = buffer.itemsize
    op.far = buffer.len >= FAR_BYTES


cdef struct Walk:
    Problem* p
    bint by_columns, in_double
    int threads
    Workspace* workspaces       # one for each, or NULL
    Py_ssize_t count            # rows or columns, and
    Py_ssize_t together         # how many of them are done together


cdef void compute(const Walk* w) noexcept nogil:
    if w.by_columns and w.in_double:
        columns(w.p, w.count, w.together, w.workspaces, w.threads, <const double*> NULL)
    elif w.by_columns:
        columns(w.p, w.count, w.together, w.workspaces, w.threads, <const float*> NULL)
    elif w.in_double:
        rows(w.p, w.count, w.together, w.workspaces, w.threads, <const double*> NULL)
    else:
        rows(w.p, w.count, w.together, w.workspaces, w.threads, <const float*> NULL)


cdef class Aside:
    """A long walk in a thread of its own, so that the main thread is free to answer signals."""
    cdef const Walk* walk
    cdef object ended

    def __call__(self):
        with nogil:
            compute(self.walk)
        self.ended.release()

    @staticmethod
    cdef int compute(const Walk* w) except -1:
        """compute, which what a signal's handler raises ends."""
        cdef Aside aside = Aside()
        aside.walk = w
        aside.ended = _thread.allocate_lock()
        aside.ended.acquire()
        process = os.getpid()
        try:
            # Not a threading.Thread: to start one waits for it, and a signal could come between.
            _thread.start_new_thread(aside, ())
        except RuntimeError:            # the system allows no more threads
            with nogil:
                compute(w)
            return 0
        try:
            while not aside.ended.acquire(timeout=0.05):
                PyErr_CheckSignals()    # acquire sees those that come while it waits
                if os.getpid() != process:
                    raise RuntimeError("a signal's handler forked; the child has not the threads that were computing")
        except BaseException:
            w.p.stopped = True
            while os.getpid() == process:   # further signals are too late
                try:
                    aside.ended.acquire()
                    break
                except BaseException:
                    pass
            raise
        return 0


cdef int walk(Problem* p, int threads) except -1:
    """Compute p.out, by rows or by columns; the result is the same.

    `inner` is handed over as the axis, beside that of length n, along which neighbours are nearest.
    """
    cdef Operand* operands[3]
    cdef Operand* op
    cdef Walk w
    cdef Py_ssize_t count = p.outer * p.inner, together = 1, turned_row
    cdef bint in_double = False, along = True, adjacent = True, native = True, by_columns, turned
    cdef int d
    cdef void* memory = NULL
    operands[:] = [&p.diff_dst, &p.src, &p.out]
    for op in operands:
        in_double |= op.dtype == FLOAT64
        along &= op.n == op.itemsize or abs(op.n) <= abs(op.inner)
        adjacent &= op.n == op.itemsize
        native &= op.dtype == p.out.dtype
    for d in range(p.ndim):
        count *= p.loops[d]
    p.type = item_type(&p.out) if adjacent and native else ITEM_REAL
    if not (adjacent and native):
        turned_row = SHORT_ROW
    elif MASKED_HALVES:
        turned_row = (12 if in_double else 8) if p.form == BACKWARD_DST else 24
    else:
        turned_row = FLAT_ROW if p.form == BACKWARD_DST or ends_are_quick(p) else SHORT_ROW
        if in_double:                       # fewer go into a vector
            turned_row //= 2
        elif p.type != ITEM_REAL:           # rows compute on them as they are
            turned_row -= turned_row // 4
    cdef Py_ssize_t apart_evenly = p.outer if p.inner == 1 else p.inner     # rows, each as far from the one before it
    p.flat = (
        QUICK_PICK and adjacent and native and count >= FEW_COLUMNS
        and p.n <= (FLAT_ROW if in_double or not MASKED_HALVES else 31)
        and (apart_evenly == count or apart_evenly * p.n >= 8 * FLAT_TOGETHER)
    )
    for op in operands:
        p.flat &= (op.outer if p.inner == 1 else op.inner) == p.n * op.itemsize
    p.ahead = adjacent and native and count * p.n * p.out.itemsize >= AHEAD_FROM
    by_columns = not p.flat and count >= FEW_COLUMNS and (p.n <= turned_row or not along)
    if not by_columns and adjacent and native and p.n <= (TOGETHER // 4 if p.type == ITEM_REAL else TOGETHER // 2):
        together = TOGETHER // p.n if p.form != BACKWARD_DST else MOST_TOGETHER
        together = max(1, min(min(together, <Py_ssize_t> MOST_TOGETHER), blocks(count, threads)))
    if p.flat:
        together = min(FLAT_TOGETHER // p.n, min(blocks(count, threads), <Py_ssize_t> TILE - LANES))
        together = blocks(together, LANES) * LANES
    if by_columns and p.inner < FEW_NEIGHBOURS and p.inner < p.outer:
        p.outer, p.inner = p.inner, p.outer
        for op in operands:
            op.outer, op.inner = op.inner, op.outer
    elif not by_columns and p.inner > 1:        # rows are counted along outer and the loops
        if p.outer > 1:
            for op in operands:
                op.loops[p.ndim] = op.outer
            p.loops[p.ndim] = p.outer
            p.ndim += 1
        for op in operands:
            op.outer = op.inner
        p.outer, p.inner = p.inner, 1
    for op in operands:
        op.turned = abs(op.n) < abs(op.inner)
    # One call at a time has threads: so many teams at once would only be in each other's way.
    cdef bint has_team = threads > 1 and team.acquire(False)
    if not has_team:
        threads = 1
    w.p, w.count, w.threads = p, count, threads
    w.by_columns, w.in_double, w.together = by_columns, in_double, together
    w.workspaces = NULL
    if by_columns:
        turned = p.diff_dst.turned or p.src.turned or p.out.turned
        p.type = item_type(&p.out) if native and not turned else ITEM_REAL
        for op in operands:
            if op.inner != op.itemsize:
                p.type = ITEM_REAL
        p.wide = p.out.far and p.inner >= WIDE and not turned
        p.near = not p.wide and not in_double and SLAB // NARROW <= p.n <= MIN_PART     # shorter ones are sooner copied
        p.near &= lies_adjacent(p, &p.diff_dst, <const float*> NULL) and lies_adjacent(p, &p.src, <const float*> NULL)
        if in_double:
            w.together = tile_width(p, count, threads, <const double*> NULL)
        else:
            w.together = tile_width(p, count, threads, <const float*> NULL)
    p.stopped = False
    try:
        if by_columns or together > 1 or p.form == BACKWARD_SRC and p.n > KEEP:
            memory = PyMem_RawMalloc(threads * sizeof(Workspace) + CACHE_LINE)
            if memory == NULL:
                raise MemoryError
            w.workspaces = <Workspace*> next_line(memory)
        if count * p.n <= BRIEF:
            compute(&w)
        # Python answers signals in its main thread; no other is waited for.
        elif count * p.n >= LONG * threads and get_ident() == main_thread().ident:
            Aside.compute(&w)
        else:
            with nogil:
                compute(&w)
    finally:
        PyMem_RawFree(memory)
        if has_team:
            team.release()
    return 0


cdef object base_of = numpy.ndarray.base.__get__       # a subclass's own `base` may be anything


cpdef list hold(array):
    """Weak references to an array and to those it is a view of: while there are any, NumPy refuses to resize it."""
    cdef list references = []
    while isinstance(array, ndarray):
        references.append(ref(array))
        array = base_of(array)
    return references


cdef bint take(Operand* op, Py_buffer* buffer, array, known, DType known_code) except -1:
    """Take hold of the memory of an operand in normal form. Of any other nothing is held, and the answer is False.

    The code of one dtype is known: that of bfloat16 takes a quarter of a microsecond to find.
    """
    cdef int code
    if type(array) is not ndarray:
        return False
    dtype = array.dtype
    code = known_code if dtype is known else code_of(dtype)
    if code < 0:
        return False
    # Of a small problem, typed memoryviews would take the larger part: 0.22 us each, where this takes 0.05.
    PyObject_GetBuffer(array, buffer, PyBUF_STRIDES)
    if not is_aligned(buffer):
        PyBuffer_Release(buffer)
        return False
    set_operand(op, buffer, <DType> code)
    return True


def is_normal(array):
    """Whether an operand is in normal form: an ndarray and no subclass, of one of the four dtypes, native, aligned."""
    cdef Operand op
    cdef Py_buffer buffer
    if not take(&op, &buffer, array, None, FLOAT32):
        return False
    PyBuffer_Release(&buffer)
    return True


cdef object new_result(const Py_buffer* operands, first, second, dtype):
    """A new array in the memory order that the result of a ufunc would have."""
    cdef char order = order_of_result(&operands[0], &operands[1])
    if order == b"K":
        return empty_like(first, dtype)
    if order != 0:
        return empty(first.shape, dtype, "C" if order == b"C" else "F")
    arrays = [first] if second is first else [first, second]
    flags = [["readonly"]] * len(arrays) + [["writeonly", "allocate"]]
    dtypes = [*[a.dtype for a in arrays], dtype]
    iterator = numpy.nditer([*arrays, None], flags=["zerosize_ok"], op_flags=flags, op_dtypes=dtypes)
    return iterator.operands[len(arrays)]


cdef bint leaves_unread(const Py_buffer* buffers, const Operand* op, int i, array, out, DType out_dtype) except -1:
    """Whether what is written to `out` is never in the place of an element, of operand i, that is yet to be read."""
    return (
        op.dtype == out_dtype and have_same_places(&buffers[i], &buffers[2])
        or are_far_apart(&buffers[i], &buffers[2])
        or not numpy.may_share_memory(array, out, max_work=1)
    )


def run(Form form, first, second, axis, out, dtype, num_threads, threads_for):
    """A whole call whose arguments are in normal form. Of any other call nothing is done, and the answer is None.

    `first` is diff_dst, and `second` src or dst; both are src with LOG_SOFTMAX. In normal form an operand is as
    `is_normal` says, `out` None or an ndarray and no subclass, `dtype` None or a numpy.dtype, `axis` an int, and
    `num_threads` None or an int of at least 1. All else that can be wrong with a call is refused here.

    `threads_for` says on how many threads a number of elements is computed, `num_threads` at most.
    """
    cdef Problem p
    cdef Py_buffer buffers[3]
    cdef DType code
    cdef bint brief
    cdef int held = 0, overflow, ndim, threads = 1, d
    cdef long along
    cdef Py_ssize_t count
    # No code of an argument's own runs from here on, as it would of an axis or num_threads of another type.
    if type(axis) is not int or not (out is None or type(out) is ndarray):
        return None
    if num_threads is not None and (type(num_threads) is not int or num_threads < 1):
        return None
    try:
        if not take(&p.diff_dst, &buffers[0], first, None, FLOAT32):
            return None
        held = 1
        count = buffers[0].len // buffers[0].itemsize
        brief = count <= BRIEF
        if not brief or num_threads is not None:
            # Python's other threads can change an array while a long call computes, and while any call asks for
            # threads. So a long call holds the arrays, and a brief call asks first. Both look at the arrays afterwards.
            held = 0
            PyBuffer_Release(&buffers[0])
            if brief:
                threads = threads_for(count, num_threads)
            else:
                _held = hold(first), hold(second), hold(out)
            if not take(&p.diff_dst, &buffers[0], first, None, FLOAT32):
                return None
            held = 1
            count = buffers[0].len // buffers[0].itemsize
            if brief and count > BRIEF:
                return None
        known = first.dtype
        if not take(&p.src, &buffers[1], second, known, p.diff_dst.dtype):
            return None
        held = 2

        if not have_same_shape(&buffers[0], &buffers[1]):
            names = "diff_dst and src" if form == BACKWARD_SRC else "diff_dst and dst"
            raise ValueError(f"{names} must have the same shape; got {first.shape} and {second.shape}")
        ndim = buffers[0].ndim
        along = PyLong_AsLongAndOverflow(axis, &overflow)
        if overflow or not -ndim <= along < ndim:
            raise numpy.exceptions.AxisError(axis, ndim)
        if along < 0:
            along += ndim
        if dtype is None:
            # As np.result_type has it, which has no answer for bfloat16 with float16.
            if p.diff_dst.dtype == p.src.dtype:
                code, dtype = p.diff_dst.dtype, known
            elif p.diff_dst.dtype == FLOAT64 or p.src.dtype == FLOAT64:
                code, dtype = FLOAT64, float64
            else:
                code, dtype = FLOAT32, float32
        elif dtype is known:
            code = p.diff_dst.dtype
        else:
            code, dtype = <DType> native_code(dtype, "the result"), native(dtype)

        result, view = out, None
        if out is None:
            result = new_result(buffers, first, second, dtype)
        else:
            dtype = out.dtype
            code = p.diff_dst.dtype if dtype is known else <DType> native_code(dtype, "out")
            PyObject_GetBuffer(out, &buffers[2], PyBUF_STRIDES)
            held = 3
            if not have_same_shape(&buffers[2], &buffers[0]):
                raise ValueError(
                    f"non-broadcastable output operand with shape {out.shape} doesn't match the shape {first.shape}")
            # A buffer also calls an array read-only of which NumPy only warns that it shares memory.
            if buffers[2].readonly and not out.flags.writeable:
                raise ValueError("output array is read-only")
            if count > 0 and not (
                (dtype is known or dtype.isnative)
                and is_aligned(&buffers[2])
                and not may_overlap_itself(&buffers[2])
                and leaves_unread(buffers, &p.diff_dst, 0, first, out, code)
                and leaves_unread(buffers, &p.src, 1, second, out, code)
            ):
                held = 2
                PyBuffer_Release(&buffers[2])
                view = out.view(ndarray)        # keeps its shape whatever another thread does to `out`
                result = empty_like(view, native(dtype))
        if count == 0:
            return result
        if held == 2:
            PyObject_GetBuffer(result, &buffers[2], PyBUF_STRIDES)
            held = 3
        set_operand(&p.out, &buffers[2], code)
        p.form = form
        lay_out(&p, buffers, <int> along)
        if not brief and (num_threads is not None or count >= 2 * ELEMENTS_PER_THREAD):     # else it could only be 1
            threads = threads_for(count, num_threads)
        walk(&p, threads)
        if view is not None:
            numpy.copyto(view, result)
        return result if view is None else out
    finally:
        for d in range(held):
            PyBuffer_Release(&buffers[d])


def layout(diff_dst, src, out, int axis):
    """How `run` goes along three arrays of one shape, without a 0 in it: extents, strides, loops.

    Extents and strides are those of the axes (outer, n, inner), the strides for each array. A loop is a further axis:
    its extent, and its strides in each array. tests/test_layouts.py has examples.
    """
    cdef Problem p
    cdef Py_buffer buffers[3]
    cdef int held = 0, d
    try:
        for array in (diff_dst, src, out):
            PyObject_GetBuffer(array, &buffers[held], PyBUF_STRIDES)
            held += 1
            if not (have_same_shape(&buffers[held - 1], &buffers[0]) and 0 <= axis < buffers[0].ndim):
                raise ValueError("the arrays need one shape that has this axis")
        lay_out(&p, buffers, axis)
    finally:
        for d in range(held):
            PyBuffer_Release(&buffers[d])
    strides = [(p.diff_dst.outer, p.diff_dst.n, p.diff_dst.inner), (p.src.outer, p.src.n, p.src.inner),
               (p.out.outer, p.out.n, p.out.inner)]
    loops = [(p.loops[d], (p.diff_dst.loops[d], p.src.loops[d], p.out.loops[d])) for d in range(p.ndim)]
    return (p.outer, p.n, p.inner), strides, loops


def openmp_threads():
    """Whether the caller is in a parallel region of OpenMP; the threads one would take; the processors (0: unknown)."""
    return openmp_in_parallel(), openmp_max_threads(), openmp_processors()


def supports(level):
    """Whether this processor can run the kernels of an instruction-set level."""
    return bool(cpu_supports(level.encode()))


def build_info():
    """How this module was compiled."""
    library = openmp_library()
    return {
        "compiler": FASTLSM_COMPILER.decode(),
        "openmp": FASTLSM_OPENMP,
        "openmp_library": library.decode() if library != NULL else None,
    }
