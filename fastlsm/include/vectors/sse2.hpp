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
