/* SPDX-License-Identifier: BSD-2-Clause */
/* A hash, as a part of half the window. */
#include "config.h"

#include "refresh/spread.h"

#include <string.h>
#include <xxhash.h>

int64_t spread_us(const char *base, int64_t snapshot_us, int64_t stale_us)
{
    int64_t half_us = stale_us / 2;

    if (half_us <= 0)
        return 0;
    return (int64_t)(XXH3_64bits_withSeed(base, strlen(base), (uint64_t)snapshot_us) %
                     (uint64_t)half_us);
}
