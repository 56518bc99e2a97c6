/* SPDX-License-Identifier: BSD-2-Clause */
/* Refresh jobs on Redis lists (docs/redis.md), one for each configuration: whoever takes a job
   understands it. A job is on the jobs list, then on the processing list of the refresher that took
   it, until that refresher settles it; a refresher that died is recognised by its missing
   heartbeat, and its job is put back by any other of its configuration, or set aside if it was in
   the hand of several that died. A mark per key keeps it from being queued twice. All of it expires
   unless it is used.

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
    /* A job that was lost on the way keeps its key from being queued for this long at the most. */
    QUEUE_MARK_MS = 60 * 1000,
    /* So many refreshers die with a job for the same response in hand before it is set aside. */
    QUEUE_DEATHS = 3,
    QUEUE_ASIDE_MS = 10 * 60 * 1000, /* for so long, in which its key is not queued */
    QUEUE_ASIDE_MAX = 100,           /* so many are kept to be looked at */
};

struct queue;
struct queue_request;

/* Whose jobs a queue is about. */
struct queue_list {
    const char *name;  /* of the configuration: the same for all who understand each other's jobs */
    int64_t window_ms; /* the longest time for which a job can be of use */
};

/* The one in the same Redis as `cache`, which must outlive it. */
struct queue *queue_open(TALLOC_CTX *ctx, struct cache *cache,
                         const struct redis_settings *settings, const struct queue_list *list);

/* NULL is allowed. */
void queue_cancel(struct queue_request *request);

/* ---- For workers */

enum queue_offer { QUEUE_QUEUED, QUEUE_MARKED /* queued before */, QUEUE_FULL, QUEUE_AWAY };

typedef void queue_offer_fn(void *data, enum queue_offer result);

/* Puts a job on the list unless its key is marked. It is of use for `ttl_ms`: if nobody takes from
   the list, the list ends then, and the mark, if nobody settles the job, does so at the latest.
   What is offered in one turn of the loop goes out together. `fn` may be NULL. */
struct queue_request *queue_offer(struct queue *queue, const char *base, const char *job,
                                  size_t len, int64_t ttl_ms, queue_offer_fn *fn, void *data);

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

/* The job is over; its key may be queued again at once. `base` NULL: it has none. `renewed`: so is
   its response, and deaths are forgotten. */
struct queue_request *queue_settle(struct queue *queue, const struct queue_job *job,
                                   const char *base, bool renewed, queue_done_fn *fn, void *data);

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

/* Shows that this refresher lives: how many jobs it has in hand. `fn` may be NULL, as below. */
struct queue_request *queue_beat(struct queue *queue, queue_count_fn *fn, void *data);

/* What became of the jobs of dead refreshers. */
struct queue_reaped {
    int64_t put_back;
    const char **aside; /* names of routes, one for each job that was set aside */
    size_t n_aside;
};

/* NULL: Redis is away or refuses. Borrowed. */
typedef void queue_reap_fn(void *data, const struct queue_reaped *reaped);

/* Puts back what dead refreshers had taken, or sets it aside. Of all refreshers of a configuration
   one a second does the work. */
struct queue_request *queue_reap(struct queue *queue, queue_reap_fn *fn, void *data);

/* Takes this refresher off the list of those that live and puts back what it has in hand. Also
   for one that goes on, after Redis was away with a job unsettled; it then beats anew. */
struct queue_request *queue_leave(struct queue *queue, queue_done_fn *fn, void *data);

/* ---- For both

   Ends lists of any configuration whose jobs are of no use any more, for nobody took them: how many
   jobs, which are counted in Redis and logged. `fn` may be NULL. */
struct queue_request *queue_sweep(struct queue *queue, queue_count_fn *fn, void *data);

/* ---- For operators and metrics: nothing is changed */

struct queue_refresher {
    const char *name;
    bool alive;   /* its heartbeat is there */
    bool in_hand; /* it has a job */
    bool known;   /* the job could be read */
    struct job job;
};

/* A job that was set aside. */
struct queue_aside {
    bool known; /* the job could be read */
    struct job job;
    int64_t left_ms; /* after which its key may be queued again */
};

struct queue_view {
    const char *list; /* its name */
    int64_t length;
    int64_t oldest_ms; /* how long the oldest job has waited; -1: there is none that can be read */
    int64_t abandoned; /* jobs of all lists that nobody took, ever; -1: not known */
    struct queue_refresher *refreshers;
    size_t n_refreshers;
    struct queue_aside *aside;
    size_t n_aside;
    size_t n_others;       /* lists of other configurations */
    int64_t others_length; /* of all of them together */
};

/* NULL: Redis is away or refuses. A talloc chunk, freed after the call unless it is stolen. */
typedef void queue_view_fn(void *data, struct queue_view *view);

/* `refreshers` false: length, oldest_ms and abandoned alone. */
struct queue_request *queue_look(struct queue *queue, bool refreshers, queue_view_fn *fn,
                                 void *data);

/* How long the mark of a response's key still lasts, in milliseconds: a job for it is queued, in
   hand or held back; 0: there is none, -1: Redis is away or refuses. */
struct queue_request *queue_look_at_mark(struct queue *queue, const char *base, queue_count_fn *fn,
                                         void *data);

#endif
