/* SPDX-License-Identifier: BSD-2-Clause */
/* Interval arithmetic on one measurement. */
#include "config.h"

#include "cache/redis_clock.h"

enum {
    /* Two clocks disciplined by NTP, each slewed by at most 500 ppm, the opposite way. */
    DRIFT_DIVISOR = 1000,
};

void redis_clock_measure(struct redis_clock *clock, int64_t sent_us, int64_t received_us,
                         int64_t redis_us)
{
    clock->known = true;
    clock->low_us = redis_us - received_us;
    /* TIME is cut to whole microseconds */
    clock->high_us = redis_us + 1 - sent_us;
    clock->measured_us = received_us;
}

static int64_t drift_us(const struct redis_clock *clock, int64_t local_us)
{
    int64_t since_us = local_us - clock->measured_us;

    return (since_us < 0 ? -since_us : since_us) / DRIFT_DIVISOR + 1;
}

int64_t redis_clock_earliest(const struct redis_clock *clock, int64_t local_us)
{
    return local_us + clock->low_us - drift_us(clock, local_us);
}

int64_t redis_clock_latest(const struct redis_clock *clock, int64_t local_us)
{
    return local_us + clock->high_us + drift_us(clock, local_us);
}
