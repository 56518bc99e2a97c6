/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands behind struct queue. Only for what implements one: Redis (refresh/redis_queue.c) and,
   in the tests, a scripted one. The functions are those of refresh/queue.h. */
#ifndef LEEWAY_REFRESH_QUEUE_DRIVER_H
#define LEEWAY_REFRESH_QUEUE_DRIVER_H

#include "refresh/queue.h"

struct queue_driver {
    struct queue_request *(*offer)(struct queue *queue, const char *base,
                                   const struct queue_job *job, int64_t ttl_ms, queue_offer_fn *fn,
                                   void *data);
    struct queue_request *(*take)(struct queue *queue, int64_t block_ms, queue_take_fn *fn,
                                  void *data);
    struct queue_request *(*settle)(struct queue *queue, const struct queue_job *job,
                                    const char *base, bool renewed, queue_done_fn *fn, void *data);
    struct queue_request *(*count_failure)(struct queue *queue, const struct queue_job *job,
                                           const char *base, int64_t forget_ms, queue_count_fn *fn,
                                           void *data);
    struct queue_request *(*back_off)(struct queue *queue, const char *base, int64_t ms,
                                      queue_done_fn *fn, void *data);
    struct queue_request *(*beat)(struct queue *queue, queue_count_fn *fn, void *data);
    struct queue_request *(*reap)(struct queue *queue, queue_reap_fn *fn, void *data);
    struct queue_request *(*sweep)(struct queue *queue, queue_count_fn *fn, void *data);
    struct queue_request *(*leave)(struct queue *queue, queue_done_fn *fn, void *data);
    struct queue_request *(*look)(struct queue *queue, bool refreshers, queue_view_fn *fn,
                                  void *data);
    struct queue_request *(*look_at_mark)(struct queue *queue, const char *base, queue_count_fn *fn,
                                          void *data);
};

/* The first member of a driver's own struct. */
struct queue {
    const struct queue_driver *driver;
};

/* The first member of a driver's own request. */
struct queue_request {
    void (*cancel)(struct queue_request *request);
};

#endif
