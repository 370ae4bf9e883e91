/* Sums of columns, as lanes.h has them: element j of a column is added to its lane j % 16, and the lanes as that tree. */
#ifndef FASTLSM_COLUMN_LANES_H
#define FASTLSM_COLUMN_LANES_H

#include "lanes.h"
#include "traffic.h"

/* Columns are of one item type; x is their first row, and the next is `pitch` bytes away. */
#define BELOW(item, x, bytes) ((const item *)((const char *)(x) + (bytes)))
#define FOR_EACH_ITEM(name, ...) \
    switch (type) { \
    case ITEM_REAL: name##_float(__VA_ARGS__); break; \
    case ITEM_F16: name##_f16(__VA_ARGS__); break; \
    default: name##_bf16(__VA_ARGS__); \
    }

/* x[l] of each row to each lane l. */
#define ADD_ROWS(item, load, add) \
    static inline void add_rows_##item(double *hi, double *lo, const void *x, ptrdiff_t rows, ptrdiff_t pitch) \
    { \
        f64_vector his[LANE_VECTORS], los[LANE_VECTORS]; \
        memcpy(his, hi, sizeof his); \
        memcpy(los, lo, sizeof los); \
        for (ptrdiff_t i = 0; i < rows; i++) \
            for (int k = 0; k < LANE_VECTORS; k++) \
                add(his, los, load(BELOW(item, x, i * pitch) + k * WIDTH_F64), k); \
        memcpy(hi, his, sizeof his); \
        memcpy(lo, los, sizeof los); \
    }
static inline void add_exactly(f64_vector *hi, f64_vector *lo, f64_vector x, int k)
{
    (void)lo;
    hi[k] += x;
}
ADD_ROWS(float, load_as_f64, add_exactly)
ADD_ROWS(bf16, load_bf16_as_f64, add_exactly)
ADD_ROWS(f16, load_f16_as_f64, add_exactly)
ADD_ROWS(double, load_f64, add_to_lanes_f64)
#undef ADD_ROWS

static inline void add_rows_f32(double *hi, double *lo, const void *x, ptrdiff_t rows, ptrdiff_t pitch, int type)
{
    FOR_EACH_ITEM(add_rows, hi, lo, x, rows, pitch)
}

static inline void add_rows_f64(double *hi, double *lo, const void *x, ptrdiff_t rows, ptrdiff_t pitch, int type)
{
    (void)type;
    add_rows_double(hi, lo, x, rows, pitch);
}

/* Add each row of n columns to its lane. The lanes lie in memory, `width` sums side by side in each; with each row, that
 * `ahead` rows further is asked for. Not inlined, for its callers leave it too few registers. */
#define ROWS_TO_LANES(item, load, load_one) \
    static __attribute__((noinline)) void rows_to_lanes_##item(double *lanes, ptrdiff_t width, const void *x, ptrdiff_t pitch, \
                                                               ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ahead) \
    { \
        memset(lanes, 0, LANE_COUNT * width * sizeof *lanes); \
        for (ptrdiff_t j = 0; j < rows; j++) { \
            const item *row = BELOW(item, x, j * pitch); \
            double *lane = lanes + j % LANE_COUNT * width; \
            ptrdiff_t c = 0; \
            prefetch(BELOW(item, row, ahead * pitch), n * sizeof *row); \
            for (; c + WIDTH_F64 <= n; c += WIDTH_F64) \
                store_f64(lane + c, load_f64(lane + c) + load(row + c)); \
            for (; c < n; c++) \
                lane[c] += load_one(row[c]); \
        } \
    }
ROWS_TO_LANES(float, load_as_f64, )
ROWS_TO_LANES(bf16, load_bf16_as_f64, f32_from_bf16)
ROWS_TO_LANES(f16, load_f16_as_f64, f32_from_f16)
#undef ROWS_TO_LANES

static inline void rows_to_lanes_f32(double *lanes, ptrdiff_t width, const void *x, ptrdiff_t pitch, ptrdiff_t rows,
                                     ptrdiff_t n, ptrdiff_t ahead, int type)
{
    FOR_EACH_ITEM(rows_to_lanes, lanes, width, x, pitch, rows, n, ahead)
}

/* Where no lane has more than one element, the tree is that of the elements. Adding 0 to its sum makes -0 what it is where
 * lanes begin with 0. */
#define FEW_ROWS(item, sum_type, of_element, add) \
    static inline sum_type lanes_8_##item(const item *x, ptrdiff_t n, ptrdiff_t pitch, ptrdiff_t l) \
    { \
        sum_type sum = of_element(BELOW(item, x, l * pitch)); \
        return l + 8 < n ? add(sum, of_element(BELOW(item, x, (l + 8) * pitch))) : sum; \
    } \
    FEW_ROWS_LEVEL(item, sum_type, add, 4, 8) \
    FEW_ROWS_LEVEL(item, sum_type, add, 2, 4) \
    FEW_ROWS_LEVEL(item, sum_type, add, 1, 2)
#define FEW_ROWS_LEVEL(item, sum_type, add, step, below) \
    static inline sum_type lanes_##step##_##item(const item *x, ptrdiff_t n, ptrdiff_t pitch, ptrdiff_t l) \
    { \
        sum_type sum = lanes_##below##_##item(x, n, pitch, l); \
        return l + step < n ? add(sum, lanes_##below##_##item(x, n, pitch, l + step)) : sum; \
    }
static inline f64_vector add_vectors(f64_vector a, f64_vector b) { return a + b; }
static inline f64_sum sum_of_one(const double *at) { return (f64_sum){ load_f64(at), { 0 } }; }
static inline f64_sum add_sums(f64_sum a, f64_sum b)
{
    add_sum_f64(&a, &b);
    return a;
}
FEW_ROWS(float, f64_vector, load_as_f64, add_vectors)
FEW_ROWS(bf16, f64_vector, load_bf16_as_f64, add_vectors)
FEW_ROWS(f16, f64_vector, load_f16_as_f64, add_vectors)
FEW_ROWS(double, f64_sum, sum_of_one, add_sums)
#undef FEW_ROWS
#undef FEW_ROWS_LEVEL

/* The whole sum of each of `count` columns (a multiple of a vector's) of n elements.
 *
 * Lane by lane in bit-reversed order: the tree then adds each sum to the one before it as soon as there are two of a
 * level, as a binary counter carries, and no more than five wait, in registers. */
#define LANES_BIT_REVERSED(LANE, ...) \
    LANE(0, 0, __VA_ARGS__) LANE(1, 8, __VA_ARGS__) LANE(2, 4, __VA_ARGS__) LANE(3, 12, __VA_ARGS__) \
    LANE(4, 2, __VA_ARGS__) LANE(5, 10, __VA_ARGS__) LANE(6, 6, __VA_ARGS__) LANE(7, 14, __VA_ARGS__) \
    LANE(8, 1, __VA_ARGS__) LANE(9, 9, __VA_ARGS__) LANE(10, 5, __VA_ARGS__) LANE(11, 13, __VA_ARGS__) \
    LANE(12, 3, __VA_ARGS__) LANE(13, 11, __VA_ARGS__) LANE(14, 7, __VA_ARGS__) LANE(15, 15, __VA_ARGS__)
#define CARRY(i, l, add) \
    if ((i) & 1) add(0); \
    if (((i) & 3) == 3) add(1); \
    if (((i) & 7) == 7) add(2); \
    if (((i) & 15) == 15) add(3);
enum { LANE_LEVELS = 5 };
#define LEVEL_OF(i) (((i) & 1) == 0 ? 0 : ((i) & 2) == 0 ? 1 : ((i) & 4) == 0 ? 2 : ((i) & 8) == 0 ? 3 : 4)

#define SUM_COLUMNS(item, load) \
    static inline void sum_columns_##item(double *hi, double *lo, const void *columns, ptrdiff_t n, ptrdiff_t pitch, \
                                          ptrdiff_t count) \
    { \
        const item *x = columns; \
        memset(lo, 0, count * sizeof *lo); \
        if (n <= LANE_COUNT) \
            for (ptrdiff_t c = 0; c < count; c += WIDTH_F64) \
                store_f64(hi + c, lanes_1_##item(x + c, n, pitch, 0) + 0.0); \
        else \
            for (ptrdiff_t c = 0; c < count; c += WIDTH_F32, x += WIDTH_F32) { \
                f64_vector waiting[LANE_LEVELS][2]; \
                LANES_BIT_REVERSED(LANE, item, load) \
                memcpy(hi + c, waiting[LANE_LEVELS - 1], sizeof waiting[0]); \
            } \
    }
#define MERGE(level) sum[0] = waiting[level][0] + sum[0], sum[1] = waiting[level][1] + sum[1]
#define LANE(i, l, item, load) { \
        f64_vector sum[2] = { { 0 }, { 0 } }; \
        for (ptrdiff_t j = l; j < n; j += LANE_COUNT) \
            for (int k = 0; k < 2; k++) \
                sum[k] += load(BELOW(item, x, j * pitch) + k * WIDTH_F64); \
        CARRY(i, l, MERGE) \
        waiting[LEVEL_OF(i)][0] = sum[0]; \
        waiting[LEVEL_OF(i)][1] = sum[1]; \
    }
SUM_COLUMNS(float, load_as_f64)
SUM_COLUMNS(bf16, load_bf16_as_f64)
SUM_COLUMNS(f16, load_f16_as_f64)
#undef SUM_COLUMNS
#undef LANE
#undef MERGE

static inline void sum_columns_f32(double *hi, double *lo, const void *x, ptrdiff_t n, ptrdiff_t pitch, ptrdiff_t count,
                                   int type)
{
    FOR_EACH_ITEM(sum_columns, hi, lo, x, n, pitch, count)
}

static inline void sum_columns_f64(double *hi, double *lo, const void *columns, ptrdiff_t n, ptrdiff_t pitch, ptrdiff_t count,
                                   int type)
{
    const double *x = columns;
    (void)type;
    if (n <= LANE_COUNT) {
        for (ptrdiff_t c = 0; c < count; c += WIDTH_F64) {
            f64_sum sum = lanes_1_double(x + c, n, pitch, 0);
            store_f64(hi + c, sum.hi + 0.0);
            store_f64(lo + c, sum.lo);
        }
        return;
    }
    for (ptrdiff_t c = 0; c < count; c += WIDTH_F64, x += WIDTH_F64) {
        f64_sum waiting[LANE_LEVELS];
#define MERGE(level) { f64_sum before = waiting[level]; add_sum_f64(&before, &sum); sum = before; }
#define LANE(i, l, item, load) { \
            f64_sum sum = { { 0 }, { 0 } }; \
            for (ptrdiff_t j = l; j < n; j += LANE_COUNT) \
                add_vector_f64(&sum, load(BELOW(item, x, j * pitch))); \
            CARRY(i, l, MERGE) \
            waiting[LEVEL_OF(i)] = sum; \
        }
        LANES_BIT_REVERSED(LANE, double, load_f64)
#undef LANE
#undef MERGE
        store_f64(hi + c, waiting[LANE_LEVELS - 1].hi);
        store_f64(lo + c, waiting[LANE_LEVELS - 1].lo);
    }
}
#undef LANES_BIT_REVERSED
#undef CARRY
#undef LEVEL_OF
#undef BELOW
#undef FOR_EACH_ITEM

#endif
