/* The class with the largest part of a row's mass, along a row: where its exp is, and its result. */
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

/* Which element has the exp at e[i]: in pairs, exp of the even elements stands before that of the odd ones. */
template <class T> ALWAYS_INLINE ptrdiff_t element_at(ptrdiff_t i)
{
    constexpr ptrdiff_t width = WIDTH<typename Item<T>::V>;
    if constexpr (Item<T>::UNIT == 2)
        return i / (2 * width) * (2 * width) + i % width * 2 + i / width % 2;
    else
        return i;
}

/* The results of a row where exp is LARGEST. */
template <class T>
NOINLINE void mend_largest(T *y, const T *g, const Arithmetic<T> *e, ptrdiff_t n,
                           ConstantReader<Arithmetic<T>, Way::ALONG> constants)
{
    using R = Arithmetic<T>;
    R high = constants.one(LARGEST_HIGH), low = constants.one(LARGEST_LOW);
    for_each_place(e, round_up(n, ROUND_ELEMENTS<T>), constants.one(LARGEST), [&](ptrdiff_t place) {
        ptrdiff_t i = element_at<T>(place);
        Item<T>::store_one(y + i, (Item<T>::load_one(g + i) - high) + low);
    });
}

} // namespace
#endif
