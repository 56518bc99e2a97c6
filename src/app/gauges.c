/* SPDX-License-Identifier: BSD-2-Clause */
/* Length and age of the queue, and Redis's memory: two questions under way at once. */
#include "config.h"

#include "app/gauges.h"

#include <stdlib.h>

#include "base/mem.h"
#include "redis/info.h"

struct gauges_request {
    struct metrics_gauges gauges;
    struct queue_request *queue; /* NULL: answered */
    struct cache_request *info;  /* NULL: answered */
    gauges_fn *fn;
    void *data;
};

static int withdraw(struct gauges_request *request)
{
    queue_cancel(request->queue);
    cache_cancel(request->info);
    return 0;
}

static void end_if_answered(struct gauges_request *request)
{
    const struct gauges_request answered = *request;

    if (request->queue != NULL || request->info != NULL)
        return;
    talloc_free(request);
    answered.fn(answered.data, &answered.gauges);
}

static void on_queue(void *data, struct queue_view *view)
{
    struct gauges_request *request = data;

    request->queue = NULL;
    if (view != NULL) {
        request->gauges.jobs_queued = view->length;
        request->gauges.jobs_abandoned = view->abandoned;
        /* an empty list has no oldest job, and nothing waits */
        request->gauges.job_oldest_ms =
            view->length == 0 && view->oldest_ms == -1 ? 0 : view->oldest_ms;
    }
    end_if_answered(request);
}

static void on_info(void *data, const char *info)
{
    struct gauges_request *request = data;
    char ratio[32];

    request->info = NULL;
    if (info != NULL && redis_info_find(info, "mem_fragmentation_ratio", ratio, sizeof ratio))
        request->gauges.redis_fragmentation_ratio = strtod(ratio, NULL);
    end_if_answered(request);
}

struct gauges_request *gauges_read(TALLOC_CTX *ctx, struct cache *cache, struct queue *queue,
                                   gauges_fn *fn, void *data)
{
    struct gauges_request *request = mem_check(talloc_zero(ctx, struct gauges_request));

    request->gauges = (struct metrics_gauges){-1, -1, -1, -1.0};
    request->fn = fn;
    request->data = data;
    request->queue = queue_look(queue, false, on_queue, request);
    request->info = cache_ask_info(cache, on_info, request);
    talloc_set_destructor(request, withdraw);
    return request;
}
