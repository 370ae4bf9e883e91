/* Included by loops_of_real.h: the dst form of rows that can be computed on where they lie.
 *
 * One row after the other, or some short ones, from sums to results: while a processor computes one, it sees the next, and
 * reads it.
 */

/* A row that is some vectors long: what is in no whole one is in one with a mask. */
ALWAYS_INLINE int NAME(short_dst)(void *y, const void *g, const void *x, ptrdiff_t n, const REAL *of, ptrdiff_t stride,
                                  int type, int ahead, Stream *stream)
{
    VECTOR top = SPLAT(LIMIT(DST_LO));
    ptrdiff_t i = 0;
    FLOW_BEGIN
    for (; i + LIMIT(STEP) <= n; i += LIMIT(STEP)) {
        ASK_AHEAD(x);
        NAME(dst_step)(SKIP(y, i), SKIP(g, i), SKIP(x, i), NEIGHBOURS, of, stride, ROW, type, &top, LIMIT(TOGETHER));
    }
    for (; i < n; i += LANE_COUNT) {
        VECTOR u[LIMIT(ROUND_VECTORS)], v[LIMIT(ROUND_VECTORS)];
        ASK_FOR_ROUND(x);
        NAME(load_round)(u, g, i, n, SPLAT(0), type);
        NAME(load_round)(v, x, i, n, SPLAT(0), type);
        NAME(dst_step)(u, u, v, NEIGHBOURS, of, stride, ROW, ITEM_REAL, &top, LIMIT(ROUND_VECTORS));
        NAME(store_round)(y, u, i, n, type);
    }
    if (stream)
        stream_add(stream, BYTES(n));
    return any((u64_vector)(top > SPLAT(LIMIT(DST_HI))));
}

/* `batch` rows at a time: their sums, their constants, their results. These go to y; or, if there is a `stage`, first to that,
 * as y lies where g or x does. */
ALWAYS_INLINE void NAME(dst_rows_typed)(char *y, ptrdiff_t y_pitch, const char *g, ptrdiff_t g_pitch, const char *x,
                                        ptrdiff_t x_pitch, ptrdiff_t rows, ptrdiff_t n, char *stage, int ahead, int streamed,
                                        int type, const int batch)
{
    /* Where masks take longer, a row's end is sooner computed together with what is before it; but not streamed twice. */
    const int masked = MASKED_HALVES || (MASKED_VECTORS && type == ITEM_REAL && streamed);
    const int is_short = masked && n < 4 * LIMIT(STEP);
    const int in_turns = batch == 1 && ahead && n >= 256;         /* of shorter ones, processors see enough at a time */
    const ptrdiff_t to_pitch = stage ? (ptrdiff_t)BYTES(n) : y_pitch;
    Stream flow, *stream = streamed && !stage ? &flow : NULL;
    double hi[BATCH] = {0}, lo[BATCH] = {0}, his[LANE_COUNT] = {0}, los[LANE_COUNT] = {0};
    REAL of[CONSTANTS * BATCH];
    stream_begin(&flow, y);
    for (ptrdiff_t first = 0, count; first < rows; first += count) {
        int extreme = 0;
        char *to = stage ? stage : y;
        count = rows - first < batch ? rows - first : batch;
        for (ptrdiff_t r = 0; r < count; r++)
            if (is_short)
                NAME(short_total)(g + r * g_pitch, n, hi + r, lo + r, type, ahead);
            else if (first == 0 || !in_turns)
                NAME(total_typed)(g + r * g_pitch, n, hi + r, lo + r, type, ahead);
        for (ptrdiff_t r = 0; r < count; r++)
            extreme |= NAME(set_dst_constants)(of + r, batch, hi[r], lo[r]);
        for (ptrdiff_t r = 0; r < count; r++) {
            const char *next = in_turns && first + 1 < rows ? g + g_pitch : NULL;
            if (next) {
                clear_lanes(his);
                clear_lanes(los);
            }
            if (is_short)
                extreme |= NAME(short_dst)(to + r * to_pitch, g + r * g_pitch, x + r * x_pitch, n, of + r, batch, type, ahead,
                                           stream);
            else
                extreme |= NAME(dst_loop)(to + r * to_pitch, g + r * g_pitch, x + r * x_pitch, n, of + r, batch, type, ahead,
                                          stream, next, his, los);
            if (stream)
                stream_row(stream, 0, y + (r + 1) * y_pitch);
        }
        if (extreme && stream)
            stream_close(stream);
        for (ptrdiff_t r = 0; extreme && r < count; r++)
            NAME(mend_dst)(to + r * to_pitch, g + r * g_pitch, x + r * x_pitch, n, hi + r, lo + r, 0, type);
        if (extreme && stream)
            stream_begin(stream, y + count * y_pitch);
        if (in_turns) {
            NAME(fold_row)(his, los);
            hi[0] = his[0];
            lo[0] = los[0];
        }
        for (ptrdiff_t r = 0; stage && r < count; r++)
            if (streamed)
                stream_copy(y + r * y_pitch, stage + r * BYTES(n), BYTES(n));
            else
                memcpy(y + r * y_pitch, stage + r * BYTES(n), BYTES(n));
        y += count * y_pitch, g += count * g_pitch, x += count * x_pitch;
    }
    if (stream)
        stream_close(stream);
    else if (streamed)
        stream_end();
}

static void NAME(dst_rows)(void *y, ptrdiff_t y_pitch, const void *g, ptrdiff_t g_pitch, const void *x, ptrdiff_t x_pitch,
                           ptrdiff_t rows, ptrdiff_t n, void *stage, int ahead, int streamed, int type)
{
    /* From afar, larger elements are waited for longer than a row's constants take. */
    if (n >= BATCH_BELOW || (ahead && type == ITEM_REAL)) {
        FOR_EACH_TYPE(NAME(dst_rows_typed)(y, y_pitch, g, g_pitch, x, x_pitch, rows, n, stage, ahead, streamed, type, 1))
    } else {
        FOR_EACH_TYPE(NAME(dst_rows_typed)(y, y_pitch, g, g_pitch, x, x_pitch, rows, n, stage, ahead, streamed, type, BATCH))
    }
}
