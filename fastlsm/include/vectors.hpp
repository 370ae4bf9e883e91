/* Chooses the struct `Isa`: the instruction set that this module is compiled for. */
#ifndef FASTLSM_VECTORS_HPP
#define FASTLSM_VECTORS_HPP

#include "vectors/types.hpp"

#if defined(ON_AVX512)
#include "vectors/avx512.hpp"
#elif defined(ON_AVX2)
#include "vectors/avx2.hpp"
#elif defined(ON_SSE2)
#include "vectors/sse2.hpp"
#elif defined(ON_NEON)
#include "vectors/neon.hpp"
#else
#include "vectors/elementwise.hpp"
namespace {
using Isa = Elementwise;
}
#endif

#endif
