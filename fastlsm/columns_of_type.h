/* Included by columns_of_real.h, once for each type of element.
 *
 * `next` are rows of another tile, if any, which are copied meanwhile, from row `row` on, as many as there are here.
 */

/* Each type is compiled apart: together, they would leave one another too few registers. */
#define APART static __attribute__((noinline))

/* Constants of many columns do not fit in the first-level cache: then they are loaded once for four rows. */
#define COLUMNS_LOOP(next, first_row) \
    const int type = TYPE; \
    const Pitches pitch = *pitches; \
    for (ptrdiff_t j = first_row, copied = 0, count; rows; j += count, rows -= count, copied = 0) { \
        count = rows >= 4 && n * (ptrdiff_t)sizeof(REAL) >= MANY_COLUMNS ? 4 : 1; \
        ask_ahead(&pitch, y, x, count, BYTES(n)); \
        if (count == 4) { \
            for (ptrdiff_t i = 0; i < n; i += WIDTH) { \
                if (i + WIDTH > n) \
                    i = n - WIDTH; \
                STEP(SKIP(y, i), SKIP(g, i), SKIP(x, i), pitch, of + i, DOWN, 4); \
                copied += copy_some(next, j, copied, BYTES(WIDTH)); \
            } \
        } else { \
            LOOP(SIDE_BY_SIDE, BESIDE, 1, ) \
        } \
        copy_rest(next, j, copied, count); \
        y = (char *)y + count * pitch.y; \
        g = BELOW(g, count * pitch.g); \
        x = BELOW(x, count * pitch.x); \
    }
#define BESIDE(y, g, x, of, count) STEP(y, g, x, NEIGHBOURS, of, SIDE_BY_SIDE, count)

APART void TYPED(dst_columns)(void *y, const void *g, const void *x, const Pitches *pitches, ptrdiff_t rows, ptrdiff_t n,
                              const REAL *of, ptrdiff_t stride, const double *hi, const double *lo, int extreme,
                              const Copy *next, ptrdiff_t row)
{
    VECTOR top = SPLAT(LIMIT(DST_LO));
    ptrdiff_t all = rows;
#define STEP(y, g, x, pitch, of, way, count) NAME(dst_step)(y, g, x, pitch, of, stride, way, type, &top, count)
    COLUMNS_LOOP(next, row)
#undef STEP
    if (extreme || any((u64_vector)(top > SPLAT(LIMIT(DST_HI)))))
        for (ptrdiff_t j = 1; j <= all; j++)
            NAME(mend_dst)((char *)y - j * pitch.y, BELOW(g, -j * pitch.g), BELOW(x, -j * pitch.x), n, hi, lo, 1, type);
}

APART void TYPED(src_columns)(void *y, const void *g, const void *x, const Pitches *pitches, ptrdiff_t rows, ptrdiff_t n,
                              const REAL *of, ptrdiff_t stride)
{
#define STEP(y, g, x, pitch, of, way, count) NAME(src_step)(y, g, x, pitch, of, stride, way, type, count)
    COLUMNS_LOOP(NULL, 0)
#undef STEP
}

/* x is exp. */
APART void TYPED(of_exp_columns)(void *y, const void *g, const void *x, const Pitches *pitches, ptrdiff_t rows, ptrdiff_t n,
                                 const REAL *of, ptrdiff_t stride, const Copy *next, ptrdiff_t row)
{
#define STEP(y, g, from, pitch, of, way, count) \
    NAME(of_exp_step)(y, g, (const REAL *)x + i, pitch, of, stride, way, type, count)
    COLUMNS_LOOP(next, row)
#undef STEP
}

APART void TYPED(forward_columns)(void *y, const void *x, const Pitches *pitches, ptrdiff_t rows, ptrdiff_t n, const REAL *of,
                                  ptrdiff_t stride)
{
    const void *g = x;
#define STEP(y, g, x, pitch, of, way, count) NAME(forward_step)(y, x, pitch, of, stride, way, type, count)
    COLUMNS_LOOP(NULL, 0)
#undef STEP
}

/* The maximum of each column and `max`, NaN passed over; n is a multiple of WIDTH. */
APART void TYPED(max_columns)(REAL *max, const void *x, ptrdiff_t rows, ptrdiff_t pitch, ptrdiff_t n)
{
    const int type = TYPE;
    for (ptrdiff_t count; rows; rows -= count, x = BELOW(x, count * pitch)) {
        count = rows < 4 ? 1 : 4;
        for (ptrdiff_t c = 0; c < n; c += WIDTH) {
            VECTOR top = NAME(load)(max + c);
            for (ptrdiff_t k = 0; k < count; k++)
                top = NAME(max_vector)(LOAD(SKIP(BELOW(x, k * pitch), c), 0), top);
            NAME(store)(max + c, top);
        }
    }
}

/* exp, not added up; of all, or of what is below the maximum, the others being counted. n is a multiple of WIDTH. */
ALWAYS_INLINE void TYPED(exp_step)(REAL *e, const void *x, Pitches pitch, const REAL *of, ptrdiff_t stride, int way, int below,
                                   REAL *ties, int count)
{
    const int type = TYPE;
    VECTOR y[LIMIT(TOGETHER)];
    NAME(exp_vectors)(y, x, pitch.x, of, stride, way, below, type, count);
    if (below)
        EACH {
            REAL *to = ties + (way == DOWN ? 0 : AT(k));
            BITS one = {0};
            y[k] = NAME(below)(y[k], LOAD_APART(x, k, pitch.x), CONSTANT(OF_MAX, k), &one);
            NAME(store)(to, NAME(load)(to) + (VECTOR)((BITS)SPLAT(1) & -one));
        }
    NAME(store_typed)(e, pitch.y, y, way, ITEM_REAL, count);
}

ALWAYS_INLINE void TYPED(exp_loop)(void *y, const void *x, const Pitches *pitches, ptrdiff_t rows, ptrdiff_t n, const REAL *of,
                                   ptrdiff_t stride, int below, REAL *ties, const Copy *next, ptrdiff_t row)
{
    const void *g = x;
#define STEP(to, g, x, pitch, of, way, count) \
    TYPED(exp_step)((REAL *)y + i, x, pitch, of, stride, way, below, ties + i, count)
    COLUMNS_LOOP(next, row)
#undef STEP
}

APART void TYPED(exp_columns)(REAL *e, const void *x, const Pitches *pitch, ptrdiff_t rows, ptrdiff_t n, const REAL *of,
                              ptrdiff_t stride, REAL *ties, int below, const Copy *next, ptrdiff_t row)
{
    if (below)
        TYPED(exp_loop)(e, x, pitch, rows, n, of, stride, 1, ties, next, row);
    else
        TYPED(exp_loop)(e, x, pitch, rows, n, of, stride, 0, ties, next, row);
}

#undef APART
#undef COLUMNS_LOOP
#undef BESIDE
#undef TYPE
#undef TYPED
