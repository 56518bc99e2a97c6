/* SPDX-License-Identifier: BSD-2-Clause */
/* Bounds of Redis's clock from one question and its answer. */
#include "config.h"

#include "cache/redis_clock.h"

enum { DRIFT_DIVISOR = 1000 }; /* 1 ms per second */

void redis_clock_measure(struct redis_clock *clock, int64_t sent_us, int64_t received_us,
                         int64_t redis_us)
{
    *clock = (struct redis_clock){
        .known = true,
        .low_us = redis_us - received_us,
        .high_us = redis_us - sent_us,
        .measured_us = sent_us,
    };
}

/* Rounded up, which also covers that all clocks are read in whole microseconds. A moment
   before the measurement is as uncertain as one after it. */
static int64_t drift(const struct redis_clock *clock, int64_t local_us)
{
    int64_t distance = local_us - clock->measured_us;

    if (distance < 0)
        distance = -distance;
    return (distance + DRIFT_DIVISOR - 1) / DRIFT_DIVISOR;
}

int64_t redis_clock_earliest(const struct redis_clock *clock, int64_t local_us)
{
    return local_us + clock->low_us - drift(clock, local_us);
}

int64_t redis_clock_latest(const struct redis_clock *clock, int64_t local_us)
{
    return local_us + clock->high_us + drift(clock, local_us);
}
