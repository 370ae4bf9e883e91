/* Included by loops_of_real.h: the loops over short rows, many in one call.
 *
 * The rows are `pitch` bytes apart. Each is gone through in rounds of LANE_COUNT elements, of which the last is filled up, in
 * the elements' own order. Constants are those of the first row; those of the next are one element further.
 */
enum { LIMIT(ROUND_VECTORS) = LANE_COUNT / WIDTH };

#define EACH_OF_ROUND for (int k = 0; k < LIMIT(ROUND_VECTORS); k++)
#define ASK_FOR_ROUND(x) \
    if (ahead) \
        prefetch(SKIP(x, i) + AHEAD_BYTES, BYTES(LANE_COUNT))
/* How many elements of a row the k-th vector of the round from element i on has. */
#define IN_VECTOR(k) (n - i - AT(k) < 0 ? 0 : n - i - AT(k) < WIDTH ? n - i - AT(k) : WIDTH)
/* The type of elements that are loaded one vector after the other. */
#define IN_ORDER (type == ITEM_BF16 ? ITEM_BF16_IN_ORDER : type)

ALWAYS_INLINE VECTOR NAME(load_first_typed)(const void *at, ptrdiff_t count, VECTOR fill, int type)
{
#if MANTISSA == 23
    if (type == ITEM_BF16)
        return load_first_bf16(at, count, fill);
    if (type == ITEM_F16)
        return load_first_f16(at, count, fill);
    return load_first_f32(at, count, fill);
#else
    (void)type;
    return load_first_f64(at, count, fill);
#endif
}

ALWAYS_INLINE void NAME(store_first_typed)(void *at, VECTOR x, ptrdiff_t count, int type)
{
#if MANTISSA == 23
    if (type == ITEM_BF16)
        store_first_bf16(at, x, count);
    else if (type == ITEM_F16)
        store_first_f16(at, x, count);
    else
        store_first_f32(at, x, count);
#else
    (void)type;
    store_first_f64(at, x, count);
#endif
}

ALWAYS_INLINE void NAME(load_round)(VECTOR *x, const void *row, ptrdiff_t i, ptrdiff_t n, VECTOR fill, int type)
{
    if (n - i >= LANE_COUNT)
        EACH_OF_ROUND x[k] = NAME(load_first_typed)(SKIP(row, i + AT(k)), WIDTH, fill, type);
    else
        EACH_OF_ROUND x[k] = NAME(load_first_typed)(SKIP(row, i + AT(k)), IN_VECTOR(k), fill, type);
}

ALWAYS_INLINE void NAME(store_round)(void *row, const VECTOR *x, ptrdiff_t i, ptrdiff_t n, int type)
{
    if (n - i >= LANE_COUNT)
        EACH_OF_ROUND NAME(store_first_typed)(SKIP(row, i + AT(k)), x[k], WIDTH, type);
    else
        EACH_OF_ROUND NAME(store_first_typed)(SKIP(row, i + AT(k)), x[k], IN_VECTOR(k), type);
}

/* The sum of a row, in two halves. */
ALWAYS_INLINE void NAME(short_total)(const void *x, ptrdiff_t n, double *high, double *low, int type, int ahead)
{
    f64_vector his[LANE_VECTORS] = {{0}}, los[LANE_VECTORS] = {{0}};
    ptrdiff_t i = type == ITEM_REAL ? NAME(sum_loop)(x, n, his, los, type, ahead) : 0;
    for (; i < n; i += LANE_COUNT) {
        VECTOR v[LIMIT(ROUND_VECTORS)];
        ASK_FOR_ROUND(x);
        NAME(load_round)(v, x, i, n, SPLAT(0), type);
        EACH_OF_ROUND NAME(add_to_lanes)(his, los, v[k], k);
    }
    NAME(fold_typed)(high, low, his, los, ITEM_REAL);
}

/* The sum of each row. */
ALWAYS_INLINE void NAME(sum_rows_typed)(const char *x, ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t n, int ahead, double *hi,
                                        double *lo, int type)
{
    for (ptrdiff_t r = 0; r < rows; r++)
        NAME(short_total)(x + r * pitch, n, hi + r, lo + r, type, ahead);
}

static void NAME(sum_rows)(const void *x, ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t n, int ahead, double *hi, double *lo,
                           int type)
{
    FOR_EACH_TYPE(NAME(sum_rows_typed)(x, pitch, rows, n, ahead, hi, lo, type))
}

/* The maximum of each row, NaN passed over. */
ALWAYS_INLINE void NAME(max_rows_typed)(REAL *max, const char *x, ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t n, int ahead,
                                        int type)
{
    for (ptrdiff_t r = 0; r < rows; r++, x += pitch) {
        VECTOR top = SPLAT(-INFINITY);
        for (ptrdiff_t i = 0; i < n; i += LANE_COUNT) {
            VECTOR v[LIMIT(ROUND_VECTORS)];
            ASK_FOR_ROUND(x);
            NAME(load_round)(v, x, i, n, SPLAT(-INFINITY), type);
            EACH_OF_ROUND top = NAME(max_vector)(v[k], top);
        }
        max[r] = NAME(max_across)(top);
    }
}

static void NAME(max_rows)(REAL *max, const void *x, ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t n, int ahead,
                                        int type)
{
    FOR_EACH_TYPE(NAME(max_rows_typed)(max, x, pitch, rows, n, ahead, type))
}

/* exp, to e with `room` elements a row (a multiple of LANE_COUNT), and its sum; of all, or of what is below the maximum,
 * what is at it being counted. */
ALWAYS_INLINE void NAME(exp_rows_typed)(REAL *e, ptrdiff_t room, const char *x, ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t n,
                                        const REAL *of, ptrdiff_t stride, int below, double *hi, double *lo, double *ties,
                                        int type)
{
    const int way = ROW;
    for (ptrdiff_t r = 0; r < rows; r++, x += pitch, e += room, of++) {
        f64_vector his[LANE_VECTORS] = {{0}}, los[LANE_VECTORS] = {{0}};
        BITS at_max = {0};
        ptrdiff_t i = 0;
        for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP))
            NAME(exp_step)(e + i, SKIP(x, i), of, stride, below, &at_max, IN_ORDER, LIMIT(TOGETHER));
        for (; i < n; i += LANE_COUNT) {
            VECTOR v[LIMIT(ROUND_VECTORS)], y[LIMIT(ROUND_VECTORS)];
            NAME(load_round)(v, x, i, n, SPLAT(-INFINITY), type);
            EACH_OF_ROUND NAME(exp_vectors)(y + k, v + k, 0, of, stride, way, below, ITEM_REAL, 1);
            if (below)
                EACH_OF_ROUND y[k] = NAME(below)(y[k], v[k], CONSTANT(OF_MAX, k), &at_max);
            EACH_OF_ROUND NAME(store)(e + i + AT(k), y[k]);
        }
        NAME(sum_loop)(e, room, his, los, ITEM_REAL, 0);
        NAME(fold_typed)(hi + r, lo + r, his, los, ITEM_REAL);
        if (below)
            ties[r] = (double)(int64_t)BITS_NAME(sum_across)(at_max);
    }
}

static void NAME(exp_rows)(REAL *e, ptrdiff_t room, const void *x, ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t n,
                           const REAL *of, ptrdiff_t stride, int below, double *hi, double *lo, double *ties, int type)
{
    if (below) {
        FOR_EACH_TYPE(NAME(exp_rows_typed)(e, room, x, pitch, rows, n, of, stride, 1, hi, lo, ties, type))
    } else {
        FOR_EACH_TYPE(NAME(exp_rows_typed)(e, room, x, pitch, rows, n, of, stride, 0, hi, lo, ties, type))
    }
}

ALWAYS_INLINE void NAME(of_exp_rows_typed)(char *y, ptrdiff_t y_pitch, const char *g, ptrdiff_t g_pitch, const REAL *e,
                                           ptrdiff_t room, ptrdiff_t rows, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                                           Stream *stream, int type)
{
    for (ptrdiff_t r = 0; r < rows; r++, y += y_pitch, g += g_pitch, e += room, of++) {
        char *to = stream ? stream_at(stream) : y;
        ptrdiff_t i = 0;
        for (; i + LANE_COUNT <= n; i += LANE_COUNT)
            NAME(of_exp_step)(SKIP(to, i), SKIP(g, i), e + i, NEIGHBOURS, of, stride, ROW, IN_ORDER, LIMIT(ROUND_VECTORS));
        if (i < n) {
            VECTOR u[LIMIT(ROUND_VECTORS)];
            NAME(load_round)(u, g, i, n, SPLAT(0), type);
            EACH_OF_ROUND NAME(of_exp_step)(u + k, u + k, e + i + AT(k), NEIGHBOURS, of, stride, ROW, ITEM_REAL, 1);
            NAME(store_round)(to, u, i, n, type);
        }
        if (stream)
            stream_row(stream, BYTES(n), y + y_pitch);
    }
}

static void NAME(of_exp_rows)(void *y, ptrdiff_t y_pitch, const void *g, ptrdiff_t g_pitch, const REAL *e, ptrdiff_t room,
                              ptrdiff_t rows, ptrdiff_t n, const REAL *of, ptrdiff_t stride, Stream *stream, int type)
{
    FOR_EACH_TYPE(NAME(of_exp_rows_typed)(y, y_pitch, g, g_pitch, e, room, rows, n, of, stride, stream, type))
}

ALWAYS_INLINE void NAME(forward_rows_typed)(char *y, ptrdiff_t y_pitch, const char *x, ptrdiff_t x_pitch, ptrdiff_t rows,
                                            ptrdiff_t n, const REAL *of, ptrdiff_t stride, Stream *stream, int type)
{
    for (ptrdiff_t r = 0; r < rows; r++, y += y_pitch, x += x_pitch, of++) {
        char *to = stream ? stream_at(stream) : y;
        ptrdiff_t i = 0;
        for (; i + LANE_COUNT <= n; i += LANE_COUNT)
            NAME(forward_step)(SKIP(to, i), SKIP(x, i), NEIGHBOURS, of, stride, ROW, IN_ORDER, LIMIT(ROUND_VECTORS));
        if (i < n) {
            VECTOR u[LIMIT(ROUND_VECTORS)];
            NAME(load_round)(u, x, i, n, SPLAT(0), type);
            EACH_OF_ROUND NAME(forward_step)(u + k, u + k, NEIGHBOURS, of, stride, ROW, ITEM_REAL, 1);
            NAME(store_round)(to, u, i, n, type);
        }
        if (stream)
            stream_row(stream, BYTES(n), y + y_pitch);
    }
}

static void NAME(forward_rows)(void *y, ptrdiff_t y_pitch, const void *x, ptrdiff_t x_pitch, ptrdiff_t rows, ptrdiff_t n,
                               const REAL *of, ptrdiff_t stride, Stream *stream, int type)
{
    FOR_EACH_TYPE(NAME(forward_rows_typed)(y, y_pitch, x, x_pitch, rows, n, of, stride, stream, type))
}

