/* Any dtype at any stride, to adjacent elements of the arithmetic's type and back. */
#ifndef FASTLSM_CONVERT_HPP
#define FASTLSM_CONVERT_HPP

#include "item.hpp"

namespace {

template <class R, class T> ALWAYS_INLINE void load_strided(R *to, const char *from, ptrdiff_t stride, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = (R)widened(*(const T *)(from + i * stride));
}
template <class R, class T> ALWAYS_INLINE void store_strided(char *to, const R *from, ptrdiff_t stride, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        narrow(from[i], (T *)(to + i * stride));
}

/* Whether to convert by explicit vectors: compilers do not vectorise the conversion of float16. */
template <class R, class T> constexpr bool BY_VECTORS = std::is_same_v<T, f16> && std::is_same_v<R, float>;

template <class R, class T> NOINLINE void load_elements_of(R *to, const char *from, ptrdiff_t stride, ptrdiff_t n)
{
    constexpr ptrdiff_t size = sizeof(T);
    ptrdiff_t i = 0;
    if (stride == size) {
        if constexpr (BY_VECTORS<R, T>)
            for (constexpr ptrdiff_t width = WIDTH<Vector<R>>; i + width <= n; i += width)
                Item<R>::store(to + i, Item<T>::load((const T *)from + i));
        load_strided<R, T>(to + i, from + i * size, size, n - i);
    } else if (stride == 0) { /* one number for all, as np.broadcast_to makes */
        R x = (R)widened(*(const T *)from);
        for (; i < n; i++)
            to[i] = x;
    } else if (stride == 2 * size) { /* here a constant, for which the compiler can use shuffles */
        load_strided<R, T>(to, from, 2 * size, n);
    } else {
        load_strided<R, T>(to, from, stride, n);
    }
}

template <class R, class T> NOINLINE void store_elements_of(char *to, const R *from, ptrdiff_t stride, ptrdiff_t n)
{
    constexpr ptrdiff_t size = sizeof(T);
    if (stride == size) {
        ptrdiff_t i = 0;
        if constexpr (BY_VECTORS<R, T>)
            for (constexpr ptrdiff_t width = WIDTH<Vector<R>>; i + width <= n; i += width)
                Item<T>::store((T *)to + i, Item<R>::load(from + i));
        store_strided<R, T>(to + i * size, from + i, size, n - i);
    } else if (std::is_same_v<R, float> && std::is_same_v<T, float> && stride == 2 * size) {
        Isa::store_every_second((float *)to, (const float *)from, n);
    } else {
        store_strided<R, T>(to, from, stride, n);
    }
}

/* n elements of a dtype, `stride` bytes apart, to float or double. */
inline void load_elements(bool in_double, void *to, DType dtype, const char *from, ptrdiff_t stride, ptrdiff_t n)
{
    with_item(format_of(dtype), [&](auto of) {
        using T = typename decltype(of)::type;
        if (in_double)
            load_elements_of<double, T>((double *)to, from, stride, n);
        else
            load_elements_of<float, T>((float *)to, from, stride, n);
    });
}

/* n elements of float or double to a dtype, rounded once. */
inline void store_elements(bool in_double, const void *from, DType dtype, char *to, ptrdiff_t stride, ptrdiff_t n)
{
    with_item(format_of(dtype), [&](auto of) {
        using T = typename decltype(of)::type;
        if (in_double)
            store_elements_of<double, T>(to, (const double *)from, stride, n);
        else
            store_elements_of<float, T>(to, (const float *)from, stride, n);
    });
}

} // namespace
#endif
