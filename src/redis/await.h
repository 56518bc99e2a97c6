/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting for Redis in place, by running the loop: for leewayctl, which has nothing else to do. Not
   to be called by what the loop calls. */
#ifndef LEEWAY_REDIS_AWAIT_H
#define LEEWAY_REDIS_AWAIT_H

#include "redis/redis.h"

/* Sends a command and runs the loop until it is answered. The reply is a child of `ctx`; NULL
   unless it was REDIS_REPLIED or REDIS_REFUSED. */
enum redis_outcome redis_await(TALLOC_CTX *ctx, struct redis *redis,
                               const struct redis_command *command, struct redis_reply **reply)
    __attribute__((warn_unused_result));

#endif
