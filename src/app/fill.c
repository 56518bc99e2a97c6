/* SPDX-License-Identifier: BSD-2-Clause */
/* Query, entry, store. */
#include "config.h"

#include "app/fill.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/old_lease.h"
#include "http/problem.h"

struct fill {
    struct backend *backend;
    struct fill_request request;
    struct old_lease lease;           /* a copy of the request's */
    bool leased;                      /* as far as we know */
    bool fits;                        /* the result is of the key's generation */
    struct redis_clock_reading clock; /* Redis's, as it was read last before the query was sent */
    ev_timer renew;
};

int fill_status(enum query_outcome outcome)
{
    static const int statuses[] = {
        [QUERY_DONE] = 200,   [QUERY_NO_ROW] = 404,    [QUERY_BAD_VALUE] = 400,
        [QUERY_BROKEN] = 500, [QUERY_TIMED_OUT] = 504, [QUERY_NO_SLOT] = 503,
        [QUERY_AWAY] = 503,   [QUERY_CHOSEN] = 500,
    };

    return statuses[outcome];
}

static void on_renew(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct fill *fill = timer->data;
    TALLOC_CTX *ctx = talloc_new(fill);

    (void)events;
    if (lease_renew(ctx, fill->backend->redis, &fill->lease) == OLD_LEASE_LOST) {
        fill->leased = false;
        ev_timer_stop(loop, timer);
        fill->request.lost(fill->request.data);
    }
    talloc_free(ctx);
}

/* The body of the answer: the query's JSON, or a problem document for no row. */
static void make_entry(struct fill *fill, const struct query_result *query,
                       struct fill_result *result)
{
    const struct redis_clock *clock = old_redis_get_clock(fill->backend->redis);
    struct buf *bytes = mem_check(talloc(fill, struct buf));
    const char *body;
    size_t body_len;

    if (query->outcome == QUERY_NO_ROW) {
        body = problem_body(fill, result->status,
                            query->message != NULL ? query->message : "There is no such resource.",
                            &body_len);
    } else {
        body = query->json->data;
        body_len = query->json->len;
    }
    int64_t snapshot_us =
        clock->known ? redis_clock_earliest_after(clock, &fill->clock, query->sent_us) : 0;
    buf_init(bytes, fill, body_len + 512);
    entry_encode(bytes, snapshot_us, result->status, body, body_len);
    /* just encoded: it cannot fail to decode */
    if (entry_decode(bytes->data, bytes->len, &result->entry) == -1)
        result->outcome = QUERY_BROKEN;
    result->bytes = bytes->data;
}

static enum fill_storing storing_of(enum old_lease_end end)
{
    switch (end) {
    case OLD_LEASE_STORED:
        return FILL_STORED;
    case OLD_LEASE_KEPT:
    case OLD_LEASE_LOST:
        return FILL_NOT_STORED;
    case OLD_LEASE_UNKNOWN:
        break;
    }
    return FILL_NO_REDIS;
}

/* What it comes to, and the lease with it. */
static enum fill_storing store_under_lease(struct fill *fill, const struct fill_result *result,
                                           enum old_lease_end *end)
{
    const struct application *app = fill->backend->app;
    const struct freshness_policy *policy = &application_rules(app, fill->request.route)->policy;
    struct old_redis *redis = fill->backend->redis;
    const struct old_redis_part bytes = {
        result->bytes,
        (size_t)(result->entry.body + result->entry.body_len - (char *)result->bytes),
    };
    int64_t expiry_ms =
        freshness_expiry_ms(policy, result->entry.status, result->entry.snapshot_us);

    if (!fill->fits || !identity_is_verified(fill->backend->identity) ||
        expiry_ms <= result->entry.snapshot_us / 1000) {
        *end = lease_give_up(fill, redis, &fill->lease);
        return FILL_NOT_STORED;
    }
    if (result->entry.body_len > (size_t)app->config->settings.max_object_bytes) {
        *end = lease_too_large(fill, redis, &fill->lease);
        return FILL_TOO_LARGE;
    }
    *end = lease_store(fill, redis, &fill->lease, bytes, expiry_ms);
    if (*end ==
        OLD_LEASE_UNKNOWN) /* it may have no memory for the entry: nobody is to wait for us */
        lease_give_up(fill, redis, &fill->lease);
    return storing_of(*end);
}

/* In any case Redis tells its time, by which the answer is judged. */
static void store_entry(struct fill *fill, struct fill_result *result)
{
    struct old_redis *redis = fill->backend->redis;
    enum old_lease_end end = OLD_LEASE_LOST;

    if (fill->request.lease == NULL) {
        if (application_rules(fill->backend->app, fill->request.route)->policy.budget_us > 0)
            old_redis_measure(redis);
        result->storing = FILL_NO_REDIS;
        result->for_before_us = result->sent_us;
        return;
    }
    result->storing = FILL_NOT_STORED;
    if (fill->leased)
        result->storing = store_under_lease(fill, result, &end);
    else
        old_redis_measure(redis);
    result->for_before_us =
        end == OLD_LEASE_KEPT || end == OLD_LEASE_STORED ? INT64_MAX : fill->lease.held_at_us;
}

/* Waiters are told of a failure, but not of one that is this process's own: one of them may have
   a slot, or reach the right database, where we do not. */
static void end_lease(struct fill *fill, const struct fill_result *result, int64_t hold_ms)
{
    if (!fill->leased)
        return;
    if (result->outcome == QUERY_NO_SLOT || !identity_is_verified(fill->backend->identity))
        lease_give_up(fill, fill->backend->redis, &fill->lease);
    else
        lease_fail(fill, fill->backend->redis, &fill->lease, result->status, hold_ms);
}

/* What a client may be told of a failure beyond its status. */
static const char *detail_of(struct fill *fill, const struct query_result *query)
{
    if (query->outcome == QUERY_CHOSEN)
        return query->message;
    if (query->outcome != QUERY_BAD_VALUE || query->parameter == 0)
        return NULL;
    return mem_check(talloc_asprintf(fill, "The database refuses the value of parameter \"%s\".",
                                     fill->request.route->params[query->parameter - 1].name));
}

static void on_query(void *data, const struct query_result *query)
{
    struct fill *fill = data;
    struct backend *backend = fill->backend;
    struct fill_result result = {
        .outcome = query->outcome,
        .status = query->status != 0 ? query->status : fill_status(query->outcome),
        .detail = detail_of(fill, query),
        .sent_us = query->sent_us,
        .storing = FILL_NOT_STORED,
    };

    ev_timer_stop(backend->loop, &fill->renew);
    fill->fits = query->generation == fill->request.generation;
    if (query->sent_us != 0)
        metrics_query(backend->metrics, fill->request.route, fill->request.origin);
    if (query->outcome == QUERY_DONE || query->outcome == QUERY_NO_ROW)
        make_entry(fill, query, &result);
    if (result.outcome == QUERY_DONE || result.outcome == QUERY_NO_ROW)
        store_entry(fill, &result);
    else
        end_lease(fill, &result, query->hold_ms);
    fill->request.done(fill->request.data, &result);
    talloc_free(fill);
}

static int fill_destroy(struct fill *fill)
{
    ev_timer_stop(fill->backend->loop, &fill->renew);
    return 0;
}

void fill_start(struct backend *backend, const struct fill_request *request)
{
    struct fill *fill = mem_check(talloc_zero(backend, struct fill));

    fill->backend = backend;
    fill->request = *request;
    fill->clock = old_redis_get_clock(backend->redis)->last;
    ev_timer_init(&fill->renew, on_renew, OLD_LEASE_RENEW_MS / 1000.0, OLD_LEASE_RENEW_MS / 1000.0);
    fill->renew.data = fill;
    talloc_set_destructor(fill, fill_destroy);
    if (request->lease != NULL) {
        fill->lease = (struct old_lease){.base = request->lease->base,
                                         .held_at_us = request->lease->held_at_us};
        memcpy(fill->lease.token, request->lease->token, sizeof fill->lease.token);
        fill->leased = true;
        ev_now_update(backend->loop);
        ev_timer_start(backend->loop, &fill->renew);
    }
    const struct query_request query = {
        .route = request->route,
        .values = request->values,
        .limit_ms = application_rules(backend->app, request->route)->query_limit_ms,
        .done = on_query,
        .data = fill,
    };
    postgres_query(backend->postgres, &query);
}
