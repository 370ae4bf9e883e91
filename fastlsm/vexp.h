/* exp and log1p, written so that a plain loop over them vectorises, and so that the same operations
 * in the same order run at every instruction set: no library function, whose bits differ from one
 * libm to the next, and no contraction that the source does not ask for (-ffp-contract=off).
 *
 * exp(x) * 2^-K, with r = x - k ln 2 and k = round(x / ln 2), so |r| <= ln(2) / 2:
 *
 *     exp(x) * 2^-K  =  2^(k - K) * (1 + (r + r^2 q(r))),   r = high + low, of which only high is exact:
 *                       2^(k - K) * (1 + (high + (low + r^2 q(r))))
 *
 * to 0.61 units in the last place. For log_softmax, which takes a logarithm of the sum, r in one part is exact enough:
 * 2^(k - K) * (1 + r (1 + r q(r))), to 0.9 units, with three operations fewer.
 *
 * q is a minimax polynomial of (e^r - 1 - r) / r^2. k comes from adding magic = 1.5 * 2^23 + 127 - K (2^52 and 1023
 * for double): the sum's last bits are the integer k - K and the exponent's bias, which shifted into the exponent's
 * place are 2^(k - K). So K costs nothing, and it may differ from row to row. x is first raised to (K - 127) ln 2, where
 * that power of two is 0, and so is the result; NaN stays NaN. All results must stay below 2^127.
 */
#ifndef FASTLSM_VEXP_H
#define FASTLSM_VEXP_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "half.h"

static inline uint64_t bits_of_f64(double x) { uint64_t u; memcpy(&u, &x, sizeof u); return u; }
static inline double f64_of_bits(uint64_t u) { double x; memcpy(&x, &u, sizeof x); return x; }

/* a * b + c, rounded once where the processor can, and then in the same place on all of them. */
#if defined(__FMA__) || defined(__aarch64__) || defined(__FP_FAST_FMA)
#define FASTLSM_HAS_FMA 1
static inline float fma_f32(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline double fma_f64(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
#define FASTLSM_HAS_FMA 0
static inline float fma_f32(float a, float b, float c) { return a * b + c; }
static inline double fma_f64(double a, double b, double c) { return a * b + c; }
#endif

#define LOG2_E 1.4426950408889634074
#define LN_2 0.69314718055994530942

/* Largest x with a finite exp(x) and, nearly, smallest with a normal one: for backward_dst_*. */
#define EXP_F32_HI 0x1.62e42ep+6f
#define EXP_F32_LO -0x1.5d58ap+6f
#define EXP_F64_HI 0x1.62e42fefa39efp+9
#define EXP_F64_LO -0x1.6232bdd7abcd2p+9

#define MAGIC_F32 0x1.8p+23f
#define MAGIC_F64 0x1.8p+52
#define BIAS_F32 127
#define BIAS_F64 1023

/* ln 2 in two parts, the first short enough that k times it is exact without fused multiply-add. */
#define LN_2_HIGH_F32 0x1.63p-1f
#define LN_2_LOW_F32 -0x1.bd0106p-13f
#define LN_2_HIGH_F64 0x1.62e42feep-1
#define LN_2_LOW_F64 0x1.a39ef35793c76p-33

/* q by Horner's rule, highest power first, minimax over |r| <= 1.002 ln(2) / 2: its error is 2^-28.3 of e^r in float, 2^-57.9
 * in double. */
#define EXP_Q_F32(FIRST, NEXT) \
    FIRST(0, 0x1.6a2276p-10f) NEXT(1, 0x1.123b04p-7f) NEXT(2, 0x1.5558f8p-5f) NEXT(3, 0x1.55549p-3f) NEXT(4, 0x1.fffffcp-2f)
#define EXP_Q_F64(FIRST, NEXT) \
    FIRST(0, 0x1.ad7e8a1bb997dp-26) NEXT(1, 0x1.28ae34601dab8p-22) NEXT(2, 0x1.71df271f4324p-19) \
    NEXT(3, 0x1.a019994461daep-16) NEXT(4, 0x1.a01a0128fe083p-13) NEXT(5, 0x1.6c16c1846fc5ap-10) \
    NEXT(6, 0x1.111111112817p-7) NEXT(7, 0x1.5555555550754p-5) NEXT(8, 0x1.55555555554f8p-3) NEXT(9, 0x1.000000000000ap-1)
enum { EXP_Q_TERMS = 10 };          /* of the longer one */

/* 2^(k - K) from t, see above. */
static inline float power_of_two_f32(float t) { return f32_of_bits(bits_of_f32(t) << 23); }
static inline double power_of_two_f64(double t) { return f64_of_bits(bits_of_f64(t) << 52); }

/* One exp, of which the exact value is nearly the sum of the result and *tail: for what a row has one of. */
static inline double exp_f64_with_tail(double x, double magic, double *tail)
{
    double t = fma_f64(x, LOG2_E, magic), k = t - magic;
    double high = fma_f64(k, -LN_2_HIGH_F64, x), low = k * -LN_2_LOW_F64, r = high + low;
    double q, s, y, rest, scale = power_of_two_f64(t);
#define FIRST(i, c) q = c;
#define NEXT(i, c) q = fma_f64(q, r, c);
    EXP_Q_F64(FIRST, NEXT)
#undef FIRST
#undef NEXT
    rest = fma_f64(r * r, q, low);
    s = high + rest;
    y = 1.0 + s;
    *tail = ((s - (y - 1.0)) + (rest - (s - high))) * scale;
    return y * scale;
}

/* The same to 2^-28 of it, which is exact enough for results in float, as is their polynomial. */
static inline double exp_f64_for_f32(double x, double magic)
{
    double t = fma_f64(x, LOG2_E, magic), k = t - magic, r = fma_f64(k, -LN_2, x), q;
#define FIRST(i, c) q = c;
#define NEXT(i, c) q = fma_f64(q, r, c);
    EXP_Q_F32(FIRST, NEXT)
#undef FIRST
#undef NEXT
    return (1.0 + fma_f64(r * r, q, r)) * power_of_two_f64(t);
}

/* The dst form, diff_dst - exp(dst) * S, has S in the polynomial's terms, and its sign: with f + f_low = -S,
 *
 *     g + 2^k (f + f r + f r^2 q(r) + f_low)
 *
 * 2^k is a factor, so that what is subnormal is not rounded twice, and 0 at DST_LO. The sum must leave room below for
 * f r^2 and its like. 2^k f_low must be too small to make of the largest g an infinity. What is beyond these limits is left
 * to backward_dst_*. */
#define DST_LO_F32 (-127 * (float)LN_2)
#define DST_HI_F32 40.0f
#define DST_LO_F64 (-1023 * LN_2)
#define DST_HI_F64 300.0

static inline int is_extreme_f32(double S) { return ((fabs(S) < 0x1p-100) & (S != 0)) | (fabs(S) > 0x1p+60); }
static inline int is_extreme_f64(double S) { return ((fabs(S) < 0x1p-960) & (S != 0)) | (fabs(S) > 0x1p+500); }

/* Whatever dst and S are. S is exact, S_low 0. */
static inline float backward_dst_f32(float g, float dst, double S, double S_low)
{
    double tail, e;
    (void)S_low;
    if (dst > EXP_F32_HI)
        e = INFINITY;
    else if (dst < EXP_F32_LO)
        e = 0;
    else
        e = exp_f64_with_tail(dst, MAGIC_F64 + BIAS_F64, &tail);
    return (float)(g - e * S);
}

/* 2^k, k = round(dst / ln 2), is shared out so that no factor is subnormal or infinite for its sake. */
static inline double backward_dst_f64(double g, double dst, double S, double S_low)
{
    double k = floor(dst * LOG2_E), tail, y, result;
    int exponent, half;
    if (!(dst <= EXP_F64_HI && dst >= EXP_F64_LO && fabs(S) < INFINITY))
        return g - (dst > EXP_F64_HI ? INFINITY : dst < EXP_F64_LO ? 0 : 1 + dst * 0) * S;
    y = exp_f64_with_tail(dst, MAGIC_F64 + BIAS_F64 - k, &tail);
    frexp(S, &exponent);
    half = (exponent + (int)k) / 2;
    if (half < -1000)                       /* the product is 0 for certain */
        return g;
    S = ldexp(S, half - exponent);
    S_low = ldexp(S_low, half - exponent);
    y = ldexp(y, (int)k - (half - exponent));
    tail = ldexp(tail, (int)k - (half - exponent));
    result = fma_f64(-y, S, g - (tail * S + y * S_low));
    return fabs(result) < INFINITY ? result : fma_f64(-y, S, g);    /* the small part may have made g infinite */
}

/* log(1 + x + tail) for x >= 0 and a tail below half an ulp of x; about 0.6 ulp.
 *
 * 1 + x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), and, with s = f / (2 + f),
 *
 *     log(1 + f)  =  2 atanh(s)  =  2 s + s R,    R = 2/3 s^2 + 2/5 s^4 + 2/7 s^6 + ...
 *                 =  f - (f^2 / 2 - s (f^2 / 2 + R))
 *
 * What 1 + x loses in rounding, c, comes back as c / (1 + x). s^2 < 0.0295: eleven terms of the
 * series leave less than 2^-59. */
#define SQRT_HALF 0x3fe6a09e667f3bcdull     /* its bits */
static inline double log1p_f64(double x, double tail)
{
    double u = 1.0 + x;
    double big = x > 1.0 ? x : 1.0, small = x > 1.0 ? 1.0 : x;
    double c = (small - (u - big)) + tail;
    /* Arithmetic in uint64_t: the exponent is at least that of sqrt(1/2), since u >= 1. */
    uint64_t k = (bits_of_f64(u) - SQRT_HALF) >> 52;
    double f = f64_of_bits(bits_of_f64(u) - (k << 52)) - 1.0;
    double s = f / (2.0 + f), z = s * s, half_square = 0.5 * f * f, R;
    double e = f64_of_bits(bits_of_f64(0x1p52) + k) - 0x1p52;     /* k as double: a conversion that vectorises */
    R = fma_f64(2.0 / 23, z, 2.0 / 21);
    R = fma_f64(R, z, 2.0 / 19);
    R = fma_f64(R, z, 2.0 / 17);
    R = fma_f64(R, z, 2.0 / 15);
    R = fma_f64(R, z, 2.0 / 13);
    R = fma_f64(R, z, 2.0 / 11);
    R = fma_f64(R, z, 2.0 / 9);
    R = fma_f64(R, z, 2.0 / 7);
    R = fma_f64(R, z, 2.0 / 5);
    R = fma_f64(R, z, 2.0 / 3);
    R *= z;
    c = fma_f64(e, LN_2_LOW_F64, c / u);
    return fma_f64(e, LN_2_HIGH_F64, f - ((half_square - fma_f64(s, half_square + R, c))));
}

/* log(1 + x) for x >= 0, to 2^-28 of it, as 2 s + s R: one division, and four terms of the series. c is 0 for x > 1, NaN
 * for what is not finite. */
static inline double log1p_f64_for_f32(double x)
{
    double u = 1.0 + x, c = x > 1.0 ? u - u : x - (u - 1.0);
    uint64_t k = (bits_of_f64(u) - SQRT_HALF) >> 52;
    double f = f64_of_bits(bits_of_f64(u) - (k << 52)) - 1.0;
    double e = f64_of_bits(bits_of_f64(0x1p52) + k) - 0x1p52;
    double s = f / (2.0 + f), z = s * s, R;
    R = fma_f64(2.0 / 9, z, 2.0 / 7);
    R = fma_f64(R, z, 2.0 / 5);
    R = fma_f64(R, z, 2.0 / 3);
    R *= z;
    return fma_f64(e, LN_2, fma_f64(s, R, s + s + c));
}

/* The rounding error of p = a * b, exactly. */
static inline double product_error(double a, double b, double p)
{
#if FASTLSM_HAS_FMA
    return fma_f64(a, b, -p);
#else
    /* Dekker's product of Veltkamp's halves; |a| and |b| below 2^990 */
    double t = 134217729.0 * a, a_high = t - (t - a), a_low = a - a_high;
    double w = 134217729.0 * b, b_high = w - (w - b), b_low = b - b_high;
    return ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low;
#endif
}

/* x cut to what float holds, if that is not subnormal. */
static inline double cut_to_f32(double x)
{
    return f64_of_bits(bits_of_f64(x) & ~(uint64_t)0x1fffffff);
}

/* f, or its neighbour towards 0 where rounding to f went away from 0: `rest` is what it lost. */
static inline double toward_zero_f64(double f, double rest)
{
    return f64_of_bits(bits_of_f64(f) - (f > 0 ? rest < 0 : (f < 0) & (rest > 0)));
}

/* g - y * (f + f_low), where f_low is what cutting to f has lost: with an error of y below 1 ulp this stays
 * within 2 units in the last place. f_low has f's sign, so that g - y * f_low, which comes first because
 * it is the better place for a rounding, overflows only if the result does. */
static inline float minus_product_f32(float g, float y, float f, float f_low)
{
#if FASTLSM_HAS_FMA
    return fma_f32(y, -f, fma_f32(y, -f_low, g));
#else
    return (float)((double)g - (double)y * ((double)f + (double)f_low));
#endif
}

static inline double minus_product_f64(double g, double y, double f, double f_low)
{
#if FASTLSM_HAS_FMA
    return fma_f64(y, -f, fma_f64(y, -f_low, g));
#else
    /* Near the smallest normal number the product's error would be lost: not so 2^128 above it. */
    double up = fabs(g) + fabs(y * f) < 0x1p-900 ? 0x1p128 : 1.0;
    double down = up > 1.0 ? 0x1p-128 : 1.0;
    double p = y * (f * up), difference = g * up - p;
    double result = difference - (product_error(y, f * up, p) + y * (f_low * up));
    return down * (result == result ? result : difference);   /* y itself may be too large for product_error */
#endif
}

#endif
