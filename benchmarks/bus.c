/* The traffic of a cell without its arithmetic: out = a ^ b, or out = a, over whole 64-bit words.

   A streaming store does not read the line that it overwrites. It pays past the caches and costs inside them, so
   there are both, and the faster one is the bus. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined __AVX__
#include <immintrin.h>
typedef __m256i vector;
#define LOAD(p) _mm256_loadu_si256((const vector *)(p))
#define XOR(a, b) _mm256_castps_si256(_mm256_xor_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b)))
#define STREAM(p, v) _mm256_stream_si256((vector *)(p), v)
#define FENCE() _mm_sfence()
#elif defined __SSE2__
#include <emmintrin.h>
typedef __m128i vector;
#define LOAD(p) _mm_loadu_si128((const vector *)(p))
#define XOR(a, b) _mm_xor_si128(a, b)
#define STREAM(p, v) _mm_stream_si128((vector *)(p), v)
#define FENCE() _mm_sfence()
#endif

void copy_one(uint64_t *restrict out, const uint64_t *restrict a, const uint64_t *restrict b, ptrdiff_t n, int threads)
{
    (void)b;
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = a[i];
}

void copy_two(uint64_t *restrict out, const uint64_t *restrict a, const uint64_t *restrict b, ptrdiff_t n, int threads)
{
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = a[i] ^ b[i];
}

#ifdef STREAM
#define WORDS ((ptrdiff_t)(sizeof(vector) / sizeof(uint64_t)))

void stream_one(uint64_t *restrict out, const uint64_t *restrict a, const uint64_t *restrict b, ptrdiff_t n, int threads)
{
    (void)b;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static) nowait
        for (ptrdiff_t i = 0; i < n / WORDS; i++)
            STREAM(out + i * WORDS, LOAD(a + i * WORDS));
        FENCE();
    }
}

void stream_two(uint64_t *restrict out, const uint64_t *restrict a, const uint64_t *restrict b, ptrdiff_t n, int threads)
{
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static) nowait
        for (ptrdiff_t i = 0; i < n / WORDS; i++)
            STREAM(out + i * WORDS, XOR(LOAD(a + i * WORDS), LOAD(b + i * WORDS)));
        FENCE();
    }
}
#endif

/* Every thread reads the whole buffer: afterwards the caches of every core hold that and nothing else. */
uint64_t evict(const uint64_t *buffer, ptrdiff_t n, int threads)
{
    uint64_t sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    for (ptrdiff_t i = 0; i < n; i++)
        sum += buffer[i];
    return sum;
}
