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

/* As DstStep has it, of one element: 2^exponent is a factor of f and f_low, which are about 1 in size. Near the ends of
 * the range, all is computed 2^200 times as large or as small. */
inline double backward_dst_scaled(double g, double dst, double f, double f_low, int exponent)
{
    using D = Real<double>;
    double k = nearbyint(dst * LOG2_E), high = dst - k * D::LN_2_HIGH, low = -k * D::LN_2_LOW, r = high + low;
    int all = (int)k + exponent, up = all < -700 ? 200 : all > 700 ? -200 : 0;
    if (all < -700 && fabs(g) > 0x1p-400)
        return g;
    if (all > 1100)
        return f * INFINITY;
    low = fmadd(fmadd(r * r, exp_polynomial<double>(r), low), f, fmadd(r, f_low, f_low));
    return ldexp(sum_of_products(ldexp(g, up), ldexp(1, all + up), f, high, low), -up);
}

/* diff_dst - exp(dst) * S, whatever dst and S are. */
template <class R> R backward_dst(R g, R dst, double S, double S_low)
{
    int exponent;
    if (!(dst <= Real<R>::EXP_HIGH && dst >= Real<R>::EXP_LOW && fabs(S) < INFINITY))
        return (R)(g - (dst > Real<R>::EXP_HIGH ? INFINITY : dst < Real<R>::EXP_LOW ? 0 : 1 + dst * 0) * S);
    Sum sum = add({ S, 0 }, { S_low, 0 });
    double f = -frexp(sum.hi, &exponent);
    return (R)backward_dst_scaled(g, dst, f, -ldexp(sum.lo, -exponent), exponent);
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

/* The constants of the dst form, of one row: -S as FACTOR and FACTOR_LOW, and FACTOR_REST. */
template <class R> ALWAYS_INLINE void set_dst_constants(Constants constants, ptrdiff_t row)
{
    double hi = constants.diff_dst_hi[row], lo = constants.diff_dst_lo[row];
    R f = (R) - (hi + lo);
    constants.of<R>(FACTOR)[row] = f;
    constants.of<R>(FACTOR_LOW)[row] = (R)((-hi - f) - lo);
    constants.of<R>(FACTOR_REST)[row] = HAS_FMA ? f * -Real<R>::LN_2_REST : 0;
}

} // namespace
#endif
