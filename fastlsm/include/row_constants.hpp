/* The constants of rows: the first ones from the maximum and the sum of diff_dst, the last ones from the sum of exp.
 *
 * There is no branch that depends on a row, so that the compiler can compute many rows side by side.
 *
 * Accuracy. For |m| >= FAR_LOGITS, and in rows of one element, src - m is formed: there it is exact for every element
 * that matters (Sterbenz's lemma). Otherwise exp(src - K ln 2), K = floor(m / ln 2), is computed by changing the
 * exponent, which rounds nothing. In the src form K is a fraction, such that the largest exp is nearly 2: just below a
 * power of two, a rounding error is the smallest part of a number. log_softmax sums the terms of the maximum apart:
 * others + ties * exp(m - K ln 2). The second term is known more exactly than the arithmetic's type holds, so that
 * log1p sees `others` however small it is. The src form takes the maximum's exp out of the sum afterwards and puts a
 * better one in, for where one class has all the mass, this exp is the whole sum. What the others have lost when they
 * were rounded is added, for it is as much in each class that shares a logit. Only where the sum has lost too much of
 * the others beside the largest, these are summed once more.
 */
#ifndef FASTLSM_ROW_CONSTANTS_HPP
#define FASTLSM_ROW_CONSTANTS_HPP

#include <float.h>

#include "dst.hpp"
#include "forms.hpp"

namespace {

/* One row's constants, on their way to or from `Constants`. */
template <class R> struct Row {
    double max, shift, K, boost;
    Sum diff_dst;
    double unit; /* of K, which MAGIC counts */

    ALWAYS_INLINE Row(Form form) : unit(form == Form::BACKWARD_SRC ? 1.0 / Real<R>::ROOTS : 1) {}

    ALWAYS_INLINE void read(const Constants &constants, ptrdiff_t row)
    {
        max = constants.of<R>(MAXIMUM)[row];
        shift = constants.of<R>(SHIFT)[row];
        K = Real<R>::BIAS - ((double)constants.of<R>(MAGIC)[row] - Real<R>::MAGIC) * unit;
        boost = constants.boost[row];
        diff_dst = { constants.diff_dst_hi[row], constants.diff_dst_lo[row] };
    }

    ALWAYS_INLINE void write(const Constants &constants, ptrdiff_t row) const
    {
        constants.of<R>(SHIFT)[row] = (R)shift;
        constants.of<R>(MAGIC)[row] = (R)(Real<R>::MAGIC + (Real<R>::BIAS - K) * (1 / unit));
        constants.of<R>(LOWEST)[row] = (R)((K - Real<R>::BIAS) * LN_2);
        constants.of<R>(LOST_MAGIC)[row] = (R)(Real<R>::MAGIC * Real<R>::LOST_UNIT * boost);
        constants.boost[row] = boost;
        constants.diff_dst_hi[row] = diff_dst.hi;
        constants.diff_dst_lo[row] = diff_dst.lo;
    }

    /* exp of the maximum, nearly as a sum of the result and *tail. */
    ALWAYS_INLINE double exp_at_max(double *tail) const { return exp_with_tail(max - shift, K, tail); }

    /* exp of the maximum to float's exactness, or, with sign -1, its inverse. */
    ALWAYS_INLINE double exp_at_max_for_float(double sign) const
    {
        double whole = unit < 1 ? 0 : K, x = fmadd(whole - K, LN_2, max - shift);
        return exp_for_float(sign * x, MAGIC_OF_DOUBLE - sign * whole);
    }
};

/* A power of two by which a sum of diff_dst is divided, and exp multiplied. */
struct Boost {
    double boost, unboost, log2;
};

/* A sum of diff_dst may be near the end of the arithmetic's range, or past it, while its product with softmax is not.
 */
ALWAYS_INLINE Boost boost_for(float, double size) /* the sum is double, and small ones are exact */
{
    bool is_large = (size > FLT_MAX) & (size < INFINITY);
    return { is_large ? 0x1p64 : 1, is_large ? 0x1p-64 : 1, is_large ? 64.0 : 0 };
}
ALWAYS_INLINE Boost boost_for(double, double size)
{
    bool is_large = (size > 0x1p900) & (size < INFINITY), is_small = (size < 0x1p-900) & (size > 0);
    return { is_large   ? 0x1p128
             : is_small ? 0x1p-128
                        : 1,
             is_large   ? 0x1p-128
             : is_small ? 0x1p128
                        : 1,
             is_large   ? 128.0
             : is_small ? -128
                        : 0 };
}

/* How to take exp of src in a row of n elements, whose maximum and sum of diff_dst are known. */
template <class R> ALWAYS_INLINE Row<R> begin_row(Form form, double max, Sum diff_dst, ptrdiff_t n)
{
    Row<R> row(form);
    Boost of = boost_for(R(), fabs(diff_dst.hi));
    bool is_near = (fabs(max) < Real<R>::FAR_LOGITS) & (n > 1);
    double K = is_near ? floor(max * (1 / LN_2 / row.unit)) * row.unit : 0;
    row.max = max;
    row.shift = is_near ? 0 : max;
    row.boost = of.boost;
    row.diff_dst = { diff_dst.hi * of.unboost, diff_dst.lo * of.unboost };
    row.K = K - (is_near ? 1 - row.unit : 0) - of.log2;
    return row;
}

/* (a.hi + a.lo) / (b.hi + b.lo) */
ALWAYS_INLINE Sum quotient(Sum a, Sum b)
{
    double q = a.hi / b.hi, p = q * b.hi;
    return { q, (((a.hi - p) - product_error(q, b.hi, p)) + (a.lo - q * b.lo)) / b.hi };
}

/* x cut to what float holds, if that is not subnormal. */
ALWAYS_INLINE double cut(float, Sum x) { return (float)real_of_bits(bits_of(x.hi) & ~(uint64_t)0x1fffffff); }

/* x rounded to double, or its neighbour towards 0 where rounding went away from 0. */
ALWAYS_INLINE double cut(double, Sum x)
{
    double f = x.hi + x.lo;
    f = f == f ? f : x.hi; /* past infinity the two-sum's error is NaN */
    double rest = (x.hi - f) + x.lo;
    return real_of_bits(bits_of(f) - (f > 0 ? rest < 0 : (f < 0) & (rest > 0)));
}

/* A class that leaves the others less needs constants of its own, for 1 - softmax is small. No other class has an exp
 * that is rounded to the same number. */
constexpr double LARGEST_REST = 0.49;

/* In a row's count: the largest exp leaves the others so little that it must not be in their sum. */
constexpr double LITTLE_REST = INFINITY;

/* What the src form needs of a row: F = S / sum(exp), and, if the largest class has more than half of the mass, its exp
 * as the loop has it, and its softmax times S. */
struct SrcConstants {
    Sum factor;
    double largest;
    Sum product;
};

/* The sum of exp is known with the exp of one largest class, or without: then LITTLE_REST stands for `lost`. The loop's
 * exp may be wrong by 0.55 units. Where one class has much of the mass, the sum would be wrong by as much. So the
 * maximum's exp is replaced by a better one. */
ALWAYS_INLINE SrcConstants src_constants(const Row<float> &row, double in_loop, Sum exps, double lost)
{
    bool is_without = lost == LITTLE_REST;
    double others = (exps.hi - (is_without ? 0 : in_loop)) + (exps.lo + (is_without ? 0 : lost));
    double at_max = row.exp_at_max_for_float(1), inverse = 1 / (others + at_max), rest = others * inverse;
    double S = row.diff_dst.hi * row.boost, product = S - S * rest, most = FLT_MAX;
    bool is_finite = fabs(S) < INFINITY;
    double high = (float)(product > most ? most : product < -most ? -most : product);
    return { { row.diff_dst.hi * inverse * row.boost, 0 },
             rest < LARGEST_REST ? in_loop : NO_EXP,
             { is_finite ? high : S, is_finite ? (S - high) - S * rest : 0 } };
}
ALWAYS_INLINE SrcConstants src_constants(const Row<double> &row, double in_loop, Sum exps, double lost)
{
    bool is_without = lost == LITTLE_REST;
    double tail, at_max = row.exp_at_max(&tail);
    double unboost = row.boost > 1 ? 0x1p-128 : row.boost < 1 ? 0x1p128 : 1;
    Sum S = row.diff_dst, others = add(exps, { is_without ? 0 : -in_loop, is_without ? 0 : lost });
    Sum all = add({ at_max, tail }, others), factor = quotient(S, all), rest = quotient(others, all);
    double p = S.hi * rest.hi, p_low = product_error(S.hi, rest.hi, p) + (S.hi * rest.lo + S.lo * rest.hi);
    Sum product = add(S, { -p, -p_low });
    bool is_finite = fabs(S.hi) < INFINITY;
    double high = product.hi * row.boost, low = ((product.hi - high * unboost) + product.lo) * row.boost;
    return { { factor.hi * row.boost, factor.lo * row.boost },
             rest.hi < LARGEST_REST ? in_loop : NO_EXP,
             { is_finite ? high : S.hi, is_finite ? low : 0 } };
}

/* L = log(sum(exp(src - m))), from the sum of the others' exp. */
ALWAYS_INLINE double log_of_sum(const Row<float> &row, Sum others, double ties)
{
    return log1p_for_float(others.hi * row.exp_at_max_for_float(-1) + (ties - 1));
}
ALWAYS_INLINE double log_of_sum(const Row<double> &row, Sum others, double ties)
{
    double tail, at_max = row.exp_at_max(&tail);
    Sum ratio = add(quotient(others, { at_max, tail }), { ties - 1, 0 });
    return log1p_with_tail(ratio.hi, ratio.lo);
}

/* The largest exp of each of a vector of rows, as the loops will have it. */
template <class R> ALWAYS_INLINE void set_largest(const Constants &constants, ptrdiff_t r)
{
    auto of = [&](int constant) { return load_vector(constants.of<R>(constant) + r); };
    Vector<R> exp, x = of(MAXIMUM), shift = of(SHIFT), magic = of(MAGIC), lowest = of(LOWEST);
    Vector<R> lost_magic = of(LOST_MAGIC);
    BitsVector<R> lost;
    exp_vectors<1, true, R>(&exp, &x, &shift, &magic, &lowest, &lost_magic, &lost);
    store_vector(constants.of<R>(LARGEST) + r, exp);
    store_vector(constants.of<R>(LARGEST_LOST) + r, (Vector<R>)lost - lost_magic);
}

template <class R> NOINLINE void set_first_constants_of(Form form, Constants constants, ptrdiff_t count, ptrdiff_t n)
{
    if (traits_of(form).has_limits) {
        ROWS_ARE_INDEPENDENT
        for (ptrdiff_t r = 0; r < count; r++)
            set_dst_constants<R>(constants, r);
        return;
    }
    if (!traits_of(form).has_gradient)
        ROWS_ARE_INDEPENDENT
    for (ptrdiff_t r = 0; r < count; r++)
        constants.diff_dst_hi[r] = constants.diff_dst_lo[r] = 0;
    ROWS_ARE_INDEPENDENT
    for (ptrdiff_t r = 0; r < count; r++) {
        Sum diff_dst = { constants.diff_dst_hi[r], constants.diff_dst_lo[r] };
        begin_row<R>(form, constants.of<R>(MAXIMUM)[r], diff_dst, n).write(constants, r);
    }
    if (form != Form::BACKWARD_SRC)
        return;
    for (ptrdiff_t r = 0; r < count; r += WIDTH<Vector<R>>) /* there is room for whole vectors */
        set_largest<R>(constants, r);
}

template <class R> NOINLINE void set_last_constants_of(Form form, Constants constants, ptrdiff_t count)
{
    Row<R> row(form);
    if (traits_of(form).counted == Counted::TIES) {
        ROWS_ARE_INDEPENDENT
        for (ptrdiff_t r = 0; r < count; r++) {
            row.read(constants, r);
            double L = log_of_sum(row, { constants.exps_hi[r], constants.exps_lo[r] }, constants.counts[r]);
            constants.of<R>(FACTOR)[r] = (R)L;
        }
        return;
    }
    ROWS_ARE_INDEPENDENT
    for (ptrdiff_t r = 0; r < count; r++) {
        row.read(constants, r);
        SrcConstants src = src_constants(row, constants.of<R>(LARGEST)[r],
                                         { constants.exps_hi[r], constants.exps_lo[r] }, constants.counts[r]);
        double high = cut(R(), src.factor), low = (src.factor.hi - high) + src.factor.lo;
        constants.of<R>(FACTOR)[r] = (R)high;
        constants.of<R>(FACTOR_LOW)[r] = (R)(fabs(high) < INFINITY ? low : 0);
        constants.of<R>(LARGEST)[r] = (R)src.largest;
        constants.of<R>(LARGEST_HIGH)[r] = (R)src.product.hi;
        constants.of<R>(LARGEST_LOW)[r] = (R)src.product.lo;
    }
}

inline void set_maximum(bool in_double, const Constants &constants, ptrdiff_t row, double value)
{
    if (in_double)
        constants.of<double>(MAXIMUM)[row] = value;
    else
        constants.of<float>(MAXIMUM)[row] = (float)value;
}

template <class R> void begin_maxima_of(const Constants &constants, ptrdiff_t rows)
{
    R *max = constants.of<R>(MAXIMUM);
    for (ptrdiff_t r = 0; r < rows; r++)
        max[r] = -INFINITY;
    for (ptrdiff_t r = 0; r < rows; r++)
        constants.counts[r] = 0;
}

/* Before anything is known of the elements of some rows. */
inline void begin_maxima(bool in_double, const Constants &constants, ptrdiff_t rows)
{
    (in_double ? begin_maxima_of<double> : begin_maxima_of<float>)(constants, rows);
}

inline double maximum_of(bool in_double, const Constants &constants, ptrdiff_t row)
{
    return in_double ? constants.of<double>(MAXIMUM)[row] : constants.of<float>(MAXIMUM)[row];
}

/* The least part that a class may leave the others while its exp is in the sum. Of at most so many exps of a lane, each
 * may lose half a unit in the last place of the largest; in double, that of their errors, which are summed as well. */
inline double least_rest(float, double exps) { return exps * 0x1p-26; }
inline double least_rest(double, double exps) { return exps * exps * 0x1p-48; }

inline bool has_marks(const Constants &constants, ptrdiff_t rows)
{
    int found = 0;
    for (ptrdiff_t r = 0; r < rows; r++)
        found |= constants.counts[r] == LITTLE_REST;
    return found;
}

template <class R> bool mark_little_rests_of(Counted counted, const Constants &constants, ptrdiff_t rows, ptrdiff_t n)
{
    ptrdiff_t part = part_length(n);
    double least = least_rest(R(), (double)blocks(n < part ? n : part, LANES));
    constexpr double unit = Real<R>::LOST_UNIT;
    const bool counts_lost = counted == Counted::LOST;
    const R *largest = constants.of<R>(LARGEST), *lost_of_largest = constants.of<R>(LARGEST_LOST);
    ROWS_ARE_INDEPENDENT
    for (ptrdiff_t r = 0; r < rows; r++) {
        double lost = constants.counts[r] * constants.boost[r] * unit - lost_of_largest[r];
        bool is_little = (constants.exps_hi[r] - largest[r]) + constants.exps_lo[r] < least * largest[r];
        constants.counts[r] = is_little ? LITTLE_REST : counts_lost ? lost : 0;
    }
    return has_marks(constants, rows);
}

/* For the src form. In place of its count, a row of n elements gets what the exps beside the largest have lost, or
 * LITTLE_REST. Returns whether any row gets that. */
inline bool mark_little_rests(bool in_double, Counted counted, const Constants &constants, ptrdiff_t rows, ptrdiff_t n)
{
    return (in_double ? mark_little_rests_of<double> : mark_little_rests_of<float>)(counted, constants, rows, n);
}

template <class R> void expect_hidden_of(const Constants &constants, ptrdiff_t rows)
{
    R *largest = constants.of<R>(LARGEST);
    ROWS_ARE_INDEPENDENT
    for (ptrdiff_t r = 0; r < rows; r++)
        largest[r] = constants.counts[r] == LITTLE_REST ? (R)-0.0 : largest[r];
}

/* Lets the last step find the class of LARGEST by this -0. */
inline void expect_hidden(bool in_double, const Constants &constants, ptrdiff_t rows)
{
    (in_double ? expect_hidden_of<double> : expect_hidden_of<float>)(constants, rows);
}

template <class R> bool has_extreme_sum_of(const double *sums, ptrdiff_t rows)
{
    int found = 0;
    for (ptrdiff_t r = 0; r < rows; r++)
        found |= is_extreme<R>(sums[r]);
    return found;
}

/* Whether a sum of diff_dst is beyond the dst form's step. */
inline bool has_extreme_sum(bool in_double, const Constants &constants, ptrdiff_t rows)
{
    return (in_double ? has_extreme_sum_of<double> : has_extreme_sum_of<float>)(constants.diff_dst_hi, rows);
}

/* The first constants of `count` rows of n elements, from what the first pass has found. */
inline void set_first_constants(bool in_double, Form form, const Constants &constants, ptrdiff_t count, ptrdiff_t n)
{
    in_double ? set_first_constants_of<double>(form, constants, count, n)
              : set_first_constants_of<float>(form, constants, count, n);
}

/* The last ones, when the sums of exp are known. */
inline void set_last_constants(bool in_double, Form form, const Constants &constants, ptrdiff_t count)
{
    in_double ? set_last_constants_of<double>(form, constants, count)
              : set_last_constants_of<float>(form, constants, count);
}

} // namespace
#endif
