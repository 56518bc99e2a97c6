/* SPDX-License-Identifier: BSD-2-Clause */
/* The subscriptions at one server, and the connection that they share: opened with the first. */
#ifndef LEEWAY_REDIS_SUBSCRIBER_H
#define LEEWAY_REDIS_SUBSCRIBER_H

#include <ev.h>
#include <talloc.h>

#include "redis/connection.h"
#include "redis/redis.h"

struct redis_subscriber;

/* Of `options` what is called back is the subscriber's own, but on_down, which may be NULL. */
struct redis_subscriber *redis_subscriber_new(TALLOC_CTX *ctx, struct ev_loop *loop,
                                              const struct redis_connection_options *options);

/* As redis_subscribe. */
struct redis_subscription *redis_subscriber_add(TALLOC_CTX *ctx,
                                                struct redis_subscriber *subscriber,
                                                const char *channel, redis_news_fn *fn, void *data);

/* Messages may have been missed, or this is another server: as if the connection had broken. */
void redis_subscriber_restart(struct redis_subscriber *subscriber, const char *problem);

/* The server can be reached. */
void redis_subscriber_hurry(struct redis_subscriber *subscriber);

#endif
