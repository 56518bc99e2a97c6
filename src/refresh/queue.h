/* SPDX-License-Identifier: BSD-2-Clause */
/* Refresh jobs on Redis lists (docs/redis.md). A job is on the jobs list, then on the
   processing list of the refresher that took it, until that refresher settles it; a
   refresher that died is recognised by its missing heartbeat, and its job is put
   back by any other. A mark per key keeps it from being queued twice.

   Nothing here blocks. Callbacks are as those of cache/cache.h: called once, never from within the
   call that asks, not at all once the request is cancelled or the queue freed; where `fn` may be
   NULL, nobody wants to know, and there is no handle. What stands behind it is in
   refresh/queue_driver.h. */
#ifndef LEEWAY_REFRESH_QUEUE_H
#define LEEWAY_REFRESH_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "cache/cache.h"
#include "refresh/job.h"

enum {
    QUEUE_BEAT_MS = 1000,  /* how often a refresher shows that it lives */
    QUEUE_ALIVE_MS = 3000, /* without a beat for this long it is taken for dead */
};

struct queue;
struct queue_request;

/* The one in the same Redis as `cache`, which must outlive it. */
struct queue *queue_open(TALLOC_CTX *ctx, struct cache *cache,
                         const struct redis_settings *settings);

/* NULL is allowed. */
void queue_cancel(struct queue_request *request);

/* ---- For workers */

enum queue_offer { QUEUE_QUEUED, QUEUE_MARKED /* queued before */, QUEUE_FULL, QUEUE_AWAY };

typedef void queue_offer_fn(void *data, enum queue_offer result);

/* Puts a job on the list unless its key is marked; the mark lasts `mark_ms` if nobody
   settles the job. What is offered in one turn of the loop goes out together. `fn` may be NULL. */
struct queue_request *queue_offer(struct queue *queue, const char *base, const char *job,
                                  size_t len, int64_t mark_ms, queue_offer_fn *fn, void *data);

/* ---- For refreshers */

/* A job's bytes, as on the list. */
struct queue_job {
    const char *bytes;
    size_t len;
};

/* 1 and *job (borrowed), 0: none came, -1: Redis is away or refuses. */
typedef void queue_take_fn(void *data, int taken, const struct queue_job *job);

/* Waits up to `block_ms` for a job. Cancelled: one that comes all the same is in this refresher's
   hand until queue_leave(). */
struct queue_request *queue_take(struct queue *queue, int64_t block_ms, queue_take_fn *fn,
                                 void *data);

/* `done` false: Redis is away or refuses, and what was asked may or may not have been done. */
typedef void queue_done_fn(void *data, bool done);

/* The job is over; its key may be queued again at once. `base` NULL: it has none. */
struct queue_request *queue_settle(struct queue *queue, const struct queue_job *job,
                                   const char *base, queue_done_fn *fn, void *data);

/* -1: as `done` false. */
typedef void queue_count_fn(void *data, int64_t count);

/* The job is over and has failed: the number of failures in a row, which is forgotten after
   `forget_ms`. The key stays unmarked until queue_back_off. */
struct queue_request *queue_count_failure(struct queue *queue, const struct queue_job *job,
                                          const char *base, int64_t forget_ms, queue_count_fn *fn,
                                          void *data);

/* Keeps the key from being queued for `ms`. */
struct queue_request *queue_back_off(struct queue *queue, const char *base, int64_t ms,
                                     queue_done_fn *fn, void *data);

/* Shows that this refresher lives. `fn` may be NULL, as below. */
struct queue_request *queue_beat(struct queue *queue, queue_done_fn *fn, void *data);

/* Puts back what dead refreshers had taken: how many jobs. Of all refreshers one
   a second does the work. */
struct queue_request *queue_reap(struct queue *queue, queue_count_fn *fn, void *data);

/* Takes this refresher off the list of those that live and puts back what it has in hand. Also
   for one that goes on, after Redis was away with a job unsettled; it then beats anew. */
struct queue_request *queue_leave(struct queue *queue, queue_done_fn *fn, void *data);

/* ---- For operators and metrics: nothing is changed */

struct queue_refresher {
    const char *name;
    bool alive;   /* its heartbeat is there */
    bool in_hand; /* it has a job */
    bool known;   /* the job could be read */
    struct job job;
};

struct queue_view {
    int64_t length;
    int64_t oldest_ms; /* how long the oldest job has waited; -1: there is none that can be read */
    struct queue_refresher *refreshers;
    size_t n_refreshers;
};

/* NULL: Redis is away or refuses. A talloc chunk, freed after the call unless it is stolen. */
typedef void queue_view_fn(void *data, struct queue_view *view);

/* `refreshers` false: the list alone. */
struct queue_request *queue_look(struct queue *queue, bool refreshers, queue_view_fn *fn,
                                 void *data);

/* How long the mark of a response's key still lasts, in milliseconds: a job for it is queued, in
   hand or held back; 0: there is none, -1: Redis is away or refuses. */
struct queue_request *queue_look_at_mark(struct queue *queue, const char *base, queue_count_fn *fn,
                                         void *data);

#endif
