/* What OpenMP knows of the threads that are wanted. Where a compiler has no OpenMP, there is one thread. */
#ifndef FASTLSM_OPENMP_H
#define FASTLSM_OPENMP_H

#ifdef _OPENMP

#include <dlfcn.h>
#include <omp.h>
#define FASTLSM_OPENMP _OPENMP

/* OMP_NUM_THREADS, or a limit for the calling thread as threadpoolctl sets it. */
static inline int openmp_max_threads(void) { return omp_get_max_threads(); }

/* The processors in the affinity mask. */
static inline int openmp_processors(void) { return omp_get_num_procs(); }

static inline int openmp_in_parallel(void) { return omp_in_parallel(); }

/* The threads that the running region really has. */
static inline int openmp_team(void) { return omp_get_num_threads(); }
/* Waits until all threads of the region are here. */
static inline void openmp_barrier(void)
{
#pragma omp barrier
}

/* The library's file, or NULL. */
static inline const char *openmp_library(void)
{
    Dl_info info;
    return dladdr((void *)omp_get_max_threads, &info) ? info.dli_fname : NULL;
}

#else

#define FASTLSM_OPENMP 0
static inline int openmp_max_threads(void) { return 0; }
static inline int openmp_processors(void) { return 0; }
static inline int openmp_in_parallel(void) { return 0; }
static inline int openmp_team(void) { return 1; }
static inline void openmp_barrier(void) {}
static inline const char *openmp_library(void) { return NULL; }

#endif

#endif
