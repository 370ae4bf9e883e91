/* AVX2 with FMA and F16C, as x86-64-v3 has them. */
#ifndef FASTLSM_VECTORS_AVX2_HPP
#define FASTLSM_VECTORS_AVX2_HPP

#include <immintrin.h>

#include "elementwise.hpp"

namespace {

struct Avx2 : Elementwise {
    static constexpr bool QUICK_F16_TO_F64 = false, QUICK_PICK = true;
    using Elementwise::load, Elementwise::load_as_f64, Elementwise::store;

    static f32_vector fmadd(f32_vector a, f32_vector b, f32_vector c) { return _mm256_fmadd_ps(a, b, c); }
    static f64_vector fmadd(f64_vector a, f64_vector b, f64_vector c) { return _mm256_fmadd_pd(a, b, c); }
    static f32_vector maximum(f32_vector a, f32_vector b) { return _mm256_max_ps(a, b); }
    static f64_vector maximum(f64_vector a, f64_vector b) { return _mm256_max_pd(a, b); }

    static float max_across(f32_vector x)
    {
        __m128 a = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        a = _mm_max_ps(a, _mm_movehl_ps(a, a));
        return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
    }
    static double max_across(f64_vector x)
    {
        __m128d a = _mm_max_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
        return _mm_cvtsd_f64(_mm_max_sd(a, _mm_unpackhi_pd(a, a)));
    }
    static uint32_t sum_across(u32_vector x)
    {
        __m128i a = _mm_add_epi32(_mm256_castsi256_si128((__m256i)x), _mm256_extracti128_si256((__m256i)x, 1));
        a = _mm_add_epi32(a, _mm_unpackhi_epi64(a, a));
        return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 1)));
    }
    static uint64_t sum_across(u64_vector x) { return x[0] + x[1] + x[2] + x[3]; }
    static double sum_across(f64_vector x)
    {
        __m128d a = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
        return _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a)));
    }
    static uint64_t equal(f32_vector a, f32_vector b)
    {
        return (uint32_t)_mm256_movemask_ps((__m256)_mm256_cmpeq_epi32((__m256i)a, (__m256i)b));
    }
    static uint64_t equal(f64_vector a, f64_vector b)
    {
        return (uint32_t)_mm256_movemask_pd((__m256d)_mm256_cmpeq_epi64((__m256i)a, (__m256i)b));
    }
    static bool any(u64_vector mask) { return !_mm256_testz_si256((__m256i)mask, (__m256i)mask); }

    static void widen(f64_vector *halves, f32_vector x)
    {
        halves[0] = _mm256_cvtps_pd(_mm256_castps256_ps128(x));
        halves[1] = _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
    }

    static f64_vector load_as_f64(const float *at) { return _mm256_cvtps_pd(_mm_loadu_ps(at)); }
    static f64_vector load_as_f64(const f16 *at)
    {
        return _mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)at)));
    }
    static f64_vector load_as_f64(const bf16 *at)
    {
        __m128i u = _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)at));
        return _mm256_cvtps_pd(_mm_castsi128_ps(_mm_slli_epi32(u, 16)));
    }

    static f32_vector load(const f16 *at) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at)); }
    static f32_vector load(const bf16 *at)
    {
        return (f32_vector)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)at)), 16);
    }

    static void store(f16 *at, f32_vector x)
    {
        _mm_storeu_si128((__m128i *)at, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
    static void store(bf16 *at, f32_vector x)
    {
        u32_vector u = round_to_bf16(x) >> 16;
        __m256i halves = _mm256_packus_epi32((__m256i)u, (__m256i)u); /* those of each 128 bits, twice */
        _mm_storeu_si128((__m128i *)at, _mm256_castsi256_si128(_mm256_permute4x64_epi64(halves, 0x08)));
    }

    static f32_vector pick(f32_vector table, u32_vector index)
    {
        return _mm256_permutevar8x32_ps(table, (__m256i)index);
    }
    static f64_vector pick(f64_vector table, u64_vector index)
    {
        u64_vector halves = (index << 1 | index << 33) + ((uint64_t)1 << 32); /* both halves of each element */
        return (f64_vector)_mm256_permutevar8x32_ps((__m256)table, (__m256i)halves);
    }

    /* The first `count` elements of a vector, and `fill` for the others, as quickly as a whole vector. */
    static f32_vector load_first(const float *at, ptrdiff_t count, f32_vector fill)
    {
        __m256i mask = first(count);
        return _mm256_blendv_ps(fill, _mm256_maskload_ps(at, mask), (__m256)mask);
    }
    static f64_vector load_first(const double *at, ptrdiff_t count, f64_vector fill)
    {
        __m256i mask = first(2 * count);
        return _mm256_blendv_pd(fill, _mm256_maskload_pd(at, mask), (__m256d)mask);
    }
    static void store_first(float *at, f32_vector x, ptrdiff_t count) { _mm256_maskstore_ps(at, first(count), x); }
    static void store_first(double *at, f64_vector x, ptrdiff_t count) { _mm256_maskstore_pd(at, first(2 * count), x); }

    static void stream_line(char *to, const char *from)
    {
        for (int i = 0; i < CACHE_LINE; i += 32)
            _mm256_stream_si256((__m256i *)(to + i), _mm256_loadu_si256((const __m256i *)(from + i)));
    }
    static void stream_end() { _mm_sfence(); }

private:
    /* A mask of the first `words` words of 32 bits. */
    static __m256i first(ptrdiff_t words)
    {
        static const int32_t bits[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
        return _mm256_loadu_si256((const __m256i *)(bits + 8 - words));
    }
};

using Isa = Avx2;

} // namespace
#endif
