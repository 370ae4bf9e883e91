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

#include "vexp.h"

/* With FASTLSM_VECTOR_BYTES given, vectors of that many, without intrinsics: slow, but the wider levels' index
 * arithmetic can be tested on processors that lack them. */
#if defined(FASTLSM_VECTOR_BYTES)
#define ON_OTHER
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
#define ON_OTHER
#define FASTLSM_VECTOR_BYTES 16
#endif
enum { VECTOR_BYTES = FASTLSM_VECTOR_BYTES };
enum { WIDTH_F32 = VECTOR_BYTES / sizeof(float), WIDTH_F64 = VECTOR_BYTES / sizeof(double) };

typedef float f32_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef double f64_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t u32_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t u64_vector __attribute__((vector_size(VECTOR_BYTES)));

/* One intrinsic of four instruction sets, or what is done for each element. */
#if defined(ON_AVX512)
#define PICK(avx512, avx2, sse2, neon, other) return avx512;
#elif defined(ON_AVX2)
#define PICK(avx512, avx2, sse2, neon, other) return avx2;
#elif defined(ON_SSE2)
#define PICK(avx512, avx2, sse2, neon, other) return sse2;
#elif defined(ON_NEON)
#define PICK(avx512, avx2, sse2, neon, other) return neon;
#else
#define PICK(avx512, avx2, sse2, neon, other) \
    for (size_t i = 0; i < sizeof a / sizeof a[0]; i++) \
        a[i] = other; \
    return a;
#endif

/* a * b + c, rounded once where the processor can. */
static inline f32_vector fma_vector_f32(f32_vector a, f32_vector b, f32_vector c)
{
    PICK(_mm512_fmadd_ps(a, b, c), _mm256_fmadd_ps(a, b, c), a * b + c, vfmaq_f32(c, a, b), fma_f32(a[i], b[i], c[i]))
}

static inline f64_vector fma_vector_f64(f64_vector a, f64_vector b, f64_vector c)
{
    PICK(_mm512_fmadd_pd(a, b, c), _mm256_fmadd_pd(a, b, c), a * b + c, vfmaq_f64(c, a, b), fma_f64(a[i], b[i], c[i]))
}

/* a > b ? a : b, so that a NaN in a is passed over. */
static inline f32_vector max_vector_f32(f32_vector a, f32_vector b)
{
    PICK(_mm512_max_ps(a, b), _mm256_max_ps(a, b), _mm_max_ps(a, b), vbslq_f32(vcgtq_f32(a, b), a, b),
         a[i] > b[i] ? a[i] : b[i])
}

static inline f64_vector max_vector_f64(f64_vector a, f64_vector b)
{
    PICK(_mm512_max_pd(a, b), _mm256_max_pd(a, b), _mm_max_pd(a, b), vbslq_f64(vcgtq_f64(a, b), a, b),
         a[i] > b[i] ? a[i] : b[i])
}

/* An element in memory: what the arithmetic is in, or 16 bits. Vectors of bfloat16 come in pairs, the elements of even number
 * and those of odd number (each is half of a 32-bit word, and one operation makes it a float), or in the elements' order. */
enum item_type { ITEM_REAL, ITEM_BF16, ITEM_F16, ITEM_BF16_IN_ORDER };

/* The two halves of a vector as double. */
static inline void widen_halves(f64_vector *halves, f32_vector x)
{
#if defined(ON_AVX512)
    halves[0] = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
    halves[1] = _mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
#elif defined(ON_AVX2)
    halves[0] = _mm256_cvtps_pd(_mm256_castps256_ps128(x));
    halves[1] = _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
#elif defined(ON_SSE2)
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

/* Over the elements of a vector: the upper half to the lower one, and so on. What compilers make of a loop is slow. */
#define ACROSS(name, vector, combine) \
    static inline __typeof__(((vector){0})[0]) name(vector x) \
    { \
        enum { count = sizeof x / sizeof x[0] }; \
        __typeof__(x[0]) of[count]; \
        memcpy(of, &x, sizeof of); \
        for (int step = count / 2; step; step /= 2) \
            for (int l = 0; l < step; l++) \
                of[l] = combine(of[l], of[l + step]); \
        return of[0]; \
    }
#define SUM(a, b) ((a) + (b))
#define MAX(a, b) ((b) > (a) ? (b) : (a))
#if defined(ON_AVX512)
static inline double sum_across_f64(f64_vector x)
{
    __m256d a = _mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1));
    __m128d b = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
}
static inline float max_across_f32(f32_vector x) { return _mm512_reduce_max_ps(x); }
static inline double max_across_f64(f64_vector x) { return _mm512_reduce_max_pd(x); }
static inline uint32_t sum_across_u32(u32_vector x) { return (uint32_t)_mm512_reduce_add_epi32((__m512i)x); }
static inline uint64_t sum_across_u64(u64_vector x) { return (uint64_t)_mm512_reduce_add_epi64((__m512i)x); }
#elif defined(ON_AVX2)
static inline double sum_across_f64(f64_vector x)
{
    __m128d a = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
    return _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a)));
}
static inline float max_across_f32(f32_vector x)
{
    __m128 a = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}
static inline double max_across_f64(f64_vector x)
{
    __m128d a = _mm_max_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
    return _mm_cvtsd_f64(_mm_max_sd(a, _mm_unpackhi_pd(a, a)));
}
static inline uint64_t sum_across_u64(u64_vector x) { return x[0] + x[1] + x[2] + x[3]; }
static inline uint32_t sum_across_u32(u32_vector x)
{
    __m128i a = _mm_add_epi32(_mm256_castsi256_si128((__m256i)x), _mm256_extracti128_si256((__m256i)x, 1));
    a = _mm_add_epi32(a, _mm_unpackhi_epi64(a, a));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 1)));
}
#else
ACROSS(sum_across_f64, f64_vector, SUM)
ACROSS(max_across_f32, f32_vector, MAX)
ACROSS(max_across_f64, f64_vector, MAX)
ACROSS(sum_across_u32, u32_vector, SUM)
ACROSS(sum_across_u64, u64_vector, SUM)
#endif
#undef ACROSS
#undef SUM
#undef MAX

/* Is there a bit in a mask? */
static inline int any(u64_vector mask)
{
#if defined(ON_AVX512)
    return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(ON_AVX2)
    return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#else
    uint64_t of[VECTOR_BYTES / 8], found = 0;
    memcpy(of, &mask, sizeof of);
    for (size_t i = 0; i < VECTOR_BYTES / 8; i++)
        found |= of[i];
    return found != 0;
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

static inline f64_vector load_as_f64(const float *at)
{
#if defined(ON_AVX512)
    return _mm512_cvtps_pd(_mm256_loadu_ps(at));
#elif defined(ON_AVX2)
    return _mm256_cvtps_pd(_mm_loadu_ps(at));
#elif defined(ON_SSE2)
    return _mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)at)));
#else
    f64_vector x;
    for (int i = 0; i < WIDTH_F64; i++)
        x[i] = at[i];
    return x;
#endif
}

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
enum { LOW_HALF_IS_ODD = 1 };
#else
enum { LOW_HALF_IS_ODD = 0 };
#endif

/* Of 2 * WIDTH_F32 elements those of even number or those of odd number. */
static inline f32_vector load_half_of_bf16(const bf16 *at, int odd)
{
    u32_vector u;
    memcpy(&u, at, sizeof u);
    return (f32_vector)(odd == LOW_HALF_IS_ODD ? u << 16 : u & 0xffff0000);
}

/* Rounded to bfloat16, the upper half of each word; the lower half is anything. A NaN of float that has come from bfloat16 has
 * no bits that rounding could carry into infinity. */
static inline u32_vector round_to_bf16(f32_vector x)
{
    u32_vector u = (u32_vector)x;
#if defined(ON_AVX512)
    __mmask16 odd = _mm512_test_epi32_mask((__m512i)u, _mm512_set1_epi32(0x10000));
    return (u32_vector)_mm512_mask_add_epi32((__m512i)(u + 0x7fff), odd, (__m512i)u, _mm512_set1_epi32(0x8000));
#else
    return u + 0x7fff + (u >> 16 & 1);
#endif
}

static inline void store_bf16(bf16 *at, f32_vector even, f32_vector odd)
{
    u32_vector low = round_to_bf16(LOW_HALF_IS_ODD ? odd : even) >> 16, high = round_to_bf16(LOW_HALF_IS_ODD ? even : odd);
#if defined(ON_AVX512)
    low = (u32_vector)_mm512_mask_mov_epi16((__m512i)low, 0xaaaaaaaa, (__m512i)high);
#else
    low |= high & 0xffff0000;
#endif
    memcpy(at, &low, sizeof low);
}

static inline f32_vector load_f16(const f16 *at)
{
    f32_vector x;
#if defined(ON_AVX512)
    x = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at));
#elif defined(ON_AVX2)
    x = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at));
#else
    for (int i = 0; i < WIDTH_F32; i++)
        x[i] = f32_from_f16(at[i]);
#endif
    return x;
}

static inline void store_f16(f16 *at, f32_vector x)
{
#if defined(ON_AVX512)
    _mm256_storeu_si256((__m256i *)at, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#elif defined(ON_AVX2)
    _mm_storeu_si128((__m128i *)at, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#else
    for (int i = 0; i < WIDTH_F32; i++)
        at[i] = f16_from_f32(x[i]);
#endif
}

static inline void f32_from_f16_block(float *to, const f16 *from, ptrdiff_t n)
{
    ptrdiff_t i = 0;
    for (; i + WIDTH_F32 <= n; i += WIDTH_F32)
        store_f32(to + i, load_f16(from + i));
    for (; i < n; i++)
        to[i] = f32_from_f16(from[i]);
}

static inline void f16_from_f32_block(f16 *to, const float *from, ptrdiff_t n)
{
    ptrdiff_t i = 0;
    for (; i + WIDTH_F32 <= n; i += WIDTH_F32)
        store_f16(to + i, load_f32(from + i));
    for (; i < n; i++)
        to[i] = f16_from_f32(from[i]);
}

#if defined(ON_AVX512)
/* Where each half of a word comes from, or goes to: 0 0 1 1 2 2 ... */
#define HALVES_512 (__m512i)(u32_vector){ \
    0x00000, 0x10001, 0x20002, 0x30003, 0x40004, 0x50005, 0x60006, 0x70007, \
    0x80008, 0x90009, 0xa000a, 0xb000b, 0xc000c, 0xd000d, 0xe000e, 0xf000f }
#define HALVES_256 _mm512_castsi512_si256(HALVES_512)
#define UPPER_HALVES (__m512i)(u32_vector){ \
    0x30001, 0x70005, 0xb0009, 0xf000d, 0x130011, 0x170015, 0x1b0019, 0x1f001d }
#endif

/* The elements of bfloat16 in their own order. */
static inline f32_vector f32_from_bf16_vector(const bf16 *at)
{
#if defined(ON_AVX512)
    __m512i u = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)at));
    return (f32_vector)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, HALVES_512, u);
#elif defined(ON_AVX2)
    return (f32_vector)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)at)), 16);
#else
    f32_vector x;
    for (int i = 0; i < WIDTH_F32; i++)
        x[i] = f32_from_bf16(at[i]);
    return x;
#endif
}

static inline void bf16_from_f32_vector(bf16 *at, f32_vector x)
{
#if defined(ON_AVX512)
    __m512i halves = _mm512_permutexvar_epi16(UPPER_HALVES, (__m512i)round_to_bf16(x));
    _mm256_storeu_si256((__m256i *)at, _mm512_castsi512_si256(halves));
#elif defined(ON_AVX2)
    u32_vector u = round_to_bf16(x) >> 16;
    __m256i halves = _mm256_packus_epi32((__m256i)u, (__m256i)u);      /* of each 128 bits, twice */
    _mm_storeu_si128((__m128i *)at, _mm256_castsi256_si128(_mm256_permute4x64_epi64(halves, 0x08)));
#else
    for (int i = 0; i < WIDTH_F32; i++)
        at[i] = bf16_from_f32(x[i]);
#endif
}

/* As many elements as a vector of double has. */
static inline f64_vector load_bf16_as_f64(const bf16 *at)
{
#if defined(ON_AVX512)
    __m256i u = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)at));
    return _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_maskz_permutexvar_epi16(0xaaaa, HALVES_256, u)));
#elif defined(ON_AVX2)
    __m128i u = _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)at));
    return _mm256_cvtps_pd(_mm_castsi128_ps(_mm_slli_epi32(u, 16)));
#else
    f64_vector x;
    for (int i = 0; i < WIDTH_F64; i++)
        x[i] = f32_from_bf16(at[i]);
    return x;
#endif
}

static inline f64_vector load_f16_as_f64(const f16 *at)
{
#if defined(ON_AVX512)
    return _mm512_cvtps_pd(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at)));
#elif defined(ON_AVX2)
    return _mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)at)));
#else
    f64_vector x;
    for (int i = 0; i < WIDTH_F64; i++)
        x[i] = f32_from_f16(at[i]);
    return x;
#endif
}

/* Of each element i of `index`, element i of the table. */
enum { QUICK_PICK = VECTOR_BYTES >= 32 };

static inline f32_vector pick_f32(f32_vector table, u32_vector index)
{
#if defined(ON_AVX512)
    return _mm512_permutexvar_ps((__m512i)index, table);
#elif defined(ON_AVX2)
    return _mm256_permutevar8x32_ps(table, (__m256i)index);
#else
    f32_vector x = table;
    for (int i = 0; i < WIDTH_F32; i++)
        x[i] = table[index[i]];
    return x;
#endif
}

static inline f64_vector pick_f64(f64_vector table, u64_vector index)
{
#if defined(ON_AVX512)
    return _mm512_permutexvar_pd((__m512i)index, table);
#elif defined(ON_AVX2)                      /* both halves of each */
    u64_vector halves = (index << 1 | index << 33) + ((uint64_t)1 << 32);
    return (f64_vector)_mm256_permutevar8x32_ps((__m256)table, (__m256i)halves);
#else
    f64_vector x = table;
    for (int i = 0; i < WIDTH_F64; i++)
        x[i] = table[index[i]];
    return x;
#endif
}

/* The first `count` elements of a vector; where there are none, those of `fill`. Quick where there are masks for it, of 32
 * and 64 bits or of 16 as well. */
enum { MASKED_VECTORS = VECTOR_BYTES >= 32, MASKED_HALVES = VECTOR_BYTES == 64 };

#if defined(ON_AVX512)
static inline __mmask16 first(ptrdiff_t count) { return (__mmask16)((1u << count) - 1); }

static inline f32_vector load_first_f32(const float *at, ptrdiff_t count, f32_vector fill)
{
    return _mm512_mask_loadu_ps(fill, first(count), at);
}

static inline f64_vector load_first_f64(const double *at, ptrdiff_t count, f64_vector fill)
{
    return _mm512_mask_loadu_pd(fill, (__mmask8)first(count), at);
}

static inline f32_vector load_first_bf16(const bf16 *at, ptrdiff_t count, f32_vector fill)
{
    __m512i x = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(count), at));
    return _mm512_mask_mov_ps(fill, first(count), (__m512)_mm512_slli_epi32(x, 16));
}

static inline f32_vector load_first_f16(const f16 *at, ptrdiff_t count, f32_vector fill)
{
    return _mm512_mask_cvtph_ps(fill, first(count), _mm256_maskz_loadu_epi16(first(count), at));
}

static inline void store_first_f32(float *at, f32_vector x, ptrdiff_t count) { _mm512_mask_storeu_ps(at, first(count), x); }
static inline void store_first_f64(double *at, f64_vector x, ptrdiff_t count)
{
    _mm512_mask_storeu_pd(at, (__mmask8)first(count), x);
}

static inline void store_first_bf16(bf16 *at, f32_vector x, ptrdiff_t count)
{
    bf16 whole[WIDTH_F32];
    bf16_from_f32_vector(whole, x);
    _mm256_mask_storeu_epi16(at, first(count), _mm256_loadu_si256((const __m256i *)whole));
}

static inline void store_first_f16(f16 *at, f32_vector x, ptrdiff_t count)
{
    _mm256_mask_storeu_epi16(at, first(count), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
#else
#define FIRST(name, real, vector, load, store) \
    static inline vector load_first_##name(const real *at, ptrdiff_t count, vector fill) \
    { \
        real whole[sizeof fill / sizeof fill[0]] = {0}; \
        if (count == (ptrdiff_t)(sizeof fill / sizeof fill[0])) \
            return load(at); \
        memcpy(whole, at, count * sizeof(real)); \
        vector x = load(whole); \
        for (size_t i = 0; i < sizeof fill / sizeof fill[0]; i++) \
            x[i] = (ptrdiff_t)i < count ? x[i] : fill[i]; \
        return x; \
    } \
    static inline void store_first_##name(real *at, vector x, ptrdiff_t count) \
    { \
        real whole[sizeof x / sizeof x[0]]; \
        if (count == (ptrdiff_t)(sizeof x / sizeof x[0])) { \
            store(at, x); \
            return; \
        } \
        store(whole, x); \
        memcpy(at, whole, count * sizeof(real)); \
    }
#if defined(ON_AVX2)
static inline __m256i first(ptrdiff_t count, size_t itemsize)
{
    static const int32_t bits[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    return _mm256_loadu_si256((const __m256i *)(bits + 8 - count * (ptrdiff_t)(itemsize / sizeof bits[0])));
}

static inline f32_vector load_first_f32(const float *at, ptrdiff_t count, f32_vector fill)
{
    __m256i mask = first(count, sizeof at[0]);
    return _mm256_blendv_ps(fill, _mm256_maskload_ps(at, mask), (__m256)mask);
}

static inline f64_vector load_first_f64(const double *at, ptrdiff_t count, f64_vector fill)
{
    __m256i mask = first(count, sizeof at[0]);
    return _mm256_blendv_pd(fill, _mm256_maskload_pd(at, mask), (__m256d)mask);
}

static inline void store_first_f32(float *at, f32_vector x, ptrdiff_t count)
{
    _mm256_maskstore_ps(at, first(count, sizeof at[0]), x);
}

static inline void store_first_f64(double *at, f64_vector x, ptrdiff_t count)
{
    _mm256_maskstore_pd(at, first(count, sizeof at[0]), x);
}
#else
FIRST(f32, float, f32_vector, load_f32, store_f32)
FIRST(f64, double, f64_vector, load_f64, store_f64)
#endif
FIRST(bf16, bf16, f32_vector, f32_from_bf16_vector, bf16_from_f32_vector)
FIRST(f16, f16, f32_vector, load_f16, store_f16)
#undef FIRST
#endif

/* n elements to every second place, what lies between being left alone: a processor waits for few lines at a time if each takes
 * eight stores. (Of double, four, this gains nothing.) */
static inline void store_every_second_f32(float *at, const float *x, ptrdiff_t n)
{
    ptrdiff_t i = 0;
#if defined(ON_AVX512)
    const u32_vector twice = { 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7 };
    for (; i + WIDTH_F32 <= n; i += WIDTH_F32) {
        f32_vector v = load_f32(x + i);
        _mm512_mask_storeu_ps(at + 2 * i, 0x5555, _mm512_permutexvar_ps((__m512i)twice, v));
        _mm512_mask_storeu_ps(at + 2 * i + WIDTH_F32, 0x5555, _mm512_permutexvar_ps((__m512i)(twice + 8), v));
    }
#endif
    for (; i < n; i++)
        at[2 * i] = x[i];
}

/* So many bytes, fewer than `vectors` hold, after which those stay what they are; and the way back. */
static inline void load_part(void *vectors, const void *from, ptrdiff_t bytes)
{
#if defined(ON_AVX512)
    for (ptrdiff_t i = 0; i < bytes; i += VECTOR_BYTES) {
        __mmask64 mask = bytes - i < VECTOR_BYTES ? ((__mmask64)1 << (bytes - i)) - 1 : ~(__mmask64)0;
        __m512i *to = (__m512i *)((char *)vectors + i);
        _mm512_storeu_si512(to, _mm512_mask_loadu_epi8(_mm512_loadu_si512(to), mask, (const char *)from + i));
    }
#else
    memcpy(vectors, from, bytes);
#endif
}

static inline void store_part(void *to, const void *vectors, ptrdiff_t bytes)
{
#if defined(ON_AVX512)
    for (ptrdiff_t i = 0; i < bytes; i += VECTOR_BYTES) {
        __mmask64 mask = bytes - i < VECTOR_BYTES ? ((__mmask64)1 << (bytes - i)) - 1 : ~(__mmask64)0;
        _mm512_mask_storeu_epi8((char *)to + i, mask, _mm512_loadu_si512((const char *)vectors + i));
    }
#else
    memcpy(to, vectors, bytes);
#endif
}

#undef PICK

#endif
