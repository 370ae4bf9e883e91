/* The memory that walks work in. What is double here holds floats as well. */
#ifndef FASTLSM_WORKSPACE_HPP
#define FASTLSM_WORKSPACE_HPP

#include "lanes.hpp"
#include "steps.hpp"
#include "tuning.hpp"

namespace {

/* A block of a row, and a short row, on the stack. Vectors from their beginning on lie in one line each. */
struct Chunk {
    double elements[CHUNK] __attribute__((aligned(CACHE_LINE)));
};
struct KeptRow {
    /* LANES more: the loops read exp in whole vectors, past the last element. */
    double elements[KEPT_ROW + LANES] __attribute__((aligned(CACHE_LINE)));
};

/* The constants of rows or columns side by side, and what they come from. */
template <ptrdiff_t pitch, ptrdiff_t room> struct ConstantsRoom {
    char values[CONSTANTS * pitch] __attribute__((aligned(CACHE_LINE)));
    double diff_dst_hi[room], diff_dst_lo[room], boost[room], exps_hi[room], exps_lo[room], counts[room];

    Constants constants() { return { values, pitch, diff_dst_hi, diff_dst_lo, boost, exps_hi, exps_lo, counts }; }
};

using RowConstants = ConstantsRoom<ROW_PITCH, ROW_STRIDE<double>>;
using TileConstants = ConstantsRoom<TILE_PITCH, WIDEST_TALL_TILE + 2 * LANES>;
static_assert(WIDEST_TALL_TILE + 2 * LANES <= TILE_STRIDE<float>);

static_assert(MOST_INTERLEAVED <= MOST_TOGETHER && LANES * MOST_INTERLEAVED <= WIDEST_TILE);

/* What the passes over a part of a row find. */
struct Part {
    double max;
    Sum diff_dst, exps;
    Sum others;   /* exps without that of the class of LARGEST */
    double count; /* beside exps: see Counted */
};
struct Parts {
    Part parts[MOST_PARTS];
};

/* What the first pass finds of the rows that come next. */
struct Reduced {
    double max[MOST_TOGETHER], diff_dst_hi[MOST_TOGETHER], diff_dst_lo[MOST_TOGETHER];
};

/* A slab's results, or as many of its rows as go into this. */
constexpr ptrdiff_t RESULT_BYTES = SLAB * sizeof(double);
static_assert(RESULT_BYTES >= WIDE_ROWS_AT_ONCE * WIDEST_TALL_TILE * (ptrdiff_t)sizeof(float));
static_assert(RESULT_BYTES >= WIDE_ROWS_AT_ONCE * WIDEST_TILE * (ptrdiff_t)sizeof(double));
static_assert(2 * STAGE >= LANES * WIDEST_TALL_TILE);
static_assert(2 * STAGE >= 2 * LANES * WIDEST_TILE); /* tall tiles of double: two sets of lanes */

/* The memory of one thread. */
struct Workspace {
    double stage[2 * STAGE]; /* tiles if they fit, else slabs of some of their rows; exp of rows */
    double result[RESULT_BYTES / sizeof(double)];
    double flat[SLAB];
    double lanes[LANES * WIDEST_TILE];
    double pattern[FLAT_ROW * LANES];
    TileConstants constants;
};
static_assert(sizeof(Workspace) + 2048 <= 1 << 20, "the pages promise 1 MiB a thread, with all that a call needs");

} // namespace
#endif
