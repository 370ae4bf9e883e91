/* All that fastlsm asks of an instruction set, computed element by element. An instruction set's own struct derives
 * from this one and replaces what it has an instruction for.
 */
#ifndef FASTLSM_VECTORS_ELEMENTWISE_HPP
#define FASTLSM_VECTORS_ELEMENTWISE_HPP

#include "types.hpp"

namespace {

struct Elementwise {
    /* Whether float16 becomes double sooner in parts of a vector than by way of a whole vector of float. */
    static constexpr bool QUICK_F16_TO_F64 = true;
    static constexpr bool QUICK_PICK =
        VECTOR_BYTES >= 32; /* not here, but tests with wide vectors are to reach the flat rows */

    template <class V> static V fmadd(V a, V b, V c)
    {
        for (int i = 0; i < WIDTH<V>; i++)
            a[i] = ::fmadd(a[i], b[i], c[i]);
        return a;
    }

    /* a > b ? a : b, so that a NaN in a is passed over. */
    template <class V> static V maximum(V a, V b)
    {
        for (int i = 0; i < WIDTH<V>; i++)
            a[i] = a[i] > b[i] ? a[i] : b[i];
        return a;
    }

    /* Over the elements of a vector: the upper half to the lower one, and so on. */
    template <class V, class F> static Element<V> across(V x, F combine)
    {
        Element<V> of[WIDTH<V>];
        memcpy(of, &x, sizeof of);
        for (int step = WIDTH<V> / 2; step; step /= 2)
            for (int l = 0; l < step; l++)
                of[l] = combine(of[l], of[l + step]);
        return of[0];
    }
    template <class V> static Element<V> sum_across(V x)
    {
        return across(x, [](auto a, auto b) { return a + b; });
    }
    template <class V> static Element<V> max_across(V x)
    {
        return across(x, [](auto a, auto b) { return b > a ? b : a; });
    }

    /* Whether a mask has a bit set. */
    static bool any(u64_vector mask)
    {
        uint64_t of[WIDTH<u64_vector>], found = 0;
        memcpy(of, &mask, sizeof of);
        for (uint64_t bits : of)
            found |= bits;
        return found != 0;
    }

    /* A bit for each element: whether its bits are those of b's. */
    template <class V> static uint64_t equal(V a, V b)
    {
        uint64_t mask = 0;
        for (int i = 0; i < WIDTH<V>; i++)
            mask |= (uint64_t)(bits_of(a[i]) == bits_of(b[i])) << i;
        return mask;
    }

    /* The two halves of a vector, as double. */
    static void widen(f64_vector *halves, f32_vector x)
    {
        halves[0] = halves[1] = f64_vector{}; /* or gcc sees elements that are not initialised */
        for (int i = 0; i < WIDTH<f64_vector>; i++) {
            halves[0][i] = x[i];
            halves[1][i] = x[WIDTH<f64_vector> + i];
        }
    }

    /* An instruction set with masks has functions of these names, which load and store the first elements of a vector.
     */
    static void load_first();
    static void store_first();

    /* Adjacent elements, as float or double: those of float and double as they are. */
    static f32_vector load(const float *at) { return load_vector(at); }
    static f64_vector load(const double *at) { return load_vector(at); }
    template <class T> static f32_vector load(const T *at) { return converted<f32_vector>(at); }
    static f64_vector load_as_f64(const double *at) { return load_vector(at); }
    template <class T> static f64_vector load_as_f64(const T *at) { return converted<f64_vector>(at); }
    static void store(float *at, f32_vector x) { store_vector(at, x); }
    static void store(double *at, f64_vector x) { store_vector(at, x); }
    template <class T> static void store(T *at, f32_vector x)
    {
        for (int i = 0; i < WIDTH<f32_vector>; i++)
            narrow(x[i], at + i);
    }

    /* Rounded to bfloat16, in the upper half of each word; the lower half is anything. A NaN of float that has come
     * from bfloat16 has no bits that rounding could carry into infinity. */
    static u32_vector round_to_bf16(f32_vector x)
    {
        u32_vector u = (u32_vector)x;
        return u + 0x7fff + (u >> 16 & 1);
    }
    /* The lower halves of `low`, the upper halves of `high`. */
    static u32_vector join_halves(u32_vector low, u32_vector high) { return (low & 0xffff) | (high & 0xffff0000); }

    /* Element i of the result is table[index[i] % n], where n is how many numbers the table has. */
    template <class V, class I> static V pick(V table, I index)
    {
        V x = table;
        for (int i = 0; i < WIDTH<V>; i++)
            x[i] = table[index[i] % WIDTH<V>];
        return x;
    }

    /* The same of a table of `count` numbers in memory. */
    template <int count, class X, class I> static I look_up(const X *table, I index)
    {
        X of[WIDTH<I>];
        for (int i = 0; i < WIDTH<I>; i++)
            of[i] = table[index[i] % count];
        return (I)load_bits(of);
    }

    /* The first `bytes` bytes of a vector. load_part takes the others from `rest`. */
    static u32_vector load_part(u32_vector rest, const void *from, ptrdiff_t bytes)
    {
        memcpy(&rest, from, bytes);
        return rest;
    }
    static void store_part(void *to, u32_vector x, ptrdiff_t bytes) { memcpy(to, &x, bytes); }

    /* n elements to every second place. What lies between them is not touched. */
    static void store_every_second(float *at, const float *x, ptrdiff_t n)
    {
        for (ptrdiff_t i = 0; i < n; i++)
            at[2 * i] = x[i];
    }

    /* A line to memory, past the caches where there is an instruction for it. */
    static void stream_line(char *to, const char *from) { memcpy(to, from, CACHE_LINE); }
    /* Before this call, other threads may still see old values. */
    static void stream_end() {}

private:
    template <class V, class T> static V converted(const T *at)
    {
        V x;
        for (int i = 0; i < WIDTH<V>; i++)
            x[i] = widened(at[i]);
        return x;
    }
};

} // namespace
#endif
