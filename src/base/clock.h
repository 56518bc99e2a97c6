/* SPDX-License-Identifier: BSD-2-Clause */
/* The local clock. Everything inside a process is measured on the monotonic
   clock; wall-clock time comes from Redis (see cache/redis_clock.h). */
#ifndef LEEWAY_BASE_CLOCK_H
#define LEEWAY_BASE_CLOCK_H

#include <stdint.h>

/* Microseconds since an arbitrary point, CLOCK_MONOTONIC. */
int64_t clock_monotonic_us(void);

#endif
