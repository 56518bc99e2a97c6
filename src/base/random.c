/* SPDX-License-Identifier: BSD-2-Clause */
/* getrandom(2), without waiting. */
#include "config.h"

#include "base/random.h"

#include <sys/random.h>

#include "base/clock.h"

uint64_t random_number(void)
{
    uint64_t number;

    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != (ssize_t)sizeof number)
        number = (uint64_t)clock_monotonic_us();
    return number;
}
