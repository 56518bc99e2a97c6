/* SPDX-License-Identifier: BSD-2-Clause */
/* begin() asks for the lease and does what the answer says; it is called again
   whenever the lease may have ended. */
#include "config.h"

#include "app/flight.h"

#include <search.h>
#include <string.h>

#include "app/fill.h"
#include "app/respond.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cache/old_lease.h"

enum {
    AFTER_LEASE_MS = 5, /* when a lease that was not renewed is surely gone */
    NO_EXPIRY_MS = 50,  /* it ended between two commands, or somebody gave it no expiry */
    MAX_TOO_OLD = 2,    /* of a visit */
};

/* Why a response is not stored from the outset. */
enum flight_bypass { BYPASS_NONE, BYPASS_NO_BUDGET, BYPASS_TOO_LARGE, BYPASS_NO_REDIS };

struct flight {
    const char *base;
    uint64_t generation; /* of the key */
    struct flights *flights;
    const struct route *route;
    const struct route_rules *rules;
    struct param_values values; /* copied: they outlive the first visit */
    struct visit_list visits;
    struct visit *leader; /* the visit on whose account the query runs; NULL: it has left */
    bool listed;          /* in flights->by_base */
    bool leading;         /* a fill of ours is under way */
    enum flight_bypass bypass;
    struct old_lease lease;
    struct wake_watch *watch;
    ev_timer recheck; /* when the lease ends unless it is renewed */
    ev_timer deadline;
};

struct flights {
    struct backend *backend;
    struct wake *wake;
    void *by_base; /* tsearch tree of the flights that may be joined */
    TAILQ_HEAD(, flight_node) all;
    size_t waiting;
};

/* Kept apart from struct flight so that it can be walked while flights end. */
struct flight_node {
    TAILQ_ENTRY(flight_node) link;
    struct flight flight;
};

static void begin(struct flight *flight);

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct flight *)a)->base, ((const struct flight *)b)->base);
}

size_t flights_waiting(const struct flights *flights)
{
    return flights->waiting;
}

static void unlist(struct flight *flight)
{
    if (flight->listed)
        tdelete(flight, &flight->flights->by_base, compare);
    flight->listed = false;
}

static int node_destroy(struct flight_node *node)
{
    struct flight *flight = &node->flight;
    struct ev_loop *loop = flight->flights->backend->loop;

    unlist(flight);
    ev_timer_stop(loop, &flight->recheck);
    ev_timer_stop(loop, &flight->deadline);
    TAILQ_REMOVE(&flight->flights->all, node, link);
    return 0;
}

static struct flight_node *node_of(struct flight *flight)
{
    return (struct flight_node *)((char *)flight - offsetof(struct flight_node, flight));
}

/* Takes the next waiting visit out, so that it can be answered; NULL: none is left. */
static struct visit *next_visit(struct flight *flight)
{
    struct visit *visit = TAILQ_FIRST(&flight->visits);

    if (visit == NULL)
        return NULL;
    TAILQ_REMOVE(&flight->visits, visit, link);
    visit->flight = NULL;
    flight->flights->waiting--;
    return visit;
}

static void park(struct flight *flight, struct visit *visit)
{
    visit->flight = flight;
    TAILQ_INSERT_TAIL(&flight->visits, visit, link);
    flight->flights->waiting++;
}

/* As long as another's query may take, with all that it may wait for before. */
static double longest_wait_s(const struct flight *flight)
{
    const struct postgres_settings *settings =
        &flight->flights->backend->app->config->settings.postgres;

    return (double)(settings->slot_timeout_ms + settings->connect_timeout_ms +
                    flight->rules->query_limit_ms + OLD_LEASE_MS) /
           1000.0;
}

static struct freshness_verdict judge_stored(const struct flight *flight,
                                             const struct old_stored *stored)
{
    if (stored->reply == NULL)
        return (struct freshness_verdict){.state = FRESHNESS_EXPIRED};
    return freshness_judge(&flight->rules->policy, stored->entry.status, stored->entry.snapshot_us,
                           backend_now_us(flight->flights->backend, stored->entry.snapshot_us));
}

static bool is_servable(enum freshness state, bool on_error)
{
    return state == FRESHNESS_FRESH || state == FRESHNESS_STALE ||
           (state == FRESHNESS_ON_ERROR && on_error);
}

/* Answers from an entry found in Redis, each by its age at that moment. Those who are left, if it
   has grown too old meanwhile, need another. */
static void serve_stored(struct flight *flight, struct old_stored *stored, bool on_error)
{
    while (!TAILQ_EMPTY(&flight->visits)) {
        struct answer answer = {.verdict = judge_stored(flight, stored),
                                .private = !flight->rules->edge};
        if (!is_servable(answer.verdict.state, on_error))
            return;
        answer.row =
            answer.verdict.state == FRESHNESS_ON_ERROR ? ANSWER_ON_ERROR : ANSWER_COLLAPSED;
        respond_entry(next_visit(flight), &stored->entry, &answer, stored_holder(stored));
    }
}

/* What is stored under its key may still be served. */
static bool is_of_our_generation(const struct flight *flight)
{
    const struct identity *identity = flight->flights->backend->identity;

    return identity_is_verified(identity) && identity_generation(identity) == flight->generation;
}

/* Where Postgres cannot answer, a context may allow an entry past its budget. true: everybody has
   been answered, and the flight is no more. */
static bool end_on_error(struct flight *flight, int status)
{
    struct old_stored stored = {.reply = NULL};

    if (flight->bypass == BYPASS_NO_BUDGET || flight->rules->policy.stale_if_error_us == 0 ||
        !is_of_our_generation(flight) || (status != 503 && status != 504))
        return false;
    if (store_get(node_of(flight), flight->flights->backend->redis, flight->base, &stored) != 1)
        return false;
    serve_stored(flight, &stored, true);
    stored_free(&stored);
    if (!TAILQ_EMPTY(&flight->visits))
        return false;
    talloc_free(node_of(flight));
    return true;
}

static void end_with_failure(struct flight *flight, int status, const char *detail,
                             enum collapse_result collapse)
{
    struct metrics *metrics = flight->flights->backend->metrics;
    struct visit *visit;

    unlist(flight);
    while ((visit = next_visit(flight)) != NULL) {
        if (visit != flight->leader)
            metrics_collapsed(metrics, flight->route, collapse);
        respond_failure(visit, status, detail, visit != flight->leader);
    }
    talloc_free(node_of(flight));
}

static enum answer_row row_of(const struct flight *flight, const struct visit *visit,
                              const struct fill_result *result)
{
    if (flight->bypass == BYPASS_NO_BUDGET)
        return ANSWER_NO_BUDGET;
    if (flight->bypass == BYPASS_TOO_LARGE || result->storing == FILL_TOO_LARGE)
        return ANSWER_TOO_LARGE;
    if (flight->bypass == BYPASS_NO_REDIS || result->storing == FILL_NO_REDIS)
        return ANSWER_NO_REDIS;
    if (visit != flight->leader)
        return ANSWER_COLLAPSED;
    return visit->expired ? ANSWER_EXPIRED : ANSWER_MISS;
}

/* By the local clock, which saw this query sent. */
static struct freshness_verdict judge_by_own_clock(const struct flight *flight,
                                                   const struct fill_result *result, int status)
{
    return freshness_judge(&flight->rules->policy, status, result->sent_us,
                           clock_monotonic_us() + BACKEND_WRITE_ALLOWANCE_US);
}

/* By that and Redis's, which went on should this machine have stood still, the one that says
   more. What Redis's has lost since is no matter: the other one knows. */
static struct freshness_verdict judge_result(const struct flight *flight,
                                             const struct fill_result *result, int status)
{
    const struct old_redis *redis = flight->flights->backend->redis;
    struct freshness_verdict own = judge_by_own_clock(flight, result, status);
    int64_t snapshot_us = result->entry.snapshot_us;

    if (snapshot_us == 0 || !old_redis_is_up(redis))
        return own;
    int64_t now_us = redis_clock_latest(old_redis_get_clock(redis),
                                        clock_monotonic_us() + BACKEND_WRITE_ALLOWANCE_US);
    if (now_us - snapshot_us <= own.age_us)
        return own;
    return freshness_judge(&flight->rules->policy, status, snapshot_us, now_us);
}

/* false: it has to be looked for again. */
static bool answer_visit(struct flight *flight, struct visit *visit,
                         const struct fill_result *result)
{
    bool has_budget = flight->rules->policy.budget_us > 0;
    struct answer answer = {
        .row = row_of(flight, visit, result),
        .fwd_status = result->status,
        .stored = result->storing == FILL_STORED,
        .private = !flight->rules->edge,
        .sent_us = result->sent_us,
    };

    if (visit->request->received_us > result->for_before_us)
        return false;
    if (has_budget && judge_by_own_clock(flight, result, 200).ttl_us <= 0) {
        respond_failure(visit, 504, NULL, false);
        return true;
    }
    if (has_budget && judge_result(flight, result, 200).ttl_us <= 0) {
        if (++visit->too_old < MAX_TOO_OLD)
            return false;
        respond_failure(visit, 504, NULL, false);
        return true;
    }
    answer.verdict = judge_result(flight, result, result->status);
    respond_entry(visit, &result->entry, &answer, result->bytes);
    return true;
}

/* Those for whom it is too old go on together, in the next flight: there is still one query at a
   time. */
static void end_with_result(struct flight *flight, const struct fill_result *result)
{
    struct flights *flights = flight->flights;
    struct visit_list later = TAILQ_HEAD_INITIALIZER(later);
    struct visit *visit;

    while ((visit = next_visit(flight)) != NULL)
        if (!answer_visit(flight, visit, result))
            TAILQ_INSERT_TAIL(&later, visit, link);
    talloc_free(node_of(flight));
    while ((visit = TAILQ_FIRST(&later)) != NULL) {
        TAILQ_REMOVE(&later, visit, link);
        flights_join(flights, visit, true);
    }
}

static void on_lost(void *data)
{
    unlist(data);
}

static void on_filled(void *data, const struct fill_result *result)
{
    struct flight *flight = data;

    flight->leading = false;
    if (result->outcome == QUERY_DONE || result->outcome == QUERY_NO_ROW)
        end_with_result(flight, result);
    else if (!end_on_error(flight, result->outcome == QUERY_NO_SLOT ? 0 : result->status))
        end_with_failure(flight, result->status, result->detail, COLLAPSE_FAILED);
}

static void lead(struct flight *flight, enum flight_bypass bypass)
{
    struct ev_loop *loop = flight->flights->backend->loop;

    TALLOC_FREE(flight->watch);
    ev_timer_stop(loop, &flight->recheck);
    ev_timer_stop(loop, &flight->deadline);
    flight->bypass = bypass;
    flight->leading = true;
    flight->leader = TAILQ_FIRST(&flight->visits);
    struct lease lease = {.base = flight->lease.base, .held_at_us = flight->lease.held_at_us};
    memcpy(lease.token, flight->lease.token, sizeof lease.token);
    const struct fill_request request = {
        .route = flight->route,
        .values = &flight->values,
        .lease = bypass == BYPASS_NONE ? &lease : NULL,
        .generation = flight->generation,
        .origin = bypass == BYPASS_NONE ? QUERY_MISS : QUERY_BYPASS,
        .lost = on_lost,
        .done = on_filled,
        .data = flight,
    };
    fill_start(flight->flights->backend, &request);
}

static void on_wake(void *data)
{
    begin(data);
}

/* The lease is another's: subscribe, look again once subscribed, and again when it
   has ended or would have. */
static void await_other(struct flight *flight, int64_t left_ms)
{
    struct ev_loop *loop = flight->flights->backend->loop;

    if (flight->watch == NULL)
        flight->watch = wake_watch(node_of(flight), flight->flights->wake,
                                   lease_channel(node_of(flight), flight->base), on_wake, flight);
    ev_now_update(loop);
    ev_timer_stop(loop, &flight->recheck);
    ev_timer_set(&flight->recheck,
                 (double)(left_ms > 0 ? left_ms + AFTER_LEASE_MS : NO_EXPIRY_MS) / 1000.0, 0.0);
    ev_timer_start(loop, &flight->recheck);
}

/* What the lease's state asks for, where no stored response will do. */
static void go_on(struct flight *flight, const struct old_lease_answer *answer)
{
    switch (answer->state) {
    case OLD_LEASE_WON:
        lead(flight, BYPASS_NONE);
        break;
    case OLD_LEASE_HELD:
        await_other(flight, answer->left_ms);
        break;
    case OLD_LEASE_FAILED:
        if (!end_on_error(flight, answer->failed_status))
            end_with_failure(flight, answer->failed_status, NULL, COLLAPSE_FAILED);
        break;
    case OLD_LEASE_TOO_LARGE:
        lead(flight, BYPASS_TOO_LARGE);
        break;
    case OLD_LEASE_AWAY:
        lead(flight, BYPASS_NO_REDIS);
        break;
    }
}

static void begin(struct flight *flight)
{
    struct old_redis *redis = flight->flights->backend->redis;
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    struct old_lease_answer answer;

    /* it may have been refused while we waited */
    if (!identity_is_verified(flight->flights->backend->identity)) {
        end_with_failure(flight, 503, NULL, COLLAPSE_FAILED);
        talloc_free(ctx);
        return;
    }
    lease_take(ctx, redis, flight->base, &flight->lease, &answer);
    serve_stored(flight, &answer.stored, false);
    if (!TAILQ_EMPTY(&flight->visits)) {
        go_on(flight, &answer);
    } else {
        if (answer.state == OLD_LEASE_WON)
            lease_give_up(ctx, redis, &flight->lease);
        talloc_free(node_of(flight));
    }
    stored_free(&answer.stored);
    talloc_free(ctx);
}

static void on_recheck(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    begin(timer->data);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct flight *flight = timer->data;

    (void)loop;
    (void)events;
    if (!end_on_error(flight, 504))
        end_with_failure(flight, 504, NULL, COLLAPSE_TIMEOUT);
}

static void copy_values(struct flight *flight, const struct visit *visit)
{
    struct flight_node *node = node_of(flight);

    flight->base = mem_check(talloc_strdup(node, visit->base));
    flight->values.count = visit->values.count;
    flight->values.texts =
        mem_check(talloc_zero_array(node, const char *, visit->values.count + 1));
    for (size_t i = 0; i < visit->values.count; i++)
        if (visit->values.texts[i] != NULL)
            flight->values.texts[i] = mem_check(talloc_strdup(node, visit->values.texts[i]));
}

static struct flight *new_flight(struct flights *flights, const struct visit *visit)
{
    struct flight_node *node = mem_check(talloc_zero(flights, struct flight_node));
    struct flight *flight = &node->flight;

    flight->flights = flights;
    flight->route = visit->route;
    flight->rules = visit->rules;
    flight->generation = visit->generation;
    copy_values(flight, visit);
    TAILQ_INIT(&flight->visits);
    TAILQ_INSERT_TAIL(&flights->all, node, link);
    ev_init(&flight->recheck, on_recheck);
    ev_timer_init(&flight->deadline, on_deadline, longest_wait_s(flight), 0.0);
    flight->recheck.data = flight->deadline.data = flight;
    talloc_set_destructor(node, node_destroy);
    return flight;
}

void flights_join(struct flights *flights, struct visit *visit, bool shared)
{
    const struct settings *settings = &flights->backend->app->config->settings;
    const struct flight wanted = {.base = visit->base};
    struct flight **found;

    if (flights->waiting >= (size_t)settings->max_waiting) {
        respond_failure(visit, 503, NULL, true);
        return;
    }
    found = shared ? tfind(&wanted, &flights->by_base, compare) : NULL;
    if (found != NULL) {
        park(*found, visit);
        return;
    }
    struct flight *flight = new_flight(flights, visit);
    park(flight, visit);
    if (!shared) {
        lead(flight, BYPASS_NO_BUDGET);
        return;
    }
    mem_check(tsearch(flight, &flights->by_base, compare));
    flight->listed = true;
    ev_now_update(flights->backend->loop);
    ev_timer_start(flights->backend->loop, &flight->deadline);
    begin(flight);
}

void flights_leave(struct flights *flights, struct visit *visit)
{
    struct flight *flight = visit->flight;

    TAILQ_REMOVE(&flight->visits, visit, link);
    visit->flight = NULL;
    flights->waiting--;
    if (flight->leader == visit)
        flight->leader = NULL;
    if (TAILQ_EMPTY(&flight->visits) && !flight->leading)
        talloc_free(node_of(flight));
}

void flights_abandon(struct flights *flights)
{
    struct flight_node *node;

    TAILQ_FOREACH (node, &flights->all, link) {
        struct visit *visit;
        while ((visit = next_visit(&node->flight)) != NULL)
            respond_failure(visit, 503, NULL, true);
    }
}

struct flights *flights_new(TALLOC_CTX *ctx, struct backend *backend)
{
    struct flights *flights = mem_check(talloc_zero(ctx, struct flights));

    flights->backend = backend;
    flights->wake = wake_new(flights, backend->loop, &backend->app->config->settings.redis);
    TAILQ_INIT(&flights->all);
    return flights;
}
