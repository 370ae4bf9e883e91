/* What the compiler does not know of memory traffic: lines that are wanted soon, and lines that are not wanted again.
 */
#ifndef FASTLSM_TRAFFIC_HPP
#define FASTLSM_TRAFFIC_HPP

#include "vectors.hpp"

namespace {

/* The first address from `at` on where a cache line begins. A vector that lies in two lines takes longer. */
inline void *next_line(void *at) { return (char *)at + -(uintptr_t)at % CACHE_LINE; }

/* Ask for the lines of `bytes` from `at` on. */
ALWAYS_INLINE void prefetch(const void *at, ptrdiff_t bytes)
{
    for (ptrdiff_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch((const char *)at + i);
}

/* As memcpy, but in whole vectors. */
ALWAYS_INLINE void copy_line(char *to, const char *from)
{
    for (int i = 0; i < CACHE_LINE; i += VECTOR_BYTES) {
        u32_vector x;
        memcpy(&x, from + i, sizeof x);
        memcpy(to + i, &x, sizeof x);
    }
}

/* Copy the first and the last `size` of `bytes`; the two may overlap. */
template <int size> ALWAYS_INLINE void copy_ends(char *to, const char *from, ptrdiff_t bytes)
{
    typedef char piece __attribute__((vector_size(size)));
    piece first, last;
    memcpy(&first, from, size);
    memcpy(&last, from + bytes - size, size);
    memcpy(to, &first, size);
    memcpy(to + bytes - size, &last, size);
}

/* Copy rows that are mostly too short for memcpy to be quick. With each row, ask for the row `ahead` rows further,
 * if that is not 0 and rows have gaps: a processor sees adjacent ones itself. What lies between rows is neither read
 * nor written. There may be nothing to copy. */
NOINLINE void copy_rows(void *to, ptrdiff_t to_pitch, const void *from, ptrdiff_t from_pitch, ptrdiff_t rows,
                        ptrdiff_t bytes, ptrdiff_t ahead)
{
    auto each = [&](auto copy) {
        char *t = (char *)to;
        const char *f = (const char *)from;
        for (ptrdiff_t i = 0; i < rows; i++, t += to_pitch, f += from_pitch) {
            if (ahead && from_pitch != bytes)
                prefetch(f + ahead * from_pitch, bytes);
            copy(t, f);
        }
    };
    if (bytes >= CACHE_LINE)
        each([=](char *t, const char *f) {
            for (ptrdiff_t i = 0; i < bytes - CACHE_LINE; i += CACHE_LINE)
                copy_line(t + i, f + i);
            copy_line(t + bytes - CACHE_LINE, f + bytes - CACHE_LINE);
        });
    else if (bytes >= 32)
        each([=](char *t, const char *f) { copy_ends<32>(t, f, bytes); });
    else if (bytes >= 16)
        each([=](char *t, const char *f) { copy_ends<16>(t, f, bytes); });
    else if (bytes >= 8)
        each([=](char *t, const char *f) { copy_ends<8>(t, f, bytes); });
    else if (bytes >= 4)
        each([=](char *t, const char *f) { copy_ends<4>(t, f, bytes); });
    else if (bytes)
        each([=](char *t, const char *f) { copy_ends<2>(t, f, bytes); });
}

/* Copy `bytes`, the whole lines among them past the caches: an ordinary store would first read the line that it
 * overwrites.
 */
inline void stream_copy(void *to, const void *from, ptrdiff_t bytes)
{
    char *t = (char *)to;
    const char *f = (const char *)from;
    ptrdiff_t head = -(uintptr_t)t % CACHE_LINE;
    if (head > bytes)
        head = bytes;
    memcpy(t, f, head);
    t += head, f += head, bytes -= head;
    for (; bytes >= CACHE_LINE; t += CACHE_LINE, f += CACHE_LINE, bytes -= CACHE_LINE)
        Isa::stream_line(t, f);
    memcpy(t, f, bytes);
}

inline void stream_end() { Isa::stream_end(); }

/* Adjacent results on their way past the caches. The loops put some of them at `at()` and then `add` them; those that
 * do not fill a line yet wait for the next ones. */
struct Stream {
    static constexpr ptrdiff_t MOST_ADDED = 1024; /* bytes that one `add` may take */

    void begin(void *to)
    {
        first_waiting = waiting = (uintptr_t)to % CACHE_LINE;
        line = (char *)to - first_waiting;
    }

    /* The next results go to `to`, which is mostly where the last ones end. */
    ALWAYS_INLINE void seek(void *to)
    {
        if (line + waiting != to) {
            send_rest();
            begin(to);
        }
    }

    ALWAYS_INLINE char *at() { return room + waiting; }

    ALWAYS_INLINE void add(ptrdiff_t bytes)
    {
        char *from = room;
        waiting += bytes;
        if (__builtin_expect(first_waiting && waiting >= CACHE_LINE, 0)) {
            send_first_line();
            line += CACHE_LINE, from += CACHE_LINE, waiting -= CACHE_LINE;
        }
        for (; waiting >= CACHE_LINE; line += CACHE_LINE, from += CACHE_LINE, waiting -= CACHE_LINE)
            Isa::stream_line(line, from);
        copy_line(room, from);
    }

    /* Send the results that wait. After that, they can be read and changed where they lie. */
    void close()
    {
        send_rest();
        stream_end();
    }

private:
    /* Without stream_end, which waits until all is written: called after each row of 400 bytes, it doubles the time. */
    void send_rest()
    {
        memcpy(line + first_waiting, room + first_waiting, waiting - first_waiting);
        first_waiting = waiting;
    }

    /* The part of the first line that is ours. A call of memcpy would make the loop around it keep its registers in
     * memory. */
    ALWAYS_INLINE void send_first_line()
    {
        for (; first_waiting < CACHE_LINE; first_waiting += sizeof(uint16_t)) {
            uint16_t two_bytes;
            memcpy(&two_bytes, room + first_waiting, sizeof two_bytes);
            *(volatile uint16_t *)(line + first_waiting) = two_bytes;
        }
        first_waiting = 0;
    }

    /* Aligned so that a Stream lies within one page. A store that crosses into the next page takes a hundred cycles on
     * Zen 4. Without this, the stack lay so in one process of sixteen, and its rows took 2.8 times as long. */
    char room[CACHE_LINE + MOST_ADDED] __attribute__((aligned(2048)));
    char *line;                       /* where the first line of `room` goes */
    ptrdiff_t first_waiting, waiting; /* the bytes of `room` from the one to the other wait to be sent */
};
static_assert(4096 % sizeof(Stream) == 0, "a stream is within one page");

} // namespace
#endif
