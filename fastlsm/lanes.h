/* Sums in 16 double lanes, hi[l] + lo[l]: element j of a row or column is added to lane j % 16, and the lanes are
 * added as a fixed tree.
 *
 * double has room to spare for sums of float, and lo is not used; of double the rounding errors are carried along
 * (Knuth's two-sum).
 */
#ifndef FASTLSM_LANES_H
#define FASTLSM_LANES_H

#include "vectors.h"

enum { LANE_COUNT = 16, LANE_VECTORS = LANE_COUNT / WIDTH_F64 };

typedef struct { f64_vector hi, lo; } f64_sum;

static inline void add_vector_f64(f64_sum *sum, f64_vector x)
{
    f64_vector s = sum->hi + x, t = s - sum->hi;
    sum->lo += (sum->hi - (s - t)) + (x - t);
    sum->hi = s;
}

/* As `add` in _kernels.pyx. */
static inline void add_sum_f64(f64_sum *sum, const f64_sum *more)
{
    f64_vector s = sum->hi + more->hi, t = s - sum->hi;
    sum->lo = ((sum->hi - (s - t)) + (more->hi - t)) + (sum->lo + more->lo);
    sum->hi = s;
}

static inline void add_halves(f64_vector *sum, f32_vector x)
{
    f64_vector halves[2];
    widen_halves(halves, x);
    sum[0] += halves[0];
    sum[1] += halves[1];
}

/* x[l] to each lane l. Converted on loading, which takes fewer operations than taking a vector apart. */
static inline void add_row_f32(f64_vector *hi, f64_vector *lo, const float *x)
{
    (void)lo;
    for (int k = 0; k < LANE_VECTORS; k++)
        hi[k] += load_as_f64(x + k * WIDTH_F64);
}

/* Along a row: x is its k-th vector. */
static inline void add_to_lanes_f32(f64_vector *hi, f64_vector *lo, f32_vector x, int k)
{
    (void)lo;
    add_halves(hi + 2 * k % LANE_VECTORS, x);
}

static inline void add_to_lanes_f64(f64_vector *hi, f64_vector *lo, f64_vector x, int k)
{
    f64_sum sum = { hi[k % LANE_VECTORS], lo[k % LANE_VECTORS] };
    add_vector_f64(&sum, x);
    hi[k % LANE_VECTORS] = sum.hi;
    lo[k % LANE_VECTORS] = sum.lo;
}

static inline void add_row_f64(f64_vector *hi, f64_vector *lo, const double *x)
{
    for (int k = 0; k < LANE_VECTORS; k++)
        add_to_lanes_f64(hi, lo, load_f64(x + k * WIDTH_F64), k);
}

/* bfloat16 comes in vectors of even and of odd elements (loops_of_real.h): then the even lanes stand before the odd ones. */
enum { HALF_LANE_VECTORS = LANE_VECTORS / 2 };

/* Where the i-th half of a vector of float, as double, belongs. */
static inline int lane_vector(int i, int even_first)
{
    int odd = i >> 1 & 1;
    return even_first ? odd * HALF_LANE_VECTORS + ((i >> 1) - odd + (i & 1)) % HALF_LANE_VECTORS : i % LANE_VECTORS;
}

static inline void add_to_halves_of_lanes(f64_vector *hi, f32_vector x, int k)
{
    f64_vector halves[2];
    widen_halves(halves, x);
    for (int h = 0; h < 2; h++)
        hi[lane_vector(2 * k + h, 1)] += halves[h];
}

static inline void take_lanes(f64_vector *lanes, const double *from, int even_first)
{
    double halves[LANE_COUNT];
    for (int l = 0; even_first && l < LANE_COUNT; l++)
        halves[l % 2 * (LANE_COUNT / 2) + l / 2] = from[l];
    memcpy(lanes, even_first ? halves : from, sizeof halves);
}

static inline void put_lanes(double *to, const f64_vector *lanes, int even_first)
{
    double halves[LANE_COUNT];
    memcpy(even_first ? halves : to, lanes, sizeof halves);
    for (int l = 0; even_first && l < LANE_COUNT; l++)
        to[l] = halves[l % 2 * (LANE_COUNT / 2) + l / 2];
}

static inline void clear_lanes(double *lanes)
{
    f64_vector zero = { 0 };
    for (int k = 0; k < LANE_VECTORS; k++)
        store_f64(lanes + k * WIDTH_F64, zero);
}

/* The tree: the sum of the lanes, in the first. */
#define TREE(FOLD) FOLD(8) FOLD(4) FOLD(2) FOLD(1)

static inline void fold_row_f32(double *hi, double *lo)
{
    (void)lo;
#define FOLD(step) \
    for (int l = 0; l < step; l++) \
        hi[l] += hi[l + step];
    TREE(FOLD)
#undef FOLD
}

/* The same of lanes in registers, where vectors must have numbers that the compiler knows. */
static inline double fold_vectors(f64_vector *sums)
{
#define FOLD(step) \
    for (int k = 0; k < (step) && (step) < LANE_VECTORS; k++) \
        sums[k] += sums[k + (step)];
    TREE(FOLD)
#undef FOLD
    return sum_across_f64(sums[0]);
}

static inline void fold_row_f64(double *hi, double *lo)
{
#define FOLD(step) \
    for (int l = 0; l < step; l++) { \
        double s = hi[l] + hi[l + step], t = s - hi[l]; \
        lo[l] = ((hi[l] - (s - t)) + (hi[l + step] - t)) + (lo[l] + lo[l + step]); \
        hi[l] = s; \
    }
    TREE(FOLD)
#undef FOLD
}
#undef TREE

#endif
