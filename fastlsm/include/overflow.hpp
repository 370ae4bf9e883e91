/* Sums of double that have overflowed on the way, though they may be finite: they are taken once more, in two scales.
 * An overflow is seen afterwards, so that other rows pay nothing. */
#ifndef FASTLSM_OVERFLOW_HPP
#define FASTLSM_OVERFLOW_HPP

#include "item.hpp"

namespace {

/* The sum of n elements of a dtype, `stride` bytes apart. Elements that are not finite leave nothing else to sum. */
inline Sum sum_of_huge(DType dtype, const char *x, ptrdiff_t stride, ptrdiff_t n)
{
    return with_item(format_of(dtype), [&](auto of) -> Sum {
        using T = typename decltype(of)::type;
        constexpr double SCALE = 0x1p-128, HUGE_ELEMENT = 0x1p800;
        Sum huge = { 0, 0 }, others = { 0, 0 };
        double not_finite = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            double element = widened(*(const T *)(x + i * stride));
            if (!(fabs(element) < INFINITY))
                not_finite += element;
            else if (fabs(element) >= HUGE_ELEMENT)
                huge = add(huge, { element * SCALE, 0 });
            else
                others = add(others, { element, 0 });
        }
        if (not_finite != 0)
            return { not_finite, 0 };
        Sum sum = add(huge, { others.hi * SCALE, others.lo * SCALE });
        if (huge.hi == 0)
            return others;
        double hi = sum.hi / SCALE;
        return { hi, fabs(hi) < INFINITY ? sum.lo / SCALE : 0 };
    });
}

} // namespace
#endif
