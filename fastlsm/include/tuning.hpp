/* The numbers that decide how fast a result is computed, and nothing else about it.
 *
 * Behind each number stands what another number costs: the time with that one over the time with this one, geometric
 * mean of cells of the number's domain, float32, AVX-512, one thread of a Xeon with 2 MB of second-level cache. Below
 * 0.03 either way is noise. A change here changes no bits: `make compare` says so.
 */
#ifndef FASTLSM_TUNING_HPP
#define FASTLSM_TUNING_HPP

#include <stddef.h>

namespace {

/* Vectors that go through a step together, at least: a polynomial is a chain of operations. 2: 1.01, 8: 1.01. */
constexpr ptrdiff_t LEAST_TOGETHER = 4;

/* ------------------------------------------------------------------------------------------------------- memory */

/* Bytes: how far ahead loops along rows ask for elements. 512: 1.03 (64 classes 1.11), 8192: 1.04. */
constexpr ptrdiff_t AHEAD_BYTES = 2048;
/* Rows of a tile: how far ahead they are asked for. 1: 0.99, 16: 1.05. */
constexpr ptrdiff_t ROWS_AHEAD = 4;
/* Doubles: the stage of one operand. With two of them, a thread's workspace stays below the 1 MiB that users are
 * promised. */
constexpr ptrdiff_t STAGE = 32768;
/* Bytes of a row between others' elements, or of a run of columns: longer ones are written past the caches, if results
 * are. Zen 4: rows of 188 bytes 1.8 if streamed, of 2400 bytes 1.03, of 16 KB 0.85; runs of 200 bytes 1.7, of 800 bytes
 * 1.03, of 4000 bytes 0.9. */
constexpr ptrdiff_t LEAST_STREAMED_ROW = 4096;
constexpr ptrdiff_t LEAST_STREAMED_RUN = 512;

/* ------------------------------------------------------------------------------------------------------- rows */

/* Elements of a row that are loaded, computed and stored together. At most PART_UNIT. 256: 1.00. */
constexpr ptrdiff_t CHUNK = 1024;
/* Elements: a shorter row stays loaded, on the stack. 1: 1.07. */
constexpr ptrdiff_t KEPT_ROW = 2048;
/* Elements of a batch of rows. 2048: 1.00 (forward of 1000 elements 1.15), 8192: 0.99. */
constexpr ptrdiff_t TOGETHER_ELEMENTS = 4096;
/* Rows of a batch. 16: 0.98. */
constexpr ptrdiff_t MOST_TOGETHER = 64;
/* Bytes of a row that is reduced while the row before it is computed. 2048: 1.05 (300 elements 1.2), 8192: 1.16. */
constexpr ptrdiff_t LEAST_READ_AHEAD = 512;
/* The same for the dst form, in elements. 256: 1.04 (64 elements 1.15), never: 1.05. */
constexpr ptrdiff_t LEAST_DST_ROW_READ_AHEAD = 64;

/* ------------------------------------------------------------------------------------------------------- flat rows */

/* Elements of the longest flat row. FLAT_ROW_BESIDE_MASKS holds where rows' ends are quick. 16: 1.34, 47: 1.05. */
constexpr ptrdiff_t FLAT_ROW = 47;
constexpr ptrdiff_t FLAT_ROW_BESIDE_MASKS = 31;
/* Elements that are turned and written together. 1024: 0.94 (bfloat16, 21 classes, src form 1.07), 4096: 1.04. */
constexpr ptrdiff_t FLAT_ELEMENTS = 2048;
/* Rows of such a batch: the first-level cache keeps their constants. 680: 1.15 (3 classes, src form). */
constexpr ptrdiff_t MOST_FLAT_ROWS = 256;
/* Elements of a run of rows that is worth it, where runs do not follow each other evenly. */
constexpr ptrdiff_t LEAST_FLAT_RUN = 16384;
/* Elements of the longest flat row of float32 or float64 that is packed: one of four is turned in blocks. 1: 1.19. */
constexpr ptrdiff_t PACKED_ROW = 3;
/* The same where one of the operands and the result is packed, and the last step reads no exp. 3: 1.20 (AVX2 1.06),
 * 31: 1.02. */
constexpr ptrdiff_t LONGER_PACKED_ROW = 20;
/* Rows: how far ahead rows that are packed are asked for. 0: 1.04, 256: 0.99. */
constexpr ptrdiff_t PACK_AHEAD = 64;
/* Vectors that go through a step together. 1: 1.10, 2: 1.09. */
constexpr ptrdiff_t FLAT_TOGETHER = 4;

/* ------------------------------------------------------------------------------------------------------- columns */

/* Columns: fewer do not fill a vector, and are computed along the axis. */
constexpr ptrdiff_t FEW_COLUMNS = 16;
/* Elements of the longest rows that are turned to columns: rows that do not lie ready; ready ones where ends are quick,
 * of which 8: 1.14, 48: 1.06; and those of the dst form, of which 2: 1.11, 24: 1.19. */
constexpr ptrdiff_t TURNED_ROW = 64;
constexpr ptrdiff_t TURNED_READY_ROW = 24;
constexpr ptrdiff_t TURNED_DST_ROW = 8;
/* Elements of a tile that is loaded, computed and stored at a time. 4096: 1.00 (src form 1.04, forward 0.97). */
constexpr ptrdiff_t SLAB = 8192;
/* Columns of a tile at least, unless there are fewer: a row of a tile is a jump in memory. 64: 1.03, 256: 1.01. */
constexpr ptrdiff_t NARROWEST_TILE = 128;
/* Columns of a tile that does not come from afar, at most. A multiple of LANES, no power of two. 240: 0.99, 1008: 0.99.
 */
constexpr ptrdiff_t NEAR_TILE = 496;
/* Columns of a tile that comes from afar, at most; of double half as many. A multiple of 2 LANES, no power of two, so
 * that the elements of a column fall into different sets of the caches. 672: 1.26, 2688: 1.00. */
constexpr ptrdiff_t WIDEST_TILE = 1344;
/* Elements of a column from which on it is tall. Times on a processor with 1 MB of second-level cache: never: 1.15,
 * 300: 0.99. */
constexpr ptrdiff_t LEAST_TALL = 512;
/* The same for the dst form, whose columns must have so many elements together, too. Never: 1.35, 43: 1.0. */
constexpr ptrdiff_t LEAST_TALL_DST = 96;
constexpr ptrdiff_t LEAST_TALL_TILE = 32768;
/* Columns of a tall tile, at least. 3: 1.3, bfloat16 of 6: 1.3 on one thread, 0.8 on two. */
constexpr ptrdiff_t LEAST_TALL_COLUMNS = 6;
/* Columns of a tall tile, at most; of double WIDEST_TILE. A multiple of LANES. Wider ones would take a thread's
 * workspace past 1 MiB; a tile of 1777 columns that is cut in two: 1.7. Also the most columns of a wide tile that is
 * all of inner and fits into scratch; cut in two: 1.12 (Zen 4; dst form 1.3, bfloat16 1.4). */
constexpr ptrdiff_t WIDEST_TALL_TILE = 2080;
/* Tall tiles for each thread: of more, each thread computes whole tiles, though one may get a tile more than another:
 * then it takes at most a fourth longer. */
constexpr ptrdiff_t MANY_TILES = 4;
/* Columns: from this extent of `inner` on, tiles end where it does, and may be wide. 256: 1.40. */
constexpr ptrdiff_t LEAST_WIDE_RUN = 48;
/* Elements of a row: interleaved rows of so many are no columns of a tile; in the dst form of fewer. A processor with 1
 * MB of second-level cache: 64 elements 1.2 (dst form 0.6), 240 elements 0.5. */
constexpr ptrdiff_t LEAST_INTERLEAVED = 128;
constexpr ptrdiff_t LEAST_INTERLEAVED_DST = 48;
/* Interleaved rows of an outer place, at most. Zen 4: 47 (of 49, images of 7 x 7) 1.7; 64, which are whole vectors as
 * columns, too: 1.1 (n of 100 1.3, of 777 0.9). */
constexpr ptrdiff_t MOST_INTERLEAVED = 63;
/* Rows of a wide or a tall tile that are computed at a time: then writing does not wait until reading ends, and exp of
 * tall rows stays in the caches. All that fit (wide): 1.03. */
constexpr ptrdiff_t WIDE_ROWS_AT_ONCE = 4;
/* Elements of a column from which on tiles are computed where they lie. 16: 1.00, 256: 1.05 (77 elements, dst
 * form 1.35). */
constexpr ptrdiff_t LEAST_NEAR = 64;
/* Columns of such a tile, at most: the first-level cache keeps their lanes. 128: 1.00, 496: 1.00. */
constexpr ptrdiff_t NEAR_RUN = 256;
/* Bytes of one constant of all columns: from here on, constants are loaded once for four rows. 512: 1.03, 16384: 1.11.
 */
constexpr ptrdiff_t MANY_CONSTANTS = 4096;

/* ------------------------------------------------------------------------------------------------------- calls */

/* Elements for each thread, at least. Two threads, awake, take 2 to 3 us more than one beside what they share: of
 * 32768 elements they win 1.3 to 1.7, of 16384 1.1 to 1.6, of 8192 0.8 to 1.4 (whole calls, float32, the forms and
 * rows of 10 to 1000). As little as that is not worth a processor. */
constexpr ptrdiff_t LEAST_SHARE = 16384;
/* Elements up to which the GIL is kept: to release and take it costs 0.1 us of a call of 1 to 5 us. */
constexpr ptrdiff_t BRIEF = 8192;
/* Elements for each thread from which on a call answers signals: some 10 ms, a tenth of what a person notices. */
constexpr ptrdiff_t LONG_SHARE = 1 << 24;

} // namespace
#endif
