/* Interleaved rows: the first elements of some rows are adjacent, then come the second ones, and so on.
 *
 * LANES elements of each row are a group, which is one run of memory. Element i of a group belongs to row i % rows and
 * to lane i / rows. So a group is computed as a row of a tile is (columns.hpp), whose columns are the lanes of the
 * rows. The sums of these columns are the lanes' sums, and each lane has the constants of its row.
 */
#ifndef FASTLSM_INTERLEAVED_HPP
#define FASTLSM_INTERLEAVED_HPP

#include "columns.hpp"

namespace {

/* -inf to n elements: it is no maximum, its exp is 0, and nothing of it is counted. */
inline void fill_with_lowest(Format format, void *to, ptrdiff_t n)
{
    with_item(format, [&](auto of) {
        using T = typename decltype(of)::type;
        for (ptrdiff_t i = 0; i < n; i++)
            narrow(-(Arithmetic<T>)INFINITY, (T *)to + i);
    });
}

template <class R> void gather_maxima_of(const Constants &lanes, const Constants &constants, ptrdiff_t rows)
{
    const R *from = lanes.of<R>(MAXIMUM);
    R *to = constants.of<R>(MAXIMUM);
    memcpy(to, from, rows * sizeof(R));
    for (ptrdiff_t l = 1; l < LANES; l++)
        for (ptrdiff_t c = 0; c < rows; c++)
            to[c] = from[l * rows + c] > to[c] ? from[l * rows + c] : to[c];
}

/* The maximum of each row, from those of its lanes. */
inline void gather_maxima(bool in_double, const Constants &lanes, const Constants &constants, ptrdiff_t rows)
{
    (in_double ? gather_maxima_of<double> : gather_maxima_of<float>)(lanes, constants, rows);
}

/* The counts of each row, from its lanes. */
inline void gather_counts(const Constants &lanes, const Constants &constants, ptrdiff_t rows)
{
    memcpy(constants.counts, lanes.counts, rows * sizeof(double));
    for (ptrdiff_t l = 1; l < LANES; l++)
        for (ptrdiff_t c = 0; c < rows; c++)
            constants.counts[c] += lanes.counts[l * rows + c];
}

template <class V> void spread(V *to, const V *from, ptrdiff_t rows)
{
    memcpy(to, from, rows * sizeof(V));
    for (ptrdiff_t have = rows; have < LANES * rows; have *= 2)
        memcpy(to + have, to, have * sizeof(V));
}

/* All lanes get the constants `first` to `last` of their row, and what else of it the loops over columns read. */
inline void spread_constants(bool in_double, const Constants &constants, const Constants &lanes, int first, int last,
                             ptrdiff_t rows)
{
    for (int constant = first; constant <= last; constant++)
        if (in_double)
            spread(lanes.of<double>(constant), constants.of<double>(constant), rows);
        else
            spread(lanes.of<float>(constant), constants.of<float>(constant), rows);
}

/* The sums of diff_dst, for `mend_columns`. */
inline void spread_sums(const Constants &constants, const Constants &lanes, ptrdiff_t rows)
{
    spread(lanes.diff_dst_hi, constants.diff_dst_hi, rows);
    spread(lanes.diff_dst_lo, constants.diff_dst_lo, rows);
}

/* The marks of `mark_little_rests`, for `hide_largest`. */
inline void spread_marks(const Constants &constants, const Constants &lanes, ptrdiff_t rows)
{
    spread(lanes.counts, constants.counts, rows);
}

} // namespace
#endif
