/* The loops over elements, for float and double (loops_of_real.h), in the vectors of vectors.h.
 *
 * Several vectors go through each step together: a polynomial is a chain of dependent operations, and a processor
 * that does not see far enough ahead waits for most of them. Compilers vectorise such loops too, but do not interleave.
 */
#ifndef FASTLSM_LOOPS_H
#define FASTLSM_LOOPS_H

#include "column_lanes.h"
#include "lanes.h"
#include "traffic.h"
#include "vexp.h"

/* What the loops need to know of a row (Row in _kernels.pyx) or of each of a tile's columns, one after the other. */
enum constant {
    OF_FACTOR, OF_FACTOR_LOW, OF_TERMS,
    OF_MAX = OF_TERMS, OF_SHIFT, OF_MAGIC, OF_EXP_LO,       /* log_softmax and the src form have these instead of terms */
    CONSTANTS = OF_TERMS + EXP_Q_TERMS
};

enum { MANY_COLUMNS = 4096 };       /* bytes of one constant of each */
enum { BATCH = 16, BATCH_BELOW = 128 };     /* rows of the dst form that are done together, if shorter than that */
enum { AHEAD_BYTES = 2048 };        /* that rows are asked for ahead of their use, if they come from afar */

/* How the vectors that go through a step together lie. */
enum way { ROW, SIDE_BY_SIDE, DOWN };

/* Bytes from a row to the next, of result and operands (x is src, dst or exp), and to that which is asked for meanwhile, or
 * 0. Neighbours in a row need none. */
typedef struct { ptrdiff_t y, g, x, y_ahead, x_ahead; } Pitches;
#define NEIGHBOURS (Pitches){ 0, 0, 0, 0, 0 }

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void ask_ahead(const Pitches *pitch, const char *y, const char *x, ptrdiff_t rows, ptrdiff_t bytes)
{
    for (ptrdiff_t k = 0; k < rows; k++) {
        if (pitch->y_ahead)
            prefetch(y + k * pitch->y + pitch->y_ahead, bytes);
        if (pitch->x_ahead)
            prefetch(x + k * pitch->x + pitch->x_ahead, bytes);
    }
}

/* Rows that are copied while others are computed, if any (NULL). */
typedef struct {
    const char *source;
    char *to;
    ptrdiff_t source_pitch, to_pitch, bytes;
} Copy;

/* So many bytes more of four rows, from row `row` on, of which so many are `copied`; how many were. */
ALWAYS_INLINE ptrdiff_t copy_some(const Copy *copy, ptrdiff_t row, ptrdiff_t copied, ptrdiff_t bytes)
{
    if (!copy || copied + bytes > copy->bytes)
        return 0;
    for (int k = 0; k < 4; k++)
        memcpy(copy->to + (row + k) * copy->to_pitch + copied, copy->source + (row + k) * copy->source_pitch + copied, bytes);
    return bytes;
}

/* What is left of `rows` rows. */
ALWAYS_INLINE void copy_rest(const Copy *copy, ptrdiff_t row, ptrdiff_t copied, ptrdiff_t rows)
{
    if (copy)
        copy_rows(copy->to + row * copy->to_pitch + copied, copy->to_pitch, copy->source + row * copy->source_pitch + copied,
                  copy->source_pitch, rows, copy->bytes - copied, 0);
}

#define REAL float
#define NAME(name) name##_f32
#define LIMIT(name) name##_F32
#define VECTOR f32_vector
#define BITS u32_vector
#define BITS_NAME(name) name##_u32
#define WIDTH WIDTH_F32
#define MANTISSA 23
#include "loops_of_real.h"

#define REAL double
#define NAME(name) name##_f64
#define LIMIT(name) name##_F64
#define VECTOR f64_vector
#define BITS u64_vector
#define BITS_NAME(name) name##_u64
#define WIDTH WIDTH_F64
#define MANTISSA 52
#include "loops_of_real.h"

#endif
