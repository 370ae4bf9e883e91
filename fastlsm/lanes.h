/* Sums in 16 double lanes: hi[l] + lo[l] += x[l] + x[pitch + l] + x[2 * pitch + l] + ... */
#ifndef FASTLSM_LANES_H
#define FASTLSM_LANES_H

#include <stddef.h>
#include <string.h>

#if defined(__AVX512F__)
enum { WIDTH = 8 };
#elif defined(__AVX__)
enum { WIDTH = 4 };
#else
enum { WIDTH = 2 };
#endif
enum { LANE_COUNT = 16, VECTORS = LANE_COUNT / WIDTH };
typedef double f64_vector __attribute__((vector_size(WIDTH * sizeof(double))));

static inline void add_rows_f32(double *hi, double *lo, const float *x, ptrdiff_t rows, ptrdiff_t pitch)
{
    double sum[LANE_COUNT];
    (void)lo;                               /* double has room to spare for sums of float */
    memcpy(sum, hi, sizeof sum);
    for (ptrdiff_t i = 0; i < rows; i++, x += pitch)
        for (int l = 0; l < LANE_COUNT; l++)
            sum[l] += x[l];
    memcpy(hi, sum, sizeof sum);
}

/* The rounding errors are carried along (Knuth's two-sum). In vectors by name (gcc's and clang's own, of no
 * instruction set): left to themselves compilers find them in this loop only sometimes. */
static inline void add_rows_f64(double *hi, double *lo, const double *x, ptrdiff_t rows, ptrdiff_t pitch)
{
    f64_vector sum[VECTORS], rest[VECTORS], v;
    memcpy(sum, hi, sizeof sum);
    memcpy(rest, lo, sizeof rest);
    for (ptrdiff_t i = 0; i < rows; i++, x += pitch) {
        for (int k = 0; k < VECTORS; k++) {
            memcpy(&v, x + k * WIDTH, sizeof v);
            f64_vector s = sum[k] + v, t = s - sum[k];
            rest[k] += (sum[k] - (s - t)) + (v - t);
            sum[k] = s;
        }
    }
    memcpy(hi, sum, sizeof sum);
    memcpy(lo, rest, sizeof rest);
}

#endif
