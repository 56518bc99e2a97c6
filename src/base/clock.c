/* SPDX-License-Identifier: BSD-2-Clause */
/* The monotonic clock in microseconds. */
#include "config.h"

#include "base/clock.h"

#include <time.h>

int64_t clock_monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
