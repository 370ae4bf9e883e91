/* What OpenMP knows of the threads that are wanted. Where a compiler has no OpenMP, there is one thread. */
#ifndef FASTLSM_OPENMP_H
#define FASTLSM_OPENMP_H

#ifdef _OPENMP

#include <omp.h>
#ifdef __ELF__
#include <link.h>
#else
#include <dlfcn.h>
#endif
#define FASTLSM_OPENMP _OPENMP

/* OMP_NUM_THREADS, or a limit for the calling thread as threadpoolctl sets it. */
static inline int openmp_max_threads(void) { return omp_get_max_threads(); }

/* The processors in the affinity mask. */
static inline int openmp_processors(void) { return omp_get_num_procs(); }

static inline int openmp_in_parallel(void) { return omp_in_parallel(); }

/* The threads that the running region really has. */
static inline int openmp_team(void) { return omp_get_num_threads(); }

/* Seconds, of a clock that is never set. */
static inline double openmp_time(void) { return omp_get_wtime(); }

/* Waits until all threads of the region are here. */
static inline void openmp_barrier(void)
{
#pragma omp barrier
}

#ifdef __ELF__

/* Sets *file to the name of the library, if it holds omp_get_max_threads. */
static inline int openmp_is_in(struct dl_phdr_info *library, size_t size, void *file)
{
    const ElfW(Addr) address = (ElfW(Addr))omp_get_max_threads - library->dlpi_addr;
    (void)size;
    for (int i = 0; i < library->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &library->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && address - segment->p_vaddr < segment->p_memsz) {
            *(const char **)file = library->dlpi_name;
            return 1;
        }
    }
    return 0;
}

/* The library's file, or NULL. dladdr would do, but glibc 2.34 gave it a new version: with it, kernels that are
   compiled there need that glibc. */
static inline const char *openmp_library(void)
{
    const char *file = NULL;
    dl_iterate_phdr(openmp_is_in, &file);
    return file;
}

#else

/* The library's file, or NULL. */
static inline const char *openmp_library(void)
{
    Dl_info info;
    return dladdr((void *)omp_get_max_threads, &info) ? info.dli_fname : NULL;
}

#endif

#else

#define FASTLSM_OPENMP 0
static inline int openmp_max_threads(void) { return 0; }
static inline int openmp_processors(void) { return 0; }
static inline int openmp_in_parallel(void) { return 0; }
static inline int openmp_team(void) { return 1; }
static inline double openmp_time(void) { return 0; }
static inline void openmp_barrier(void) {}
static inline const char *openmp_library(void) { return NULL; }

#endif

#endif
