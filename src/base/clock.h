/* SPDX-License-Identifier: BSD-2-Clause */
/* The local clocks. Everything inside a process is measured on the monotonic
   clock; wall-clock time comes from Redis (see redis/clock.h). */
#ifndef LEEWAY_BASE_CLOCK_H
#define LEEWAY_BASE_CLOCK_H

#include <stdint.h>

/* Microseconds since an arbitrary point, the same for all processes of a machine. Nobody can set
   it; it goes on while the machine is suspended, for what was computed before has grown older; and
   it is not slewed: CLOCK_MONOTONIC_RAW and the time spent suspended. While the others are
   disciplined, by up to a twelfth (chrony's default), it keeps the rate of the hardware. */
int64_t clock_monotonic_us(void);

/* The time of day less that clock. It changes slowly, as the time of day is slewed, or at once when
   that is set: after a machine has stood still, for instance. */
int64_t clock_time_of_day_lead_us(void);

#endif
