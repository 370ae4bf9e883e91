/* Where a row's largest exp is. */
#ifndef FASTLSM_LARGEST_HPP
#define FASTLSM_LARGEST_HPP

#include "lanes.hpp"
#include "steps.hpp"

namespace {

/* f(i) for each place where e, of whole rounds, has that exp. Bits are compared: 0 and -0 are not the same. Four
 * vectors go together, for where the place is, no processor foresees. */
template <class R, class F> ALWAYS_INLINE void for_each_place(const R *e, ptrdiff_t whole, R exp, F f)
{
    constexpr ptrdiff_t width = WIDTH<Vector<R>>, together = 4;
    for (ptrdiff_t i = 0, count; i < whole; i += count * width) {
        count = whole - i < together * width ? 1 : together;
        uint64_t mask = 0;
        for (ptrdiff_t k = 0; k < count; k++)
            mask |= Isa::equal(load_vector(e + i + k * width), splat(exp)) << (k * width);
        for (; __builtin_expect(mask != 0, 0); mask &= mask - 1)
            f(i + __builtin_ctzll(mask));
    }
}

} // namespace
#endif
