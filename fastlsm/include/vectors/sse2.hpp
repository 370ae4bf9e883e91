/* SSE2, which every x86-64 has. */
#ifndef FASTLSM_VECTORS_SSE2_HPP
#define FASTLSM_VECTORS_SSE2_HPP

#include <immintrin.h>

#include "elementwise.hpp"

namespace {

struct Sse2 : Elementwise {
    template <class V> static V fmadd(V a, V b, V c) { return a * b + c; }
    static f32_vector maximum(f32_vector a, f32_vector b) { return _mm_max_ps(a, b); }
    static f64_vector maximum(f64_vector a, f64_vector b) { return _mm_max_pd(a, b); }

    static void widen(f64_vector *halves, f32_vector x)
    {
        halves[0] = _mm_cvtps_pd(x);
        halves[1] = _mm_cvtps_pd(_mm_movehl_ps(x, x));
    }
    using Elementwise::load_as_f64;
    static f64_vector load_as_f64(const float *at)
    {
        return _mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)at)));
    }

    /* Not inlined: inlined, these long conversions are a third of the machine code. */
    using Elementwise::load;
    static NOINLINE f32_vector load(const f16 *at)
    {
        uint32_t bits[4]; /* 32 bits each: with 16, gcc does not vectorise the loop */
        float of[4];
        store_vector(bits, _mm_unpacklo_epi16(_mm_loadl_epi64((const __m128i *)at), _mm_setzero_si128()));
        for (int i = 0; i < 4; i++)
            of[i] = f32_from_f16({ (uint16_t)bits[i] });
        return load_vector(of);
    }
    static f64_vector load_as_f64(const f16 *at) { return Elementwise::load_as_f64(at); }
    using Elementwise::store;
    static NOINLINE void store(f16 *at, f32_vector x)
    {
        float of[4];
        uint32_t bits[4];
        store_vector(of, x);
        for (int i = 0; i < 4; i++)
            bits[i] = f16_from_f32(of[i]).bits << 16; /* to be extended by the sign: then packs does not saturate */
        __m128i words = _mm_srai_epi32(_mm_loadu_si128((const __m128i *)bits), 16);
        _mm_storel_epi64((__m128i *)at, _mm_packs_epi32(words, words));
    }

    static void stream_line(char *to, const char *from)
    {
        for (int i = 0; i < CACHE_LINE; i += 16)
            _mm_stream_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(from + i)));
    }
    static void stream_end() { _mm_sfence(); }
};

using Isa = Sse2;

} // namespace
#endif
