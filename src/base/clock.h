/* SPDX-License-Identifier: BSD-2-Clause */
/* The local clock. Everything inside a process is measured on the monotonic
   clock; wall-clock time comes from Redis (see cache/redis_clock.h). */
#ifndef LEEWAY_BASE_CLOCK_H
#define LEEWAY_BASE_CLOCK_H

#include <stdint.h>

/* Microseconds since an arbitrary point. CLOCK_BOOTTIME, which nobody can set and which goes on
   while the machine is suspended: what was computed before has grown older. */
int64_t clock_monotonic_us(void);

#endif
