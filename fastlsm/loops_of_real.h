/* Included by loops.h, once for float and once for double.
 *
 * Along a row operands and result have elements of one `type`. `of` are the constants, `stride` elements from each to the
 * next: of one row if stride is 1, else of columns.
 */
enum { LIMIT(TOGETHER) = LANE_COUNT / WIDTH > 4 ? LANE_COUNT / WIDTH : 4, LIMIT(STEP) = LIMIT(TOGETHER) * WIDTH };

#define EACH for (int k = 0; k < count; k++)
#define AT(k) ((k) * WIDTH)
#define SPLAT(c) ((REAL)(c) - (VECTOR){0})
#define CONSTANT(name, k) (stride == 1 ? SPLAT(of[name]) : NAME(load)(of + (name) * stride + AT(k)))
#define SELECT(mask, a, b) ((VECTOR)(((BITS)(a) & (BITS)(mask)) | ((BITS)(b) & ~(BITS)(mask))))
#define LOAD(x, i) NAME(load_typed)(x, i, type)
/* What the compiler is to make once for each type. */
#if MANTISSA == 23
#define FOR_EACH_TYPE(call) \
    switch (type) { \
    case ITEM_BF16: { enum { type = ITEM_BF16 }; call; } break; \
    case ITEM_F16: { enum { type = ITEM_F16 }; call; } break; \
    default: { enum { type = ITEM_REAL }; call; } \
    }
#else
#define FOR_EACH_TYPE(call) (void)type; { enum { type = ITEM_REAL }; call; }
#endif

ALWAYS_INLINE VECTOR NAME(load_typed)(const void *x, ptrdiff_t i, int type)
{
#if MANTISSA == 23
    if (type == ITEM_BF16)
        return load_bf16((const bf16 *)x + i);
    if (type == ITEM_F16)
        return load_f16((const f16 *)x + i);
#endif
    (void)type;
    return NAME(load)((const REAL *)x + i);
}

ALWAYS_INLINE void NAME(store_typed)(void *y, ptrdiff_t i, VECTOR value, int type)
{
#if MANTISSA == 23
    if (type == ITEM_BF16) {
        store_bf16((bf16 *)y + i, value);
        return;
    }
    if (type == ITEM_F16) {
        store_f16((f16 *)y + i, value);
        return;
    }
#endif
    (void)type;
    NAME(store)((REAL *)y + i, value);
}

ALWAYS_INLINE size_t NAME(size_of)(int type) { return type == ITEM_REAL ? sizeof(REAL) : sizeof(bf16); }

/* exp(x) * 2^-K of `count` vectors, see vexp.h; `or_nan`: of x - shift, NaN for NaN, up to 2^127 (2^1023). */
ALWAYS_INLINE void NAME(exp_vectors)(VECTOR *y, const void *x, const REAL *of, ptrdiff_t stride, int type, int or_nan,
                                     int count)
{
    VECTOR t[LIMIT(TOGETHER)], n[LIMIT(TOGETHER)], r[LIMIT(TOGETHER)], q[LIMIT(TOGETHER)];
#define X(k) (or_nan ? LOAD(x, AT(k)) - CONSTANT(OF_SHIFT, k) : LOAD(x, AT(k)))   /* loading again saves a register */
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

/* A loop over n elements of `step`, which computes `count` vectors of y from those of g and x: several at a time, then
 * one, then what is left, in a vector of its own. */
#define LOOP(step) \
    ptrdiff_t i = 0, column = stride == 1 ? 0 : 1; \
    size_t size = NAME(size_of)(type); \
    for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP)) \
        step((char *)y + i * size, (const char *)g + i * size, (const char *)x + i * size, of + i * column, \
             LIMIT(TOGETHER)); \
    for (; i + WIDTH <= n; i += WIDTH) \
        step((char *)y + i * size, (const char *)g + i * size, (const char *)x + i * size, of + i * column, 1); \
    if (i < n) { \
        BUFFER(rest, 3, 1); \
        memcpy(rest[0], (const char *)g + i * size, (n - i) * size); \
        memcpy(rest[1], (const char *)x + i * size, (n - i) * size); \
        step(rest[2], rest[0], rest[1], of + i * column, 1); \
        memcpy((char *)y + i * size, rest[2], (n - i) * size); \
    }

/* diff_src = diff_dst - exp(dst) * S. Where dst is NaN or exceeds EXP_HI, beyond which exp is infinite, the result is right
 * only if `careful`. Is there such a dst? */
ALWAYS_INLINE BITS NAME(dst_step)(void *y, const void *g, const void *x, const REAL *of, ptrdiff_t stride, int type,
                                  int careful, int count)
{
    VECTOR e[LIMIT(TOGETHER)];
    BITS any = {0};
    NAME(exp_vectors)(e, x, of, stride, type, 0, count);
    EACH {
        VECTOR f = CONSTANT(OF_FACTOR, k), gs = LOAD(g, AT(k)), xs = LOAD(x, AT(k));
        BITS beyond = ~(BITS)(xs <= CONSTANT(OF_EXP_HI, k));
        VECTOR result = NAME(minus_product_vector)(gs, e[k], f, CONSTANT(OF_FACTOR_LOW, k));
        if (careful)                        /* f_low has no part in infinities and NaN */
            result = SELECT(beyond, gs - (xs + (REAL)INFINITY) * f, result);
        NAME(store_typed)(y, AT(k), result, type);
        any |= beyond;
    }
    return any;
}

ALWAYS_INLINE int NAME(dst_loop)(void *y, const void *g, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                                 int type, int careful)
{
    BITS any = {0};
    int found = 0;
#define STEP(y, g, x, of, count) any |= NAME(dst_step)(y, g, x, of, stride, type, careful, count)
    LOOP(STEP)
#undef STEP
    for (int k = 0; k < WIDTH; k++)
        found |= any[k] != 0;
    return found;
}

static void NAME(backward_dst_row)(void *y, const void *g, const void *x, ptrdiff_t n, const REAL *of, int type)
{
    FOR_EACH_TYPE(if (NAME(dst_loop)(y, g, x, n, of, 1, type, 0))
                      NAME(dst_loop)(y, g, x, n, of, 1, type, 1))
}

static void NAME(backward_dst_columns)(REAL *y, const REAL *g, const REAL *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride)
{
    if (NAME(dst_loop)(y, g, x, n, of, stride, ITEM_REAL, 0))
        NAME(dst_loop)(y, g, x, n, of, stride, ITEM_REAL, 1);
}

/* diff_src = diff_dst - exp(src - m) * factor */
ALWAYS_INLINE void NAME(src_step)(void *y, const void *g, const void *x, const REAL *of, ptrdiff_t stride, int type, int count)
{
    VECTOR e[LIMIT(TOGETHER)];
    NAME(exp_vectors)(e, x, of, stride, type, 1, count);
    EACH {
        VECTOR result = NAME(minus_product_vector)(LOAD(g, AT(k)), e[k], CONSTANT(OF_FACTOR, k), CONSTANT(OF_FACTOR_LOW, k));
        NAME(store_typed)(y, AT(k), result, type);
    }
}

ALWAYS_INLINE void NAME(src_loop)(void *y, const void *g, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride, int type)
{
#define STEP(y, g, x, of, count) NAME(src_step)(y, g, x, of, stride, type, count)
    LOOP(STEP)
#undef STEP
}

static void NAME(backward_src_row)(void *y, const void *g, const void *x, ptrdiff_t n, const REAL *of, int type)
{
    FOR_EACH_TYPE(NAME(src_loop)(y, g, x, n, of, 1, type))
}

static void NAME(backward_src_columns)(REAL *y, const REAL *g, const REAL *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride)
{
    NAME(src_loop)(y, g, x, n, of, stride, ITEM_REAL);
}

/* The same where exp is known: of n elements of REAL, a multiple of WIDTH apart from the last few, which there is room for. */
ALWAYS_INLINE void NAME(of_exp_loop)(void *y, const void *g, const REAL *e, ptrdiff_t n, const REAL *of, int type)
{
    enum { stride = 1 };
    size_t size = NAME(size_of)(type);
    ptrdiff_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        NAME(store_typed)(y, i, NAME(minus_product_vector)(LOAD(g, i), NAME(load)(e + i), CONSTANT(OF_FACTOR, 0),
                                                           CONSTANT(OF_FACTOR_LOW, 0)), type);
    if (i < n) {
        BUFFER(rest, 3, 1);
        memcpy(rest[0], (const char *)g + i * size, (n - i) * size);
        memcpy(rest[1], e + i, (n - i) * sizeof(REAL));
        NAME(store_typed)(rest[2], 0, NAME(minus_product_vector)(LOAD(rest[0], 0), NAME(load)((const REAL *)rest[1]),
                                                                 CONSTANT(OF_FACTOR, 0), CONSTANT(OF_FACTOR_LOW, 0)), type);
        memcpy((char *)y + i * size, rest[2], (n - i) * size);
    }
}

static void NAME(backward_of_exp_row)(void *y, const void *g, const REAL *e, ptrdiff_t n, const REAL *of, int type)
{
    FOR_EACH_TYPE(NAME(of_exp_loop)(y, g, e, n, of, type))
}

/* dst = (src - m) - L */
ALWAYS_INLINE void NAME(forward_step)(void *y, const void *x, const REAL *of, int type, int count)
{
    EACH NAME(store_typed)(y, AT(k), (LOAD(x, AT(k)) - of[OF_MAX]) - of[OF_FACTOR], type);
}

ALWAYS_INLINE void NAME(forward_loop)(void *y, const void *x, ptrdiff_t n, const REAL *of, int type)
{
    enum { stride = 1 };
    const void *g = x;
#define STEP(y, g, x, of, count) NAME(forward_step)(y, x, of, type, count)
    LOOP(STEP)
#undef STEP
}

static void NAME(forward_row)(void *y, const void *x, ptrdiff_t n, const REAL *of, int type)
{
    FOR_EACH_TYPE(NAME(forward_loop)(y, x, n, of, type))
}

/* The sum of a row, to its lanes. */
ALWAYS_INLINE void NAME(sum_loop)(const void *x, ptrdiff_t n, double *hi, double *lo, int type)
{
    f64_vector his[LANE_VECTORS], los[LANE_VECTORS];
    size_t size = NAME(size_of)(type);
    ptrdiff_t i = 0;
    memcpy(his, hi, sizeof his);
    memcpy(los, lo, sizeof los);
    for (; i + LANE_COUNT <= n; i += LANE_COUNT)
        for (int k = 0; k < LANE_COUNT / WIDTH; k++)
            NAME(add_to_lanes)(his, los, LOAD(x, i + AT(k)), k);
    if (i < n) {                            /* adding 0 changes no bit */
        BUFFER(rest, 1, LANE_COUNT / WIDTH);
        memcpy(rest[0], (const char *)x + i * size, (n - i) * size);
        for (int k = 0; k < LANE_COUNT / WIDTH; k++)
            NAME(add_to_lanes)(his, los, LOAD(rest[0], AT(k)), k);
    }
    memcpy(hi, his, sizeof his);
    memcpy(lo, los, sizeof los);
}

static void NAME(sum_row)(const void *x, ptrdiff_t n, double *hi, double *lo, int type)
{
    FOR_EACH_TYPE(NAME(sum_loop)(x, n, hi, lo, type))
}

/* The maximum of a row and `max`, NaN passed over. */
ALWAYS_INLINE REAL NAME(max_loop)(const void *x, ptrdiff_t n, REAL max, int type)
{
    enum { count = 4 };
    size_t size = NAME(size_of)(type);
    VECTOR top[count];
    ptrdiff_t i = 0;
    EACH top[k] = SPLAT(max);
    for (; i + count * WIDTH <= n; i += count * WIDTH)
        EACH top[k] = NAME(max_vector)(LOAD(x, i + AT(k)), top[k]);
    for (; i + WIDTH <= n; i += WIDTH)
        top[0] = NAME(max_vector)(LOAD(x, i), top[0]);
    for (int k = 1; k < count; k++)
        top[0] = NAME(max_vector)(top[k], top[0]);
    for (int k = 0; k < WIDTH; k++)
        max = top[0][k] > max ? top[0][k] : max;
    if (i < n) {
        BUFFER(rest, 1, 1);
        memcpy(rest[0], (const char *)x + i * size, (n - i) * size);
        VECTOR last = LOAD(rest[0], 0);
        for (int k = 0; k < n - i; k++)
            max = last[k] > max ? last[k] : max;
    }
    return max;
}

static REAL NAME(max_row)(const void *x, ptrdiff_t n, REAL max, int type)
{
    FOR_EACH_TYPE(return NAME(max_loop)(x, n, max, type))
    return max;
}

/* exp of LIMIT(STEP) elements, to e if given; those below the maximum added to the lanes, those at it counted. */
ALWAYS_INLINE void NAME(exp_step)(REAL *e, const void *x, const REAL *of, f64_vector *hi, f64_vector *lo, BITS *ties, int type)
{
    enum { stride = 1, count = LIMIT(TOGETHER) };
    VECTOR y[count];
    NAME(exp_vectors)(y, x, of, stride, type, 1, count);
    if (e)
        EACH NAME(store)(e + AT(k), y[k]);
    EACH {
        BITS at_max = (BITS)(LOAD(x, AT(k)) == SPLAT(of[OF_MAX]));
        *ties -= at_max;
        y[k] = (VECTOR)((BITS)y[k] & ~at_max);
    }
    EACH NAME(add_to_lanes)(hi, lo, y[k], k);
}

ALWAYS_INLINE ptrdiff_t NAME(exp_loop)(REAL *e, const void *x, ptrdiff_t n, const REAL *of, double *hi, double *lo, int type)
{
    f64_vector his[LANE_VECTORS], los[LANE_VECTORS];
    BITS ties = {0};
    size_t size = NAME(size_of)(type);
    ptrdiff_t i = 0, count = 0;
    memcpy(his, hi, sizeof his);
    memcpy(los, lo, sizeof los);
    if (e)
        for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP))
            NAME(exp_step)(e + i, (const char *)x + i * size, of, his, los, &ties, type);
    else
        for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP))
            NAME(exp_step)(NULL, (const char *)x + i * size, of, his, los, &ties, type);
    if (i < n) {                            /* exp(-inf) is 0, and adding 0 changes no bit */
        BUFFER(rest, 2, LIMIT(TOGETHER));
        for (int k = 0; k < LIMIT(TOGETHER); k++)
            NAME(store_typed)(rest[0], AT(k), SPLAT(-INFINITY), type);
        memcpy(rest[0], (const char *)x + i * size, (n - i) * size);
        NAME(exp_step)((REAL *)rest[1], rest[0], of, his, los, &ties, type);
        if (e)
            memcpy(e + i, rest[1], (n - i) * sizeof(REAL));
    }
    memcpy(hi, his, sizeof his);
    memcpy(lo, los, sizeof los);
    for (int k = 0; k < WIDTH; k++)
        count += (ptrdiff_t)ties[k];
    return count;
}

static ptrdiff_t NAME(exp_row)(REAL *e, const void *x, ptrdiff_t n, const REAL *of, double *hi, double *lo, int type)
{
    FOR_EACH_TYPE(return NAME(exp_loop)(e, x, n, of, hi, lo, type))
    return 0;
}

/* The same of n columns (a multiple of WIDTH): `terms` is what is to be added, `keep` leaves exp in x. */
ALWAYS_INLINE void NAME(exp_columns_step)(REAL *terms, REAL *x, const REAL *of, ptrdiff_t stride, REAL *ties, int keep,
                                          int count)
{
    VECTOR y[LIMIT(TOGETHER)];
    NAME(exp_vectors)(y, x, of, stride, ITEM_REAL, 1, count);
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
        NAME(exp_columns_step)(terms + i, x + i, of + i, stride, ties + i, keep, LIMIT(TOGETHER));
    for (; i < n; i += WIDTH)
        NAME(exp_columns_step)(terms + i, x + i, of + i, stride, ties + i, keep, 1);
}

#undef EACH
#undef AT
#undef SPLAT
#undef CONSTANT
#undef SELECT
#undef LOAD
#undef LOOP
#undef FOR_EACH_TYPE
#undef REAL
#undef NAME
#undef LIMIT
#undef VECTOR
#undef BITS
#undef WIDTH
#undef MANTISSA
