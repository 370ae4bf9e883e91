/* What the processor has, by the compiler's own probe, which also asks the operating system. */
#ifndef FASTLSM_CPU_H
#define FASTLSM_CPU_H

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if defined(__clang__)
#define FASTLSM_COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define FASTLSM_COMPILER "gcc " __VERSION__
#else
#define FASTLSM_COMPILER "unknown"
#endif

#if defined(__x86_64__)
static int has_in_ecx(unsigned leaf, unsigned wanted)
{
    unsigned a, b, c, d;
    return __get_cpuid(leaf, &a, &b, &c, &d) && (c & wanted) == wanted;
}
#endif

/* v3 and v4 are the x86-64 psABI's levels, of which every feature is asked for: the compiler may come to use any. Older
 * compilers' probe knows neither the levels' names nor the features without vectors, hence CPUID itself. */
static int cpu_supports(const char *level)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    int v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
             __builtin_cpu_supports("bmi2") &&
             has_in_ecx(1, bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_AVX | bit_F16C | bit_CMPXCHG16B |
                               bit_MOVBE | bit_POPCNT) &&
             has_in_ecx(0x80000001, bit_LAHF_LM | bit_LZCNT);
    if (strcmp(level, "v3") == 0)
        return v3;
    if (strcmp(level, "v4") == 0)
        return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#endif
    /* The one level that a build for this processor family is compiled for anyway. */
    return strcmp(level, "v3") != 0 && strcmp(level, "v4") != 0;
}

#endif
