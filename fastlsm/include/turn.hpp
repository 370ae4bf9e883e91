/* Transposition of small blocks: short rows become columns on loading, and rows again on storing.
 *
 *     to[j][i] = from[i][j],  0 <= i < rows,  0 <= j < columns;  pitches in bytes
 *
 * gcc does not find the shuffles by itself. Leftover rows and columns are covered by blocks that overlap the ones
 * before. Where there is less than a block, elements go one by one.
 */
#ifndef FASTLSM_TURN_HPP
#define FASTLSM_TURN_HPP

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "vectors.hpp"

namespace {

/* A matrix of R in memory. */
template <class R> struct Matrix {
    char *data;
    ptrdiff_t pitch; /* bytes from a row to the next */

    ALWAYS_INLINE R *at(ptrdiff_t i, ptrdiff_t j) const { return (R *)(data + i * pitch) + j; }
    ALWAYS_INLINE Matrix from(ptrdiff_t i, ptrdiff_t j) const { return { (char *)at(i, j), pitch }; }
};

/* Four rows of four. */
template <class R> ALWAYS_INLINE void turn_four(Matrix<R> to, Matrix<R> from)
{
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            *to.at(j, i) = *from.at(i, j);
}

#ifdef __SSE2__
template <> ALWAYS_INLINE void turn_four(Matrix<float> to, Matrix<float> from)
{
    __m128 a = _mm_loadu_ps(from.at(0, 0)), b = _mm_loadu_ps(from.at(1, 0));
    __m128 c = _mm_loadu_ps(from.at(2, 0)), d = _mm_loadu_ps(from.at(3, 0));
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to.at(0, 0), a);
    _mm_storeu_ps(to.at(1, 0), b);
    _mm_storeu_ps(to.at(2, 0), c);
    _mm_storeu_ps(to.at(3, 0), d);
}
#endif

#if defined(__AVX__)
template <> ALWAYS_INLINE void turn_four(Matrix<double> to, Matrix<double> from)
{
    __m256d a[4], b[4];
    for (int i = 0; i < 4; i++)
        a[i] = _mm256_loadu_pd(from.at(i, 0));
    for (int i = 0; i < 4; i += 2) {
        b[i] = _mm256_unpacklo_pd(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_pd(a[i], a[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        _mm256_storeu_pd(to.at(i, 0), _mm256_permute2f128_pd(b[i], b[i + 2], 0x20));
        _mm256_storeu_pd(to.at(i + 2, 0), _mm256_permute2f128_pd(b[i], b[i + 2], 0x31));
    }
}
#elif defined(__SSE2__)
template <> ALWAYS_INLINE void turn_four(Matrix<double> to, Matrix<double> from)
{
    for (int i = 0; i < 4; i += 2)
        for (int j = 0; j < 4; j += 2) {
            __m128d a = _mm_loadu_pd(from.at(i, j)), b = _mm_loadu_pd(from.at(i + 1, j));
            _mm_storeu_pd(to.at(j, i), _mm_unpacklo_pd(a, b));
            _mm_storeu_pd(to.at(j + 1, i), _mm_unpackhi_pd(a, b));
        }
}
#endif

/* Eight rows of eight. */
template <class R> ALWAYS_INLINE void turn_eight(Matrix<R> to, Matrix<R> from)
{
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 8; j += 4)
            turn_four(to.from(j, i), from.from(i, j));
}

#ifdef __AVX__
/* Loading joins the halves of rows i and i + 4. Then elements are interleaved, then pairs of elements. */
template <> ALWAYS_INLINE void turn_eight(Matrix<float> to, Matrix<float> from)
{
    __m256 a[8], b[8];
    for (int i = 0; i < 4; i++)
        for (int half = 0; half < 2; half++)
            a[4 * half + i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from.at(i, 4 * half))),
                                                   _mm_loadu_ps(from.at(i + 4, 4 * half)), 1);
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
        b[i + 2] = _mm256_unpacklo_ps(a[i + 2], a[i + 3]);
        b[i + 3] = _mm256_unpackhi_ps(a[i + 2], a[i + 3]);
    }
    for (int i = 0; i < 8; i += 4) {
        _mm256_storeu_ps(to.at(i, 0), _mm256_shuffle_ps(b[i], b[i + 2], 0x44));
        _mm256_storeu_ps(to.at(i + 1, 0), _mm256_shuffle_ps(b[i], b[i + 2], 0xee));
        _mm256_storeu_ps(to.at(i + 2, 0), _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44));
        _mm256_storeu_ps(to.at(i + 3, 0), _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee));
    }
}
#endif

/* Adjacent rows of two or three: a stride that the compiler knows, and turns with shuffles. */
template <int few, class R> ALWAYS_INLINE bool turn_few(Matrix<R> to, Matrix<R> from, ptrdiff_t rows, ptrdiff_t columns)
{
    if (columns == few && from.pitch == few * (ptrdiff_t)sizeof(R)) {
        for (ptrdiff_t i = 0; i < rows; i++)
            for (int j = 0; j < few; j++)
                *to.at(j, i) = ((const R *)from.data)[few * i + j];
        return true;
    }
    if (rows == few && to.pitch == few * (ptrdiff_t)sizeof(R)) {
        for (ptrdiff_t j = 0; j < columns; j++)
            for (int i = 0; i < few; i++)
                ((R *)to.data)[few * j + i] = *from.at(i, j);
        return true;
    }
    return false;
}

template <class R> NOINLINE void turn_of(Matrix<R> to, Matrix<R> from, ptrdiff_t rows, ptrdiff_t columns)
{
    if (turn_few<2>(to, from, rows, columns) || turn_few<3>(to, from, rows, columns))
        return;
    if (rows < 4 || columns < 4) {
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t j = 0; j < columns; j++)
                *to.at(j, i) = *from.at(i, j);
        return;
    }
    ptrdiff_t i = 0;
    for (; i + 8 <= rows; i += 8) {
        ptrdiff_t j = 0;
        for (; j + 8 <= columns; j += 8)
            turn_eight(to.from(j, i), from.from(i, j));
        for (; j < columns; j += 4) {
            ptrdiff_t left = j + 4 <= columns ? j : columns - 4;
            for (ptrdiff_t top = i; top < i + 8; top += 4)
                turn_four(to.from(left, top), from.from(top, left));
        }
    }
    for (; i < rows; i += 4) {
        ptrdiff_t top = i + 4 <= rows ? i : rows - 4;
        for (ptrdiff_t j = 0; j < columns; j += 4) {
            ptrdiff_t left = j + 4 <= columns ? j : columns - 4;
            turn_four(to.from(left, top), from.from(top, left));
        }
    }
}

/* Of elements of the arithmetic's type. */
inline void turn(bool in_double, char *to, ptrdiff_t to_pitch, const char *from, ptrdiff_t from_pitch, ptrdiff_t rows,
                 ptrdiff_t columns)
{
    if (in_double)
        turn_of<double>({ to, to_pitch }, { (char *)from, from_pitch }, rows, columns);
    else
        turn_of<float>({ to, to_pitch }, { (char *)from, from_pitch }, rows, columns);
}

} // namespace
#endif
