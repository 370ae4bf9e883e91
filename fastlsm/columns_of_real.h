/* Included by loops_of_real.h: the loops over columns, a row of a tile after the other, in columns_of_type.h; and what picks
 * that of an element's type.
 *
 * Each of n columns has its own constants. Rows of operands and result are so far apart as Pitches says.
 */
#define TYPE ITEM_REAL
#define TYPED(name) NAME(name##_of_real)
#include "columns_of_type.h"

#if MANTISSA == 23
#define TYPE ITEM_BF16_IN_ORDER
#define TYPED(name) NAME(name##_of_bf16)
#include "columns_of_type.h"

#define TYPE ITEM_F16
#define TYPED(name) NAME(name##_of_f16)
#include "columns_of_type.h"

#define PICK_TYPE(name, ...) \
    switch (type) { \
    case ITEM_BF16: NAME(name##_of_bf16)(__VA_ARGS__); break; \
    case ITEM_F16: NAME(name##_of_f16)(__VA_ARGS__); break; \
    default: NAME(name##_of_real)(__VA_ARGS__); \
    }
#else
#define PICK_TYPE(name, ...) (void)type; NAME(name##_of_real)(__VA_ARGS__);
#endif

static void NAME(backward_dst_columns)(void *y, const void *g, const void *x, const Pitches *pitch, ptrdiff_t rows, ptrdiff_t n,
                                       const REAL *of, ptrdiff_t stride, const double *hi, const double *lo, int extreme,
                                       const Copy *next, ptrdiff_t row, int type)
{
    PICK_TYPE(dst_columns, y, g, x, pitch, rows, n, of, stride, hi, lo, extreme, next, row)
}

static void NAME(backward_src_columns)(void *y, const void *g, const void *x, const Pitches *pitch, ptrdiff_t rows, ptrdiff_t n,
                                       const REAL *of, ptrdiff_t stride, int type)
{
    PICK_TYPE(src_columns, y, g, x, pitch, rows, n, of, stride)
}

static void NAME(backward_of_exp_columns)(void *y, const void *g, const REAL *e, const Pitches *pitch, ptrdiff_t rows,
                                          ptrdiff_t n, const REAL *of, ptrdiff_t stride, const Copy *next, ptrdiff_t row,
                                          int type)
{
    PICK_TYPE(of_exp_columns, y, g, e, pitch, rows, n, of, stride, next, row)
}

static void NAME(forward_columns)(void *y, const void *x, const Pitches *pitch, ptrdiff_t rows, ptrdiff_t n, const REAL *of,
                                  ptrdiff_t stride, int type)
{
    PICK_TYPE(forward_columns, y, x, pitch, rows, n, of, stride)
}

static void NAME(max_columns)(REAL *max, const void *x, ptrdiff_t rows, ptrdiff_t pitch, ptrdiff_t n, int type)
{
    PICK_TYPE(max_columns, max, x, rows, pitch, n)
}

static void NAME(exp_columns)(REAL *e, const void *x, const Pitches *pitch, ptrdiff_t rows, ptrdiff_t n, const REAL *of,
                              ptrdiff_t stride, REAL *ties, int below, const Copy *next, ptrdiff_t row, int type)
{
    PICK_TYPE(exp_columns, e, x, pitch, rows, n, of, stride, ties, below, next, row)
}

#undef PICK_TYPE
