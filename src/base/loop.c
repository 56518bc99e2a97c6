/* SPDX-License-Identifier: BSD-2-Clause */
/* A timer ends the wait. */
#include "config.h"

#include "base/loop.h"

static void on_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    *(bool *)timer->data = true;
}

void loop_run_for(struct ev_loop *loop, int64_t ms, const bool *sooner,
                  const volatile sig_atomic_t *interrupted)
{
    bool over = false;
    ev_timer timer;

    ev_now_update(loop);
    ev_timer_init(&timer, on_over, (double)ms / 1e3, 0.);
    timer.data = &over;
    ev_timer_start(loop, &timer);
    while (!over && (sooner == NULL || !*sooner) && (interrupted == NULL || !*interrupted))
        ev_run(loop, EVRUN_ONCE);
    ev_timer_stop(loop, &timer);
}
