/* Sums in 16 double lanes, hi[l] + lo[l]: element j of a row is added to lane j % 16.
 *
 * double has room to spare for sums of float, and lo is not used; of double the rounding errors are carried along
 * (Knuth's two-sum).
 */
#ifndef FASTLSM_LANES_H
#define FASTLSM_LANES_H

#include "vectors.h"

enum { LANE_COUNT = 16, LANE_VECTORS = LANE_COUNT / WIDTH_F64 };

/* x is the k-th vector of a row. */
static inline void add_to_lanes_f32(f64_vector *hi, f64_vector *lo, f32_vector x, int k)
{
    f64_vector halves[2];
    (void)lo;
    widen_halves(halves, x);
    hi[2 * k % LANE_VECTORS] += halves[0];
    hi[(2 * k + 1) % LANE_VECTORS] += halves[1];
}

static inline void add_to_lanes_f64(f64_vector *hi, f64_vector *lo, f64_vector x, int k)
{
    f64_vector a = hi[k % LANE_VECTORS], s = a + x, t = s - a;
    lo[k % LANE_VECTORS] += (a - (s - t)) + (x - t);
    hi[k % LANE_VECTORS] = s;
}

/* x[l] + x[pitch + l] + x[2 * pitch + l] + ... to each lane l */
#define ADD_ROWS(name, real, load, add, width) \
    static inline void name(double *hi, double *lo, const real *x, ptrdiff_t rows, ptrdiff_t pitch) \
    { \
        f64_vector his[LANE_VECTORS], los[LANE_VECTORS]; \
        memcpy(his, hi, sizeof his); \
        memcpy(los, lo, sizeof los); \
        for (ptrdiff_t i = 0; i < rows; i++, x += pitch) \
            for (int k = 0; k < LANE_COUNT / width; k++) \
                add(his, los, load(x + k * width), k); \
        memcpy(hi, his, sizeof his); \
        memcpy(lo, los, sizeof los); \
    }
ADD_ROWS(add_rows_f32, float, load_f32, add_to_lanes_f32, WIDTH_F32)
ADD_ROWS(add_rows_f64, double, load_f64, add_to_lanes_f64, WIDTH_F64)
#undef ADD_ROWS

#endif
