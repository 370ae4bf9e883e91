/* The numbers that define the bits of a result, beside those of real.hpp and two limits in row_constants.hpp
 * (LARGEST_REST, least_rest). They are no tuning: another number here is another result, for every user and in
 * tests/bits.txt. Speed is tuned in tuning.hpp.
 *
 * Element j of a part of a row is added to lane j % LANES, in double. The lanes of a part are added as a tree (l + 8 to
 * l, then l + 4, l + 2, l + 1), and the parts in their order. Where a row is cut into parts depends on its length
 * alone. Rows of few classes have no lanes (few_classes.hpp).
 */
#ifndef FASTLSM_BITS_HPP
#define FASTLSM_BITS_HPP

#include <stddef.h>

namespace {

constexpr ptrdiff_t LANES = 16;
constexpr ptrdiff_t LEAST_PART = 16384; /* a shorter row is one part */
constexpr ptrdiff_t MOST_PARTS = 64;
constexpr ptrdiff_t PART_UNIT = 1024; /* a multiple of LANES, and of every block that rows are loaded in */

/* Elements of the longest rows that few_classes.hpp computes. */
constexpr ptrdiff_t FEW_CLASSES_OF_LOG_SOFTMAX = 3;
constexpr ptrdiff_t FEW_CLASSES_OF_SRC_FORM = 6;

/* How many blocks of `size` cover n elements; the last block may be shorter. */
inline ptrdiff_t blocks(ptrdiff_t n, ptrdiff_t size) { return (n + size - 1) / size; }

inline ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t size) { return blocks(n, size) * size; }

/* The length of each part of a row of n elements. The last part may be shorter. */
inline ptrdiff_t part_length(ptrdiff_t n)
{
    ptrdiff_t length = round_up(blocks(n, MOST_PARTS), PART_UNIT);
    return length > LEAST_PART ? length : LEAST_PART;
}

} // namespace
#endif
