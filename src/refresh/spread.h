/* SPDX-License-Identifier: BSD-2-Clause */
/* When a refresh is asked for where many fall due together. Pure. */
#ifndef LEEWAY_REFRESH_SPREAD_H
#define LEEWAY_REFRESH_SPREAD_H

#include <stdint.h>

/* How long after it has become stale an entry's refresh is asked for, in [0, stale_us / 2):
   anywhere in the first half of the time for which it is stale, by a hash of the key and its
   snapshot, so that all processes say the same and entries that were stored together do not. */
int64_t spread_us(const char *base, int64_t snapshot_us, int64_t stale_us);

#endif
