/* Sums of columns in LANES lanes of double (bits.hpp): element j of a column is added to its lane j % LANES. */
#ifndef FASTLSM_COLUMN_SUMS_HPP
#define FASTLSM_COLUMN_SUMS_HPP

#include <utility>

#include "lanes.hpp"
#include "traffic.hpp"
#include "tuning.hpp"

namespace {

template <class T> ALWAYS_INLINE const T *below(const T *x, ptrdiff_t bytes)
{
    return (const T *)((const char *)x + bytes);
}

/* Vectors of double that a vector of the arithmetic becomes. */
template <class R> constexpr int HALVES = WIDTH<Vector<R>> / WIDTH<f64_vector>;

/* The sums of VECTORS vectors of adjacent columns, or one lane of these sums. */
template <class R, int VECTORS = HALVES<R>> struct ColumnSums {
    static constexpr bool HAS_LOW = sizeof(R) == sizeof(double);
    f64_vector hi[VECTORS], lo[VECTORS];

    ColumnSums() : hi(), lo() {}

    template <class T> ALWAYS_INLINE void add_row(const T *x)
    {
        for (int k = 0; k < VECTORS; k++)
            add_to<R>(hi + k, lo + k, Item<T>::load_as_f64(x + k * WIDTH<f64_vector>));
    }

    /* Sets the sum to the lane's first row. Unlike 0 + x, this keeps -0. */
    template <class T> ALWAYS_INLINE void set_row(const T *x)
    {
        for (int k = 0; k < VECTORS; k++)
            hi[k] = Item<T>::load_as_f64(x + k * WIDTH<f64_vector>);
    }

    /* `before` + this, to this: the tree's step. */
    ALWAYS_INLINE void add_to_sums_before(const ColumnSums &before)
    {
        for (int k = 0; k < VECTORS; k++) {
            f64_vector s = before.hi[k] + hi[k], t = s - before.hi[k];
            if constexpr (HAS_LOW)
                lo[k] = ((before.hi[k] - (s - t)) + (hi[k] - t)) + (before.lo[k] + lo[k]);
            hi[k] = s;
        }
    }

    /* float's arithmetic leaves `lo` alone. */
    ALWAYS_INLINE void read(const double *from_hi, const double *from_lo)
    {
        for (int k = 0; k < VECTORS; k++) {
            hi[k] = load_vector(from_hi + k * WIDTH<f64_vector>);
            if constexpr (HAS_LOW)
                lo[k] = load_vector(from_lo + k * WIDTH<f64_vector>);
        }
    }
    ALWAYS_INLINE void write(double *to_hi, double *to_lo) const
    {
        for (int k = 0; k < VECTORS; k++) {
            store_vector(to_hi + k * WIDTH<f64_vector>, hi[k]);
            if constexpr (HAS_LOW)
                store_vector(to_lo + k * WIDTH<f64_vector>, lo[k]);
        }
    }
};

/* The sum of rows l, l + step, l + 2 step, ... below n, added as the tree of bits.hpp. n is at most LANES, so that each
 * lane has one element at most. */
template <ptrdiff_t step, class T>
ALWAYS_INLINE ColumnSums<Arithmetic<T>, 1> sum_few_rows(const T *x, ptrdiff_t n, ptrdiff_t pitch, ptrdiff_t l)
{
    ColumnSums<Arithmetic<T>, 1> sum;
    if constexpr (step == LANES) {
        sum.set_row(below(x, l * pitch));
    } else {
        sum = sum_few_rows<2 * step>(x, n, pitch, l);
        if (l + step < n) {
            ColumnSums<Arithmetic<T>, 1> more = sum_few_rows<2 * step>(x, n, pitch, l + step);
            more.add_to_sums_before(sum);
            sum = more;
        }
    }
    return sum;
}

/* The sum of a whole column, lane by lane in bit-reversed order. The tree then adds each sum to the one before it as
 * soon as there are two of a level, as a binary counter carries. So no more than four sums wait, in registers. */
template <class T, int... i>
ALWAYS_INLINE ColumnSums<Arithmetic<T>> sum_many_rows(const T *x, ptrdiff_t n, ptrdiff_t pitch,
                                                      std::integer_sequence<int, i...>)
{
    ColumnSums<Arithmetic<T>> waiting[5];
    auto one_lane = [&](auto number) {
        constexpr int c = decltype(number)::value;
        constexpr int lane = (c & 1) << 3 | (c & 2) << 1 | (c & 4) >> 1 | (c & 8) >> 3;
        ColumnSums<Arithmetic<T>> sum;
        for (ptrdiff_t j = lane; j < n; j += LANES)
            sum.add_row(below(x, j * pitch));
        if constexpr ((c & 1) == 1)
            sum.add_to_sums_before(waiting[0]);
        if constexpr ((c & 3) == 3)
            sum.add_to_sums_before(waiting[1]);
        if constexpr ((c & 7) == 7)
            sum.add_to_sums_before(waiting[2]);
        if constexpr ((c & 15) == 15)
            sum.add_to_sums_before(waiting[3]);
        waiting[(c & 1) == 0 ? 0 : (c & 2) == 0 ? 1 : (c & 4) == 0 ? 2 : (c & 8) == 0 ? 3 : 4] = sum;
    };
    static_assert(sizeof...(i) == LANES && LANES == 16);
    (one_lane(std::integral_constant<int, i>{}), ...);
    return waiting[4];
}

template <class T>
NOINLINE void sum_columns_of(const T *x, ptrdiff_t pitch, ptrdiff_t n, ptrdiff_t columns, double *hi, double *lo)
{
    using R = Arithmetic<T>;
    memset(lo, 0, columns * sizeof *lo);
    if (n <= LANES) {
        for (ptrdiff_t c = 0; c < columns; c += WIDTH<f64_vector>) {
            ColumnSums<R, 1> sum = sum_few_rows<1>(x + c, n, pitch, 0);
            sum.hi[0] += 0.0; /* -0 becomes 0, as where a lane begins with 0 */
            sum.write(hi + c, lo + c);
        }
        return;
    }
    for (ptrdiff_t c = 0; c < columns; c += WIDTH<Vector<R>>)
        sum_many_rows(x + c, n, pitch, std::make_integer_sequence<int, LANES>{}).write(hi + c, lo + c);
}

/* The whole sum of each of `columns` columns, a multiple of LANES, of n elements, which are `pitch` bytes apart. */
inline void sum_columns(Format format, const char *x, ptrdiff_t pitch, ptrdiff_t n, ptrdiff_t columns, double *hi,
                        double *lo)
{
    with_item(format,
              [&](auto of) { sum_columns_of((const typename decltype(of)::type *)x, pitch, n, columns, hi, lo); });
}

/* Rows of LANES columns, to the lanes of those columns in memory: lane l of column c is hi[l * LANES + c]. */
template <class T>
NOINLINE void add_block_of(const T *x, ptrdiff_t pitch, ptrdiff_t height, bool begins, double *hi, double *lo)
{
    for (ptrdiff_t lane = 0; lane < LANES && lane < height; lane++) {
        ColumnSums<Arithmetic<T>, LANE_VECTORS> sum;
        if (!begins)
            sum.read(hi + lane * LANES, lo + lane * LANES);
        for (ptrdiff_t j = lane; j < height; j += LANES)
            sum.add_row(below(x, j * pitch));
        sum.write(hi + lane * LANES, lo + lane * LANES);
    }
}

/* Fold the `used` lanes of `columns` columns as the tree of bits.hpp, to the first lane. The other lanes hold nothing,
 * and adding 0 would change no bit. Lanes are `stride` doubles apart. */
template <class R> void fold_columns(double *hi, double *lo, ptrdiff_t stride, ptrdiff_t used, ptrdiff_t columns)
{
    for (ptrdiff_t step = LANES / 2; step; step /= 2)
        for (ptrdiff_t l = 0; l < step && l + step < used; l++)
            for (ptrdiff_t i = l * stride, below = step * stride; i < l * stride + columns; i++) {
                if constexpr (sizeof(R) == sizeof(double)) {
                    Sum sum = add({ hi[i], lo[i] }, { hi[i + below], lo[i + below] });
                    hi[i] = sum.hi, lo[i] = sum.lo;
                } else {
                    hi[i] += hi[i + below];
                }
            }
}

/* Add the folded sums of a part of each column to what the parts before have. */
template <class R>
void add_part(double *hi, double *lo, const double *part_hi, const double *part_lo, ptrdiff_t columns)
{
    for (ptrdiff_t c = 0; c < columns; c++) {
        Sum sum = add({ hi[c], lo[c] }, { part_hi[c], sizeof(R) == sizeof(double) ? part_lo[c] : 0 });
        hi[c] = sum.hi, lo[c] = sum.lo;
    }
}

/* Add rows `start` to `start + height - 1` of columns of n elements to the columns' lanes. It goes LANES columns at a
 * time and lane by lane, so that a lane stays in registers. If the slab is the whole column, hi and lo are set. Else
 * the sum of each finished part is added to them. The lanes have room for all columns; of float `lanes_lo` is not
 * touched. */
inline void sum_slab(Format format, const char *x, ptrdiff_t pitch, ptrdiff_t n, ptrdiff_t start, ptrdiff_t height,
                     ptrdiff_t columns, double *lanes_hi, double *lanes_lo, double *hi, double *lo)
{
    if (height == n) {
        sum_columns(format, x, pitch, n, columns, hi, lo);
        return;
    }
    ptrdiff_t part = part_length(n), used = start % part + height;
    bool begins = start % part == 0, ends = used % part == 0 || start + height == n;
    with_item(format, [&](auto of) {
        using T = typename decltype(of)::type;
        for (ptrdiff_t c = 0; c < columns; c += LANES) {
            double *block_hi = lanes_hi + c * LANES, *block_lo = lanes_lo + c * LANES;
            add_block_of((const T *)x + c, pitch, height, begins, block_hi, block_lo);
            if (!ends)
                continue;
            fold_columns<Arithmetic<T>>(block_hi, block_lo, LANES, used < LANES ? used : LANES, LANES);
            add_part<Arithmetic<T>>(hi + c, lo + c, block_hi, block_lo, LANES);
        }
    });
}

/* Add `count` rows, each `pitch` bytes from the one before it, to one lane of their columns. */
template <int count, class T>
ALWAYS_INLINE void add_rows_to_lane(const T *x, ptrdiff_t pitch, ptrdiff_t width, double *lane_hi, double *lane_lo)
{
    using R = Arithmetic<T>;
    constexpr bool HAS_LOW = ColumnSums<R>::HAS_LOW;
    constexpr int step = WIDTH<f64_vector>;
    ptrdiff_t c = 0;
    for (; c + step <= width; c += step) {
        f64_vector sum = load_vector(lane_hi + c), low = {};
        if constexpr (HAS_LOW)
            low = load_vector(lane_lo + c);
        for (int k = 0; k < count; k++)
            add_to<R>(&sum, &low, Item<T>::load_as_f64(below(x, k * pitch) + c));
        store_vector(lane_hi + c, sum);
        if constexpr (HAS_LOW)
            store_vector(lane_lo + c, low);
    }
    for (; c < width; c++)
        for (int k = 0; k < count; k++) {
            Sum sum = add({ lane_hi[c], HAS_LOW ? lane_lo[c] : 0 },
                          { (double)Item<T>::load_one(below(x, k * pitch) + c), 0 });
            lane_hi[c] = sum.hi;
            if constexpr (HAS_LOW)
                lane_lo[c] = sum.lo;
        }
}

template <class T>
NOINLINE void sum_where_it_lies_of(const T *x, ptrdiff_t pitch, ptrdiff_t n, ptrdiff_t width, ptrdiff_t columns,
                                   double *lanes_hi, double *lanes_lo, double *hi, double *lo)
{
    using R = Arithmetic<T>;
    constexpr bool HAS_LOW = ColumnSums<R>::HAS_LOW;
    memset(lanes_hi, 0, LANES * columns * sizeof *lanes_hi);
    if (HAS_LOW)
        memset(lanes_lo, 0, LANES * columns * sizeof *lanes_lo);
    for (ptrdiff_t j = 0; j < n; j++) {
        const T *row = below(x, j * pitch);
        prefetch(below(row, ROWS_AHEAD * pitch), width * sizeof *row);
        add_rows_to_lane<1>(row, 0, width, lanes_hi + j % LANES * columns, lanes_lo + j % LANES * columns);
    }
    fold_columns<R>(lanes_hi, lanes_lo, columns, n < LANES ? n : LANES, columns);
    memcpy(hi, lanes_hi, columns * sizeof *hi);
    if (HAS_LOW)
        memcpy(lo, lanes_lo, columns * sizeof *lo);
}

/* The sum of each of `width` columns of at most one part. It reads row by row, which is the order in which a processor
 * prefetches. The lanes are in memory, but in its caches. There is room for `columns` columns, a multiple of LANES. */
inline void sum_where_it_lies(Format format, const char *x, ptrdiff_t pitch, ptrdiff_t n, ptrdiff_t width,
                              ptrdiff_t columns, double *lanes_hi, double *lanes_lo, double *hi, double *lo)
{
    with_item(format, [&](auto of) {
        sum_where_it_lies_of((const typename decltype(of)::type *)x, pitch, n, width, columns, lanes_hi, lanes_lo, hi,
                             lo);
    });
}

/* Add rows, `pitch` bytes from each to the next, to one lane of their columns. Four together: the lane comes from afar.
 */
inline void add_rows(Format format, const char *x, ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t width, double *lane_hi,
                     double *lane_lo)
{
    with_item(format, [&](auto of) {
        using T = typename decltype(of)::type;
        ptrdiff_t j = 0;
        for (; j + 4 <= rows; j += 4)
            add_rows_to_lane<4>((const T *)(x + j * pitch), pitch, width, lane_hi, lane_lo);
        for (; j < rows; j++)
            add_rows_to_lane<1>((const T *)(x + j * pitch), 0, width, lane_hi, lane_lo);
    });
}

/* Fold the lanes of a part of some columns. Set the columns' sums if the part is the first, else add to them. */
inline void end_part(bool in_double, bool first, double *lanes_hi, double *lanes_lo, ptrdiff_t stride, ptrdiff_t used,
                     ptrdiff_t columns, double *hi, double *lo)
{
    auto end = [&](auto zero) {
        using R = decltype(zero);
        fold_columns<R>(lanes_hi, lanes_lo, stride, used < LANES ? used : LANES, columns);
        if (!first)
            return add_part<R>(hi, lo, lanes_hi, lanes_lo, columns);
        memcpy(hi, lanes_hi, columns * sizeof *hi);
        if (in_double)
            memcpy(lo, lanes_lo, columns * sizeof *lo);
        else
            memset(lo, 0, columns * sizeof *lo);
    };
    in_double ? end(0.0) : end(0.0f);
}

} // namespace
#endif
