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

    template <int count> static u32_vector look_up(const void *table, u32_vector index)
    {
        static_assert(count == 8);
        return (u32_vector)bytes_of(table, (uint8x16_t)((index & 7) * 0x04040404 + 0x03020100));
    }
    template <int count> static u64_vector look_up(const void *table, u64_vector index)
    {
        static_assert(count == 4);
        u64_vector first = (index & 3) << 3; /* of the eight bytes, in each of them */
        for (int bits = 8; bits < 64; bits *= 2)
            first |= first << bits;
        return (u64_vector)bytes_of(table, (uint8x16_t)(first + 0x0706050403020100));
    }

private:
    static uint8x16_t bytes_of(const void *table, uint8x16_t index)
    {
        return vqtbl2q_u8(vld1q_u8_x2((const uint8_t *)table), index);
    }
};

using Isa = Neon;

} // namespace
#endif
