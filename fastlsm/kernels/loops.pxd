"""The loops over elements, as the headers in include/ have them: each is declared once, for all element types."""

from fastlsm.kernels.problem cimport Counted, DType, Form, Format

cdef extern from "real.hpp" nogil:
    struct Sum:
        double hi
        double lo
    Sum add(Sum a, Sum b) noexcept

cdef extern from "steps.hpp" nogil:
    struct Constants:
        char* values
        Py_ssize_t pitch
        double* diff_dst_hi
        double* diff_dst_lo
        double* exps_hi
        double* exps_lo
        double* counts
    Constants from_column(bint in_double, const Constants& of, Py_ssize_t c) noexcept

cdef extern from "lanes.hpp" nogil:
    struct LaneSums:
        pass
    Sum total(bint in_double, LaneSums* lanes) noexcept

cdef extern from "traffic.hpp" nogil:
    enum:
        CACHE_LINE
    cppclass Stream:
        void begin(void* to) noexcept
        void seek(void* to) noexcept
        void close() noexcept
    void* next_line(void* at) noexcept
    void prefetch(const void* at, Py_ssize_t bytes) noexcept
    void copy_rows(void* to, Py_ssize_t to_pitch, const void* source, Py_ssize_t source_pitch, Py_ssize_t rows,
                   Py_ssize_t bytes, Py_ssize_t ahead) noexcept
    void stream_copy(void* to, const void* source, Py_ssize_t bytes) noexcept
    void stream_end() noexcept

cdef extern from "convert.hpp" nogil:
    void load_elements(
        bint in_double, void* to, DType dtype, const char* source, Py_ssize_t stride, Py_ssize_t n) noexcept
    void store_elements(
        bint in_double, const void* source, DType dtype, char* to, Py_ssize_t stride, Py_ssize_t n) noexcept

cdef extern from "overflow.hpp" nogil:
    struct ScaledSum:
        Sum sum
        double unit
    Sum unscaled(ScaledSum of) noexcept
    ScaledSum sum_of_huge(DType dtype, const char* x, Py_ssize_t stride, Py_ssize_t n) noexcept

cdef extern from "turn.hpp" nogil:
    void turn(bint in_double, char* to, Py_ssize_t to_pitch, const char* source, Py_ssize_t source_pitch,
              Py_ssize_t rows, Py_ssize_t columns) noexcept

cdef extern from "row_constants.hpp" nogil:
    void set_maximum(bint in_double, const Constants& constants, Py_ssize_t row, double value) noexcept
    double maximum_of(bint in_double, const Constants& constants, Py_ssize_t row) noexcept
    void set_first_constants(
        bint in_double, Form form, const Constants& constants, Py_ssize_t count, Py_ssize_t n) noexcept
    void set_last_constants(bint in_double, Form form, const Constants& constants, Py_ssize_t count) noexcept
    bint has_extreme_sum(bint in_double, const Constants& constants, Py_ssize_t rows) noexcept
    void begin_maxima(bint in_double, const Constants& constants, Py_ssize_t rows) noexcept
    bint mark_little_rests(bint in_double, Counted counted, const Constants& constants, Py_ssize_t rows,
                           Py_ssize_t n) noexcept
    bint has_marks(const Constants& constants, Py_ssize_t rows) noexcept
    void expect_hidden(bint in_double, const Constants& constants, Py_ssize_t rows) noexcept

cdef extern from "rows.hpp" nogil:
    struct Strip:
        char* data
        Py_ssize_t pitch
    struct Next:
        Strip strip
        Py_ssize_t rows
        double* max
        double* diff_dst_hi
        double* diff_dst_lo
        LaneSums* carry
    void sum_rows(Format format, Strip x, Py_ssize_t rows, Py_ssize_t n, bint ahead, double* hi, double* lo,
                  LaneSums* carry) noexcept
    void max_rows(
        Format format, Strip x, Py_ssize_t rows, Py_ssize_t n, bint ahead, const Constants& constants) noexcept
    void exp_rows(Format format, Counted counted, Strip e, Strip x, Py_ssize_t rows, Py_ssize_t n, bint ahead,
                  const Constants& constants, LaneSums* carry, const Next& next) noexcept
    bint write_rows(Form form, Format format, Strip y, Strip g, Strip x, Py_ssize_t rows, Py_ssize_t n, bint ahead,
                    Stream* stream, const Constants& constants, const Next& next) noexcept
    void sum_others(Format format, Strip e, Py_ssize_t rows, Py_ssize_t n, const Constants& constants,
                    LaneSums* carry) noexcept
    void mend_rows(Format format, Strip y, Strip g, Strip x, Py_ssize_t rows, Py_ssize_t n,
                   const Constants& constants) noexcept

cdef extern from "flat_rows.hpp" nogil:
    void set_pattern(bint in_double, void* pattern, Py_ssize_t n) noexcept
    bint write_flat(Form form, Format format, char* y, const char* g, const char* x, Py_ssize_t rows, Py_ssize_t n,
                    const Constants& constants, const void* pattern, bint ahead, Stream* stream) noexcept

cdef extern from "column_sums.hpp" nogil:
    void sum_columns(Format format, const char* x, Py_ssize_t pitch, Py_ssize_t n, Py_ssize_t columns, double* hi,
                     double* lo) noexcept
    void sum_slab(Format format, const char* x, Py_ssize_t pitch, Py_ssize_t n, Py_ssize_t start, Py_ssize_t height,
                  Py_ssize_t columns, double* lanes_hi, double* lanes_lo, double* hi, double* lo) noexcept
    void sum_where_it_lies(Format format, const char* x, Py_ssize_t pitch, Py_ssize_t n, Py_ssize_t width,
                           Py_ssize_t columns, double* lanes_hi, double* lanes_lo, double* hi, double* lo) noexcept

    void add_rows(Format format, const char* x, Py_ssize_t pitch, Py_ssize_t rows, Py_ssize_t width, double* lane_hi,
                  double* lane_lo) noexcept
    void end_part(bint in_double, bint first, double* lanes_hi, double* lanes_lo, Py_ssize_t stride, Py_ssize_t used,
                  Py_ssize_t columns, double* hi, double* lo) noexcept

cdef extern from "columns.hpp" nogil:
    struct Copy:
        const char* source
        char* to
        Py_ssize_t source_pitch
        Py_ssize_t to_pitch
        Py_ssize_t bytes
    struct RowsAhead:
        Py_ssize_t result
        Py_ssize_t src
    void max_columns(Format format, Strip x, Py_ssize_t rows, Py_ssize_t n, const Constants& constants) noexcept
    void exp_columns(Format format, Counted counted, Strip e, Strip x, Py_ssize_t rows, Py_ssize_t n,
                     const Constants& constants, const Copy* next, Py_ssize_t next_row) noexcept
    bint write_columns(Form form, Format format, Strip y, Strip g, Strip x, bint is_exp,
                       RowsAhead ahead, Py_ssize_t rows, Py_ssize_t n, const Constants& constants, const Copy* next,
                       Py_ssize_t next_row) noexcept
    void hide_largest(bint in_double, Strip e, Py_ssize_t rows, Py_ssize_t n, const Constants& constants) noexcept
    void mend_columns(Format format, Strip y, Strip g, Strip x, Py_ssize_t rows, Py_ssize_t n,
                      const Constants& constants) noexcept

cdef extern from "few_classes.hpp" nogil:
    void write_few(Form form, Strip y, Strip g, Strip x, Py_ssize_t n, Py_ssize_t columns) noexcept

cdef extern from "interleaved.hpp" nogil:
    enum:
        FACTOR, FACTOR_LOW, FACTOR_REST, LARGEST, LARGEST_LOW, LOST_MAGIC, LOWEST, MAXIMUM
    void fill_with_lowest(Format format, void* to, Py_ssize_t n) noexcept
    void gather_maxima(
        bint in_double, const Constants& lanes, const Constants& constants, Py_ssize_t rows) noexcept
    void gather_counts(const Constants& lanes, const Constants& constants, Py_ssize_t rows) noexcept
    void spread_constants(bint in_double, const Constants& constants, const Constants& lanes, int first, int last,
                          Py_ssize_t rows) noexcept
    void spread_sums(const Constants& constants, const Constants& lanes, Py_ssize_t rows) noexcept
    void spread_marks(const Constants& constants, const Constants& lanes, Py_ssize_t rows) noexcept

cdef extern from "openmp.h" nogil:
    int openmp_team() noexcept
    double openmp_time() noexcept

cdef extern from "team_timer.hpp" nogil:
    cppclass TeamTimer:
        double lost
        void start() noexcept
        void end_share(double begun, Py_ssize_t items) noexcept
        void stop(Py_ssize_t items) noexcept
    void wait_for_team(const TeamTimer* timer, double* begun) noexcept

cdef extern from "partials.hpp" nogil:
    struct Partial:
        pass
    void combine_partials(Partial* to, const Partial* of, Py_ssize_t rows, Py_ssize_t count) noexcept
    void set_exps(bint in_double, Partial* to, const Constants& constants, Py_ssize_t row) noexcept
    void set_sum(Partial* to, ScaledSum of) noexcept
    void set_constants(bint in_double, Form form, const Constants& constants, const Partial* totals, Py_ssize_t count,
                       Py_ssize_t rows) noexcept
