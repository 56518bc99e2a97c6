/* SPDX-License-Identifier: BSD-2-Clause */
/* One server in the primary's role, and our connections to it: one for what only reads, and
   those that are opened when they are needed: for what writes, for commands that block and for
   subscriptions. */
#ifndef LEEWAY_REDIS_PRIMARY_H
#define LEEWAY_REDIS_PRIMARY_H

#include <ev.h>
#include <stdbool.h>
#include <talloc.h>

#include "redis/clock_keeper.h"
#include "redis/redis.h"
#include "redis/subscriber.h"

struct redis_primary;

/* Starts connecting. `options` is copied, and its on_change called for this server. */
struct redis_primary *redis_primary_new(TALLOC_CTX *ctx, struct ev_loop *loop, const char *address,
                                        const struct redis_options *options);

bool redis_primary_is_up(const struct redis_primary *primary);

/* As of redis.h. */
const char *redis_primary_problem(const struct redis_primary *primary);
struct redis_server redis_primary_server(const struct redis_primary *primary);
struct redis_request *redis_primary_send(struct redis_primary *primary,
                                         const struct redis_command *command, redis_fn *fn,
                                         void *data);

struct redis_clock_keeper *redis_primary_clock_keeper(const struct redis_primary *primary);
struct redis_subscriber *redis_primary_subscriber(const struct redis_primary *primary);

#endif
