/* The two types that fastlsm computes in, as one struct of facts for each.
 *
 * exp(x) = 2^k (1 + r + r^2 q(r)), with k = round(x / ln 2) and r = x - k ln 2; exp.hpp says more. Q is a minimax
 * polynomial of (e^r - 1 - r) / r^2 over |r| <= 1.002 ln(2) / 2, its highest power first. It leaves an error of 2^-28.3
 * of e^r in float and of 2^-57.9 in double.
 *
 * Where k is a multiple of 1 / ROOTS, r is as much smaller. Then ROOT_Q leaves 2^-32.2 and 2^-57.6. ROOT is 2^(i /
 * ROOTS), rounded; times 1 + ROOT_REST, it is exact.
 */
#ifndef FASTLSM_REAL_HPP
#define FASTLSM_REAL_HPP

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "half.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))
/* For the loops of one element type. Inlined beside each other, they would leave one another too few registers. */
#define NOINLINE __attribute__((noinline))

/* Before a loop over rows: what one row writes, no other reads. Without that, compilers would have to compare too many
 * addresses to compute the rows side by side. */
#ifdef __clang__
#define ROWS_ARE_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define ROWS_ARE_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace {

constexpr double LOG2_E = 1.4426950408889634074;
constexpr double LN_2 = 0.69314718055994530942;

/* The most exps of which Real<R>::Signed counts what rounding has lost. */
constexpr ptrdiff_t MOST_COUNTED = 4096;

template <class R> struct Real;

template <> struct Real<float> {
    using Bits = uint32_t;
    using Signed = int32_t;
    static constexpr int MANTISSA = 23, BIAS = 127;
    /* A number to which an integer can be added so that it stands in the sum's last bits. */
    static constexpr float MAGIC = 0x1.8p+23f;
    /* ln 2 in two parts. The first is short enough that k times it is exact without fused multiply-add. */
    static constexpr float LN_2_HIGH = 0x1.63p-1f, LN_2_LOW = -0x1.bd0106p-13f;
    /* ln 2 rounded to this type, and the rest. */
    static constexpr float LN_2_ROUNDED = 0x1.62e43p-1f, LN_2_REST = -0x1.05c61p-29f;
    static constexpr int Q_TERMS = 5;
    static constexpr float Q[Q_TERMS] = { 0x1.6a2276p-10f, 0x1.123b04p-7f, 0x1.5558f8p-5f, 0x1.55549p-3f,
                                          0x1.fffffcp-2f };
    static constexpr int LOG2_ROOTS = 3, ROOTS = 1 << LOG2_ROOTS, ROOT_Q_TERMS = 3;
    static constexpr float ROOT_Q[ROOT_Q_TERMS] = { 0x1.554836p-5f, 0x1.555c7cp-3f, 0x1p-1f };
    static constexpr float ROOT[ROOTS] = {
        1, 0x1.172b84p0f, 0x1.306fep0f, 0x1.4bfdaep0f, 0x1.6a09e6p0f, 0x1.8ace54p0f, 0x1.ae89fap0f, 0x1.d5818ep0f
    };
    static constexpr float ROOT_REST[ROOTS] = { 0,
                                                -0x1.9c0c22p-27f,
                                                0x1.125002p-25f,
                                                -0x1.0a355p-25f,
                                                0x1.26055cp-26f,
                                                0x1.67a1cap-28f,
                                                -0x1.f9c304p-27f,
                                                -0x1.a5217cp-28f };
    /* An exp below 2 loses at most 2^-24: with this unit, MOST_COUNTED of them have room in Signed. */
    static constexpr float LOST_UNIT = 0x1p-42f;
    /* The dst form's loop computes exp between these two; mend_dst computes it above. */
    static constexpr float DST_LOW = -127 * (float)LN_2, DST_HIGH = 40;
    /* The largest x with a finite exp(x), and, nearly, the smallest with a normal one. */
    static constexpr float EXP_HIGH = 0x1.62e42ep+6f, EXP_LOW = -0x1.5d58ap+6f;
    /* From this size on, src - max(src) is exact where it matters (Sterbenz's lemma). */
    static constexpr double FAR_LOGITS = 256;
    /* Sums of diff_dst that the dst form's loop computes with, beside 0. */
    static constexpr double SMALL_SUM = 0x1p-100, LARGE_SUM = 0x1p+44;
};

template <> struct Real<double> {
    using Bits = uint64_t;
    using Signed = int64_t;
    static constexpr int MANTISSA = 52, BIAS = 1023;
    static constexpr double MAGIC = 0x1.8p+52;
    static constexpr double LN_2_HIGH = 0x1.62e42feep-1, LN_2_LOW = 0x1.a39ef35793c76p-33;
    static constexpr double LN_2_ROUNDED = 0x1.62e42fefa39efp-1, LN_2_REST = 0x1.abc9e3b39803fp-56;
    static constexpr int Q_TERMS = 10;
    static constexpr double Q[Q_TERMS] = { 0x1.ad7e8a1bb997dp-26, 0x1.28ae34601dab8p-22, 0x1.71df271f4324p-19,
                                           0x1.a019994461daep-16, 0x1.a01a0128fe083p-13, 0x1.6c16c1846fc5ap-10,
                                           0x1.111111112817p-7,   0x1.5555555550754p-5,  0x1.55555555554f8p-3,
                                           0x1.000000000000ap-1 };
    static constexpr int LOG2_ROOTS = 2, ROOTS = 1 << LOG2_ROOTS, ROOT_Q_TERMS = 7;
    static constexpr double ROOT_Q[ROOT_Q_TERMS] = { 0x1.a0009e6381dcfp-16, 0x1.a030dae34b9cdp-13,
                                                     0x1.6c16c38582194p-10, 0x1.111110a0c85bep-7,
                                                     0x1.55555555418c3p-5,  0x1.5555555557ed4p-3,
                                                     0x1.0000000000006p-1 };
    static constexpr double ROOT[ROOTS] = { 1, 0x1.306fe0a31b715p0, 0x1.6a09e667f3bcdp0, 0x1.ae89f995ad3adp0 };
    static constexpr double ROOT_REST[ROOTS] = { 0, 0x1.34d754db0abb6p-55, -0x1.3b3efbf5e2228p-54,
                                                 0x1.c1a7792cb3387p-55 };
    static constexpr double LOST_UNIT = 0x1p-75;
    static constexpr double DST_LOW = -1023 * LN_2, DST_HIGH = 300;
    static constexpr double EXP_HIGH = 0x1.62e42fefa39efp+9, EXP_LOW = -0x1.6232bdd7abcd2p+9;
    static constexpr double FAR_LOGITS = 2048;
    static constexpr double SMALL_SUM = 0x1p-960, LARGE_SUM = 0x1p+500;
};

inline uint32_t bits_of(float x) { return bits_of_f32(x); }
inline float real_of_bits(uint32_t u) { return f32_of_bits(u); }
inline uint64_t bits_of(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
inline double real_of_bits(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* a * b + c, rounded once where the processor can, and then in the same places on all of them. */
#if defined(__FMA__) || defined(__aarch64__) || defined(__FP_FAST_FMA)
constexpr bool HAS_FMA = true;
inline float fmadd(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fmadd(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
constexpr bool HAS_FMA = false;
inline float fmadd(float a, float b, float c) { return a * b + c; }
inline double fmadd(double a, double b, double c) { return a * b + c; }
#endif

/* q(r) by Horner's rule, in double or in the polynomial's own type. */
template <class R, class X> ALWAYS_INLINE X exp_polynomial(X r)
{
    X q = Real<R>::Q[0];
#pragma GCC unroll 16
    for (int i = 1; i < Real<R>::Q_TERMS; i++)
        q = fmadd(q, r, (X)Real<R>::Q[i]);
    return q;
}

/* 2^(k - K), where t = MAGIC + BIAS + k - K: its last bits, moved to the exponent's place. */
template <class R> ALWAYS_INLINE R power_of_two(R t) { return real_of_bits(bits_of(t) << Real<R>::MANTISSA); }

/* An element in memory, as a number of the arithmetic. */
inline float widened(float x) { return x; }
inline double widened(double x) { return x; }
inline float widened(bf16 x) { return f32_from_bf16(x); }
inline float widened(f16 x) { return f32_from_f16(x); }

/* A number of the arithmetic to an element in memory, rounded once. */
template <class R> inline void narrow(R x, float *to) { *to = (float)x; }
template <class R> inline void narrow(R x, double *to) { *to = x; }
inline void narrow(float x, bf16 *to) { *to = bf16_from_f32(x); }
inline void narrow(double x, bf16 *to) { *to = bf16_from_f64(x); }
inline void narrow(float x, f16 *to) { *to = f16_from_f32(x); }
inline void narrow(double x, f16 *to) { *to = f16_from_f64(x); }

/* A sum in two parts, hi + lo. In float's arithmetic only a row of several parts has a lo, and it is tiny. */
struct Sum {
    double hi, lo;
};

/* a + b, with the rounding error of the leading sum in lo (Knuth's two-sum). Of infinite and NaN sums only hi counts.
 */
inline Sum add(Sum a, Sum b)
{
    double s = a.hi + b.hi, t = s - a.hi;
    return { s, ((a.hi - (s - t)) + (b.hi - t)) + (a.lo + b.lo) };
}

} // namespace
#endif
