/* What of the plan depends on the caches. fastlsm/_caches.py sets it, once, when the kernels are loaded. */
#ifndef FASTLSM_CACHES_HPP
#define FASTLSM_CACHES_HPP

#include "tuning.hpp"

namespace {

struct Caches {
    ptrdiff_t ahead_from; /* bytes of an operand: from this size on loops along rows ask for elements ahead */
    ptrdiff_t far_from;   /* bytes: a result of this size is written past the caches */
    ptrdiff_t stage;      /* doubles: so many of an operand's elements a tile may hold, at most STAGE */
};

Caches caches = { 1 << 19, 1 << 24, STAGE }; /* as for 2 MB, until they are set */

} // namespace
#endif
