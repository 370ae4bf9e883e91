/* The loops over columns, a row of a tile after the other: maximum, exp, and the last step. Each of n columns has its
 * own constants.
 *
 * Elements are read in their order. Rows of an operand are `pitch` bytes apart, as `Strip` says.
 */
#ifndef FASTLSM_COLUMNS_HPP
#define FASTLSM_COLUMNS_HPP

#include "column_sums.hpp"
#include "rows.hpp"

namespace {

/* Rows of another tile, which are copied while rows of this one are computed. */
struct Copy {
    const char *source;
    char *to;
    ptrdiff_t source_pitch, to_pitch, bytes;
};

/* Copies one row, or four rows together: `some` copies a vector's bytes of each, `rest` what is left. */
struct CopyMeanwhile {
    const Copy *copy; /* or NULL */
    ptrdiff_t row, copied;

    ALWAYS_INLINE void some(ptrdiff_t bytes)
    {
        if (!copy || copied + bytes > copy->bytes)
            return;
        for (int k = 0; k < 4; k++)
            memcpy(copy->to + (row + k) * copy->to_pitch + copied,
                   copy->source + (row + k) * copy->source_pitch + copied, bytes);
        copied += bytes;
    }
    ALWAYS_INLINE void rest(ptrdiff_t rows)
    {
        if (copy)
            copy_rows(copy->to + row * copy->to_pitch + copied, copy->to_pitch,
                      copy->source + row * copy->source_pitch + copied, copy->source_pitch, rows, copy->bytes - copied,
                      0);
    }
};

/* A loop over n columns of `rows` rows. pass.prefetch_rows(row, count) is called before each group of rows.
 * pass.at<way, count>(row, i) computes `count` vectors from row `row` and column i on. pass.end(row, i, elements)
 * computes what is less than a vector.
 *
 * The constants of many columns do not fit into the first-level cache. Then they are loaded once for four rows. */
template <class R, class Pass>
ALWAYS_INLINE void over_columns(Pass &pass, ptrdiff_t rows, ptrdiff_t n, const Copy *next, ptrdiff_t next_row)
{
    constexpr ptrdiff_t width = WIDTH<Vector<R>>;
    for (ptrdiff_t j = 0, count; j < rows; j += count) {
        CopyMeanwhile meanwhile = { next, next_row + j, 0 };
        count = rows - j >= 4 && n * (ptrdiff_t)sizeof(R) >= MANY_CONSTANTS ? 4 : 1;
        pass.prefetch_rows(j, count);
        if (count == 4) {
            ptrdiff_t i = 0;
            for (; i + width <= n; i += width) {
                pass.template at<Way::BELOW, 4>(j, i);
                meanwhile.some(width * pass.ITEM_BYTES);
            }
            if (i < n && pass.ONCE_MORE)
                pass.template at<Way::BELOW, 4>(j, n - width);
            for (int k = 0; k < 4 && i < n && !pass.ONCE_MORE; k++)
                pass.end(j + k, i, n - i);
        } else {
            ptrdiff_t i = 0;
            for (; i + STEP<R> <= n; i += STEP<R>)
                pass.template at<Way::BESIDE, TOGETHER<R>>(j, i);
            for (; i + width <= n; i += width)
                pass.template at<Way::BESIDE, 1>(j, i);
            if (i < n && n >= width && pass.ONCE_MORE)
                pass.template at<Way::BESIDE, 1>(j, n - width);
            else if (i < n)
                pass.end(j, i, n - i);
        }
        meanwhile.rest(count);
    }
}

/* A reader of vectors that lie as `way` says, from column i of row j on. */
template <class T, Way way> ALWAYS_INLINE auto reader_at(Strip x, ptrdiff_t j, ptrdiff_t i)
{
    if constexpr (way == Way::BELOW)
        return Below<T>{ x.row<const T>(j) + i, x.pitch };
    else
        return Whole<T>{ x.row<const T>(j) + i };
}
template <class T, Way way, int count, class V>
ALWAYS_INLINE void store_at(Strip y, ptrdiff_t j, ptrdiff_t i, const V *x)
{
    if constexpr (way == Way::BELOW)
        for (int k = 0; k < count; k++)
            Item<T>::store(y.row<T>(j + k) + i, x[k]);
    else
        Item<T>::template store<count>(y.row<T>(j) + i, x);
}

/* Which rows are asked for ahead of their use: bytes from a row to that, or 0. */
struct RowsAhead {
    ptrdiff_t result, src;
};

/* What the last step reads beside diff_dst: an operand, its exp in memory, or its exp computed on the way. */
enum class Second { OPERAND, EXP, EXP_OF_OPERAND };

/* f(step, second) for the step that ends a form, and what it reads. */
template <class R, class F> ALWAYS_INLINE bool with_step_and_second(Form form, bool is_exp, F f)
{
    bool out_of_range = false;
    with_step<R>(form, [&](auto step) {
        if constexpr (!decltype(step)::FROM_EXP)
            out_of_range = f(step, std::integral_constant<Second, Second::OPERAND>{});
        else if (is_exp)
            out_of_range = f(step, std::integral_constant<Second, Second::EXP>{});
        else
            out_of_range = f(step, std::integral_constant<Second, Second::EXP_OF_OPERAND>{});
    });
    return out_of_range;
}

template <class T, class Step, Second second> struct WriteColumns {
    using R = Arithmetic<T>;
    using X = std::conditional_t<second == Second::EXP, R, T>;
    static constexpr ptrdiff_t ITEM_BYTES = sizeof(T);
    static constexpr bool ONCE_MORE = true; /* elements may be computed twice, which is quicker than the end of a row */
    Strip y, g, x;
    const R *constants;
    ptrdiff_t row_bytes;
    RowsAhead ahead;
    Step step;

    ALWAYS_INLINE void prefetch_rows(ptrdiff_t j, ptrdiff_t count)
    {
        for (ptrdiff_t k = j; k < j + count; k++) {
            if (ahead.result)
                prefetch((char *)y.row<T>(k) + ahead.result, row_bytes);
            if (ahead.src)
                prefetch((char *)x.row<T>(k) + ahead.src, row_bytes);
        }
    }
    template <Way way, int count> ALWAYS_INLINE void at(ptrdiff_t j, ptrdiff_t i)
    {
        Vector<R> result[count];
        ConstantReader<R, way> of = { constants + i };
        step.template operator()<count>(result, of, reader_at<T, way>(g, j, i),
                                        wrapped(of, reader_at<X, way>(x, j, i)));
        store_at<T, way, count>(y, j, i, result);
    }
    ALWAYS_INLINE void end(ptrdiff_t j, ptrdiff_t i, ptrdiff_t elements)
    {
        Vector<R> result[1];
        ConstantReader<R, Way::BESIDE> of = { constants + i };
        First<T> first_g = { g.row<const T>(j) + i, elements, 0 };
        First<X> first_x = { x.row<const X>(j) + i, elements, 0 };
        step.template operator()<1>(result, of, first_g, wrapped(of, first_x));
        Item<T>::store_first(y.row<T>(j) + i, result, elements);
    }

private:
    template <class C, class Reader> static ALWAYS_INLINE auto wrapped(C of, Reader reader)
    {
        if constexpr (second == Second::EXP_OF_OPERAND)
            return ExpOf<C, Reader>{ of, reader };
        else
            return reader;
    }
};

template <class T, class Step, Second second>
NOINLINE bool write_columns_of(Strip y, Strip g, Strip x, RowsAhead ahead, ptrdiff_t rows, ptrdiff_t n,
                               const Constants &constants, const Copy *next, ptrdiff_t next_row)
{
    using R = Arithmetic<T>;
    WriteColumns<T, Step, second> pass = { y, g, x, constants.of<R>(0), n * (ptrdiff_t)sizeof(T), ahead, Step() };
    over_columns<R>(pass, rows, n, next, next_row);
    return pass.step.has_out_of_range();
}

/* The results of some rows of a tile, to y. x is the second operand, or its exp if the pass before has left that.
 * Meanwhile rows of another tile are copied, if `next` says so, from row `next_row` on. Returns whether there is a dst
 * that the step cannot do. */
inline bool write_columns(Form form, Format format, Strip y, Strip g, Strip x, bool is_exp, RowsAhead ahead,
                          ptrdiff_t rows, ptrdiff_t n, const Constants &constants, const Copy *next, ptrdiff_t next_row)
{
    return with_item(format, [&](auto of) {
        using T = typename decltype(of)::type;
        return with_step_and_second<Arithmetic<T>>(form, is_exp, [&](auto step, auto second) {
            return write_columns_of<T, decltype(step), decltype(second)::value>(y, g, x, ahead, rows, n, constants,
                                                                                next, next_row);
        });
    });
}

/* Compute again what the dst form's step could not do. */
inline void mend_columns(Format format, Strip y, Strip g, Strip x, ptrdiff_t rows, ptrdiff_t n,
                         const Constants &constants)
{
    with_item(format, [&](auto of) {
        using T = typename decltype(of)::type;
        for (ptrdiff_t j = 0; j < rows; j++)
            mend_dst(y.row<T>(j), g.row<const T>(j), x.row<const T>(j), n, constants.diff_dst_hi, constants.diff_dst_lo,
                     1);
    });
}

template <class T> NOINLINE void max_columns_of(Strip x, ptrdiff_t rows, ptrdiff_t n, Arithmetic<T> *max)
{
    using V = Vector<Arithmetic<T>>;
    for (ptrdiff_t j = 0, count; j < rows; j += count) {
        count = rows - j < 4 ? 1 : 4;
        ptrdiff_t c = 0;
        for (; c + WIDTH<V> <= n; c += WIDTH<V>) {
            V top = load_vector(max + c);
            for (ptrdiff_t k = 0; k < count; k++)
                top = Isa::maximum(Item<T>::load(x.row<const T>(j + k) + c), top);
            store_vector(max + c, top);
        }
        for (ptrdiff_t k = 0; k < count && c < n; k++) {
            V end;
            Item<T>::load_first(&end, x.row<const T>(j + k) + c, n - c, -INFINITY);
            store_vector(max + c, Isa::maximum(end, load_vector(max + c)));
        }
    }
}

/* Raises the constant MAXIMUM of each column to the column's maximum. NaN is passed over. */
inline void max_columns(Format format, Strip x, ptrdiff_t rows, ptrdiff_t n, const Constants &constants)
{
    with_item(format, [&](auto of) {
        using T = typename decltype(of)::type;
        max_columns_of<T>(x, rows, n, constants.of<Arithmetic<T>>(MAXIMUM));
    });
}

template <class T, Counted counted> struct ExpColumns {
    using R = Arithmetic<T>;
    static constexpr ptrdiff_t ITEM_BYTES = sizeof(T);
    static constexpr bool ONCE_MORE = false; /* elements are counted */
    Strip e, x;
    const R *constants;
    typename Real<R>::Bits *counts;

    ALWAYS_INLINE void prefetch_rows(ptrdiff_t, ptrdiff_t) {}
    template <Way way, int count> ALWAYS_INLINE void at(ptrdiff_t j, ptrdiff_t i)
    {
        Vector<R> y[count];
        exp_at<way, count>(y, i, reader_at<T, way>(x, j, i));
        store_at<R, way, count>(e, j, i, y);
    }
    ALWAYS_INLINE void end(ptrdiff_t j, ptrdiff_t i, ptrdiff_t elements)
    {
        Vector<R> y[1];
        exp_at<Way::BESIDE, 1>(y, i, First<T>{ x.row<const T>(j) + i, elements, -INFINITY });
        Item<R>::store_first(e.row<R>(j) + i, y, elements);
    }

private:
    template <Way way, int count, class X> ALWAYS_INLINE void exp_at(Vector<R> *y, ptrdiff_t i, X from)
    {
        ConstantReader<R, way> of = { constants + i };
        BitsVector<R> found[count];
        exp_step<count, counted, R>(y, found, of, from);
        if constexpr (counted != Counted::NOTHING) {
            constexpr int columns = way == Way::BELOW ? 1 : count;
            for (int k = columns; k < count; k++)
                found[0] += found[k];
            for (int k = 0; k < columns; k++) {
                auto *of_column = counts + i + k * WIDTH<Vector<R>>;
                store_vector(of_column, (BitsVector<R>)load_bits(of_column) + found[k]);
            }
        }
    }
};

template <class T, Counted counted>
NOINLINE void exp_columns_of(Strip e, Strip x, ptrdiff_t rows, ptrdiff_t n, const Constants &constants,
                             const Copy *next, ptrdiff_t next_row)
{
    using R = Arithmetic<T>;
    typename Real<R>::Bits counts[WIDEST_TALL_TILE];
    memset(counts, 0, counted != Counted::NOTHING ? round_up(n, LANES) * sizeof *counts : 0);
    ExpColumns<T, counted> pass = { e, x, constants.of<R>(0), counts };
    over_columns<R>(pass, rows, n, next, next_row);
    const R *lost_magic = constants.of<R>(LOST_MAGIC);
    if (counted != Counted::NOTHING)
        for (ptrdiff_t c = 0; c < n; c++)
            constants.counts[c] += count_of<counted>(counts[c], rows, lost_magic[c]);
}

/* exp of at most MOST_COUNTED rows of a tile, to e, and what is to be counted of each column. */
inline void exp_columns(Format format, Counted counted, Strip e, Strip x, ptrdiff_t rows, ptrdiff_t n,
                        const Constants &constants, const Copy *next, ptrdiff_t next_row)
{
    with_item(format, [&](auto of) {
        with_counted<decltype(of)>(counted, [&](auto what) {
            exp_columns_of<typename decltype(of)::type, decltype(what)::value>(e, x, rows, n, constants, next,
                                                                               next_row);
        });
    });
}

template <class R> NOINLINE void hide_largest_of(Strip e, ptrdiff_t rows, ptrdiff_t n, const Constants &constants)
{
    using V = Vector<R>;
    R hidden[WIDEST_TALL_TILE];
    const R *largest = constants.of<R>(LARGEST);
    ROWS_ARE_INDEPENDENT
    for (ptrdiff_t c = 0; c < n; c++)
        hidden[c] = constants.counts[c] == LITTLE_REST ? largest[c] : (R)NO_EXP;
    for (ptrdiff_t j = 0; j < rows; j++)
        for (ptrdiff_t c = 0; c < n; c += WIDTH<V>) {
            R *at = e.row<R>(j) + c;
            V x = load_vector(at);
            store_vector(at, x == load_vector(hidden + c) ? splat((R)-0.0) : x);
        }
}

/* Puts -0 in the place of the exp of LARGEST, in the columns that `mark_little_rests` has marked. Their sums are then
 * those of the others. n is a multiple of LANES. */
inline void hide_largest(bool in_double, Strip e, ptrdiff_t rows, ptrdiff_t n, const Constants &constants)
{
    (in_double ? hide_largest_of<double> : hide_largest_of<float>)(e, rows, n, constants);
}

} // namespace
#endif
