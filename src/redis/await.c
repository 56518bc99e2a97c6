/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs the loop until something has happened. */
#include "config.h"

#include "redis/await.h"

#include <assert.h>

#include "base/clock.h"

struct waiting {
    bool is_over;
    enum redis_outcome outcome;
    TALLOC_CTX *ctx;
    struct redis_reply *reply;
};

/* Only ends the loop's wait. */
static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
}

bool redis_await_up(struct redis *redis, int64_t ms)
{
    struct ev_loop *loop = redis_loop(redis);
    int64_t until_us = clock_monotonic_us() + ms * 1000;
    ev_timer end;

    ev_now_update(loop);
    ev_timer_init(&end, on_tick, (double)ms / 1000.0, 0.01);
    ev_timer_start(loop, &end);
    while (!redis_is_up(redis) && clock_monotonic_us() < until_us)
        ev_run(loop, EVRUN_ONCE);
    ev_timer_stop(loop, &end);
    return redis_is_up(redis);
}

static void on_reply(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct waiting *waiting = data;

    waiting->is_over = true;
    waiting->outcome = outcome;
    waiting->reply = reply != NULL ? talloc_steal(waiting->ctx, reply) : NULL;
}

enum redis_outcome redis_await(TALLOC_CTX *ctx, struct redis *redis,
                               const struct redis_command *command, struct redis_reply **reply)
{
    struct waiting waiting = {.ctx = ctx};

    redis_send(redis, command, on_reply, &waiting);
    while (!waiting.is_over)
        ev_run(redis_loop(redis), EVRUN_ONCE);
    *reply = waiting.reply;
    return waiting.outcome;
}
