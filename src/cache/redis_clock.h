/* SPDX-License-Identifier: BSD-2-Clause */
/* Redis's clock, bounded from both sides. TIME asked at `sent` and answered at
   `received` on the local monotonic clock was read somewhere in between; that,
   and 1 ms of drift per second since, bounds Redis's time at any other moment.
   Pure: no clock is read here. */
#ifndef LEEWAY_CACHE_REDIS_CLOCK_H
#define LEEWAY_CACHE_REDIS_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct redis_clock {
    bool known;
    int64_t low_us;      /* Redis's time less the monotonic clock, at least */
    int64_t high_us;     /* the same, at most */
    int64_t measured_us; /* on the monotonic clock */
};

/* Takes in one measurement; the newest one always replaces the one before, so
   that a clock that was stepped is followed. */
void redis_clock_measure(struct redis_clock *clock, int64_t sent_us, int64_t received_us,
                         int64_t redis_us);

/* The earliest and the latest that Redis's clock can have shown when the
   monotonic clock showed `local_us`. Only if `known`. */
int64_t redis_clock_earliest(const struct redis_clock *clock, int64_t local_us);
int64_t redis_clock_latest(const struct redis_clock *clock, int64_t local_us);

#endif
