/* NEON, which every arm64 has. */
#ifndef FASTLSM_VECTORS_NEON_HPP
#define FASTLSM_VECTORS_NEON_HPP

#include <arm_neon.h>

#include "elementwise.hpp"

namespace {

struct Neon : Elementwise {
    static f32_vector fmadd(f32_vector a, f32_vector b, f32_vector c) { return vfmaq_f32(c, a, b); }
    static f64_vector fmadd(f64_vector a, f64_vector b, f64_vector c) { return vfmaq_f64(c, a, b); }
    static f32_vector maximum(f32_vector a, f32_vector b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
    static f64_vector maximum(f64_vector a, f64_vector b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }

    static void widen(f64_vector *halves, f32_vector x)
    {
        halves[0] = vcvt_f64_f32(vget_low_f32(x));
        halves[1] = vcvt_high_f64_f32(x);
    }
};

using Isa = Neon;

} // namespace
#endif
