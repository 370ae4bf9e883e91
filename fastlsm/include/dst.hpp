/* What the dst form's step cannot do: sums of diff_dst that are tiny or huge, and dst above DST_HIGH. Here the
 * arithmetic takes any. */
#ifndef FASTLSM_DST_HPP
#define FASTLSM_DST_HPP

#include "steps.hpp"

namespace {

/* Whether a sum of diff_dst is beyond the step's limits. An int, for loops over bool do not become vectors. */
template <class R> ALWAYS_INLINE int is_extreme(double S)
{
    return ((fabs(S) < Real<R>::SMALL_SUM) & (S != 0)) | (fabs(S) > Real<R>::LARGE_SUM);
}

/* diff_dst - exp(dst) * S, whatever dst and S are. In float's arithmetic S_low does not matter. */
inline float backward_dst(float g, float dst, double S, double)
{
    using F = Real<float>;
    double tail, e = dst > F::EXP_HIGH  ? INFINITY
                     : dst < F::EXP_LOW ? 0
                                        : exp_with_tail(dst, Real<double>::MAGIC + Real<double>::BIAS, &tail);
    return (float)(g - e * S);
}

/* exp(dst) = 2^k y, k = floor(dst / ln 2). The factor 2^k is split between exp and S, so that neither becomes subnormal
 * or infinite when their product does not. */
inline double backward_dst(double g, double dst, double S, double S_low)
{
    using D = Real<double>;
    double k = floor(dst * LOG2_E), tail, y, result;
    int exponent, half;
    if (!(dst <= D::EXP_HIGH && dst >= D::EXP_LOW && fabs(S) < INFINITY))
        return g - (dst > D::EXP_HIGH ? INFINITY : dst < D::EXP_LOW ? 0 : 1 + dst * 0) * S;
    y = exp_with_tail(dst, D::MAGIC + D::BIAS - k, &tail);
    frexp(S, &exponent);
    half = (exponent + (int)k) / 2;
    if (half < -1000) /* the product is 0 for certain */
        return g;
    S = ldexp(S, half - exponent);
    S_low = ldexp(S_low, half - exponent);
    y = ldexp(y, (int)k - (half - exponent));
    tail = ldexp(tail, (int)k - (half - exponent));
    result = fmadd(-y, S, g - (tail * S + y * S_low));
    return fabs(result) < INFINITY ? result : fmadd(-y, S, g); /* the small part may have made g infinite */
}

/* Compute again what the step could not do, of n elements. Element i is of the row, or column, whose sum of diff_dst is
 * hi[i * step] + lo[i * step]. */
template <class T>
void mend_dst(T *y, const T *g, const T *x, ptrdiff_t n, const double *hi, const double *lo, ptrdiff_t step)
{
    using R = Arithmetic<T>;
    for (ptrdiff_t i = 0; i < n; i++) {
        R dst = Item<T>::load_one(x + i);
        double S = hi[i * step], S_low = lo[i * step];
        if (dst > Real<R>::DST_HIGH || is_extreme<R>(S))
            Item<T>::store_one(y + i, backward_dst(Item<T>::load_one(g + i), dst, S, S_low));
    }
}

/* -S of one row, as FACTOR and FACTOR_LOW. */
template <class R> ALWAYS_INLINE void set_dst_factor(Constants constants, ptrdiff_t row)
{
    double hi = constants.diff_dst_hi[row], lo = constants.diff_dst_lo[row];
    R f = (R) - (hi + lo);
    constants.of<R>(FACTOR)[row] = f;
    constants.of<R>(FACTOR_LOW)[row] = (R)((-hi - f) - lo);
}

/* All constants of the dst form, of one row. */
template <class R> ALWAYS_INLINE void set_dst_constants(Constants constants, ptrdiff_t row)
{
    set_dst_factor<R>(constants, row);
    R f = constants.of<R>(FACTOR)[row];
#pragma GCC unroll 16
    for (int i = 0; i < Real<R>::Q_TERMS; i++)
        constants.of<R>(TERMS + i)[row] = f * Real<R>::Q[i];
}

} // namespace
#endif
