/* Whether the threads of a call were worth it. */
#ifndef FASTLSM_TEAM_TIMER_HPP
#define FASTLSM_TEAM_TIMER_HPP

#include "openmp.h"
#include <atomic>
#include <limits>

namespace {

/* Seconds that the regions of a call took longer than one thread would have; below 0 if they gained. One thread would
 * have computed all shares, each as quickly as the quickest was: other threads may have been interrupted. */
class TeamTimer {
    double started = 0;
    std::atomic<double> quickest{ std::numeric_limits<double>::infinity() };

public:
    double lost = 0;

    void start() { started = openmp_time(); }

    /* A thread has computed its share, which it began then. */
    void end_share(double begun)
    {
        const double took = openmp_time() - begun;
        double seen = quickest.load(std::memory_order_relaxed);
        while (took < seen && !quickest.compare_exchange_weak(seen, took, std::memory_order_relaxed)) {
        }
    }

    /* All have: the region has ended. */
    void stop(int threads)
    {
        lost += openmp_time() - started - threads * quickest;
        quickest = std::numeric_limits<double>::infinity();
    }
};

} // namespace
#endif
