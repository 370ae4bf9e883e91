/* Included by loops.h, once for float and once for double.
 *
 * Operands and result have elements of one `type`. `of` are the constants, `stride` elements from each to the next. The
 * vectors that go through a step together are neighbours in a row, which has one of each constant (ROW) or one for each
 * element (SIDE_BY_SIDE), or they are of rows below each other, whose columns have the constants in common (DOWN).
 */
enum { LIMIT(TOGETHER) = LANE_COUNT / WIDTH > 4 ? LANE_COUNT / WIDTH : 4, LIMIT(STEP) = LIMIT(TOGETHER) * WIDTH };

#define EACH for (int k = 0; k < count; k++)
#define AT(k) ((k) * WIDTH)
#define SPLAT(c) ((REAL)(c) - (VECTOR){0})
#define CONSTANT(name, k) \
    (way == ROW ? SPLAT(of[(name) * stride]) : NAME(load)(of + (name) * stride + (way == DOWN ? 0 : AT(k))))
#define LOAD(x, k) NAME(load_typed)(x, k, type)
#define BELOW(x, bytes) ((const void *)((const char *)(x) + (bytes)))
#define LOAD_APART(x, k, pitch) (way == DOWN ? LOAD(BELOW(x, (k) * (pitch)), 0) : LOAD(x, k))
#define BYTES(n) ((n) * (type == ITEM_REAL ? sizeof(REAL) : sizeof(bf16)))
#define SKIP(x, n) ((char *)(x) + BYTES(n))
/* Vectors that go together at least. */
#define FEW (type == ITEM_BF16 ? 2 : 1)
/* Vectors that meet all lanes, and each of them as often. */
#define ROUND (LANE_COUNT / WIDTH > FEW ? LANE_COUNT / WIDTH : FEW)
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

/* The k-th vector from x on. */
ALWAYS_INLINE VECTOR NAME(load_typed)(const void *x, int k, int type)
{
#if MANTISSA == 23
    if (type == ITEM_BF16)
        return load_half_of_bf16((const bf16 *)x + AT(k & ~1), k & 1);
    if (type == ITEM_F16)
        return load_f16((const f16 *)x + AT(k));
    if (type == ITEM_BF16_IN_ORDER)
        return f32_from_bf16_vector((const bf16 *)x + AT(k));
#endif
    (void)type;
    return NAME(load)((const REAL *)x + AT(k));
}

/* To y and on; DOWN, `pitch` bytes are from each to the next. */
ALWAYS_INLINE void NAME(store_typed)(void *y, ptrdiff_t pitch, const VECTOR *values, int way, int type, int count)
{
#if MANTISSA == 23
    if (type == ITEM_BF16) {
        for (int k = 0; k < count; k += 2)
            store_bf16((bf16 *)y + AT(k), values[k], values[k + 1]);
        return;
    }
#endif
    EACH {
        void *to = way == DOWN ? (char *)y + k * pitch : SKIP(y, AT(k));
#if MANTISSA == 23
        if (type == ITEM_F16)
            store_f16(to, values[k]);
        else if (type == ITEM_BF16_IN_ORDER)
            bf16_from_f32_vector(to, values[k]);
        else
#endif
            NAME(store)(to, values[k]);
    }
}

/* A vector full of elements that are -infinity. */
ALWAYS_INLINE VECTOR NAME(minus_infinity)(int type)
{
#if MANTISSA == 23
    if (type != ITEM_REAL)
        return (VECTOR)(((BITS){0}) + (type == ITEM_BF16 ? 0xff80ff80 : 0xfc00fc00));
#endif
    (void)type;
    return SPLAT(-INFINITY);
}

static inline REAL NAME(load_one)(const void *x, ptrdiff_t i, int type)
{
#if MANTISSA == 23
    if (type == ITEM_BF16 || type == ITEM_BF16_IN_ORDER)
        return f32_from_bf16(((const bf16 *)x)[i]);
    if (type == ITEM_F16)
        return f32_from_f16(((const f16 *)x)[i]);
#endif
    (void)type;
    return ((const REAL *)x)[i];
}

static inline void NAME(store_one)(void *y, ptrdiff_t i, REAL value, int type)
{
#if MANTISSA == 23
    if (type == ITEM_BF16 || type == ITEM_BF16_IN_ORDER) {
        ((bf16 *)y)[i] = bf16_from_f32(value);
        return;
    }
    if (type == ITEM_F16) {
        ((f16 *)y)[i] = f16_from_f32(value);
        return;
    }
#endif
    (void)type;
    ((REAL *)y)[i] = value;
}

/* Room for elements of any type: stores by memcpy alias them all. */
ALWAYS_INLINE void NAME(fill)(VECTOR *room, VECTOR with, int count)
{
    EACH memcpy(room + k, &with, sizeof with);
}

/* Elements up to the first address that stores of a row to `at` and on should begin at, not to cross cache lines. */
#define UNALIGNED(at) (ptrdiff_t)(-(uintptr_t)(at) % BYTES(AT(FEW)) / BYTES(1))

/* The sum of a row, to its lanes. */
ALWAYS_INLINE void NAME(add_to_lanes_typed)(f64_vector *hi, f64_vector *lo, VECTOR x, int k, int type)
{
#if MANTISSA == 23
    if (type == ITEM_BF16) {
        add_to_halves_of_lanes(hi, x, k);
        return;
    }
#endif
    (void)type;
    NAME(add_to_lanes)(hi, lo, x, k);
}

/* The elements in whole rounds of the lanes; how many those are. */
ALWAYS_INLINE ptrdiff_t NAME(sum_loop)(const void *x, ptrdiff_t n, f64_vector *hi, f64_vector *lo, int type, int ahead)
{
    ptrdiff_t i = 0;
    for (; i + AT(ROUND) <= n; i += AT(ROUND)) {
        if (ahead)
            prefetch(SKIP(x, i) + AHEAD_BYTES, BYTES(AT(ROUND)));
        if (type == ITEM_REAL)
            NAME(add_row)(hi, lo, (const REAL *)x + i);
        else
            for (int k = 0; k < ROUND; k++)
                NAME(add_to_lanes_typed)(hi, lo, LOAD(SKIP(x, i), k), k, type);
    }
    return i;
}

/* All of them: the last round is filled up, and adding 0 changes no bit. */
ALWAYS_INLINE void NAME(sum_typed)(const void *x, ptrdiff_t n, f64_vector *hi, f64_vector *lo, int type, int ahead)
{
    ptrdiff_t i = NAME(sum_loop)(x, n, hi, lo, type, ahead);
    if (i < n) {
        VECTOR rest[LIMIT(TOGETHER)];
        NAME(fill)(rest, SPLAT(0), ROUND);
        load_part(rest, SKIP(x, i), BYTES(n - i));
        NAME(sum_loop)(rest, AT(ROUND), hi, lo, type, 0);
    }
}

ALWAYS_INLINE void NAME(sum_to_lanes)(const void *x, ptrdiff_t n, double *hi, double *lo, int type, int ahead)
{
    f64_vector his[LANE_VECTORS], los[LANE_VECTORS];
    take_lanes(his, hi, type == ITEM_BF16);
    take_lanes(los, lo, 0);
    NAME(sum_typed)(x, n, his, los, type, ahead);
    put_lanes(hi, his, type == ITEM_BF16);
    put_lanes(lo, los, 0);
}

static void NAME(sum_row)(const void *x, ptrdiff_t n, double *hi, double *lo, int type, int ahead)
{
    FOR_EACH_TYPE(NAME(sum_to_lanes)(x, n, hi, lo, type, ahead))
}

/* A loop over n elements of `step`, which computes `count` vectors of y from those of g and x: several at a time, then
 * as few as there are. If they may be done `again`, elements before the first and after the last whole vectors are computed
 * twice, which is why y must not lie where g or x does; or else the last are in vectors of their own. `meanwhile` goes with
 * each whole step. */
#define LOOP(way, step, again, meanwhile) \
    ptrdiff_t i = 0; \
    char *to = y; \
    if (way == ROW && (again) && n >= 4 * LIMIT(STEP) && UNALIGNED(y)) { \
        step(to, g, x, of, FEW); \
        i = UNALIGNED(y); \
        to += BYTES(i); \
    } \
    for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP)) { \
        step(to, SKIP(g, i), SKIP(x, i), of + (way != ROW) * i, LIMIT(TOGETHER)); \
        to += BYTES(LIMIT(STEP)); \
        meanwhile; \
    } \
    for (; i + AT(FEW) <= n; i += AT(FEW), to += BYTES(AT(FEW))) \
        step(to, SKIP(g, i), SKIP(x, i), of + (way != ROW) * i, FEW); \
    if (i < n && (again) && n >= AT(FEW)) { \
        i = n - AT(FEW); \
        step(SKIP(y, i), SKIP(g, i), SKIP(x, i), of + (way != ROW) * i, FEW); \
    } else if (i < n) { \
        VECTOR rest[3][2]; \
        NAME(fill)(rest[0], SPLAT(0), 2); \
        NAME(fill)(rest[1], SPLAT(0), 2); \
        load_part(rest[0], SKIP(g, i), BYTES(n - i)); \
        load_part(rest[1], SKIP(x, i), BYTES(n - i)); \
        step(rest[2], rest[0], rest[1], of + (way != ROW) * i, FEW); \
        store_part(to, rest[2], BYTES(n - i)); \
        to += BYTES(n - i); \
    }

/* Without a stream, the compiler is to make a loop that knows of none. */
#define IF_STREAMED(call) \
    if (stream) { \
        call(stream); \
    } else { \
        call((Stream *)NULL); \
    }
/* Meanwhile, send on what has been put in a stream, if there is one. */
#define FLOW \
    if (stream) { \
        stream_add(stream, BYTES(LIMIT(STEP))); \
        to = stream_at(stream); \
    }
#define FLOW_BEGIN \
    if (stream) \
        y = stream_at(stream);
#define FLOW_END \
    if (stream) \
        stream_add(stream, to - stream_at(stream));

/* Meanwhile, if `ahead`, ask for what an operand has further on. */
#define ASK_AHEAD(x) \
    if (ahead) \
        prefetch(SKIP(x, i) + AHEAD_BYTES, BYTES(LIMIT(STEP)))

/* Meanwhile, add the elements of `next` to lanes: `summed` of them are added. */
#define LANES_OF_NEXT \
    f64_vector his[LANE_VECTORS], los[LANE_VECTORS]; \
    ptrdiff_t summed = 0; \
    if (next) { \
        take_lanes(his, hi, type == ITEM_BF16); \
        take_lanes(los, lo, 0); \
    }
#define REST_OF_NEXT \
    if (next) { \
        NAME(sum_typed)(SKIP(next, summed), n - summed, his, los, type, 0); \
        put_lanes(hi, his, type == ITEM_BF16); \
        put_lanes(lo, los, 0); \
    }
#define SUM_NEXT \
    if (next) \
        summed += NAME(sum_loop)(SKIP(next, summed), LIMIT(STEP), his, los, type, ahead)

/* k = round(x / ln 2), in the last bits of t and in r; x is then x - k LN_2_HIGH, exactly. */
#define REDUCE(magic) \
    EACH t[k] = NAME(fma_vector)(x[k], SPLAT(LOG2_E), magic); \
    EACH r[k] = t[k] - magic; \
    EACH x[k] = NAME(fma_vector)(r[k], SPLAT(-LIMIT(LN_2_HIGH)), x[k]);

/* exp(x - shift) * 2^-K of `count` vectors, see vexp.h; a `rough` one is enough where a logarithm follows. */
ALWAYS_INLINE void NAME(exp_vectors)(VECTOR *y, const void *from, ptrdiff_t pitch, const REAL *of, ptrdiff_t stride, int way,
                                     int rough, int type, int count)
{
    VECTOR x[LIMIT(TOGETHER)], t[LIMIT(TOGETHER)], r[LIMIT(TOGETHER)], q[LIMIT(TOGETHER)], low[LIMIT(TOGETHER)];
    EACH x[k] = NAME(max_vector)(CONSTANT(OF_EXP_LO, k), LOAD_APART(from, k, pitch) - CONSTANT(OF_SHIFT, k));
    REDUCE(CONSTANT(OF_MAGIC, k))
    if (rough) {
        EACH r[k] = NAME(fma_vector)(r[k], SPLAT(-LIMIT(LN_2_LOW)), x[k]);
    } else {
        EACH low[k] = r[k] * SPLAT(-LIMIT(LN_2_LOW));
        EACH r[k] = x[k] + low[k];
    }
#define FIRST(i, c) EACH q[k] = SPLAT(c);
#define NEXT(i, c) EACH q[k] = NAME(fma_vector)(q[k], r[k], SPLAT(c));
    LIMIT(EXP_Q)(FIRST, NEXT)
#undef FIRST
#undef NEXT
    if (rough) {
        EACH q[k] = NAME(fma_vector)(q[k], r[k], SPLAT(1));
        EACH y[k] = NAME(fma_vector)(q[k], r[k], SPLAT(1));
    } else {
        EACH y[k] = (REAL)1 + (x[k] + NAME(fma_vector)(r[k] * r[k], q[k], low[k]));
    }
    EACH y[k] *= (VECTOR)((BITS)t[k] << MANTISSA);
}

/* diff_src = diff_dst - exp(dst) * S, see vexp.h: wrong where dst exceeds DST_HI. *top is the largest dst. */
ALWAYS_INLINE void NAME(dst_step)(void *y, const void *g, const void *from, Pitches pitch, const REAL *of, ptrdiff_t stride,
                                  int way, int type, VECTOR *top, int count)
{
    VECTOR x[LIMIT(TOGETHER)], t[LIMIT(TOGETHER)], r[LIMIT(TOGETHER)], q[LIMIT(TOGETHER)];
    EACH x[k] = NAME(max_vector)(SPLAT(LIMIT(DST_LO)), LOAD_APART(from, k, pitch.x));
    EACH *top = NAME(max_vector)(x[k], *top);
    REDUCE(SPLAT(LIMIT(MAGIC) + LIMIT(BIAS)))
    EACH r[k] = NAME(fma_vector)(r[k], SPLAT(-LIMIT(LN_2_LOW)), x[k]);
#define FIRST(i, c) EACH q[k] = CONSTANT(OF_TERMS + i, k);
#define NEXT(i, c) EACH q[k] = NAME(fma_vector)(q[k], r[k], CONSTANT(OF_TERMS + i, k));
    LIMIT(EXP_Q)(FIRST, NEXT)
#undef FIRST
#undef NEXT
    EACH t[k] = (VECTOR)((BITS)t[k] << MANTISSA);
#if FASTLSM_HAS_FMA
    EACH q[k] = NAME(fma_vector)(q[k], r[k], CONSTANT(OF_FACTOR, k));
    EACH q[k] = NAME(fma_vector)(q[k], r[k], CONSTANT(OF_FACTOR, k));
    EACH r[k] = NAME(fma_vector)(t[k], CONSTANT(OF_FACTOR_LOW, k), LOAD_APART(g, k, pitch.g));
    EACH r[k] = NAME(fma_vector)(q[k], t[k], r[k]);
#else                                       /* one more operation makes up for what it rounds more often */
    EACH q[k] = q[k] * (r[k] * r[k]) + (r[k] * CONSTANT(OF_FACTOR, k) + CONSTANT(OF_FACTOR_LOW, k));
    EACH r[k] = (q[k] + CONSTANT(OF_FACTOR, k)) * t[k] + LOAD_APART(g, k, pitch.g);
#endif
    NAME(store_typed)(y, pitch.y, r, way, type, count);
}

/* Is there a dst that exceeds DST_HI? n elements of `next`, if any, are added to lanes. */
ALWAYS_INLINE int NAME(dst_loop)(void *y, const void *g, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                                 int type, int ahead, Stream *stream, const void *next, double *hi, double *lo)
{
    VECTOR top = SPLAT(LIMIT(DST_LO));
    LANES_OF_NEXT
    FLOW_BEGIN
#define STEP(y, g, x, of, count) NAME(dst_step)(y, g, x, NEIGHBOURS, of, stride, ROW, type, &top, count)
    LOOP(ROW, STEP, !stream, ASK_AHEAD(x); SUM_NEXT; FLOW)
#undef STEP
    FLOW_END
    REST_OF_NEXT
    return any((u64_vector)(top > SPLAT(LIMIT(DST_HI))));
}

/* The elements that the loop could not do. Element i is of the row whose sum is hi[i * step] + lo[i * step]. */
static void NAME(mend_dst)(void *y, const void *g, const void *x, ptrdiff_t n, const double *hi, const double *lo,
                           ptrdiff_t step, int type)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        REAL dst = NAME(load_one)(x, i, type);
        if (dst > LIMIT(DST_HI) || NAME(is_extreme)(hi[i * step]))
            NAME(store_one)(y, i, NAME(backward_dst)(NAME(load_one)(g, i, type), dst, hi[i * step], lo[i * step]), type);
    }
}

/* Those of a row of which a part may still be in the stream. */
ALWAYS_INLINE void NAME(mend_streamed_dst)(void *y, const void *g, const void *x, ptrdiff_t n, double hi, double lo,
                                           Stream *stream, int type)
{
    if (stream)
        stream_close(stream);
    NAME(mend_dst)(y, g, x, n, &hi, &lo, 0, type);
    if (stream)
        stream_begin(stream, SKIP(y, n));
}

/* S of a row whose diff_dst adds up to hi + lo, in two parts of which the first is returned. */
static inline REAL NAME(set_dst_factor)(REAL *of, ptrdiff_t stride, double hi, double lo)
{
    REAL f = (REAL)-(hi + lo);
    of[OF_FACTOR * stride] = f;
    of[OF_FACTOR_LOW * stride] = (REAL)((-hi - f) - lo);
    return f;
}

/* All constants; whether the loop can not do it. */
static inline int NAME(set_dst_constants)(REAL *of, ptrdiff_t stride, double hi, double lo)
{
    REAL f = NAME(set_dst_factor)(of, stride, hi, lo);
#define TERM(i, c) of[(OF_TERMS + i) * stride] = f * (REAL)(c);
    LIMIT(EXP_Q)(TERM, TERM)
#undef TERM
    return NAME(is_extreme)(hi);
}

static void NAME(backward_dst_row)(void *y, const void *g, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                                   double hi, double lo, int type, int ahead, Stream *stream, const void *next,
                                   double *next_hi, double *next_lo)
{
    int found = 0;
#define CALL(stream) \
    FOR_EACH_TYPE(found = NAME(dst_loop)(y, g, x, n, of, stride, type, ahead, stream, next, next_hi, next_lo))
    IF_STREAMED(CALL)
#undef CALL
    if (found || NAME(is_extreme)(hi)) {
        FOR_EACH_TYPE(NAME(mend_streamed_dst)(y, g, x, n, hi, lo, stream, type))
    }
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

/* diff_src = diff_dst - exp(src - m) * factor */
ALWAYS_INLINE void NAME(src_step)(void *y, const void *g, const void *x, Pitches pitch, const REAL *of, ptrdiff_t stride,
                                  int way, int type, int count)
{
    VECTOR e[LIMIT(TOGETHER)];
    NAME(exp_vectors)(e, x, pitch.x, of, stride, way, 0, type, count);
    EACH e[k] = NAME(minus_product_vector)(LOAD_APART(g, k, pitch.g), e[k], CONSTANT(OF_FACTOR, k), CONSTANT(OF_FACTOR_LOW, k));
    NAME(store_typed)(y, pitch.y, e, way, type, count);
}

ALWAYS_INLINE void NAME(src_loop)(void *y, const void *g, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                                  int type, int ahead, Stream *stream)
{
    FLOW_BEGIN
#define STEP(y, g, x, of, count) NAME(src_step)(y, g, x, NEIGHBOURS, of, stride, ROW, type, count)
    LOOP(ROW, STEP, !stream, ASK_AHEAD(x); FLOW)
#undef STEP
    FLOW_END
}

static void NAME(backward_src_row)(void *y, const void *g, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                                   int type, int ahead, Stream *stream)
{
#define CALL(stream) FOR_EACH_TYPE(NAME(src_loop)(y, g, x, n, of, stride, type, ahead, stream))
    IF_STREAMED(CALL)
#undef CALL
}

/* The same where exp is known, as exp_row or exp_columns left it. */
ALWAYS_INLINE void NAME(of_exp_step)(void *y, const void *g, const REAL *e, Pitches pitch, const REAL *of, ptrdiff_t stride,
                                     int way, int type, int count)
{
    VECTOR result[LIMIT(TOGETHER)];
    EACH {
        VECTOR exp = NAME(load)(way == DOWN ? BELOW(e, k * pitch.x) : e + AT(k));
        result[k] = NAME(minus_product_vector)(
            LOAD_APART(g, k, pitch.g), exp, CONSTANT(OF_FACTOR, k), CONSTANT(OF_FACTOR_LOW, k));
    }
    NAME(store_typed)(y, pitch.y, result, way, type, count);
}

ALWAYS_INLINE void NAME(of_exp_loop)(void *y, const void *g, const REAL *e, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                                     int type, int ahead, Stream *stream, const void *next, double *hi, double *lo)
{
    const void *x = g;
    LANES_OF_NEXT
    FLOW_BEGIN
#define STEP(y, g, x, of, count) NAME(of_exp_step)(y, g, e + i, NEIGHBOURS, of, stride, ROW, type, count)
    /* bfloat16's pairs of vectors in e begin where they began */
    LOOP(ROW, STEP, !stream && type != ITEM_BF16, ASK_AHEAD(g); SUM_NEXT; FLOW)
#undef STEP
    FLOW_END
    REST_OF_NEXT
}

static void NAME(backward_of_exp_row)(void *y, const void *g, const REAL *e, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                                      int type, int ahead, Stream *stream, const void *next, double *next_hi, double *next_lo)
{
#define CALL(stream) FOR_EACH_TYPE(NAME(of_exp_loop)(y, g, e, n, of, stride, type, ahead, stream, next, next_hi, next_lo))
    IF_STREAMED(CALL)
#undef CALL
}

/* dst = (src - m) - L */
ALWAYS_INLINE void NAME(forward_step)(void *y, const void *x, Pitches pitch, const REAL *of, ptrdiff_t stride, int way,
                                      int type, int count)
{
    VECTOR result[LIMIT(TOGETHER)];
    EACH result[k] = (LOAD_APART(x, k, pitch.x) - CONSTANT(OF_MAX, k)) - CONSTANT(OF_FACTOR, k);
    NAME(store_typed)(y, pitch.y, result, way, type, count);
}

ALWAYS_INLINE void NAME(forward_loop)(void *y, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride, int type,
                                      int ahead, Stream *stream)
{
    const void *g = x;
    FLOW_BEGIN
#define STEP(y, g, x, of, count) NAME(forward_step)(y, x, NEIGHBOURS, of, stride, ROW, type, count)
    LOOP(ROW, STEP, !stream, ASK_AHEAD(x); FLOW)
#undef STEP
    FLOW_END
}

static void NAME(forward_row)(void *y, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride, int type, int ahead,
                              Stream *stream)
{
#define CALL(stream) FOR_EACH_TYPE(NAME(forward_loop)(y, x, n, of, stride, type, ahead, stream))
    IF_STREAMED(CALL)
#undef CALL
}

ALWAYS_INLINE void NAME(fold_typed)(double *high, double *low, f64_vector *his, f64_vector *los, int type)
{
    double hi[LANE_COUNT], lo[LANE_COUNT];
    if (type == ITEM_REAL && MANTISSA == 23) {
        *high = fold_vectors(his);
        *low = 0;
        return;
    }
    put_lanes(hi, his, type == ITEM_BF16);
    put_lanes(lo, los, 0);
    NAME(fold_row)(hi, lo);
    *high = hi[0];
    *low = lo[0];
}

/* The sum of a row that is no longer than a part, in two halves. */
ALWAYS_INLINE void NAME(total_typed)(const void *x, ptrdiff_t n, double *high, double *low, int type, int ahead)
{
    f64_vector his[LANE_VECTORS] = {{0}}, los[LANE_VECTORS] = {{0}};
    NAME(sum_typed)(x, n, his, los, type, ahead);
    NAME(fold_typed)(high, low, his, los, type);
}

static void NAME(total_of_row)(const void *x, ptrdiff_t n, double *high, double *low, int type, int ahead)
{
    FOR_EACH_TYPE(NAME(total_typed)(x, n, high, low, type, ahead))
}

/* The maximum of a row and `max`, NaN passed over. */
ALWAYS_INLINE REAL NAME(max_loop)(const void *x, ptrdiff_t n, REAL max, int type, int ahead)
{
    enum { count = 4 };
    VECTOR top[count];
    ptrdiff_t i = 0;
    EACH top[k] = SPLAT(max);
    for (; i + AT(count) <= n; i += AT(count)) {
        if (ahead)
            prefetch(SKIP(x, i) + AHEAD_BYTES, BYTES(AT(count)));
        EACH top[k] = NAME(max_vector)(LOAD(SKIP(x, i), k), top[k]);
    }
    for (; i + AT(FEW) <= n; i += AT(FEW))
        for (int k = 0; k < FEW; k++)
            top[k] = NAME(max_vector)(LOAD(SKIP(x, i), k), top[k]);
    if (i < n && n >= AT(FEW))              /* some of them once more */
        for (int k = 0; k < FEW; k++)
            top[k] = NAME(max_vector)(LOAD(SKIP(x, n - AT(FEW)), k), top[k]);
    for (int k = 1; k < count; k++)
        top[0] = NAME(max_vector)(top[k], top[0]);
    max = NAME(max_across)(top[0]);
    for (; i < n && n < AT(FEW); i++) {
        REAL last = NAME(load_one)(x, i, type);
        max = last > max ? last : max;
    }
    return max;
}

static REAL NAME(max_row)(const void *x, ptrdiff_t n, REAL max, int type, int ahead)
{
    FOR_EACH_TYPE(return NAME(max_loop)(x, n, max, type, ahead))
    return max;
}

/* Those at the maximum are counted and left out. */
ALWAYS_INLINE VECTOR NAME(below)(VECTOR e, VECTOR x, VECTOR max, BITS *ties)
{
    BITS at_max = (BITS)(x == max);
    *ties -= at_max;
    return (VECTOR)((BITS)e & ~at_max);
}

/* exp of one element, as exp_vectors has it. */
static inline REAL NAME(exp_one)(REAL x, REAL shift, REAL magic, REAL lo)
{
    REAL t, k, r, q, low;
    x = x - shift;
    x = lo > x ? lo : x;
    t = NAME(fma)(x, (REAL)LOG2_E, magic);
    k = t - magic;
    x = NAME(fma)(k, -LIMIT(LN_2_HIGH), x);
    low = k * -LIMIT(LN_2_LOW);
    r = x + low;
#define FIRST(i, c) q = c;
#define NEXT(i, c) q = NAME(fma)(q, r, c);
    LIMIT(EXP_Q)(FIRST, NEXT)
#undef FIRST
#undef NEXT
    q = (REAL)1 + (x + NAME(fma)(r * r, q, low));
    return q * NAME(power_of_two)(t);
}

/* exp of `count` vectors, in their order, to e; of all, or of those below the maximum, the others being counted. */
ALWAYS_INLINE void NAME(exp_step)(REAL *e, const void *x, const REAL *of, ptrdiff_t stride, int below, BITS *ties, int type,
                                  int count)
{
    const int way = ROW;
    VECTOR y[LIMIT(TOGETHER)];
    NAME(exp_vectors)(y, x, 0, of, stride, way, below, type, count);
    if (below)
        EACH y[k] = NAME(below)(y[k], LOAD(x, k), CONSTANT(OF_MAX, k), ties);
    EACH NAME(store)(e + AT(k), y[k]);
}

/* Those, to the lanes of their elements: from memory, which takes fewer operations than taking a vector apart. */
ALWAYS_INLINE void NAME(add_exps)(f64_vector *hi, f64_vector *lo, const REAL *e, int type, int count)
{
#if MANTISSA == 23
    EACH for (int h = 0; h < 2; h++)
        hi[lane_vector(2 * k + h, type == ITEM_BF16)] += load_as_f64(e + AT(k) + h * WIDTH_F64);
    (void)lo;
#else
    EACH NAME(add_to_lanes)(hi, lo, NAME(load)(e + AT(k)), k);
    (void)type;
#endif
}

/* e has room for a multiple of LIMIT(STEP). *next_max becomes the maximum of `next`, if any, and itself. */
ALWAYS_INLINE ptrdiff_t NAME(exp_loop)(REAL *e, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride, int below,
                                       f64_vector *hi, f64_vector *lo, int type, int ahead, const void *next,
                                       REAL *next_max)
{
    BITS ties = {0};
    VECTOR top = SPLAT(next ? *next_max : 0);
    ptrdiff_t i = 0, added = 0;
    for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP)) {
        ASK_AHEAD(next ? next : x);
        if (next)
            for (int k = 0; k < LIMIT(TOGETHER); k++)
                top = NAME(max_vector)(LOAD(SKIP(next, i), k), top);
        NAME(exp_step)(e + i, SKIP(x, i), of, stride, below, &ties, type, LIMIT(TOGETHER));
        for (; added < i; added += LIMIT(STEP))         /* what the step before has stored */
            NAME(add_exps)(hi, lo, e + added, type, LIMIT(TOGETHER));
    }
    if (next)
        *next_max = NAME(max_loop)(SKIP(next, i), n - i, NAME(max_across)(top), type, 0);
    for (; i < n; i += AT(ROUND)) {         /* the last may have to be filled up: exp(-inf) is 0, and adding 0 changes no bit */
        VECTOR rest[LIMIT(TOGETHER)];
        const void *from = SKIP(x, i);
        if (n - i < AT(ROUND)) {
            NAME(fill)(rest, NAME(minus_infinity)(type), ROUND);
            load_part(rest, from, BYTES(n - i));
            from = rest;
        }
        NAME(exp_step)(e + i, from, of, stride, below, &ties, type, ROUND);
    }
    for (; added < i; added += AT(ROUND))
        NAME(add_exps)(hi, lo, e + added, type, ROUND);
    return (ptrdiff_t)BITS_NAME(sum_across)(ties);
}

ALWAYS_INLINE ptrdiff_t NAME(exp_typed)(REAL *e, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride, int below,
                                        double *hi, double *lo, int type, int ahead, const void *next, REAL *next_max)
{
    f64_vector his[LANE_VECTORS], los[LANE_VECTORS];
    take_lanes(his, hi, type == ITEM_BF16);
    take_lanes(los, lo, 0);
    ptrdiff_t ties = below ? NAME(exp_loop)(e, x, n, of, stride, 1, his, los, type, ahead, next, next_max)
                           : NAME(exp_loop)(e, x, n, of, stride, 0, his, los, type, ahead, next, next_max);
    put_lanes(hi, his, type == ITEM_BF16);
    put_lanes(lo, los, 0);
    return ties;
}

static ptrdiff_t NAME(exp_row)(REAL *e, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride, int below, double *hi,
                               double *lo, int type, int ahead, const void *next, REAL *next_max)
{
    FOR_EACH_TYPE(return NAME(exp_typed)(e, x, n, of, stride, below, hi, lo, type, ahead, next, next_max))
    return 0;
}

/* The same of a row that is no longer than a part: to the sum's two halves. */
ALWAYS_INLINE ptrdiff_t NAME(exp_total_typed)(REAL *e, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                                              int below, double *high, double *low, int type, int ahead,
                                              const void *next, REAL *next_max)
{
    f64_vector his[LANE_VECTORS] = {{0}}, los[LANE_VECTORS] = {{0}};
    ptrdiff_t ties = below ? NAME(exp_loop)(e, x, n, of, stride, 1, his, los, type, ahead, next, next_max)
                           : NAME(exp_loop)(e, x, n, of, stride, 0, his, los, type, ahead, next, next_max);
    NAME(fold_typed)(high, low, his, los, type);
    return ties;
}

static ptrdiff_t NAME(exp_total_of_row)(REAL *e, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride, int below,
                                        double *high, double *low, int type, int ahead, const void *next, REAL *next_max)
{
    FOR_EACH_TYPE(return NAME(exp_total_typed)(e, x, n, of, stride, below, high, low, type, ahead, next, next_max))
    return 0;
}

#include "columns_of_real.h"
#include "short_rows_of_real.h"
#include "flat_rows_of_real.h"
#include "dst_rows_of_real.h"

#undef EACH
#undef EACH_OF_ROUND
#undef IN_VECTOR
#undef IN_ORDER
#undef ASK_FOR_ROUND
#undef AT
#undef SPLAT
#undef CONSTANT
#undef LOAD
#undef LOAD_APART
#undef BYTES
#undef SKIP
#undef FEW
#undef ROUND
#undef UNALIGNED
#undef LOOP
#undef IF_STREAMED
#undef FLOW
#undef FLOW_BEGIN
#undef FLOW_END
#undef BELOW
#undef ASK_AHEAD
#undef LANES_OF_NEXT
#undef SUM_NEXT
#undef REST_OF_NEXT
#undef REDUCE
#undef FOR_EACH_TYPE
#undef REAL
#undef NAME
#undef LIMIT
#undef VECTOR
#undef BITS
#undef BITS_NAME
#undef WIDTH
#undef MANTISSA
