/* Sums of rows in LANES lanes of double (bits.hpp): element j is added to lane j % LANES.
 *
 * double has room to spare for sums of float. For sums of double a second set of lanes, `lo`, collects the rounding
 * errors (Knuth's two-sum).
 */
#ifndef FASTLSM_LANES_HPP
#define FASTLSM_LANES_HPP

#include "bits.hpp"
#include "item.hpp"

namespace {

constexpr int LANE_VECTORS = LANES / WIDTH<f64_vector>;

/* How many vectors make a round: the fewest whole units after which every lane has received equally many elements. */
template <class T>
constexpr int ROUND =
    LANES / WIDTH<typename Item<T>::V> > Item<T>::UNIT ? LANES / WIDTH<typename Item<T>::V> : Item<T>::UNIT;

/* Elements of a round. */
template <class T> constexpr ptrdiff_t ROUND_ELEMENTS = ROUND<T> * WIDTH<typename Item<T>::V>;

/* x to hi; in double's arithmetic its rounding error to lo. */
template <class R> ALWAYS_INLINE void add_to(f64_vector *hi, f64_vector *lo, f64_vector x)
{
    if constexpr (sizeof(R) == sizeof(double)) {
        f64_vector s = *hi + x, t = s - *hi;
        *lo += (*hi - (s - t)) + (x - t);
        *hi = s;
    } else {
        *hi += x;
    }
}

/* The lanes in memory, in their own order: between two chunks of a row. */
struct LaneSums {
    double hi[LANES], lo[LANES];
};

/* Lane l + step to lane l, for each of the first `step` lanes. */
template <class R> ALWAYS_INLINE void fold_lanes(double *hi, double *lo, int step)
{
    for (int l = 0; l < step; l++) {
        if constexpr (sizeof(R) == sizeof(double)) {
            Sum sum = add({ hi[l], lo[l] }, { hi[l + step], lo[l + step] });
            hi[l] = sum.hi, lo[l] = sum.lo;
        } else {
            hi[l] += hi[l + step];
        }
    }
}

template <class R> ALWAYS_INLINE Sum total_of_lanes(LaneSums *sums)
{
#pragma GCC unroll 4
    for (int step = LANES / 2; step; step /= 2)
        fold_lanes<R>(sums->hi, sums->lo, step);
    return { sums->hi[0], sizeof(R) == sizeof(double) ? sums->lo[0] : 0 };
}

inline Sum total(bool in_double, LaneSums *sums)
{
    return in_double ? total_of_lanes<double>(sums) : total_of_lanes<float>(sums);
}

/* The lanes in vectors, while elements of type T are added. Where T comes in pairs of vectors, the even lanes stand
 * before the odd ones. */
template <class T> struct Lanes {
    using R = Arithmetic<T>;
    using V = Vector<R>;
    static constexpr bool EVEN_FIRST = Item<T>::UNIT == 2;
    static constexpr int HALVES = sizeof(R) == sizeof(double) ? 1 : 2; /* of a vector, when it is double */

    static constexpr bool WIDENS_VECTORS = std::is_same_v<T, f16> && !Isa::QUICK_F16_TO_F64;

    f64_vector hi[LANE_VECTORS], lo[LANE_VECTORS];

    Lanes() : hi(), lo() {}

    /* Where the i-th vector of double of a round belongs. */
    static constexpr int place(int i)
    {
        if (!EVEN_FIRST)
            return i % LANE_VECTORS;
        int odd = i >> 1 & 1;
        return odd * (LANE_VECTORS / 2) + ((i >> 1) - odd + (i & 1)) % (LANE_VECTORS / 2);
    }

    /* A round, from memory. Mostly it takes fewer operations to convert to double on loading than to take a vector
     * apart. */
    ALWAYS_INLINE void add_round(const T *x)
    {
        if constexpr (EVEN_FIRST || WIDENS_VECTORS) {
            V v[ROUND<T>];
            Item<T>::template load<ROUND<T>>(v, x);
            add_vectors<ROUND<T>>(v);
        } else {
            for (int i = 0; i < LANE_VECTORS; i++)
                add_to<R>(hi + i, lo + i, Item<T>::load_as_f64(x + i * WIDTH<f64_vector>));
        }
    }

    template <int count> ALWAYS_INLINE void add_vectors(const V *x)
    {
        for (int k = 0; k < count; k++) {
            f64_vector halves[HALVES];
            if constexpr (HALVES == 2)
                Isa::widen(halves, x[k]);
            else
                halves[0] = x[k];
            for (int h = 0; h < HALVES; h++)
                add_to<R>(hi + place(HALVES * k + h), lo + place(HALVES * k + h), halves[h]);
        }
    }

    /* `count` vectors of exp, in the order in which `Item<T>::load` gave their vectors. */
    template <int count> ALWAYS_INLINE void add_exps(const R *e)
    {
        for (int i = 0; i < HALVES * count; i++)
            add_to<R>(hi + place(i), lo + place(i), Item<R>::load_as_f64(e + i * WIDTH<f64_vector>));
    }

    ALWAYS_INLINE Sum total()
    {
        if constexpr (HALVES == 1) {
            LaneSums sums;
            write(&sums);
            return total_of_lanes<R>(&sums);
        } else {
            constexpr int halves = EVEN_FIRST ? 2 : 1; /* the tree adds the odd lanes' sum to the even lanes' at last */
            double sum[halves];
            for (int h = 0; h < halves; h++) {
                f64_vector *of = hi + h * (LANE_VECTORS / 2);
#pragma GCC unroll 4
                for (int step = LANE_VECTORS / halves / 2; step; step /= 2)
                    for (int i = 0; i < step; i++)
                        of[i] += of[i + step];
                sum[h] = Isa::sum_across(of[0]);
            }
            return { EVEN_FIRST ? sum[0] + sum[halves - 1] : sum[0], 0 };
        }
    }

    ALWAYS_INLINE void read(const LaneSums *from)
    {
        LaneSums sums = *from;
        if constexpr (EVEN_FIRST)
            for (int l = 0; l < LANES; l++)
                sums.hi[l % 2 * (LANES / 2) + l / 2] = from->hi[l];
        for (int i = 0; i < LANE_VECTORS; i++) {
            hi[i] = load_vector(sums.hi + i * WIDTH<f64_vector>);
            lo[i] = load_vector(sums.lo + i * WIDTH<f64_vector>);
        }
    }

    ALWAYS_INLINE void write(LaneSums *to) const
    {
        for (int i = 0; i < LANE_VECTORS; i++) {
            store_vector(to->hi + i * WIDTH<f64_vector>, hi[i]);
            store_vector(to->lo + i * WIDTH<f64_vector>, lo[i]);
        }
        if constexpr (EVEN_FIRST) {
            LaneSums sums = *to;
            for (int l = 0; l < LANES; l++)
                to->hi[l] = sums.hi[l % 2 * (LANES / 2) + l / 2];
        }
    }
};

} // namespace
#endif
