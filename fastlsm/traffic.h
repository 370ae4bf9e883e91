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

/* A line past the caches: an ordinary store reads the line that it overwrites first. Pays only for what the caches would not
 * have kept. Call stream_end() before another thread looks. */
static inline void stream_line(char *to, const char *from)
{
#if defined(__AVX512F__)
    _mm512_stream_si512((void *)to, _mm512_loadu_si512(from));
#elif defined(__AVX__)
    for (int i = 0; i < CACHE_LINE; i += 32)
        _mm256_stream_si256((__m256i *)(to + i), _mm256_loadu_si256((const __m256i *)(from + i)));
#elif defined(__SSE2__)
    for (int i = 0; i < CACHE_LINE; i += 16)
        _mm_stream_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(from + i)));
#else
    memcpy(to, from, CACHE_LINE);
#endif
}

/* Bytes of any number, the whole lines among them past the caches. */
static inline void stream_copy(void *to, const void *from, size_t bytes)
{
    char *t = to;
    const char *f = from;
    size_t head = -(uintptr_t)t % CACHE_LINE;
    if (head > bytes)
        head = bytes;
    memcpy(t, f, head);
    t += head, f += head, bytes -= head;
    for (; bytes >= CACHE_LINE; t += CACHE_LINE, f += CACHE_LINE, bytes -= CACHE_LINE)
        stream_line(t, f);
    memcpy(t, f, bytes);
}

static inline void stream_end(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

/* Adjacent results on their way past the caches, a few at a time: those that do not fill a line yet wait for the next ones. */
enum { MOST_WAITING = 1024 };           /* bytes that may be added at a time */
typedef struct {
    char room[CACHE_LINE + MOST_WAITING] __attribute__((aligned(CACHE_LINE)));
    char *line;                         /* where room's first line goes, of which */
    ptrdiff_t begin, end;               /* these bytes wait */
} Stream;

static inline void stream_begin(Stream *s, void *to)
{
    s->begin = s->end = (uintptr_t)to % CACHE_LINE;
    s->line = (char *)to - s->begin;
}

/* Where the next are to be put. */
static inline char *stream_at(Stream *s) { return s->room + s->end; }

/* The first line's part. A call of memcpy would make the loop around it keep its registers in memory. */
static inline void stream_first(Stream *s)
{
    for (; s->begin < CACHE_LINE; s->begin += sizeof(uint16_t))
        *(volatile uint16_t *)(s->line + s->begin) = *(const uint16_t *)(s->room + s->begin);
    s->begin = 0;
}

/* So many bytes have been. */
static inline void stream_add(Stream *s, ptrdiff_t bytes)
{
    char *from = s->room;
    s->end += bytes;
    if (__builtin_expect(s->begin && s->end >= CACHE_LINE, 0)) {
        stream_first(s);
        s->line += CACHE_LINE, from += CACHE_LINE, s->end -= CACHE_LINE;
    }
    for (; s->end >= CACHE_LINE; s->line += CACHE_LINE, from += CACHE_LINE, s->end -= CACHE_LINE)
        stream_line(s->line, from);
    memmove(s->room, from, CACHE_LINE);
}

static inline void stream_close(Stream *s)
{
    memcpy(s->line + s->begin, s->room + s->begin, s->end - s->begin);
    stream_end();
}

/* A whole row, the last part of which is so many bytes, has been put; `next` is where the next one goes. */
static inline void stream_row(Stream *s, ptrdiff_t bytes, void *next)
{
    stream_add(s, bytes);
    if (s->line + s->end != next) {
        stream_close(s);
        stream_begin(s, next);
    }
}

#endif
