/* exp and log1p, in the same operations and the same order on every instruction set: no library function, whose bits
 * differ from one libm to the next, and no contraction that the source does not ask for (-ffp-contract=off).
 *
 * exp(x) * 2^-K, with k = round(x / ln 2) and r = x - k ln 2, so |r| <= ln(2) / 2:
 *
 *     exp(x) * 2^-K  =  2^(k - K) * (1 + r (1 + r q(r)))
 *
 * to 0.9 units in the last place. That does for log_softmax, whose sum only goes into a logarithm. The src form
 * multiplies by exp. There k is a multiple of 1 / ROOTS, and the fraction of k chooses a root of 2 from a table:
 *
 *     exp(x) * 2^-K  =  root * 2^floor(k - K) * (1 + (r + r^2 q(r)))
 *
 * to 0.55 units, nearly all of it from the last rounding. Where classes share a logit, these roundings do not average
 * out in the sum. So what they lose is counted.
 *
 * k comes from adding magic = MAGIC + BIAS - K: the last bits of the sum are the integer k - K and the exponent's bias,
 * which moved to the exponent's place are 2^(k - K). So K costs nothing, and it may differ from row to row. x is first
 * raised to (K - BIAS) ln 2, where that power of two is 0, and so is the result; NaN stays NaN. real.hpp has q's
 * coefficients. All results must stay below 2^BIAS.
 */
#ifndef FASTLSM_EXP_HPP
#define FASTLSM_EXP_HPP

#include "vectors.hpp"

namespace {

/* The argument of `count` vectors: x becomes x - k ln_2, `k` the integers, and the last bits of `t` the exponent. k
 * counts in units of 1 / roots, and so does ln_2. */
template <int count, int roots = 1, class R>
ALWAYS_INLINE void reduce_argument(Vector<R> *x, Vector<R> *t, Vector<R> *k, const Vector<R> *magic, R ln_2)
{
    for (int v = 0; v < count; v++)
        t[v] = Isa::fmadd(x[v], splat((R)(roots * LOG2_E)), magic[v]);
    for (int v = 0; v < count; v++)
        k[v] = t[v] - magic[v];
    for (int v = 0; v < count; v++)
        x[v] = Isa::fmadd(k[v], splat(-ln_2), x[v]);
}

/* q(r) of `count` vectors by Horner's rule. */
template <int count, int terms, class R>
ALWAYS_INLINE void polynomial(Vector<R> *q, const Vector<R> *r, const R (&coefficients)[terms])
{
    for (int v = 0; v < count; v++)
        q[v] = splat(coefficients[0]);
#pragma GCC unroll 16
    for (int i = 1; i < terms; i++)
        for (int v = 0; v < count; v++)
            q[v] = Isa::fmadd(q[v], r[v], splat(coefficients[i]));
}

template <class R> ALWAYS_INLINE Vector<R> power_of_two_vector(Vector<R> t)
{
    return (Vector<R>)((BitsVector<R>)t << Real<R>::MANTISSA);
}

/* exp(x - shift) * 2^-K of `count` vectors; `magic` and `lowest` depend on K, see above. Several vectors go through
 * each step together: a polynomial is a chain of operations that wait for each other. */
template <int count, class R>
ALWAYS_INLINE void rough_exp_vectors(Vector<R> *y, Vector<R> *x, const Vector<R> *shift, const Vector<R> *magic,
                                     const Vector<R> *lowest)
{
    Vector<R> t[count], r[count], q[count];
    for (int v = 0; v < count; v++)
        x[v] = Isa::maximum(lowest[v], x[v] - shift[v]);
    reduce_argument<count>(x, t, r, magic, Real<R>::LN_2_HIGH);
    for (int v = 0; v < count; v++)
        r[v] = Isa::fmadd(r[v], splat(-Real<R>::LN_2_LOW), x[v]);
    polynomial<count>(q, r, Real<R>::Q);
    for (int v = 0; v < count; v++)
        y[v] = Isa::fmadd(Isa::fmadd(q[v], r[v], splat((R)1)), r[v], splat((R)1)) * power_of_two_vector<R>(t[v]);
}

/* ROOT and ROOT_REST, as often as a vector holds them. What the index adds to `leading`, where it is moved to the
 * exponent's place with the integer above it, is taken out of `leading`. */
template <class R> struct RootTable {
    static constexpr int SIZE = WIDTH<Vector<R>> > Real<R>::ROOTS ? WIDTH<Vector<R>> : Real<R>::ROOTS;
    typename Real<R>::Bits leading[SIZE] = {};
    R rest[SIZE] = {};

    constexpr RootTable()
    {
        using Bits = typename Real<R>::Bits;
        for (int i = 0; i < SIZE; i++) {
            int root = i % Real<R>::ROOTS;
            Bits mantissa = (Bits)((Real<R>::ROOT[root] - 1) * (R)((Bits)1 << Real<R>::MANTISSA));
            leading[i] = mantissa - ((Bits)root << (Real<R>::MANTISSA - Real<R>::LOG2_ROOTS));
            rest[i] = Real<R>::ROOT_REST[root];
        }
    }
};
template <class R> constexpr RootTable<R> ROOT_TABLE;

/* table[t % ROOTS] of each element. */
template <class R, class X> ALWAYS_INLINE Vector<R> pick_root(const X *table, BitsVector<R> t)
{
    if constexpr (Isa::QUICK_PICK && WIDTH<Vector<R>> >= Real<R>::ROOTS)
        return Isa::pick((Vector<R>)load_bits(table), t);
    else
        return (Vector<R>)Isa::template look_up<Real<R>::ROOTS>(table, t);
}

/* The src form's exp; `magic` is in units of 1 / ROOTS. If it `counts`, `lost` gets what the last rounding has lost,
 * added to `lost_magic`: the last bits of the sum are an integer of LOST_UNIT. Integers have one sum in any order. */
template <int count, bool counts, class R>
ALWAYS_INLINE void exp_vectors(Vector<R> *exp, Vector<R> *x, const Vector<R> *shift, const Vector<R> *magic,
                               const Vector<R> *lowest, const Vector<R> *lost_magic, BitsVector<R> *lost)
{
    using Facts = Real<R>;
    constexpr R LN_2_FIRST = (HAS_FMA ? Facts::LN_2_ROUNDED : Facts::LN_2_HIGH) / Facts::ROOTS;
    constexpr R LN_2_SECOND = (HAS_FMA ? Facts::LN_2_REST : Facts::LN_2_LOW) / Facts::ROOTS;
    Vector<R> t[count], r[count], q[count];
    for (int v = 0; v < count; v++)
        x[v] = Isa::maximum(lowest[v], x[v] - shift[v]);
    reduce_argument<count, Facts::ROOTS>(x, t, r, magic, LN_2_FIRST);
    for (int v = 0; v < count; v++) {
        Vector<R> rest = pick_root<R>(ROOT_TABLE<R>.rest, (BitsVector<R>)t[v]);
        r[v] = x[v] + Isa::fmadd(r[v], splat(-LN_2_SECOND), rest);
    }
    polynomial<count>(q, r, Facts::ROOT_Q);
    for (int v = 0; v < count; v++) {
        Vector<R> y = Isa::fmadd(r[v] * r[v], q[v], r[v]);
        BitsVector<R> leading = (BitsVector<R>)pick_root<R>(ROOT_TABLE<R>.leading, (BitsVector<R>)t[v]);
        Vector<R> power = (Vector<R>)(((BitsVector<R>)t[v] << (Facts::MANTISSA - Facts::LOG2_ROOTS)) + leading);
        exp[v] = Isa::fmadd(y, power, power);
        if constexpr (counts)
            lost[v] = (BitsVector<R>)(Isa::fmadd(y, power, power - exp[v]) + lost_magic[v]);
    }
}

constexpr double MAGIC_OF_DOUBLE = Real<double>::MAGIC + Real<double>::BIAS;

/* One exp, of which the exact value is nearly the sum of the result and *tail: for what a row has one of. K may be a
 * fraction of so few bits that its product with LN_2_HIGH is exact. */
ALWAYS_INLINE double exp_with_tail(double x, double K, double *tail)
{
    using D = Real<double>;
    double t = fmadd(x, LOG2_E, -K) + MAGIC_OF_DOUBLE, k = (t - MAGIC_OF_DOUBLE) + K, scale = power_of_two(t);
    double high = fmadd(k, -D::LN_2_HIGH, x), low = k * -D::LN_2_LOW, r = high + low;
    double rest = fmadd(r * r, exp_polynomial<double>(r), low), s = high + rest, y = 1.0 + s;
    *tail = ((s - (y - 1.0)) + (rest - (s - high))) * scale;
    return y * scale;
}

/* The same with a relative error of 2^-28, by float's polynomial: exact enough for results in float. */
ALWAYS_INLINE double exp_for_float(double x, double magic)
{
    double t = fmadd(x, LOG2_E, magic), k = t - magic, r = fmadd(k, -LN_2, x);
    return (1.0 + fmadd(r * r, exp_polynomial<float>(r), r)) * power_of_two(t);
}

/* u = 2^k (1 + f), with 1 + f in [sqrt(1/2), sqrt(2)). u is at least 1. */
struct Logarithm {
    double f, k;
};
ALWAYS_INLINE Logarithm split_for_logarithm(double u)
{
    constexpr uint64_t SQRT_HALF = 0x3fe6a09e667f3bcd; /* its bits */
    uint64_t k = (bits_of(u) - SQRT_HALF) >> 52;
    /* k becomes a double by a conversion that vectorises. */
    return { real_of_bits(bits_of(u) - (k << 52)) - 1.0, real_of_bits(bits_of(0x1p52) + k) - 0x1p52 };
}

/* log(1 + x + tail) for x >= 0 and a tail below half an ulp of x; about 0.6 ulp.
 *
 * 1 + x = 2^k (1 + f), and, with s = f / (2 + f),
 *
 *     log(1 + f)  =  2 atanh(s)  =  2 s + s R,    R = 2/3 s^2 + 2/5 s^4 + 2/7 s^6 + ...
 *                 =  f - (f^2 / 2 - s (f^2 / 2 + R))
 *
 * c, which 1 + x loses in rounding, comes back as c / (1 + x). s^2 < 0.0295: eleven terms of the series leave less than
 * 2^-59. */
ALWAYS_INLINE double log1p_with_tail(double x, double tail)
{
    using D = Real<double>;
    double u = 1.0 + x;
    double big = x > 1.0 ? x : 1.0, small = x > 1.0 ? 1.0 : x;
    double c = (small - (u - big)) + tail;
    Logarithm of = split_for_logarithm(u);
    double f = of.f, s = f / (2.0 + f), z = s * s, half_square = 0.5 * f * f, R = 2.0 / 23;
#pragma GCC unroll 16
    for (int n = 21; n >= 3; n -= 2)
        R = fmadd(R, z, 2.0 / n);
    R *= z;
    c = fmadd(of.k, D::LN_2_LOW, c / u);
    return fmadd(of.k, D::LN_2_HIGH, f - (half_square - fmadd(s, half_square + R, c)));
}

/* log(1 + x) for x >= 0, to 2^-28 of it, as 2 s + s R: one division, and four terms of the series. c is 0 for x > 1,
 * NaN for infinity and NaN. */
ALWAYS_INLINE double log1p_for_float(double x)
{
    double u = 1.0 + x, c = x > 1.0 ? u - u : x - (u - 1.0);
    Logarithm of = split_for_logarithm(u);
    double s = of.f / (2.0 + of.f), z = s * s, R = 2.0 / 9;
#pragma GCC unroll 16
    for (int n = 7; n >= 3; n -= 2)
        R = fmadd(R, z, 2.0 / n);
    R *= z;
    return fmadd(of.k, LN_2, fmadd(s, R, s + s + c));
}

/* The rounding error of p = a * b, exactly. */
ALWAYS_INLINE double product_error(double a, double b, double p)
{
    if constexpr (HAS_FMA)
        return fmadd(a, b, -p);
    /* Dekker's product of Veltkamp's halves; |a| and |b| below 2^990. */
    double t = 134217729.0 * a, a_high = t - (t - a), a_low = a - a_high;
    double w = 134217729.0 * b, b_high = w - (w - b), b_low = b - b_high;
    return ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low;
}

} // namespace
#endif
