/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue's functions are its driver's. */
#include "config.h"

#include "refresh/queue.h"

#include "refresh/queue_driver.h"

void queue_cancel(struct queue_request *request)
{
    if (request != NULL)
        request->cancel(request);
}

struct queue_request *queue_offer(struct queue *queue, const char *base, const char *job,
                                  size_t len, int64_t ttl_ms, queue_offer_fn *fn, void *data)
{
    const struct queue_job bytes = {.bytes = job, .len = len};

    return queue->driver->offer(queue, base, &bytes, ttl_ms, fn, data);
}

struct queue_request *queue_take(struct queue *queue, int64_t block_ms, queue_take_fn *fn,
                                 void *data)
{
    return queue->driver->take(queue, block_ms, fn, data);
}

struct queue_request *queue_settle(struct queue *queue, const struct queue_job *job,
                                   const char *base, bool renewed, queue_done_fn *fn, void *data)
{
    return queue->driver->settle(queue, job, base, renewed, fn, data);
}

struct queue_request *queue_count_failure(struct queue *queue, const struct queue_job *job,
                                          const char *base, int64_t forget_ms, queue_count_fn *fn,
                                          void *data)
{
    return queue->driver->count_failure(queue, job, base, forget_ms, fn, data);
}

struct queue_request *queue_back_off(struct queue *queue, const char *base, int64_t ms,
                                     queue_done_fn *fn, void *data)
{
    return queue->driver->back_off(queue, base, ms, fn, data);
}

struct queue_request *queue_beat(struct queue *queue, queue_count_fn *fn, void *data)
{
    return queue->driver->beat(queue, fn, data);
}

struct queue_request *queue_reap(struct queue *queue, queue_reap_fn *fn, void *data)
{
    return queue->driver->reap(queue, fn, data);
}

struct queue_request *queue_sweep(struct queue *queue, queue_count_fn *fn, void *data)
{
    return queue->driver->sweep(queue, fn, data);
}

struct queue_request *queue_leave(struct queue *queue, queue_done_fn *fn, void *data)
{
    return queue->driver->leave(queue, fn, data);
}

struct queue_request *queue_look(struct queue *queue, bool refreshers, queue_view_fn *fn,
                                 void *data)
{
    return queue->driver->look(queue, refreshers, fn, data);
}

struct queue_request *queue_look_at_mark(struct queue *queue, const char *base, queue_count_fn *fn,
                                         void *data)
{
    return queue->driver->look_at_mark(queue, base, fn, data);
}
