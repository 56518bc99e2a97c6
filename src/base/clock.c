/* SPDX-License-Identifier: BSD-2-Clause */
/* One clock made of three. */
#include "config.h"

#include "base/clock.h"

#include <time.h>

static int64_t read_us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* What CLOCK_BOOTTIME has and CLOCK_MONOTONIC has not. They can't be read at once: of the readings
   in between only the last bound that was overstepped is taken, so that this never goes back. */
static int64_t suspended_us(void)
{
    static _Thread_local int64_t known_us = INT64_MIN;
    int64_t before_us = read_us(CLOCK_MONOTONIC);
    int64_t boot_us = read_us(CLOCK_BOOTTIME);

    if (boot_us - before_us > known_us) {
        int64_t least_us = boot_us - read_us(CLOCK_MONOTONIC);
        if (least_us > known_us)
            known_us = least_us;
    }
    return known_us;
}

int64_t clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC_RAW) + suspended_us();
}

int64_t clock_time_of_day_lead_us(void)
{
    int64_t time_of_day_us = read_us(CLOCK_REALTIME);

    return time_of_day_us - clock_monotonic_us();
}
