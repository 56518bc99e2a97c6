/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs the loop until the answer has come. */
#include "config.h"

#include "redis/await.h"

struct waiting {
    bool is_over;
    enum redis_outcome outcome;
    TALLOC_CTX *ctx;
    struct redis_reply *reply;
};

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
