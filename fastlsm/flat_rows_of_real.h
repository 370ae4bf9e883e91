/* Included by loops_of_real.h: adjacent short rows, gone through as one run of elements, so that no vector is partly empty.
 *
 * WIDTH rows of n elements are n whole vectors. What a row has one of is picked for each element from a vector of rows.
 */

/* Of each element of the n vectors, which of the WIDTH rows it is in. */
static void NAME(set_pattern)(void *pattern, ptrdiff_t n)
{
    __typeof__(((BITS){0})[0]) *row = pattern;
    for (ptrdiff_t r = 0; r < WIDTH; r++)
        for (ptrdiff_t j = 0; j < n; j++)
            *row++ = r;
}

/* The first constants of the dst form; is there a sum that they can not do (vexp.h)? */
static int NAME(set_dst_factors)(REAL *of, ptrdiff_t stride, const double *hi, const double *lo, ptrdiff_t rows)
{
    int extreme = 0;
    for (ptrdiff_t r = 0; r < rows; r++) {
        NAME(set_dst_factor)(of + r, stride, hi[r], lo[r]);
        extreme |= NAME(is_extreme)(hi[r]);
    }
    return extreme;
}

/* `count` vectors, of which the last has `last` elements, of the rows whose constants are at `of`. */
ALWAYS_INLINE void NAME(dst_flat_step)(char *y, const char *g, const char *x, const REAL *of, ptrdiff_t stride,
                                       const char *pattern, int type, VECTOR *top, int count, ptrdiff_t last)
{
    VECTOR u[4], v[4];
    REAL constants[CONSTANTS * AT(4)];
    EACH {
        ptrdiff_t elements = k < count - 1 ? WIDTH : last;
        BITS row;
        memcpy(&row, pattern + k * sizeof row, sizeof row);
        u[k] = NAME(load_first_typed)(SKIP(g, AT(k)), elements, SPLAT(0), type);
        v[k] = NAME(load_first_typed)(SKIP(x, AT(k)), elements, SPLAT(0), type);
        VECTOR f = NAME(pick)(NAME(load)(of + OF_FACTOR * stride), row);
        VECTOR f_low = NAME(pick)(NAME(load)(of + OF_FACTOR_LOW * stride), row);
        NAME(store)(constants + OF_FACTOR * AT(count) + AT(k), f);
        NAME(store)(constants + OF_FACTOR_LOW * AT(count) + AT(k), f_low);
#define TERM(i, c) NAME(store)(constants + (OF_TERMS + i) * AT(count) + AT(k), f * (REAL)(c));
        LIMIT(EXP_Q)(TERM, TERM)
#undef TERM
    }
    NAME(dst_step)(u, u, v, NEIGHBOURS, constants, AT(count), SIDE_BY_SIDE, ITEM_REAL, top, count);
    EACH NAME(store_first_typed)(SKIP(y, AT(k)), u[k], k < count - 1 ? WIDTH : last, type);
}

ALWAYS_INLINE int NAME(dst_flat_typed)(char *y, const char *g, const char *x, ptrdiff_t rows, ptrdiff_t n, const REAL *of,
                                       ptrdiff_t stride, const char *pattern, int ahead, Stream *stream, int type)
{
    VECTOR top = SPLAT(LIMIT(DST_LO));
    ptrdiff_t left = rows * n, bytes = BYTES(rows * n);
    for (; left > 0; of += WIDTH) {
        ptrdiff_t v = 0, count = 0;
        for (; v < n && left > 0; v += count, left -= AT(count)) {
            const char *row = pattern + v * VECTOR_BYTES;
            if (ahead) {
                prefetch(g + bytes, BYTES(AT(4)));
                prefetch(x + AHEAD_BYTES, BYTES(AT(4)));
            }
            if (stream)
                y = stream_at(stream);
            if (v + 4 <= n && left >= AT(4)) {
                NAME(dst_flat_step)(y, g, x, of, stride, row, type, &top, 4, WIDTH);
                count = 4;
            } else {
                NAME(dst_flat_step)(y, g, x, of, stride, row, type, &top, 1, left < WIDTH ? left : WIDTH);
                count = 1;
            }
            if (stream)
                stream_add(stream, BYTES(left < AT(count) ? left : AT(count)));
            y += BYTES(AT(count)), g += BYTES(AT(count)), x += BYTES(AT(count));
        }
    }
    return any((u64_vector)(top > SPLAT(LIMIT(DST_HI))));
}

/* The results, as of dst_rows: whether a dst is extreme. */
static int NAME(dst_flat)(void *y, const void *g, const void *x, ptrdiff_t rows, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                          const void *pattern, int ahead, Stream *stream, int type)
{
    FOR_EACH_TYPE(return NAME(dst_flat_typed)(y, g, x, rows, n, of, stride, pattern, ahead, stream, type))
    return 0;
}

/* log_softmax, when its constants are known. */
ALWAYS_INLINE void NAME(forward_flat_typed)(char *y, const char *x, ptrdiff_t rows, ptrdiff_t n, const REAL *of,
                                            ptrdiff_t stride, const char *pattern, int ahead, Stream *stream, int type)
{
    ptrdiff_t left = rows * n, bytes = BYTES(rows * n);
    for (; left > 0; of += WIDTH)
        for (ptrdiff_t v = 0; v < n && left > 0; v++, left -= WIDTH, y += BYTES(WIDTH), x += BYTES(WIDTH)) {
            ptrdiff_t count = left < WIDTH ? left : WIDTH;
            BITS row;
            memcpy(&row, pattern + v * sizeof row, sizeof row);
            if (ahead)
                prefetch(x + bytes, BYTES(WIDTH));
            VECTOR u = NAME(load_first_typed)(x, count, SPLAT(0), type);
            u = u - NAME(pick)(NAME(load)(of + OF_MAX * stride), row);
            u = u - NAME(pick)(NAME(load)(of + OF_FACTOR * stride), row);
            NAME(store_first_typed)(stream ? stream_at(stream) : y, u, count, type);
            if (stream)
                stream_add(stream, BYTES(count));
        }
}

static void NAME(forward_flat)(void *y, const void *x, ptrdiff_t rows, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                               const void *pattern, int ahead, Stream *stream, int type)
{
    FOR_EACH_TYPE(NAME(forward_flat_typed)(y, x, rows, n, of, stride, pattern, ahead, stream, type))
}
