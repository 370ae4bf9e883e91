/* The last step of each form: from the constants of a row, and `count` vectors of its operands, to `count` vectors of
 * its result. With m = max(src) and S = sum(diff_dst):
 *
 *     log_softmax   dst      = (src - m) - L                              L = log(sum(exp(src - m)))
 *     src form      diff_src = diff_dst - exp(src - shift) 2^-K * F       F = S / sum(exp(src - shift) 2^-K)
 *     dst form      diff_src = diff_dst - exp(dst) * S
 *
 * A class with much of a row's mass would lose its last bits: its softmax is nearly 1, and what counts is 1 - softmax.
 * The src form has constants of its own for it, the dst form an order of its operations.
 *
 * A step reads its operands and constants through readers. So one step serves rows and columns, whole vectors and ends.
 */
#ifndef FASTLSM_STEPS_HPP
#define FASTLSM_STEPS_HPP

#include "bits.hpp"
#include "exp.hpp"
#include "item.hpp"
#include "tuning.hpp"

namespace {

/* What the last two passes need to know of a row. A name is a place among the constants: see Constants. */
enum Constant {
    FACTOR,       /* log_softmax: L. src form: F. dst form: -S */
    FACTOR_LOW,   /* what FACTOR lost when it was rounded or cut; log_softmax does not read it */
    FACTOR_REST,  /* dst form: FACTOR times the rest of ln 2 */
    MAXIMUM,      /* m; the dst form reads neither this nor what follows */
    SHIFT,        /* is subtracted from src before exp */
    MAGIC,        /* `magic` of exp.hpp */
    LOWEST,       /* `lowest` of exp.hpp */
    LARGEST,      /* src form: the exp of the largest class, if it has more than half of the mass, or NO_EXP */
    LARGEST_HIGH, /* that class's softmax times S is LARGEST_HIGH + LARGEST_LOW */
    LARGEST_LOW,
    CONSTANTS,
    LOST_MAGIC = FACTOR_REST,  /* src form, until the sum of exp is known: `lost_magic` of exp.hpp */
    LARGEST_LOST = LARGEST_LOW /* until then: what LARGEST has lost in rounding */
};

/* Stands for LARGEST where no class has more than half of the mass: no exp is this. */
constexpr int NO_EXP = -1;

/* The constants of the rows or columns that are computed together, side by side, and the sums that they come from. */
struct Constants {
    char *values;                      /* of the arithmetic's type: each Constant of all rows, one after the other */
    ptrdiff_t pitch;                   /* bytes from a Constant to the next */
    double *diff_dst_hi, *diff_dst_lo; /* the sum of diff_dst, divided by `boost` */
    double *boost;                     /* a power of two, by which exp is multiplied */
    double *exps_hi, *exps_lo;         /* the sum of exp */
    double *counts; /* what is counted beside exp, as `Counted` says; then what mark_little_rests makes of it */

    template <class R> R *of(int constant) const { return (R *)(values + constant * pitch); }
};

/* The pitch of constants: of a tile's columns, and of a batch of rows. It is no power of two, so that the constants of
 * a row do not fall into one set of the caches. */
constexpr ptrdiff_t TILE_PITCH = (WIDEST_TILE + 2 * LANES) * sizeof(double);
constexpr ptrdiff_t ROW_PITCH = (MOST_TOGETHER + LANES) * sizeof(double);

/* The same in elements: a number that the compiler knows takes no register. */
template <class R> constexpr ptrdiff_t TILE_STRIDE = TILE_PITCH / sizeof(R);
template <class R> constexpr ptrdiff_t ROW_STRIDE = ROW_PITCH / sizeof(R);

/* The constants from column c on. */
inline Constants from_column(bool in_double, const Constants &of, ptrdiff_t c)
{
    return { of.values + c * real_size(in_double),
             of.pitch,
             of.diff_dst_hi + c,
             of.diff_dst_lo + c,
             of.boost + c,
             of.exps_hi + c,
             of.exps_lo + c,
             of.counts + c };
}

/* How the vectors that go through a step together lie. */
enum class Way {
    ALONG,  /* one after the other in a row: they have all constants in common */
    BESIDE, /* one after the other in a row of columns: each element has constants of its own */
    BELOW   /* in rows below each other, of the same columns: each vector has the same constants */
};

/* The constants of the columns from `at` on, or of short rows that were turned to columns. */
template <class R, Way way> struct ConstantReader {
    const R *at;

    ALWAYS_INLINE Vector<R> operator()(int constant, int k) const
    {
        const R *of = at + constant * TILE_STRIDE<R>;
        return load_vector(way == Way::BESIDE ? of + k * WIDTH<Vector<R>> : of);
    }
};

/* The constants of one row. */
template <class R> struct ConstantReader<R, Way::ALONG> {
    const R *at;

    ALWAYS_INLINE R one(int constant) const { return at[constant * ROW_STRIDE<R>]; }
    ALWAYS_INLINE Vector<R> operator()(int constant, int) const { return splat(one(constant)); }
};

/* Readers of an operand. load_unit(x, k) loads the unit that begins with vector k. */

/* Whole vectors, one after the other. */
template <class T> struct Whole {
    using Elements = T;
    const T *at;
    ALWAYS_INLINE void load_unit(typename Item<T>::V *x, int k) const
    {
        Item<T>::template load<Item<T>::UNIT>(x, at + k * WIDTH<typename Item<T>::V>);
    }
};
/* Vectors of rows below each other. */
template <class T> struct Below {
    using Elements = T;
    const T *at;
    ptrdiff_t pitch; /* bytes from a row to the next */
    ALWAYS_INLINE void load_unit(typename Item<T>::V *x, int k) const
    {
        *x = Item<T>::load((const T *)((const char *)at + k * pitch));
    }
};
/* The first elements of one unit. */
template <class T> struct First {
    using Elements = T;
    const T *at;
    ptrdiff_t elements;
    Arithmetic<T> fill;
    ALWAYS_INLINE void load_unit(typename Item<T>::V *x, int) const { Item<T>::load_first(x, at, elements, fill); }
};

/* f(k, x) for each of `count` vectors, as soon as it is loaded: so few registers wait. */
template <int count, class Reader, class F> ALWAYS_INLINE void for_each_vector(Reader from, F f)
{
    using I = Item<typename Reader::Elements>;
    for (int k = 0; k < count; k += I::UNIT) {
        typename I::V x[I::UNIT];
        from.load_unit(x, k);
        for (int u = 0; u < I::UNIT; u++)
            f(k + u, x[u]);
    }
}

/* What is counted while exp is taken. */
enum class Counted {
    NOTHING,
    TIES, /* log_softmax: the elements at the maximum. They become 0, and exp need not be exact */
    LOST  /* what exp has lost in rounding, in LOST_UNIT */
};

/* e becomes 0 where x is the maximum, and each such place is -1 in `minus_ties`. */
template <class R> ALWAYS_INLINE Vector<R> set_apart(Vector<R> e, Vector<R> x, Vector<R> max, BitsVector<R> *minus_ties)
{
    *minus_ties = (BitsVector<R>)(x == max);
    return (Vector<R>)((BitsVector<R>)e & ~*minus_ties);
}

/* exp(x - SHIFT) * 2^-K, and what is counted of each element. */
template <int count, Counted counted, class R, class C, class X>
ALWAYS_INLINE void exp_step(Vector<R> *y, BitsVector<R> *counts, C constants, X from)
{
    Vector<R> x[count], shift[count], magic[count], lowest[count], lost_magic[count];
    for_each_vector<count>(from, [&](int k, Vector<R> v) { x[k] = v; });
    for (int k = 0; k < count; k++) {
        shift[k] = constants(SHIFT, k);
        magic[k] = constants(MAGIC, k);
        lowest[k] = constants(LOWEST, k);
        if constexpr (counted == Counted::LOST)
            lost_magic[k] = constants(LOST_MAGIC, k);
    }
    if constexpr (counted == Counted::TIES) {
        rough_exp_vectors<count, R>(y, x, shift, magic, lowest);
        for_each_vector<count>(
            from, [&](int k, Vector<R> v) { y[k] = set_apart<R>(y[k], v, constants(MAXIMUM, k), counts + k); });
    } else {
        exp_vectors<count, counted == Counted::LOST, R>(y, x, shift, magic, lowest, lost_magic, counts);
    }
}

/* The count of one place, from the sum of what exp_step has given for its `elements` elements. */
template <Counted counted, class R>
ALWAYS_INLINE double count_of(typename Real<R>::Bits sum, ptrdiff_t elements, R lost_magic)
{
    using Bits = typename Real<R>::Bits;
    if (counted == Counted::TIES)
        return (double)(Bits)-sum;
    return (double)(typename Real<R>::Signed)(sum - (Bits)elements * bits_of(lost_magic));
}

/* A reader of exp where memory has src: exp is taken on the way. */
template <class C, class X> struct ExpOf {
    C constants;
    X src;
};
template <class Reader> constexpr bool IS_EXP_OF = false;
template <class C, class X> constexpr bool IS_EXP_OF<ExpOf<C, X>> = true;

template <int count, class R, class Reader> ALWAYS_INLINE void load_exp(Vector<R> *e, Reader exp)
{
    if constexpr (IS_EXP_OF<Reader>)
        exp_step<count, Counted::NOTHING, R>(e, nullptr, exp.constants, exp.src);
    else
        for_each_vector<count>(exp, [&](int k, Vector<R> v) { e[k] = v; });
}

template <class R> struct LogSoftmaxStep {
    static constexpr bool FROM_EXP = false;
    static constexpr Constant READS[] = { FACTOR, MAXIMUM };
    template <int count, class C, class G, class X> ALWAYS_INLINE void operator()(Vector<R> *y, C constants, G, X src)
    {
        for_each_vector<count>(src,
                               [&](int k, Vector<R> x) { y[k] = (x - constants(MAXIMUM, k)) - constants(FACTOR, k); });
    }
    bool has_out_of_range() const { return false; }
};

/* g - y * (f + f_low), where f_low is what f lost when it was cut. */
inline float minus_product(float g, float y, float f, float f_low)
{
    return (float)((double)g - (double)y * ((double)f + (double)f_low));
}
inline double minus_product(double g, double y, double f, double f_low)
{
    /* Near the smallest normal number the product's error would be lost: not so 2^128 above it. */
    double up = fabs(g) + fabs(y * f) < 0x1p-900 ? 0x1p128 : 1.0;
    double down = up > 1.0 ? 0x1p-128 : 1.0;
    double p = y * (f * up);
    Sum difference = add({ g * up, 0 }, { -p, 0 });
    double result = difference.hi + (difference.lo - (product_error(y, f * up, p) + y * (f_low * up)));
    return down * (result == result ? result : difference.hi); /* y itself may be too large for product_error */
}
template <class R> NOINLINE Vector<R> minus_products(Vector<R> g, Vector<R> y, Vector<R> f, Vector<R> f_low)
{
    for (int i = 0; i < WIDTH<Vector<R>>; i++)
        g[i] = minus_product(g[i], y[i], f[i], f_low[i]);
    return g;
}

/* g - (p + rest), rounded once: with what g - p has lost (Knuth's two-sum). The rest is a few last bits of p. */
template <class R> ALWAYS_INLINE Vector<R> difference(Vector<R> g, Vector<R> p, Vector<R> rest)
{
    Vector<R> s = g - p, minus_p = s - g, lost = (g - (s - minus_p)) - (p + minus_p);
    return s + (lost - rest);
}

/* The constants know the softmax of LARGEST's class, times S, more exactly than its exp and F give it. So its result
 * comes from them. */
template <class R> struct SrcStep {
    static constexpr bool FROM_EXP = true;
    template <int count, class C, class G, class E>
    ALWAYS_INLINE void operator()(Vector<R> *y, C constants, G diff_dst, E exp)
    {
        Vector<R> e[count], any_nan = {};
        load_exp<count, R>(e, exp);
        /* Bits are compared: 0 and -0 are not the same. */
        auto is_largest = [&](int k) { return (IntegersVector<R>)e[k] == (IntegersVector<R>)constants(LARGEST, k); };
        auto one_by_one = [&](int k, Vector<R> g) {
            return is_largest(k) ? (g - constants(LARGEST_HIGH, k)) - constants(LARGEST_LOW, k)
                                 : minus_products<R>(g, e[k], constants(FACTOR, k), constants(FACTOR_LOW, k));
        };
        if constexpr (!HAS_FMA) {
            for_each_vector<count>(diff_dst, [&](int k, Vector<R> g) { y[k] = one_by_one(k, g); });
            return;
        }
        for_each_vector<count>(diff_dst, [&](int k, Vector<R> g) {
            Vector<R> f = constants(FACTOR, k), p = e[k] * f;
            Vector<R> rest = Isa::fmadd(e[k], constants(FACTOR_LOW, k), Isa::fmadd(e[k], f, -p));
            y[k] = difference<R>(g, is_largest(k) ? constants(LARGEST_HIGH, k) : p,
                                 is_largest(k) ? constants(LARGEST_LOW, k) : rest);
            any_nan += y[k];
        });
        if (__builtin_expect(Isa::any((u64_vector)(any_nan != any_nan)), 0))
            for_each_vector<count>(diff_dst,
                                   [&](int k, Vector<R> g) { y[k] = y[k] == y[k] ? y[k] : one_by_one(k, g); });
    }
    bool has_out_of_range() const { return false; }
};

/* (g + s f) + s (x f + low), where s is a power of two. */
inline float sum_of_products(float g, float s, float f, float x, float low)
{
    return (float)(((double)g + (double)s * f) + (double)s * ((double)x * f + low));
}
inline double sum_of_products(double g, double s, double f, double x, double low)
{
    double p = x * f;
    Sum sum = add(add({ g, 0 }, { s * f, 0 }), { s * p, s * (product_error(x, f, p) + low) });
    return sum.hi + sum.lo;
}
template <class R>
NOINLINE Vector<R> sums_of_products(Vector<R> g, Vector<R> s, Vector<R> f, Vector<R> x, Vector<R> low)
{
    for (int i = 0; i < WIDTH<Vector<R>>; i++)
        g[i] = sum_of_products(g[i], s[i], f[i], x[i], low[i]);
    return g;
}
template <class R>
ALWAYS_INLINE Vector<R> sum_of_products_vector(Vector<R> g, Vector<R> s, Vector<R> f, Vector<R> x, Vector<R> low)
{
    if constexpr (HAS_FMA)
        return Isa::fmadd(s, Isa::fmadd(x, f, low), Isa::fmadd(s, f, g));
    else
        return sums_of_products<R>(g, s, f, x, low);
}

/* Whether the rest of ln 2 counts in the leading terms only: see DstStep. */
template <class R> constexpr bool LOW_IS_SMALL = sizeof(R) == sizeof(float);

/* The dst form, with f + f_low = -S, dst = k ln 2 + r and e = e^r - 1 = r + r^2 q(r):
 *
 *     (g + 2^k f) + 2^k (f e + f_low (1 + e))
 *
 * Where a class has nearly all the mass, k is 0 and g - S is exact. What is left is S (1 - softmax), and e is exact
 * there to its own last bits. With fused multiply-add r is x + k rest: x is exact, and the rest of ln 2 so small that
 * it only counts in the leading terms, in double in one more of them:
 *
 *     f e + f_low (1 + e)  =  low + x (f + (low + (f + low) x q(x))),    low = f_low + k f rest
 *
 * 2^k is a factor, so that a subnormal is not rounded twice, and it is 0 at DST_LOW. |S| must not be so small that
 * f r^2 becomes subnormal, nor so large that 2^k f counts beside the largest g. dst.hpp computes again what is beyond
 * these limits. */
template <class R> struct DstStep {
    static constexpr bool FROM_EXP = false;
    static constexpr Constant READS[] = { FACTOR, FACTOR_LOW, FACTOR_REST };
    /* The largest dst, as integers of the same bits: these order what is above 0 alike, and their maximum is the
     * quicker one. NaN may count as large. */
    IntegersVector<R> largest = {};

    template <int count, class C, class G, class X>
    ALWAYS_INLINE void operator()(Vector<R> *y, C constants, G diff_dst, X dst)
    {
        Vector<R> x[count], t[count], k[count], q[count], low[count], magic[count];
        for_each_vector<count>(dst, [&](int v, Vector<R> d) { x[v] = Isa::maximum(splat(Real<R>::DST_LOW), d); });
        for (int v = 0; v < count; v++)
            note((IntegersVector<R>)x[v]);
        for (int v = 0; v < count; v++)
            magic[v] = splat((R)(Real<R>::MAGIC + Real<R>::BIAS));
        reduce_argument<count>(x, t, k, magic, HAS_FMA ? Real<R>::LN_2_ROUNDED : Real<R>::LN_2_HIGH);
        for (int v = 0; v < count; v++)
            low[v] = Isa::fmadd(k[v], constants(FACTOR_REST, v), constants(FACTOR_LOW, v));
        for (int v = 0; v < count; v++)
            t[v] = power_of_two_vector<R>(t[v]);
        if constexpr (!HAS_FMA)
            for (int v = 0; v < count; v++)
                x[v] += k[v] * splat(-Real<R>::LN_2_LOW);
        polynomial<count>(q, x, Real<R>::Q);
        for (int v = 0; v < count; v++)
            q[v] =
                Isa::fmadd(x[v] * q[v], LOW_IS_SMALL<R> ? constants(FACTOR, v) : constants(FACTOR, v) + low[v], low[v]);
        for (int v = 0; v < count; v++)
            q[v] = Isa::fmadd(x[v], q[v], low[v]);
        for_each_vector<count>(diff_dst, [&](int v, Vector<R> g) {
            y[v] = sum_of_products_vector<R>(g, t[v], constants(FACTOR, v), x[v], q[v]);
        });
    }
    bool has_out_of_range() const
    {
        return Isa::any((u64_vector)(largest > (IntegersVector<R>)splat(Real<R>::DST_HIGH)));
    }

private:
    ALWAYS_INLINE void note(IntegersVector<R> x) { largest = x > largest ? x : largest; }
};

} // namespace
#endif
