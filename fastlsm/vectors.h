/* Vectors of the widest kind that the instruction set has, by gcc's and clang's own vector types; intrinsics only for
 * what those have no operator for.
 */
#ifndef FASTLSM_VECTORS_H
#define FASTLSM_VECTORS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "half.h"

#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64 };
#elif defined(__AVX2__)
enum { VECTOR_BYTES = 32 };
#else
enum { VECTOR_BYTES = 16 };
#endif
enum { WIDTH_F32 = VECTOR_BYTES / sizeof(float), WIDTH_F64 = VECTOR_BYTES / sizeof(double) };

typedef float f32_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef double f64_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t u32_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t u64_vector __attribute__((vector_size(VECTOR_BYTES)));

/* One intrinsic of three instruction sets, or what is done for each element. */
#if defined(__AVX512F__)
#define PICK(avx512, avx2, sse2, neon, other) avx512
#elif defined(__AVX2__)
#define PICK(avx512, avx2, sse2, neon, other) avx2
#elif defined(__SSE2__)
#define PICK(avx512, avx2, sse2, neon, other) sse2
#elif defined(__aarch64__)
#define PICK(avx512, avx2, sse2, neon, other) neon
#else
#define PICK(avx512, avx2, sse2, neon, other) other
#endif

/* a * b + c, rounded once where the processor can. */
static inline f32_vector fma_vector_f32(f32_vector a, f32_vector b, f32_vector c)
{
    return PICK(_mm512_fmadd_ps(a, b, c), _mm256_fmadd_ps(a, b, c), a * b + c, vfmaq_f32(c, a, b), a * b + c);
}

static inline f64_vector fma_vector_f64(f64_vector a, f64_vector b, f64_vector c)
{
    return PICK(_mm512_fmadd_pd(a, b, c), _mm256_fmadd_pd(a, b, c), a * b + c, vfmaq_f64(c, a, b), a * b + c);
}

/* a > b ? a : b, so that a NaN in a is passed over. */
static inline f32_vector max_vector_f32(f32_vector a, f32_vector b)
{
#ifdef __SSE2__
    return PICK(_mm512_max_ps(a, b), _mm256_max_ps(a, b), _mm_max_ps(a, b), a, a);
#else
    u32_vector more = (u32_vector)(a > b);
    return (f32_vector)(((u32_vector)a & more) | ((u32_vector)b & ~more));
#endif
}

static inline f64_vector max_vector_f64(f64_vector a, f64_vector b)
{
#ifdef __SSE2__
    return PICK(_mm512_max_pd(a, b), _mm256_max_pd(a, b), _mm_max_pd(a, b), a, a);
#else
    u64_vector more = (u64_vector)(a > b);
    return (f64_vector)(((u64_vector)a & more) | ((u64_vector)b & ~more));
#endif
}

/* The two halves of a vector as double. */
static inline void widen_halves(f64_vector *halves, f32_vector x)
{
#if defined(__AVX512F__)
    halves[0] = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
    halves[1] = _mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
#elif defined(__AVX2__)
    halves[0] = _mm256_cvtps_pd(_mm256_castps256_ps128(x));
    halves[1] = _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
#elif defined(__SSE2__)
    halves[0] = _mm_cvtps_pd(x);
    halves[1] = _mm_cvtps_pd(_mm_movehl_ps(x, x));
#elif defined(__aarch64__)
    halves[0] = vcvt_f64_f32(vget_low_f32(x));
    halves[1] = vcvt_high_f64_f32(x);
#else
    halves[0] = halves[1] = (f64_vector){0};               /* or gcc sees elements that are not initialised */
    for (int i = 0; i < WIDTH_F64; i++) {
        halves[0][i] = x[i];
        halves[1][i] = x[WIDTH_F64 + i];
    }
#endif
}

/* Adjacent elements, of any alignment. */

static inline f32_vector load_f32(const float *at)
{
    f32_vector x;
    memcpy(&x, at, sizeof x);
    return x;
}

static inline void store_f32(float *at, f32_vector x) { memcpy(at, &x, sizeof x); }

static inline f64_vector load_f64(const double *at)
{
    f64_vector x;
    memcpy(&x, at, sizeof x);
    return x;
}

static inline void store_f64(double *at, f64_vector x) { memcpy(at, &x, sizeof x); }

static inline f32_vector load_bf16(const bf16 *at)
{
#if defined(__AVX512F__)
    return (f32_vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)at)), 16);
#elif defined(__AVX2__)
    return (f32_vector)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)at)), 16);
#else
    f32_vector x;
    for (int i = 0; i < WIDTH_F32; i++)
        x[i] = f32_from_bf16(at[i]);
    return x;
#endif
}

static inline void store_bf16(bf16 *at, f32_vector x)
{
#if defined(__AVX2__)
    u32_vector u = (u32_vector)x, nan = (u32_vector)(x != x);
    u32_vector rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    u = (((u >> 16) | 0x0040) & nan) | (rounded & ~nan);
#if defined(__AVX512F__)
    _mm256_storeu_si256((__m256i *)at, _mm512_cvtepi32_epi16((__m512i)u));
#else
    __m256i packed = _mm256_packus_epi32((__m256i)u, (__m256i)u);
    _mm_storeu_si128((__m128i *)at, _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
#endif
#else
    for (int i = 0; i < WIDTH_F32; i++)
        at[i] = bf16_from_f32(x[i]);
#endif
}

static inline f32_vector load_f16(const f16 *at)
{
    f32_vector x;
#if defined(__AVX512F__)
    x = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at));
#elif defined(__F16C__)
    x = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at));
#else
    for (int i = 0; i < WIDTH_F32; i++)
        x[i] = f32_from_f16(at[i]);
#endif
    return x;
}

static inline void store_f16(f16 *at, f32_vector x)
{
#if defined(__AVX512F__)
    _mm256_storeu_si256((__m256i *)at, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
    _mm_storeu_si128((__m128i *)at, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#else
    for (int i = 0; i < WIDTH_F32; i++)
        at[i] = f16_from_f32(x[i]);
#endif
}

#undef PICK

#endif
