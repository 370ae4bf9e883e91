/* The numbers that decide how fast a result is computed, and nothing else about it. */
#ifndef FASTLSM_TUNING_HPP
#define FASTLSM_TUNING_HPP

#include <stddef.h>

namespace {

constexpr ptrdiff_t LEAST_TOGETHER = 4;
constexpr ptrdiff_t AHEAD_BYTES = 2048;
constexpr ptrdiff_t ROWS_AHEAD = 4;
constexpr ptrdiff_t MANY_CONSTANTS = 4096;
constexpr ptrdiff_t FLAT_TOGETHER = 4;
constexpr ptrdiff_t WIDEST_TILE = 1344;
constexpr ptrdiff_t CHUNK = 1024;
constexpr ptrdiff_t NEAR_TILE = 496;
constexpr ptrdiff_t LEAST_NEAR = 64;
constexpr ptrdiff_t LEAST_WIDE_RUN = 48;
constexpr ptrdiff_t NEAR_RUN = 256;
constexpr ptrdiff_t NARROWEST_TILE = 128;
constexpr ptrdiff_t SLAB = 8192;
constexpr ptrdiff_t AHEAD_FROM = 1 << 19;
constexpr ptrdiff_t FAR_BYTES = 1 << 24;
constexpr ptrdiff_t STAGE = 32768;
constexpr ptrdiff_t TOGETHER_ELEMENTS = 4096;
constexpr ptrdiff_t MOST_TOGETHER = 64;
constexpr ptrdiff_t TURNED_ROW = 64;
constexpr ptrdiff_t TURNED_READY_ROW = 24;
constexpr ptrdiff_t TURNED_DST_ROW = 8;
constexpr ptrdiff_t FLAT_ROW = 47;
constexpr ptrdiff_t FLAT_ROW_BESIDE_MASKS = 31;
constexpr ptrdiff_t FLAT_ELEMENTS = 2048;
constexpr ptrdiff_t LEAST_FLAT_RUN = 16384;
constexpr ptrdiff_t LEAST_PAIRED_ROW = 128;
constexpr ptrdiff_t KEPT_ROW = 2048;
constexpr ptrdiff_t LEAST_READ_AHEAD = 2048;
constexpr ptrdiff_t LEAST_DST_ROW_READ_AHEAD = 256;
constexpr ptrdiff_t FEW_COLUMNS = 16;
constexpr ptrdiff_t LEAST_SHARE = 32768;
constexpr ptrdiff_t LONG_SHARE = 1 << 24;
constexpr ptrdiff_t BRIEF = 8192;

} // namespace
#endif
