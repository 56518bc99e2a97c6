/* SPDX-License-Identifier: BSD-2-Clause */
/* One number for all clocks. */
#include "config.h"

#include "fake_time.h"

#include <time.h>

enum { TURNS = 4 };

/* Late enough for any time to lie in the past. */
static int64_t now_us = (int64_t)1000000 * 1000000;

int clock_gettime(clockid_t id, struct timespec *out)
{
    (void)id;
    *out = (struct timespec){.tv_sec = now_us / 1000000, .tv_nsec = now_us % 1000000 * 1000};
    return 0;
}

int64_t fake_time_us(void)
{
    return now_us;
}

void fake_time_pass(int64_t us)
{
    now_us += us;
}

void fake_time_run(struct ev_loop *loop)
{
    for (int i = 0; i < TURNS; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

/* In small steps, so that what is due is done in the order in which it is. */
void fake_time_advance(struct ev_loop *loop, int64_t ms)
{
    for (int64_t i = 0; i < ms; i++) {
        now_us += 1000;
        ev_run(loop, EVRUN_NOWAIT);
    }
    fake_time_run(loop);
}
