/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue on Redis lists: what its parts share, and only for them.

   A request is an errand: one command after another, until it ends. The errand is freed before its
   owner is called, so that the owner may free whatever it likes, the queue among it. */
#ifndef LEEWAY_REFRESH_REDIS_QUEUE_H
#define LEEWAY_REFRESH_REDIS_QUEUE_H

#include "redis/redis.h"
#include "refresh/queue_driver.h"

struct redis_queue {
    struct queue queue;
    struct redis *redis;
    const struct cache *cache;
    const char *prefix;
    int64_t limit;
    const char *list; /* the name of the configuration's */
    int64_t keep_ms;  /* what is not used expires after this */
    char *name;       /* of this refresher */
    char *jobs;
    char *processing;
    char *alive;
    char *registry;
    char *deaths;      /* by mark: how many died with a job for it in hand */
    char *aside;       /* jobs that were set aside */
    char *turn;        /* held by the refresher that reaps */
    char *lists;       /* names of all configurations' lists, and when they end */
    char *abandoned;   /* how many jobs were in those that have ended */
    char *hands;       /* pattern of all processing lists, those of other configurations too */
    char cursor[24];   /* where the search for such lists goes on */
    bool scan_refused; /* it is not asked for again */
};

static inline struct redis_queue *redis_queue_of(struct queue *queue)
{
    return (struct redis_queue *)queue;
}

struct errand;
typedef void errand_answered(struct errand *errand, enum redis_outcome outcome,
                             struct redis_reply *reply);

struct errand {
    struct queue_request request;
    struct redis_queue *queue;
    struct redis_request *sent; /* NULL: none */
    bool only_reads;            /* it goes beside what writes (struct redis_command) */
    errand_answered *answered;
    union { /* the owner's; NULL: nobody wants to know */
        queue_offer_fn *offer;
        queue_take_fn *take;
        queue_done_fn *done;
        queue_count_fn *count;
        queue_reap_fn *reap;
        queue_view_fn *view;
    } fn;
    void *data;
};

/* `size` bytes, which begin with a struct errand; a child of the queue. What it needs may be its
   children. */
struct errand *errand_new(struct queue *queue, size_t size, void *data);

/* Sends a command; `answered` is called with what becomes of it. It is about keys in the slot of
   the jobs list. */
void errand_send(struct errand *errand, const struct redis_part *parts, size_t count,
                 errand_answered *answered);

/* The owner's handle. */
static inline struct queue_request *errand_handle(struct errand *errand)
{
    return &errand->request;
}

/* The number that a command answered with; 0: it answered with something else, -1: it was not
   done. */
int64_t errand_number(enum redis_outcome outcome, const struct redis_reply *reply);

/* The ends: each frees the errand, and then calls the owner. */
void errand_end_done(struct errand *errand, bool done);
void errand_end_count(struct errand *errand, int64_t count);

/* The end of a script that has put a job on the list KEYS[L], which may have been empty: both it
   and the table of lists KEYS[T] last for ARGV[N] ms from now, or as long as they did before. A
   list is kept a minute longer than it is of use, for somebody to count what is in it. KEYS and
   ARGV are numbers, ARGV[M] the list's name. */
#define KEEP_LIST(L, T, M, N)                                                                      \
    "local time = redis.call('TIME') "                                                             \
    "local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[" N "] "                      \
    "if redis.call('LLEN', KEYS[" L "]) == 1 then "                                                \
    "redis.call('ZADD', KEYS[" T "], ends, ARGV[" M "]) "                                          \
    "else redis.call('ZADD', KEYS[" T "], 'GT', ends, ARGV[" M "]) end "                           \
    "for _, key in ipairs({KEYS[" L "], KEYS[" T "]}) do "                                         \
    "redis.call('PEXPIREAT', key, ends + 60000, 'NX') "                                            \
    "redis.call('PEXPIREAT', key, ends + 60000, 'GT') end "

/* ---- redis_reap.c */

struct queue_request *redis_queue_beat(struct queue *queue, queue_count_fn *fn, void *data);
struct queue_request *redis_queue_reap(struct queue *queue, queue_reap_fn *fn, void *data);
struct queue_request *redis_queue_sweep(struct queue *queue, queue_count_fn *fn, void *data);
struct queue_request *redis_queue_leave(struct queue *queue, queue_done_fn *fn, void *data);

/* ---- redis_queue_view.c */

struct queue_request *redis_queue_look(struct queue *queue, bool refreshers, queue_view_fn *fn,
                                       void *data);
struct queue_request *redis_queue_look_at_mark(struct queue *queue, const char *base,
                                               queue_count_fn *fn, void *data);

#endif
