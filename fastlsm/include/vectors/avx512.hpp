/* AVX-512 as x86-64-v4 has it (F, BW, CD, DQ, VL). */
#ifndef FASTLSM_VECTORS_AVX512_HPP
#define FASTLSM_VECTORS_AVX512_HPP

/* gcc 12 takes the undefined vectors in its own header for uninitialised ones (gcc bug 105593). */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

#include "elementwise.hpp"

namespace {

struct Avx512 : Elementwise {
    static constexpr bool QUICK_PICK = true;
    using Elementwise::load, Elementwise::load_as_f64, Elementwise::store;

    static f32_vector fmadd(f32_vector a, f32_vector b, f32_vector c) { return _mm512_fmadd_ps(a, b, c); }
    static f64_vector fmadd(f64_vector a, f64_vector b, f64_vector c) { return _mm512_fmadd_pd(a, b, c); }
    static f32_vector maximum(f32_vector a, f32_vector b) { return _mm512_max_ps(a, b); }
    static f64_vector maximum(f64_vector a, f64_vector b) { return _mm512_max_pd(a, b); }

    static float max_across(f32_vector x) { return _mm512_reduce_max_ps(x); }
    static double max_across(f64_vector x) { return _mm512_reduce_max_pd(x); }
    static uint32_t sum_across(u32_vector x) { return (uint32_t)_mm512_reduce_add_epi32((__m512i)x); }
    static uint64_t sum_across(u64_vector x) { return (uint64_t)_mm512_reduce_add_epi64((__m512i)x); }
    static double sum_across(f64_vector x)
    {
        __m256d a = _mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1));
        __m128d b = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
        return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
    }
    static uint64_t equal(f32_vector a, f32_vector b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
    static uint64_t equal(f64_vector a, f64_vector b) { return _mm512_cmpeq_epi64_mask((__m512i)a, (__m512i)b); }
    static bool any(u64_vector mask) { return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0; }

    static void widen(f64_vector *halves, f32_vector x)
    {
        halves[0] = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
        halves[1] = _mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
    }

    static f64_vector load_as_f64(const float *at) { return _mm512_cvtps_pd(_mm256_loadu_ps(at)); }
    static f64_vector load_as_f64(const f16 *at)
    {
        return _mm512_cvtps_pd(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at)));
    }
    static f64_vector load_as_f64(const bf16 *at)
    {
        __m256i u = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)at));
        __m256i doubled = _mm512_castsi512_si256(twice_each_half());
        return _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_maskz_permutexvar_epi16(0xaaaa, doubled, u)));
    }

    static f32_vector load(const f16 *at) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at)); }
    static f32_vector load(const bf16 *at)
    {
        __m512i u = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)at));
        return (f32_vector)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, twice_each_half(), u);
    }

    static void store(f16 *at, f32_vector x) { _mm256_storeu_si256((__m256i *)at, narrow_to_f16(x)); }
    static void store(bf16 *at, f32_vector x) { _mm256_storeu_si256((__m256i *)at, narrow_to_bf16(x)); }

    static u32_vector round_to_bf16(f32_vector x)
    {
        u32_vector u = (u32_vector)x;
        __mmask16 odd = _mm512_test_epi32_mask((__m512i)u, _mm512_set1_epi32(0x10000));
        return (u32_vector)_mm512_mask_add_epi32((__m512i)(u + 0x7fff), odd, (__m512i)u, _mm512_set1_epi32(0x8000));
    }
    static u32_vector join_halves(u32_vector low, u32_vector high)
    {
        return (u32_vector)_mm512_mask_mov_epi16((__m512i)low, 0xaaaaaaaa, (__m512i)high);
    }

    static f32_vector pick(f32_vector table, u32_vector index) { return _mm512_permutexvar_ps((__m512i)index, table); }
    static f64_vector pick(f64_vector table, u64_vector index) { return _mm512_permutexvar_pd((__m512i)index, table); }

    /* The first `count` elements of a vector, and `fill` for the others, as quickly as a whole vector. */
    static f32_vector load_first(const float *at, ptrdiff_t count, f32_vector fill)
    {
        return _mm512_mask_loadu_ps(fill, first(count), at);
    }
    static f64_vector load_first(const double *at, ptrdiff_t count, f64_vector fill)
    {
        return _mm512_mask_loadu_pd(fill, (__mmask8)first(count), at);
    }
    static f32_vector load_first(const bf16 *at, ptrdiff_t count, f32_vector fill)
    {
        __m512i x = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(count), at));
        return _mm512_mask_mov_ps(fill, first(count), (__m512)_mm512_slli_epi32(x, 16));
    }
    static f32_vector load_first(const f16 *at, ptrdiff_t count, f32_vector fill)
    {
        return _mm512_mask_cvtph_ps(fill, first(count), _mm256_maskz_loadu_epi16(first(count), at));
    }
    static void store_first(float *at, f32_vector x, ptrdiff_t count) { _mm512_mask_storeu_ps(at, first(count), x); }
    static void store_first(double *at, f64_vector x, ptrdiff_t count)
    {
        _mm512_mask_storeu_pd(at, (__mmask8)first(count), x);
    }
    static void store_first(bf16 *at, f32_vector x, ptrdiff_t count)
    {
        _mm256_mask_storeu_epi16(at, first(count), narrow_to_bf16(x));
    }
    static void store_first(f16 *at, f32_vector x, ptrdiff_t count)
    {
        _mm256_mask_storeu_epi16(at, first(count), narrow_to_f16(x));
    }

    static u32_vector load_part(u32_vector rest, const void *from, ptrdiff_t bytes)
    {
        return (u32_vector)_mm512_mask_loadu_epi8((__m512i)rest, first_bytes(bytes), from);
    }
    static void store_part(void *to, u32_vector x, ptrdiff_t bytes)
    {
        _mm512_mask_storeu_epi8(to, first_bytes(bytes), (__m512i)x);
    }

    /* One masked store writes eight elements of a cache line, so that fewer lines wait. For double it would write four,
     * which gains nothing. */
    static void store_every_second(float *at, const float *x, ptrdiff_t n)
    {
        const u32_vector twice = { 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7 };
        ptrdiff_t i = 0;
        for (; i + 16 <= n; i += 16) {
            f32_vector v = load_vector(x + i);
            _mm512_mask_storeu_ps(at + 2 * i, 0x5555, _mm512_permutexvar_ps((__m512i)twice, v));
            _mm512_mask_storeu_ps(at + 2 * i + 16, 0x5555, _mm512_permutexvar_ps((__m512i)(twice + 8), v));
        }
        Elementwise::store_every_second(at + 2 * i, x + i, n - i);
    }

    static void stream_line(char *to, const char *from)
    {
        _mm512_stream_si512((__m512i *)to, _mm512_loadu_si512(from));
    }
    static void stream_end() { _mm_sfence(); }

private:
    static __mmask16 first(ptrdiff_t count) { return (__mmask16)((1u << count) - 1); }

    static __mmask64 first_bytes(ptrdiff_t count)
    {
        return count < VECTOR_BYTES ? ((__mmask64)1 << count) - 1 : ~(__mmask64)0;
    }

    /* 0 0 1 1 2 2 ...: where each half of a word comes from. */
    static __m512i twice_each_half()
    {
        return (__m512i)u32_vector{ 0x00000, 0x10001, 0x20002, 0x30003, 0x40004, 0x50005, 0x60006, 0x70007,
                                    0x80008, 0x90009, 0xa000a, 0xb000b, 0xc000c, 0xd000d, 0xe000e, 0xf000f };
    }
    static __m256i narrow_to_bf16(f32_vector x)
    {
        const u32_vector upper_halves = { 0x30001, 0x70005, 0xb0009, 0xf000d, 0x130011, 0x170015, 0x1b0019, 0x1f001d };
        return _mm512_castsi512_si256(_mm512_permutexvar_epi16((__m512i)upper_halves, (__m512i)round_to_bf16(x)));
    }
    static __m256i narrow_to_f16(f32_vector x) { return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }
};

using Isa = Avx512;

} // namespace
#endif
