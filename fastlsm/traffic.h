/* What the compiler does not know of memory traffic: lines wanted soon, and lines not wanted again. */
#ifndef FASTLSM_TRAFFIC_H
#define FASTLSM_TRAFFIC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

enum { CACHE_LINE = 64 };

/* The first address from `at` on where a line begins: a vector that lies in two takes longer. */
static inline void *next_line(void *at)
{
    return (char *)at + -(uintptr_t)at % CACHE_LINE;
}

/* Ask for the lines from `at` on. The next row of a tile lies in another page, where the processor's own
 * prefetching does not follow. */
static inline void prefetch(const void *at, ptrdiff_t bytes)
{
    for (ptrdiff_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch((const char *)at + i);
}

/* Copy rows, most of them too short for memcpy to be quick; ask for the row `ahead` of each, if not 0. */
static inline void copy_rows(void *to, ptrdiff_t to_pitch, const void *from, ptrdiff_t from_pitch, ptrdiff_t rows,
                             ptrdiff_t bytes, ptrdiff_t ahead)
{
    enum { BLOCK = 64 };
    char *t = to;
    const char *f = from;
    for (; rows; rows--, t += to_pitch, f += from_pitch) {
        if (ahead && from_pitch != bytes)
            prefetch(f + ahead * from_pitch, bytes);
        if (bytes < BLOCK) {
            memcpy(t, f, bytes);
            continue;
        }
        for (ptrdiff_t i = 0; i < bytes - BLOCK; i += BLOCK)
            memcpy(t + i, f + i, BLOCK);
        memcpy(t + bytes - BLOCK, f + bytes - BLOCK, BLOCK);
    }
}

/* memcpy past the caches: an ordinary store reads the line that it overwrites first. Pays only for what the
 * caches would not have kept. Call stream_end() before another thread looks. */
static inline void stream_copy(void *to, const void *from, size_t bytes)
{
#ifdef __SSE2__
    char *t = to;
    const char *f = from;
    size_t head = -(uintptr_t)t % CACHE_LINE;
    if (head > bytes)
        head = bytes;
    memcpy(t, f, head);
    t += head, f += head, bytes -= head;
    for (; bytes >= CACHE_LINE; t += CACHE_LINE, f += CACHE_LINE, bytes -= CACHE_LINE) {
#if defined(__AVX512F__)
        _mm512_stream_si512((void *)t, _mm512_loadu_si512(f));
#elif defined(__AVX__)
        for (int i = 0; i < CACHE_LINE; i += 32)
            _mm256_stream_si256((__m256i *)(t + i), _mm256_loadu_si256((const __m256i *)(f + i)));
#else
        for (int i = 0; i < CACHE_LINE; i += 16)
            _mm_stream_si128((__m128i *)(t + i), _mm_loadu_si128((const __m128i *)(f + i)));
#endif
    }
    memcpy(t, f, bytes);
#else
    memcpy(to, from, bytes);
#endif
}

static inline void stream_end(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

#endif
