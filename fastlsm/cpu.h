/* What the processor has, by the compiler's own probe, which also asks the operating system. */
#ifndef FASTLSM_CPU_H
#define FASTLSM_CPU_H

#include <string.h>

#if defined(__clang__)
#define FASTLSM_COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define FASTLSM_COMPILER "gcc " __VERSION__
#else
#define FASTLSM_COMPILER "unknown"
#endif

/* v3 and v4 are the x86-64 psABI's levels; the features listed are those that the kernels' code can
 * come to use. (Older compilers know the features but not the levels' names.) */
static int cpu_supports(const char *level)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    int v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
        && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    if (strcmp(level, "v3") == 0)
        return v3;
    if (strcmp(level, "v4") == 0)
        return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl");
#endif
    /* The one level that a build for this processor family is compiled for anyway. */
    return strcmp(level, "v3") != 0 && strcmp(level, "v4") != 0;
}

#endif
