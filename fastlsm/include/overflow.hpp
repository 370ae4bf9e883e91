/* Sums of double that have overflowed on the way, though they may be finite: they are taken once more, in two scales.
 * An overflow is seen afterwards, so that other rows pay nothing. */
#ifndef FASTLSM_OVERFLOW_HPP
#define FASTLSM_OVERFLOW_HPP

#include "item.hpp"

namespace {

constexpr double HUGE_SCALE = 0x1p-128;

/* A sum is this times `unit`, which is 1, or 1 / HUGE_SCALE for a sum that may be past the range. */
struct ScaledSum {
    Sum sum;
    double unit;
};

/* Infinite if the sum is past the range. */
inline Sum unscaled(ScaledSum of)
{
    double hi = of.sum.hi * of.unit;
    return { hi, fabs(hi) < INFINITY ? of.sum.lo * of.unit : 0 };
}

/* The sum of n elements of a dtype, `stride` bytes apart. Elements that are not finite leave nothing else to sum. */
inline ScaledSum sum_of_huge(DType dtype, const char *x, ptrdiff_t stride, ptrdiff_t n)
{
    return with_item(format_of(dtype), [&](auto of) -> ScaledSum {
        using T = typename decltype(of)::type;
        constexpr double HUGE_ELEMENT = 0x1p800;
        Sum huge = { 0, 0 }, others = { 0, 0 };
        double not_finite = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            double element = widened(*(const T *)(x + i * stride));
            if (!(fabs(element) < INFINITY))
                not_finite += element;
            else if (fabs(element) >= HUGE_ELEMENT)
                huge = add(huge, { element * HUGE_SCALE, 0 });
            else
                others = add(others, { element, 0 });
        }
        if (not_finite != 0)
            return { { not_finite, 0 }, 1 };
        if (huge.hi == 0)
            return { others, 1 };
        /* In the unit of the sums that do not overflow, if it fits: a partial says which unit it has. */
        Sum sum = add({ huge.hi / HUGE_SCALE, huge.lo / HUGE_SCALE }, others);
        if (fabs(sum.hi) < INFINITY)
            return { sum, 1 };
        return { add(huge, { others.hi * HUGE_SCALE, others.lo * HUGE_SCALE }), 1 / HUGE_SCALE };
    });
}

} // namespace
#endif
