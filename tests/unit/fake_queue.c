/* SPDX-License-Identifier: BSD-2-Clause */
/* A list of what is under way, and a note of the last of each kind. */
#include "config.h"

#include "unit.h"

#include "fake_queue.h"

#include <string.h>
#include <sys/queue.h>

#include "base/mem.h"
#include "refresh/queue_driver.h"

struct request {
    struct queue_request request;
    TAILQ_ENTRY(request) link;
    struct fake_queue *fake;
    enum fake_queued kind;
    union {
        queue_offer_fn *offer;
        queue_take_fn *take;
        queue_done_fn *done;
        queue_count_fn *count;
        queue_reap_fn *reap;
        queue_view_fn *view;
    } fn;
    void *data;
};

struct kind {
    size_t count, cancelled;
    char *base, *job;
    int64_t ms;
};

struct fake_queue {
    struct queue queue;
    TAILQ_HEAD(, request) requests;
    struct kind kinds[FAKE_Q_KINDS];
};

static void cancel(struct queue_request *handle)
{
    struct request *request = (struct request *)handle;

    TAILQ_REMOVE(&request->fake->requests, request, link);
    request->fake->kinds[request->kind].cancelled++;
    talloc_free(request);
}

static struct request *ask(struct queue *queue, enum fake_queued kind, const char *base,
                           const struct queue_job *job, int64_t ms, void *data)
{
    struct fake_queue *fake = (struct fake_queue *)queue;
    struct request *request = mem_check(talloc_zero(fake, struct request));
    struct kind *last = &fake->kinds[kind];

    request->request.cancel = cancel;
    request->fake = fake;
    request->kind = kind;
    request->data = data;
    TAILQ_INSERT_TAIL(&fake->requests, request, link);
    last->count++;
    last->ms = ms;
    talloc_free(last->base);
    talloc_free(last->job);
    last->base = mem_check(talloc_strdup(fake, base != NULL ? base : ""));
    last->job =
        mem_check(talloc_strndup(fake, job != NULL ? job->bytes : "", job != NULL ? job->len : 0));
    return request;
}

static struct queue_request *offer(struct queue *queue, const char *base,
                                   const struct queue_job *job, int64_t ttl_ms, queue_offer_fn *fn,
                                   void *data)
{
    struct request *request = ask(queue, FAKE_Q_OFFER, base, job, ttl_ms, data);

    request->fn.offer = fn;
    return fn != NULL ? &request->request : NULL;
}

static struct queue_request *take(struct queue *queue, int64_t block_ms, queue_take_fn *fn,
                                  void *data)
{
    struct request *request = ask(queue, FAKE_Q_JOB, NULL, NULL, block_ms, data);

    request->fn.take = fn;
    return &request->request;
}

static struct queue_request *settle(struct queue *queue, const struct queue_job *job,
                                    const char *base, bool renewed, queue_done_fn *fn, void *data)
{
    struct request *request = ask(queue, FAKE_Q_SETTLE, base, job, renewed, data);

    request->fn.done = fn;
    return &request->request;
}

static struct queue_request *count_failure(struct queue *queue, const struct queue_job *job,
                                           const char *base, int64_t forget_ms, queue_count_fn *fn,
                                           void *data)
{
    struct request *request = ask(queue, FAKE_Q_COUNT_FAILURE, base, job, forget_ms, data);

    request->fn.count = fn;
    return &request->request;
}

static struct queue_request *back_off(struct queue *queue, const char *base, int64_t ms,
                                      queue_done_fn *fn, void *data)
{
    struct request *request = ask(queue, FAKE_Q_BACK_OFF, base, NULL, ms, data);

    request->fn.done = fn;
    return &request->request;
}

static struct queue_request *beat(struct queue *queue, queue_count_fn *fn, void *data)
{
    struct request *request = ask(queue, FAKE_Q_BEAT, NULL, NULL, 0, data);

    request->fn.count = fn;
    return fn != NULL ? &request->request : NULL;
}

static struct queue_request *reap(struct queue *queue, queue_reap_fn *fn, void *data)
{
    struct request *request = ask(queue, FAKE_Q_REAP, NULL, NULL, 0, data);

    request->fn.reap = fn;
    return fn != NULL ? &request->request : NULL;
}

static struct queue_request *sweep(struct queue *queue, queue_count_fn *fn, void *data)
{
    struct request *request = ask(queue, FAKE_Q_SWEEP, NULL, NULL, 0, data);

    request->fn.count = fn;
    return fn != NULL ? &request->request : NULL;
}

static struct queue_request *leave(struct queue *queue, queue_done_fn *fn, void *data)
{
    struct request *request = ask(queue, FAKE_Q_LEAVE, NULL, NULL, 0, data);

    request->fn.done = fn;
    return fn != NULL ? &request->request : NULL;
}

static struct queue_request *look(struct queue *queue, bool refreshers, queue_view_fn *fn,
                                  void *data)
{
    struct request *request = ask(queue, FAKE_Q_LOOK, NULL, NULL, refreshers, data);

    request->fn.view = fn;
    return &request->request;
}

static struct queue_request *look_at_mark(struct queue *queue, const char *base, queue_count_fn *fn,
                                          void *data)
{
    struct request *request = ask(queue, FAKE_Q_MARK, base, NULL, 0, data);

    request->fn.count = fn;
    return &request->request;
}

static const struct queue_driver driver = {
    .offer = offer,
    .take = take,
    .settle = settle,
    .count_failure = count_failure,
    .back_off = back_off,
    .beat = beat,
    .reap = reap,
    .sweep = sweep,
    .leave = leave,
    .look = look,
    .look_at_mark = look_at_mark,
};

struct fake_queue *fake_queue_new(TALLOC_CTX *ctx)
{
    struct fake_queue *fake = mem_check(talloc_zero(ctx, struct fake_queue));

    fake->queue.driver = &driver;
    TAILQ_INIT(&fake->requests);
    return fake;
}

struct queue *fake_queue_get(struct fake_queue *fake)
{
    return &fake->queue;
}

size_t fake_queue_count(const struct fake_queue *fake, enum fake_queued kind)
{
    return fake->kinds[kind].count;
}

size_t fake_queue_under_way(const struct fake_queue *fake, enum fake_queued kind)
{
    const struct request *request;
    size_t count = 0;

    TAILQ_FOREACH (request, &fake->requests, link)
        count += request->kind == kind;
    return count;
}

size_t fake_queue_cancelled(const struct fake_queue *fake, enum fake_queued kind)
{
    return fake->kinds[kind].cancelled;
}

const char *fake_queue_base(const struct fake_queue *fake, enum fake_queued kind)
{
    return fake->kinds[kind].base != NULL ? fake->kinds[kind].base : "";
}

const char *fake_queue_job(const struct fake_queue *fake, enum fake_queued kind)
{
    return fake->kinds[kind].job != NULL ? fake->kinds[kind].job : "";
}

int64_t fake_queue_ms(const struct fake_queue *fake, enum fake_queued kind)
{
    return fake->kinds[kind].ms;
}

/* Out of the list, and on its own: the callback may free the queue. */
static struct request *pop(struct fake_queue *fake, enum fake_queued kind)
{
    struct request *request;

    TAILQ_FOREACH (request, &fake->requests, link)
        if (request->kind == kind)
            break;
    check(request != NULL, "nothing of kind %d is under way", (int)kind);
    TAILQ_REMOVE(&fake->requests, request, link);
    return talloc_steal(NULL, request);
}

static void tell_count(const struct request *request, int64_t result)
{
    if (request->fn.count != NULL)
        request->fn.count(request->data, result);
}

static void tell_reaped(const struct request *request, int64_t put_back)
{
    const char *route = "r";
    const struct queue_reaped reaped = {
        .put_back = put_back < FAKE_ASIDE ? put_back : 0,
        .aside = &route,
        .n_aside = put_back == FAKE_ASIDE,
    };

    if (request->fn.reap != NULL)
        request->fn.reap(request->data, put_back == -1 ? NULL : &reaped);
}

static void tell_done(const struct request *request, bool done)
{
    if (request->fn.done != NULL)
        request->fn.done(request->data, done);
}

void fake_queue_answer(struct fake_queue *fake, enum fake_queued kind, int64_t result)
{
    struct request *request = pop(fake, kind);

    switch (kind) {
    case FAKE_Q_OFFER:
        if (request->fn.offer != NULL)
            request->fn.offer(request->data, (enum queue_offer)result);
        break;
    case FAKE_Q_JOB:
        request->fn.take(request->data, (int)result, NULL);
        break;
    case FAKE_Q_LOOK:
        request->fn.view(request->data, NULL);
        break;
    case FAKE_Q_REAP:
        tell_reaped(request, result);
        break;
    case FAKE_Q_COUNT_FAILURE:
    case FAKE_Q_BEAT:
    case FAKE_Q_SWEEP:
    case FAKE_Q_MARK:
        tell_count(request, result);
        break;
    case FAKE_Q_SETTLE:
    case FAKE_Q_BACK_OFF:
    case FAKE_Q_LEAVE:
    case FAKE_Q_KINDS:
        tell_done(request, result != 0);
    }
    talloc_free(request);
}

/* The bytes are the queue's, and gone after the call. */
void fake_queue_give(struct fake_queue *fake, const char *bytes)
{
    struct request *request = pop(fake, FAKE_Q_JOB);
    const struct queue_job job = {.bytes = mem_check(talloc_strdup(request, bytes)),
                                  .len = strlen(bytes)};

    request->fn.take(request->data, 1, &job);
    talloc_free(request);
}
