/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue as an operator sees it: what waits, and who has what in hand. */
#ifndef LEEWAY_REFRESH_OLD_QUEUE_VIEW_H
#define LEEWAY_REFRESH_OLD_QUEUE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "cache/old_redis.h"
#include "refresh/job.h"

struct old_queue_refresher {
    const char *name;
    bool alive;   /* its heartbeat is there */
    bool in_hand; /* it has a job */
    bool known;   /* the job could be read */
    struct job job;
};

struct old_queue_view {
    int64_t length;
    int64_t oldest_ms; /* how long the oldest job has waited; -1: there is none that can be read */
    struct old_queue_refresher *refreshers;
    size_t n_refreshers;
};

/* Children of `ctx`. -1: Redis is away or refused. */
int old_queue_look(TALLOC_CTX *ctx, struct old_redis *redis, const struct redis_settings *settings,
                   struct old_queue_view *view) __attribute__((warn_unused_result));

/* How long the mark of a response's key still lasts: a job for it is queued, in hand or held back;
   0: there is none, -1: Redis is away or refused. */
int64_t old_queue_mark_left_ms(TALLOC_CTX *ctx, struct old_redis *redis,
                               const struct redis_settings *settings, const char *base);

#endif
