/* Whether the threads of a call were worth it. */
#ifndef FASTLSM_TEAM_TIMER_HPP
#define FASTLSM_TEAM_TIMER_HPP

#include "openmp.h"
#include <atomic>
#include <limits>
#include <stddef.h>

namespace {

/* Seconds that the regions of a call took longer than one thread would have; below 0 if they gained. One thread would
 * have computed all items (rows, tiles, elements) as quickly as the quickest did: others may have been interrupted. */
class TeamTimer {
    static constexpr double NEVER = std::numeric_limits<double>::infinity();
    double started = 0;
    std::atomic<double> quickest{ NEVER }; /* of an item */

public:
    double lost = 0;

    void start() { started = openmp_time(); }

    /* A thread has computed its items, which it began then. */
    void end_share(double begun, ptrdiff_t items)
    {
        if (items == 0)
            return; /* it tells nothing of an item */
        const double took = (openmp_time() - begun) / items;
        double seen = quickest.load(std::memory_order_relaxed);
        while (took < seen && !quickest.compare_exchange_weak(seen, took, std::memory_order_relaxed)) {
        }
    }

    /* All threads have: the region, of so many items, has ended. */
    void stop(ptrdiff_t items)
    {
        lost += openmp_time() - started - items * quickest;
        quickest = NEVER;
    }
};

/* Wait for the other threads of a team, if there are any. `begun` is when a thread that never waited would have. */
inline void wait_for_team(const TeamTimer *timer, double *begun)
{
    if (!timer)
        return;
    const double since = openmp_time();
    openmp_barrier();
    *begun += openmp_time() - since;
}

} // namespace
#endif
