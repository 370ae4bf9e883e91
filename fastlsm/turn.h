/* Transposition of small blocks: short rows become columns on loading, and rows again on storing.
 *
 *     to[j][i] = from[i][j],  0 <= i < rows,  0 <= j < columns;  pitches in bytes
 *
 * gcc does not find the shuffles by itself. Leftover rows and columns are covered by blocks that
 * overlap the ones before; what has fewer than a block goes element by element.
 */
#ifndef FASTLSM_TURN_H
#define FASTLSM_TURN_H

#include <stddef.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#define AT(type, base, i, pitch, j) ((type *)((base) + (i) * (pitch)) + (j))

#ifdef __SSE2__
static inline void turn_block_f32(char *to, ptrdiff_t to_pitch, const char *from, ptrdiff_t from_pitch)
{
    __m128 a = _mm_loadu_ps(AT(const float, from, 0, from_pitch, 0));
    __m128 b = _mm_loadu_ps(AT(const float, from, 1, from_pitch, 0));
    __m128 c = _mm_loadu_ps(AT(const float, from, 2, from_pitch, 0));
    __m128 d = _mm_loadu_ps(AT(const float, from, 3, from_pitch, 0));
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(AT(float, to, 0, to_pitch, 0), a);
    _mm_storeu_ps(AT(float, to, 1, to_pitch, 0), b);
    _mm_storeu_ps(AT(float, to, 2, to_pitch, 0), c);
    _mm_storeu_ps(AT(float, to, 3, to_pitch, 0), d);
}

#ifdef __AVX__
/* Eight rows of eight: pairs of elements, pairs of pairs, then halves. The halves are put together on loading. */
static inline void turn_8_f32(char *to, ptrdiff_t to_pitch, const char *from, ptrdiff_t from_pitch)
{
    __m256 a[8], b[8];
    for (int i = 0; i < 4; i++)
        for (int half = 0; half < 2; half++)
            a[4 * half + i] = _mm256_insertf128_ps(
                _mm256_castps128_ps256(_mm_loadu_ps(AT(const float, from, i, from_pitch, 4 * half))),
                _mm_loadu_ps(AT(const float, from, i + 4, from_pitch, 4 * half)), 1);
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
        b[i + 2] = _mm256_unpacklo_ps(a[i + 2], a[i + 3]);
        b[i + 3] = _mm256_unpackhi_ps(a[i + 2], a[i + 3]);
    }
    for (int i = 0; i < 8; i += 4) {
        _mm256_storeu_ps(AT(float, to, i, to_pitch, 0), _mm256_shuffle_ps(b[i], b[i + 2], 0x44));
        _mm256_storeu_ps(AT(float, to, i + 1, to_pitch, 0), _mm256_shuffle_ps(b[i], b[i + 2], 0xee));
        _mm256_storeu_ps(AT(float, to, i + 2, to_pitch, 0), _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44));
        _mm256_storeu_ps(AT(float, to, i + 3, to_pitch, 0), _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee));
    }
}

static inline void turn_block_f64(char *to, ptrdiff_t to_pitch, const char *from, ptrdiff_t from_pitch)
{
    __m256d a[4], b[4];
    for (int i = 0; i < 4; i++)
        a[i] = _mm256_loadu_pd(AT(const double, from, i, from_pitch, 0));
    for (int i = 0; i < 4; i += 2) {
        b[i] = _mm256_unpacklo_pd(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_pd(a[i], a[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        _mm256_storeu_pd(AT(double, to, i, to_pitch, 0), _mm256_permute2f128_pd(b[i], b[i + 2], 0x20));
        _mm256_storeu_pd(AT(double, to, i + 2, to_pitch, 0), _mm256_permute2f128_pd(b[i], b[i + 2], 0x31));
    }
}
#else
static inline void turn_block_f64(char *to, ptrdiff_t to_pitch, const char *from, ptrdiff_t from_pitch)
{
    for (int i = 0; i < 4; i += 2)
        for (int j = 0; j < 4; j += 2) {
            __m128d a = _mm_loadu_pd(AT(const double, from, i, from_pitch, j));
            __m128d b = _mm_loadu_pd(AT(const double, from, i + 1, from_pitch, j));
            _mm_storeu_pd(AT(double, to, j, to_pitch, i), _mm_unpacklo_pd(a, b));
            _mm_storeu_pd(AT(double, to, j + 1, to_pitch, i), _mm_unpackhi_pd(a, b));
        }
}
#endif
#else
#define TURN_BLOCK(name, real) \
    static inline void name(char *to, ptrdiff_t to_pitch, const char *from, ptrdiff_t from_pitch) \
    { \
        for (int i = 0; i < 4; i++) \
            for (int j = 0; j < 4; j++) \
                *AT(real, to, j, to_pitch, i) = *AT(const real, from, i, from_pitch, j); \
    }
TURN_BLOCK(turn_block_f32, float)
TURN_BLOCK(turn_block_f64, double)
#undef TURN_BLOCK
#endif

/* Rows of two or three, adjacent: a stride that the compiler knows, and turns with shuffles. */
#define TURN_FEW(real, few) \
    if (columns == few && from_pitch == few * (ptrdiff_t)sizeof(real)) { \
        for (i = 0; i < rows; i++) \
            for (j = 0; j < few; j++) \
                *AT(real, to, j, to_pitch, i) = ((const real *)from)[few * i + j]; \
        return; \
    } \
    if (rows == few && to_pitch == few * (ptrdiff_t)sizeof(real)) { \
        for (j = 0; j < columns; j++) \
            for (i = 0; i < few; i++) \
                ((real *)to)[few * j + i] = *AT(const real, from, i, from_pitch, j); \
        return; \
    }

#define TURN(name, real, block, eight_rows_at_a_time) \
    static inline void name(char *to, ptrdiff_t to_pitch, const char *from, ptrdiff_t from_pitch, \
                            ptrdiff_t rows, ptrdiff_t columns) \
    { \
        ptrdiff_t i = 0, j; \
        TURN_FEW(real, 2) \
        TURN_FEW(real, 3) \
        if (rows < 4 || columns < 4) { \
            for (i = 0; i < rows; i++) \
                for (j = 0; j < columns; j++) \
                    *AT(real, to, j, to_pitch, i) = *AT(const real, from, i, from_pitch, j); \
            return; \
        } \
        eight_rows_at_a_time \
        for (; i < rows; i += 4) { \
            ptrdiff_t top = i + 4 <= rows ? i : rows - 4; \
            for (j = 0; j < columns; j += 4) { \
                ptrdiff_t left = j + 4 <= columns ? j : columns - 4; \
                block((char *)AT(real, to, left, to_pitch, top), to_pitch, \
                      (const char *)AT(const real, from, top, from_pitch, left), from_pitch); \
            } \
        } \
    }

#ifdef __AVX__
#define EIGHT_ROWS \
    for (; i + 8 <= rows; i += 8) { \
        for (j = 0; j + 8 <= columns; j += 8) \
            turn_8_f32((char *)AT(float, to, j, to_pitch, i), to_pitch, \
                       (const char *)AT(const float, from, i, from_pitch, j), from_pitch); \
        for (; j < columns; j += 4) { \
            ptrdiff_t left = j + 4 <= columns ? j : columns - 4; \
            for (ptrdiff_t top = i; top < i + 8; top += 4) \
                turn_block_f32((char *)AT(float, to, left, to_pitch, top), to_pitch, \
                               (const char *)AT(const float, from, top, from_pitch, left), from_pitch); \
        } \
    }
#else
#define EIGHT_ROWS
#endif

TURN(turn_f32, float, turn_block_f32, EIGHT_ROWS)
TURN(turn_f64, double, turn_block_f64, )

#undef EIGHT_ROWS
#undef TURN
#undef TURN_FEW
#undef AT

#endif
