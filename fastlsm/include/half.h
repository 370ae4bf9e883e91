/* bfloat16 and float16 to and from float32.
 *
 * The narrowing functions round to nearest, ties to even; f32_to_odd is their first step from double. All keep
 * subnormals, and keep NaN a (quiet) NaN. All are free of branches, so that a loop over them vectorises at every
 * instruction set and gives the same bits there. The processor's own instructions are used only where they agree with
 * that: F16C does; those for bfloat16 (vcvtneps2bf16) flush subnormals and do not.
 */
#ifndef FASTLSM_HALF_H
#define FASTLSM_HALF_H

#include <stdint.h>
#include <string.h>

/* Two types, so that the compiler tells them from each other and from integers. */
typedef struct {
    uint16_t bits;
} bf16;
typedef struct {
    uint16_t bits;
} f16;

static inline uint32_t bits_of_f32(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static inline float f32_of_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float f32_from_bf16(bf16 x) { return f32_of_bits((uint32_t)x.bits << 16); }

static inline bf16 bf16_from_f32(float x)
{
    uint32_t u = bits_of_f32(x);
    uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    uint32_t quiet_nan = (u >> 16) | 0x0040;
    bf16 y;
    y.bits = (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? quiet_nan : rounded);
    return y;
}

static inline float f32_from_f16(f16 x)
{
    uint32_t sign = (uint32_t)(x.bits & 0x8000) << 16;
    uint32_t u = (uint32_t)(x.bits & 0x7fff) << 13;
    uint32_t normal = u + (112u << 23); /* exponent bias 15 -> 127 */
    /* Subnormal: put the mantissa under 2^-14 and take 2^-14 away; exact, and no float32
     * subnormal is touched, which a flush-to-zero mode would lose. */
    uint32_t subnormal = bits_of_f32(f32_of_bits(u + (113u << 23)) - f32_of_bits(113u << 23));
    uint32_t special = (u + (224u << 23)) | (u > 0x0f800000 ? 0x00400000u : 0u);
    uint32_t y = u < 0x00800000 ? subnormal : normal;
    y = u >= 0x0f800000 ? special : y;
    return f32_of_bits(sign | y);
}

static inline f16 f16_from_f32(float x)
{
    uint32_t sign = (bits_of_f32(x) >> 16) & 0x8000;
    uint32_t u = bits_of_f32(x) & 0x7fffffff;
    uint32_t normal = (u - (112u << 23) + 0xfff + ((u >> 13) & 1)) >> 13;
    /* 0.5 has the unit 2^-24, float16's smallest subnormal: the sum rounds to a multiple of it. */
    uint32_t subnormal = bits_of_f32(f32_of_bits(u) + 0.5f) - 0x3f000000;
    uint32_t quiet_nan = 0x7e00 | ((u >> 13) & 0x03ff);
    uint32_t h = u < (113u << 23) ? subnormal : normal;
    f16 y;
    h = u >= 0x477ff000 ? 0x7c00 : h; /* 65520 and more: infinity */
    h = u > 0x7f800000 ? quiet_nan : h;
    y.bits = (uint16_t)(sign | h);
    return y;
}

/* Rounded to odd: what is inexact ends in a 1, so that a second rounding, to 16 bits, sees on which
 * side of a halfway case x was and the two together are one correct rounding. */
static inline float f32_to_odd(double x)
{
    float nearest = (float)x;
    uint32_t u = bits_of_f32(nearest);
    double away = x < 0 ? x - (double)nearest : (double)nearest - x; /* rounded away from 0? */
    uint32_t odd = away > 0 ? u - 1 : u + 1;
    int inexact = (away != 0) & (x - x == 0); /* infinities and NaN are what they are */
    return f32_of_bits(((u & 1) == 0) & inexact ? odd : u);
}

static inline bf16 bf16_from_f64(double x) { return bf16_from_f32(f32_to_odd(x)); }
static inline f16 f16_from_f64(double x) { return f16_from_f32(f32_to_odd(x)); }

#endif
