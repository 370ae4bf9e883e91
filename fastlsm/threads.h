/* The three OpenMP calls the kernels need, and their serial answers where a compiler has no OpenMP. */
#ifndef FASTLSM_THREADS_H
#define FASTLSM_THREADS_H

#ifdef _OPENMP
#include <omp.h>
#define FASTLSM_OPENMP _OPENMP
static inline int fastlsm_max_threads(void) { return omp_get_max_threads(); }
#else
#define FASTLSM_OPENMP 0
static inline int fastlsm_max_threads(void) { return 1; }
#endif

#endif
