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

#define TURN(name, real, block) \
    static inline void name(char *to, ptrdiff_t to_pitch, const char *from, ptrdiff_t from_pitch, \
                            ptrdiff_t rows, ptrdiff_t columns) \
    { \
        ptrdiff_t i, j; \
        if (rows < 4 || columns < 4) { \
            for (i = 0; i < rows; i++) \
                for (j = 0; j < columns; j++) \
                    *AT(real, to, j, to_pitch, i) = *AT(const real, from, i, from_pitch, j); \
            return; \
        } \
        for (i = 0; i < rows; i += 4) { \
            ptrdiff_t top = i + 4 <= rows ? i : rows - 4; \
            for (j = 0; j < columns; j += 4) { \
                ptrdiff_t left = j + 4 <= columns ? j : columns - 4; \
                block((char *)AT(real, to, left, to_pitch, top), to_pitch, \
                      (const char *)AT(const real, from, top, from_pitch, left), from_pitch); \
            } \
        } \
    }
TURN(turn_f32, float, turn_block_f32)
TURN(turn_f64, double, turn_block_f64)

#undef TURN
#undef AT

#endif
