/* Included by loops.h, once for float and once for double.
 *
 * `of` are the constants, `stride` elements from each to the next: of one row if stride is 1, else of columns.
 */
enum { LIMIT(TOGETHER) = LANE_COUNT / WIDTH > 4 ? LANE_COUNT / WIDTH : 4, LIMIT(STEP) = LIMIT(TOGETHER) * WIDTH };

#define EACH for (int k = 0; k < count; k++)
#define AT(k) ((k) * WIDTH)
#define SPLAT(c) ((REAL)(c) - (VECTOR){0})
#define CONSTANT(name, k) (stride == 1 ? SPLAT(of[name]) : NAME(load)(of + (name) * stride + AT(k)))
#define SELECT(mask, a, b) ((VECTOR)(((BITS)(a) & (BITS)(mask)) | ((BITS)(b) & ~(BITS)(mask))))

/* exp(x) * 2^-K of `count` vectors, see vexp.h; `or_nan`: of x - shift, NaN for NaN, up to 2^127 (2^1023). */
ALWAYS_INLINE void NAME(exp_vectors)(VECTOR *y, const REAL *x, const REAL *of, ptrdiff_t stride, int or_nan, int count)
{
    VECTOR t[LIMIT(TOGETHER)], n[LIMIT(TOGETHER)], r[LIMIT(TOGETHER)], q[LIMIT(TOGETHER)];
#define X(k) (or_nan ? NAME(load)(x + AT(k)) - CONSTANT(OF_SHIFT, k) : NAME(load)(x + AT(k)))
    EACH t[k] = NAME(fma_vector)(X(k), SPLAT(LOG2_E), CONSTANT(OF_MAGIC, k));
    EACH n[k] = t[k] - CONSTANT(OF_MAGIC, k);
    EACH r[k] = NAME(fma_vector)(n[k], SPLAT(-LIMIT(LN_2_HIGH)), X(k));
    EACH r[k] = NAME(fma_vector)(n[k], SPLAT(-LIMIT(LN_2_LOW)), r[k]);
#define FIRST(c) EACH q[k] = SPLAT(c);
#define NEXT(c) EACH q[k] = NAME(fma_vector)(q[k], r[k], SPLAT(c));
    LIMIT(EXP_Q)(FIRST, NEXT)
#undef FIRST
#undef NEXT
    EACH y[k] = (REAL)1 + NAME(fma_vector)(r[k] * r[k], q[k], r[k]);
    if (or_nan)
        EACH y[k] *= (VECTOR)((BITS)t[k] << MANTISSA);
    else
        EACH y[k] = (VECTOR)((BITS)y[k] + ((BITS)t[k] << MANTISSA));
    EACH y[k] = (VECTOR)((BITS)y[k] & ~(BITS)(X(k) < CONSTANT(OF_EXP_LO, k)));
#undef X
}

ALWAYS_INLINE VECTOR NAME(minus_product_vector)(VECTOR g, VECTOR y, VECTOR f, VECTOR f_low)
{
#if FASTLSM_HAS_FMA
    return NAME(fma_vector)(y, -f, NAME(fma_vector)(y, -f_low, g));
#else
    VECTOR result;
    for (int k = 0; k < WIDTH; k++)
        result[k] = NAME(minus_product)(g[k], y[k], f[k], f_low[k]);
    return result;
#endif
}

/* Where x is NaN or exceeds EXP_HI, beyond which exp is infinite, the result is right only if `careful`. Is there such an x? */
ALWAYS_INLINE BITS NAME(dst_vectors)(REAL *y, const REAL *g, const REAL *x, const REAL *of, ptrdiff_t stride,
                                     int careful, int count)
{
    VECTOR e[LIMIT(TOGETHER)];
    BITS any = {0};
    NAME(exp_vectors)(e, x, of, stride, 0, count);
    EACH {
        VECTOR f = CONSTANT(OF_FACTOR, k), gs = NAME(load)(g + AT(k)), xs = NAME(load)(x + AT(k));
        BITS beyond = ~(BITS)(xs <= CONSTANT(OF_EXP_HI, k));
        VECTOR result = NAME(minus_product_vector)(gs, e[k], f, CONSTANT(OF_FACTOR_LOW, k));
        if (careful)                        /* f_low has no part in infinities and NaN */
            result = SELECT(beyond, gs - (xs + (REAL)INFINITY) * f, result);
        NAME(store)(y + AT(k), result);
        any |= beyond;
    }
    return any;
}

ALWAYS_INLINE int NAME(dst_loop)(REAL *y, const REAL *g, const REAL *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                                 int careful)
{
    BITS any = {0};
    ptrdiff_t i = 0, column = stride == 1 ? 0 : 1;
    int found = 0;
    for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP))
        any |= NAME(dst_vectors)(y + i, g + i, x + i, of + i * column, stride, careful, LIMIT(TOGETHER));
    for (; i + WIDTH <= n; i += WIDTH)
        any |= NAME(dst_vectors)(y + i, g + i, x + i, of + i * column, stride, careful, 1);
    if (i < n) {
        REAL rest[3][WIDTH] = { { 0 } };
        memcpy(rest[0], g + i, (n - i) * sizeof(REAL));
        memcpy(rest[1], x + i, (n - i) * sizeof(REAL));
        any |= NAME(dst_vectors)(rest[2], rest[0], rest[1], of + i * column, stride, careful, 1);
        memcpy(y + i, rest[2], (n - i) * sizeof(REAL));
    }
    for (int k = 0; k < WIDTH; k++)
        found |= any[k] != 0;
    return found;
}

/* diff_src = diff_dst - exp(dst) * S */
static void NAME(backward_dst_row)(REAL *y, const REAL *g, const REAL *x, ptrdiff_t n, const REAL *of)
{
    if (NAME(dst_loop)(y, g, x, n, of, 1, 0))
        NAME(dst_loop)(y, g, x, n, of, 1, 1);
}

static void NAME(backward_dst_columns)(REAL *y, const REAL *g, const REAL *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride)
{
    if (NAME(dst_loop)(y, g, x, n, of, stride, 0))
        NAME(dst_loop)(y, g, x, n, of, stride, 1);
}

/* diff_src = diff_dst - exp(src - m) * factor */
ALWAYS_INLINE void NAME(src_vectors)(REAL *y, const REAL *g, const REAL *x, const REAL *of, ptrdiff_t stride, int count)
{
    VECTOR e[LIMIT(TOGETHER)];
    NAME(exp_vectors)(e, x, of, stride, 1, count);
    EACH NAME(store)(y + AT(k), NAME(minus_product_vector)(NAME(load)(g + AT(k)), e[k], CONSTANT(OF_FACTOR, k),
                                                           CONSTANT(OF_FACTOR_LOW, k)));
}

ALWAYS_INLINE void NAME(src_loop)(REAL *y, const REAL *g, const REAL *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride)
{
    ptrdiff_t i = 0, column = stride == 1 ? 0 : 1;
    for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP))
        NAME(src_vectors)(y + i, g + i, x + i, of + i * column, stride, LIMIT(TOGETHER));
    for (; i + WIDTH <= n; i += WIDTH)
        NAME(src_vectors)(y + i, g + i, x + i, of + i * column, stride, 1);
    if (i < n) {
        REAL rest[3][WIDTH] = { { 0 } };
        memcpy(rest[0], g + i, (n - i) * sizeof(REAL));
        memcpy(rest[1], x + i, (n - i) * sizeof(REAL));
        NAME(src_vectors)(rest[2], rest[0], rest[1], of + i * column, stride, 1);
        memcpy(y + i, rest[2], (n - i) * sizeof(REAL));
    }
}

static void NAME(backward_src_row)(REAL *y, const REAL *g, const REAL *x, ptrdiff_t n, const REAL *of)
{
    NAME(src_loop)(y, g, x, n, of, 1);
}

static void NAME(backward_src_columns)(REAL *y, const REAL *g, const REAL *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride)
{
    NAME(src_loop)(y, g, x, n, of, stride);
}

/* exp of LIMIT(STEP) elements, to e if given; those below the maximum added to the lanes, those at it counted. */
ALWAYS_INLINE void NAME(exp_step)(REAL *e, const REAL *x, const REAL *of, f64_vector *hi, f64_vector *lo, BITS *ties)
{
    enum { stride = 1, count = LIMIT(TOGETHER) };
    VECTOR y[count];
    NAME(exp_vectors)(y, x, of, stride, 1, count);
    if (e)
        EACH NAME(store)(e + AT(k), y[k]);
    EACH {
        BITS at_max = (BITS)(NAME(load)(x + AT(k)) == SPLAT(of[OF_MAX]));
        *ties -= at_max;
        y[k] = (VECTOR)((BITS)y[k] & ~at_max);
    }
    EACH NAME(add_to_lanes)(hi, lo, y[k], k);
}

static ptrdiff_t NAME(exp_row)(REAL *e, const REAL *x, ptrdiff_t n, const REAL *of, double *hi, double *lo)
{
    f64_vector his[LANE_VECTORS], los[LANE_VECTORS];
    BITS ties = {0};
    ptrdiff_t i = 0, count = 0;
    memcpy(his, hi, sizeof his);
    memcpy(los, lo, sizeof los);
    if (e)
        for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP))
            NAME(exp_step)(e + i, x + i, of, his, los, &ties);
    else
        for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP))
            NAME(exp_step)(NULL, x + i, of, his, los, &ties);
    if (i < n) {                            /* exp(-inf) is 0, and adding 0 changes no bit */
        REAL rest[2][LIMIT(STEP)];
        for (int k = 0; k < LIMIT(STEP); k++)
            rest[0][k] = (REAL)-INFINITY;
        memcpy(rest[0], x + i, (n - i) * sizeof(REAL));
        NAME(exp_step)(rest[1], rest[0], of, his, los, &ties);
        if (e)
            memcpy(e + i, rest[1], (n - i) * sizeof(REAL));
    }
    memcpy(hi, his, sizeof his);
    memcpy(lo, los, sizeof los);
    for (int k = 0; k < WIDTH; k++)
        count += (ptrdiff_t)ties[k];
    return count;
}

/* The same of n columns (a multiple of WIDTH): `terms` is what is to be added, `keep` leaves exp in x. */
ALWAYS_INLINE void NAME(exp_columns_vectors)(REAL *terms, REAL *x, const REAL *of, ptrdiff_t stride, REAL *ties, int keep,
                                             int count)
{
    VECTOR y[LIMIT(TOGETHER)];
    NAME(exp_vectors)(y, x, of, stride, 1, count);
    EACH {
        BITS at_max = (BITS)(NAME(load)(x + AT(k)) == CONSTANT(OF_MAX, k));
        NAME(store)(ties + AT(k), NAME(load)(ties + AT(k)) + (VECTOR)((BITS)SPLAT(1) & at_max));
        NAME(store)(terms + AT(k), (VECTOR)((BITS)y[k] & ~at_max));
        if (keep)
            NAME(store)(x + AT(k), y[k]);
    }
}

static void NAME(exp_columns)(REAL *terms, REAL *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride, REAL *ties, int keep)
{
    ptrdiff_t i = 0;
    for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP))
        NAME(exp_columns_vectors)(terms + i, x + i, of + i, stride, ties + i, keep, LIMIT(TOGETHER));
    for (; i < n; i += WIDTH)
        NAME(exp_columns_vectors)(terms + i, x + i, of + i, stride, ties + i, keep, 1);
}

#undef EACH
#undef AT
#undef SPLAT
#undef CONSTANT
#undef SELECT
#undef REAL
#undef NAME
#undef LIMIT
#undef VECTOR
#undef BITS
#undef WIDTH
#undef MANTISSA
