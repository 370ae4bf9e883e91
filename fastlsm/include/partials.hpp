/* Partials: what is known of a row by one of its chunks. Chunks may lie on several machines.
 *
 * With m = max(src) of the elements seen, t how many of them are m, and g = diff_dst:
 *
 *     others = sum of exp(src - m) over src < m            so that the sum of all exp(src - m) is t + others
 *     sum    = sum of g
 *
 * Two partials, of which the first has the larger maximum, have together
 *
 *     m,     t (+ t' if m' = m),     others + (others' if m' = m, else (t' + others') exp(m' - m)),     sum + sum'
 *
 * Each of `others` and `sum` is in two parts, as exp(m' - m) is here: so many combinations lose nothing that counts in
 * a result, in whatever order they are.
 */
#ifndef FASTLSM_PARTIALS_HPP
#define FASTLSM_PARTIALS_HPP

#include "overflow.hpp"
#include "row_constants.hpp"

namespace {

/* fastlsm/partials.py has the same fields. */
struct Partial {
    double max, ties, others, others_low;
    double sum, sum_low, unit; /* diff_dst sums to (sum + sum_low) * unit, for a chunk's sum may be past the range */
};

constexpr Partial NOTHING_SEEN = { -INFINITY, 0, 0, 0, 0, 0, 1 };

inline Sum product(Sum a, Sum b)
{
    double p = a.hi * b.hi;
    bool is_finite = fabs(p) < INFINITY;
    return { p, is_finite ? product_error(a.hi, b.hi, p) + (a.hi * b.lo + a.lo * b.hi) : 0 };
}

/* The sum with an end: a two-sum's error is NaN beside infinity. */
inline Sum sum_of(Sum a, Sum b)
{
    Sum sum = add(a, b);
    double hi = sum.hi + sum.lo;
    if (!(fabs(hi) < INFINITY))
        return { a.hi + b.hi, 0 };
    return { hi, (sum.hi - hi) + sum.lo };
}

/* exp(x - m) for x <= m; 0 if that is below the smallest normal number. */
inline Sum exp_below(double x, double m)
{
    constexpr double LEAST = -708;
    double difference = x - m, tail;
    if (!(difference > LEAST))
        return { 0, 0 };
    double lost = add({ x, 0 }, { -m, 0 }).lo, y = exp_with_tail(difference, 0, &tail);
    return { y, tail + y * lost };
}

/* The sum of exp(src - m) over what is below m, m being at least the partial's own maximum. */
inline Sum others_below(const Partial &of, double m)
{
    Sum others = { of.others, of.others_low };
    if (of.max == m)
        return others;
    return product(sum_of(others, { of.ties, 0 }), exp_below(of.max, m));
}

/* The sum of diff_dst in units of 2^128. */
inline Sum sum_in_large_units(const Partial &of)
{
    double scale = of.unit * HUGE_SCALE;
    return { of.sum * scale, of.sum_low * scale };
}

inline void set_sum(Partial *to, ScaledSum of) { to->sum = of.sum.hi, to->sum_low = of.sum.lo, to->unit = of.unit; }

inline Partial combined(const Partial &a, const Partial &b)
{
    Partial both;
    both.max = a.max > b.max ? a.max : b.max;
    both.ties = (a.max == both.max ? a.ties : 0) + (b.max == both.max ? b.ties : 0);
    Sum others = sum_of(others_below(a, both.max), others_below(b, both.max));
    both.others = others.hi, both.others_low = others.lo;
    Sum sum = sum_of({ a.sum, a.sum_low }, { b.sum, b.sum_low });
    bool is_plain = a.unit == 1 && b.unit == 1 && fabs(sum.hi) < INFINITY;
    if (is_plain)
        set_sum(&both, { sum, 1 });
    else
        set_sum(&both, { sum_of(sum_in_large_units(a), sum_in_large_units(b)), 1 / HUGE_SCALE });
    return both;
}

/* Each of `rows` partials in `to` is what `count` adjacent ones together are, from the first to the last. */
inline void combine_partials(Partial *to, const Partial *of, ptrdiff_t rows, ptrdiff_t count)
{
    for (ptrdiff_t r = 0; r < rows; r++) {
        to[r] = NOTHING_SEEN;
        for (ptrdiff_t i = 0; i < count; i++)
            to[r] = combined(to[r], of[r * count + i]);
    }
}

/* exp of the maximum, in the scale of the row's loops. */
inline Sum exp_at_max(const Row<float> &row) { return { row.exp_at_max_for_float(1), 0 }; }
inline Sum exp_at_max(const Row<double> &row)
{
    double tail, at_max = row.exp_at_max(&tail);
    return { at_max, tail };
}

template <class R> void set_exps_of(Partial *to, const Constants &constants, ptrdiff_t row)
{
    Row<R> of(Form::LOG_SOFTMAX);
    of.read(constants, row);
    Sum exps = { constants.exps_hi[row], constants.exps_lo[row] };
    Sum others = fabs(of.max) < INFINITY ? quotient(exps, exp_at_max(of)) : exps; /* which is 0, or NaN */
    to->max = of.max;
    to->ties = of.max > -INFINITY ? constants.counts[row] : 0; /* the loops may count what they fill vectors with */
    to->others = others.hi, to->others_low = others.lo;
}

/* From the constants of log_softmax, when the sums of exp are known. */
inline void set_exps(bool in_double, Partial *to, const Constants &constants, ptrdiff_t row)
{
    (in_double ? set_exps_of<double> : set_exps_of<float>)(to, constants, row);
}

template <class R>
void set_constants_of(Form form, const Constants &constants, const Partial *totals, ptrdiff_t count, ptrdiff_t rows)
{
    constexpr ptrdiff_t SOME = 2; /* elements: a row of one chunk does not come here, and longer ones are all alike */
    for (ptrdiff_t r = 0; r < rows; r++) {
        const Partial &of = totals[r < count ? r : count - 1];
        Sum sum = unscaled({ { of.sum, of.sum_low }, of.unit });
        constants.of<R>(MAXIMUM)[r] = (R)of.max;
        constants.diff_dst_hi[r] = sum.hi, constants.diff_dst_lo[r] = sum.lo;
    }
    set_first_constants_of<R>(form, constants, rows, SOME);
    if (!traits_of(form).needs_exp)
        return;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const Partial &of = totals[r < count ? r : count - 1];
        Sum others = { of.others, of.others_low };
        double count = of.ties;
        if (traits_of(form).counted != Counted::TIES) { /* one of the largest is left out of the sum, and no more */
            others = sum_of(others, { of.ties - 1, 0 });
            count = LITTLE_REST;
        }
        Row<R> row(form);
        row.read(constants, r);
        Sum exps = product(others, exp_at_max(row));
        constants.exps_hi[r] = exps.hi, constants.exps_lo[r] = exps.lo, constants.counts[r] = count;
    }
    set_last_constants_of<R>(form, constants, rows);
}

/* All constants of `count` rows, from the partials of the whole rows; of further ones to `rows` the last row's. */
inline void set_constants(bool in_double, Form form, const Constants &constants, const Partial *totals, ptrdiff_t count,
                          ptrdiff_t rows)
{
    (in_double ? set_constants_of<double> : set_constants_of<float>)(form, constants, totals, count, rows);
}

} // namespace
#endif
