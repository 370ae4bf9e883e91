/* Vectors of the widest kind that the instruction set has, as gcc's and clang's own vector types: +, *, <, &, << and
 * [i] work on them.
 *
 * With FASTLSM_VECTOR_BYTES given, vectors have that many bytes and no intrinsics. That is slow, but tests the wider
 * levels' index arithmetic on processors that lack them.
 */
#ifndef FASTLSM_VECTORS_TYPES_HPP
#define FASTLSM_VECTORS_TYPES_HPP

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../real.hpp"

#if defined(FASTLSM_VECTOR_BYTES)
#elif defined(__AVX512F__)
#define ON_AVX512
#define FASTLSM_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define ON_AVX2
#define FASTLSM_VECTOR_BYTES 32
#elif defined(__SSE2__)
#define ON_SSE2
#define FASTLSM_VECTOR_BYTES 16
#elif defined(__aarch64__)
#define ON_NEON
#define FASTLSM_VECTOR_BYTES 16
#else
#define FASTLSM_VECTOR_BYTES 16
#endif

namespace {

constexpr int VECTOR_BYTES = FASTLSM_VECTOR_BYTES;
constexpr int CACHE_LINE = 64;

typedef float f32_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef double f64_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t i32_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t i64_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t u32_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t u64_vector __attribute__((vector_size(VECTOR_BYTES)));

template <class R> struct VectorsOf;
template <> struct VectorsOf<float> {
    using Vector = f32_vector;
    using Bits = u32_vector;
    using Integers = i32_vector;
};
template <> struct VectorsOf<double> {
    using Vector = f64_vector;
    using Bits = u64_vector;
    using Integers = i64_vector;
};
template <class R> using Vector = typename VectorsOf<R>::Vector;
template <class R> using BitsVector = typename VectorsOf<R>::Bits;
template <class R> using IntegersVector = typename VectorsOf<R>::Integers;

template <class V> struct ElementOf {
    static V vector;
    using type = __typeof__(vector[0] + vector[0]);
};
template <class V> using Element = typename ElementOf<V>::type;
template <class V> constexpr int WIDTH = sizeof(V) / sizeof(Element<V>);

/* c in each element. */
template <class R> ALWAYS_INLINE Vector<R> splat(R c) { return c - Vector<R>{}; }

/* Adjacent elements, of any alignment. */
template <class R> ALWAYS_INLINE Vector<R> load_vector(const R *at)
{
    Vector<R> x;
    memcpy(&x, at, sizeof x);
    return x;
}
/* The same of integers or reals, as bits. */
template <class X> ALWAYS_INLINE u64_vector load_bits(const X *at)
{
    u64_vector x;
    memcpy(&x, at, sizeof x);
    return x;
}
template <class R, class V> ALWAYS_INLINE void store_vector(R *at, V x) { memcpy(at, &x, sizeof x); }

} // namespace
#endif
