/* SPDX-License-Identifier: BSD-2-Clause */
/* Refresh jobs on Redis lists (docs/redis.md). A job is on the jobs list, then on the
   processing list of the refresher that took it, until that refresher settles it; a
   refresher that died is recognised by its missing heartbeat, and its job is put
   back by any other. A mark per key keeps it from being queued twice. */
#ifndef LEEWAY_REFRESH_OLD_QUEUE_H
#define LEEWAY_REFRESH_OLD_QUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "cache/old_redis.h"

enum {
    OLD_QUEUE_BEAT_MS = 1000,  /* how often a refresher shows that it lives */
    OLD_QUEUE_ALIVE_MS = 3000, /* without a beat for this long it is taken for dead */
};

enum old_queue_offer {
    OLD_QUEUE_QUEUED,
    OLD_QUEUE_MARKED /* queued before */,
    OLD_QUEUE_FULL,
    OLD_QUEUE_AWAY
};

/* Puts a job on the list unless its key is marked; the mark lasts `mark_ms` if nobody
   settles the job. */
enum old_queue_offer old_queue_offer(TALLOC_CTX *ctx, struct old_redis *redis,
                                     const struct redis_settings *settings, const char *base,
                                     struct old_redis_part job, int64_t mark_ms);

/* A refresher's end of the queue. */
struct old_queue;

struct old_queue *old_queue_new(TALLOC_CTX *ctx, struct old_redis *redis,
                                const struct redis_settings *settings);

/* Waits up to `block_ms`. 1 and *job (owned by `ctx`), 0: none came, -1: Redis is away. */
int old_queue_take(TALLOC_CTX *ctx, struct old_queue *queue, int64_t block_ms, char **job,
                   size_t *len) __attribute__((warn_unused_result));

/* The job is over; its key may be queued again at once. `base` NULL: it has none. */
int old_queue_settle(struct old_queue *queue, struct old_redis_part job, const char *base);

/* The job is over and has failed: the number of failures in a row, or -1. The key stays
   unmarked until queue_back_off. */
int64_t old_queue_count_failure(struct old_queue *queue, struct old_redis_part job,
                                const char *base, int64_t forget_ms);

/* Keeps the key from being queued for `ms`. */
int old_queue_back_off(struct old_queue *queue, const char *base, int64_t ms);

/* Shows that this refresher lives. */
int old_queue_beat(struct old_queue *queue);

/* Puts back what dead refreshers had taken: how many jobs, or -1. Of all refreshers one
   a second does the work. */
int old_queue_reap(struct old_queue *queue);

/* Takes this refresher off the list of those that live and puts back what it has in hand. Also
   for one that goes on, after Redis was away with a job unsettled; it then beats anew. */
int old_queue_leave(struct old_queue *queue);

#endif
