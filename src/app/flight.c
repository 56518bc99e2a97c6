/* SPDX-License-Identifier: BSD-2-Clause */
/* A flight asks for the lease and does what the answer says; it asks again whenever the lease may
   have ended. What an answer of the cache says is for visits that had come when it was asked: who
   came later may have come after a purge that it has not seen. */
#include "config.h"

#include "app/flight.h"

#include <assert.h>
#include <search.h>
#include <string.h>

#include "app/fill.h"
#include "app/flight_answer.h"
#include "app/flight_state.h"
#include "app/respond.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    AFTER_LEASE_MS = 5, /* when a lease that was not renewed is surely gone */
    NO_EXPIRY_MS = 50,  /* it ended between two commands */
    UNTOLD_MS = 100,    /* how often to look where no wake-up comes */
};

/* Why a response is not stored from the outset. */
enum flight_bypass { BYPASS_NONE, BYPASS_NO_BUDGET, BYPASS_TOO_LARGE, BYPASS_NO_REDIS };

/* What those are told that no entry will do for. */
struct flight_failure {
    int status;
    const char *detail; /* NULL: the usual one */
    enum collapse_result collapse;
};

struct flight {
    const char *base;
    uint64_t generation; /* of the key */
    struct flights *flights;
    enum flight_state state;
    const struct route *route;
    const struct route_rules *rules;
    struct param_values values; /* copied: they outlive the first visit */
    struct visit_list visits;
    struct visit *leader; /* the visit on whose account the query runs; NULL: it has left */
    struct fill *fill;    /* FILLING: until it is told what came of it */
    bool listed;          /* in flights->by_base */
    enum flight_bypass bypass;
    struct flight_failure failure; /* FAILING, HELD */
    bool held;                     /* the server may still run the query, which only we know */
    bool left;       /* HELD: since nobody waited for it; who comes waits for its end */
    bool only_looks; /* LOOKING, LOOKING_TWICE: the lease is not asked for */
    struct cache_request *asking; /* LOOKING, LOOKING_TWICE, FAILING: what is asked, */
    int64_t asked_us;             /* and when, on the monotonic clock */
    struct cache_watch *watch;
    bool untold;       /* no wake-up will come */
    ev_timer recheck;  /* WAITING: when the lease ends unless it is renewed */
    ev_timer deadline; /* LOOKING to FILLING, until the query has begun: of the visit that has
                          waited longest, or before */
    int64_t deadline_us;
};

struct flights {
    struct backend *backend;
    void *by_base; /* tsearch tree of the flights that may be joined */
    TAILQ_HEAD(, flight_node) all;
    size_t waiting;
    size_t count; /* of flights */
};

/* Kept apart from struct flight so that it can be walked while flights end. */
struct flight_node {
    TAILQ_ENTRY(flight_node) link;
    struct flight flight;
};

static void look(struct flight *flight);

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct flight *)a)->base, ((const struct flight *)b)->base);
}

size_t flights_waiting(const struct flights *flights)
{
    return flights->waiting;
}

static struct flight_node *node_of(struct flight *flight)
{
    return (struct flight_node *)((char *)flight - offsetof(struct flight_node, flight));
}

static void list(struct flight *flight)
{
    mem_check(tsearch(flight, &flight->flights->by_base, compare));
    flight->listed = true;
}

static void unlist(struct flight *flight)
{
    if (flight->listed)
        tdelete(flight, &flight->flights->by_base, compare);
    flight->listed = false;
}

/* ---- States */

/* What belongs to the states that `to` is not one of ends here. */
static void set_state(struct flight *flight, enum flight_state to)
{
    struct ev_loop *loop = flight->flights->backend->loop;

    assert(flight_state_may_follow(flight->state, to));
    if (to != FLIGHT_LOOKING_TWICE) {
        cache_cancel(flight->asking);
        flight->asking = NULL;
    }
    if (to != FLIGHT_WAITING)
        ev_timer_stop(loop, &flight->recheck);
    if (!flight_state_is_undecided(to)) {
        TALLOC_FREE(flight->watch);
        ev_timer_stop(loop, &flight->deadline);
    }
    if (to != FLIGHT_FILLING)
        flight->fill = NULL;
    if (to == FLIGHT_ENDED || (to == FLIGHT_FAILING && !flight->held))
        unlist(flight);
    flight->state = to;
}

/* The one end: no visit is left. What the server may still run is not begun again meanwhile. */
static void end(struct flight *flight)
{
    assert(TAILQ_EMPTY(&flight->visits));
    if (flight->held) {
        if (flight->state != FLIGHT_HELD)
            set_state(flight, FLIGHT_HELD);
        return;
    }
    set_state(flight, FLIGHT_ENDED);
    talloc_free(node_of(flight));
}

/* Also where all that a worker has is freed. */
static int node_destroy(struct flight_node *node)
{
    struct flight *flight = &node->flight;

    if (flight->state != FLIGHT_ENDED)
        set_state(flight, FLIGHT_ENDED);
    TAILQ_REMOVE(&flight->flights->all, node, link);
    flight->flights->count--;
    return 0;
}

/* ---- Visits */

static void take_out(struct flight *flight, struct visit *visit)
{
    TAILQ_REMOVE(&flight->visits, visit, link);
    visit->flight = NULL;
    visit->state = VISIT_NEW;
    flight->flights->waiting--;
}

/* Takes the next waiting visit out, so that it can be answered; NULL: none is left. */
static struct visit *next_visit(struct flight *flight)
{
    struct visit *visit = TAILQ_FIRST(&flight->visits);

    if (visit != NULL)
        take_out(flight, visit);
    return visit;
}

static void park(struct flight *flight, struct visit *visit)
{
    visit->flight = flight;
    visit->state = VISIT_WAITING;
    TAILQ_INSERT_TAIL(&flight->visits, visit, link);
    flight->flights->waiting++;
}

/* From its arrival, a visit waits for a slot for a query of ours for slot_timeout; and for as long
   as another's query may take, with all that this may wait for before. */
static int64_t gives_up_us(const struct flight *flight, const struct visit *visit)
{
    const struct postgres_settings *settings =
        &flight->flights->backend->app->config->settings.postgres;
    int64_t longest_ms = settings->slot_timeout_ms;

    if (flight->state != FLIGHT_FILLING)
        longest_ms += settings->connect_timeout_ms + flight->rules->query_limit_ms + LEASE_MS;
    return visit->request->received_us + longest_ms * 1000;
}

static void set_deadline(struct flight *flight, int64_t at_us)
{
    struct ev_loop *loop = flight->flights->backend->loop;
    int64_t left_us = at_us - clock_monotonic_us();

    flight->deadline_us = at_us;
    ev_now_update(loop);
    ev_timer_stop(loop, &flight->deadline);
    ev_timer_set(&flight->deadline, (double)(left_us > 1000 ? left_us : 1000) / 1e6, 0.0);
    ev_timer_start(loop, &flight->deadline);
}

/* It can end before its query does. */
static bool has_deadline(const struct flight *flight)
{
    return flight_state_is_undecided(flight->state) ||
           (flight->state == FLIGHT_FILLING && flight->fill != NULL &&
            !fill_has_begun(flight->fill));
}

static void heed_deadline(struct flight *flight, const struct visit *visit)
{
    int64_t at_us = gives_up_us(flight, visit);

    if (has_deadline(flight) && (!ev_is_active(&flight->deadline) || at_us < flight->deadline_us))
        set_deadline(flight, at_us);
}

/* ---- Stored answers */

static struct freshness_verdict judge_stored(const struct flight *flight,
                                             const struct stored *stored)
{
    if (stored->bytes == NULL)
        return (struct freshness_verdict){.state = FRESHNESS_EXPIRED};
    return freshness_judge(&flight->rules->policy, stored->entry.status, stored->entry.snapshot_us,
                           backend_now_us(flight->flights->backend, stored->entry.snapshot_us));
}

static bool is_servable(enum freshness state, bool on_error)
{
    return state == FRESHNESS_FRESH || state == FRESHNESS_STALE ||
           (state == FRESHNESS_ON_ERROR && on_error);
}

/* Answers those who had come when the cache was asked for the entry, each by its age at that
   moment. true: who is left has come since; false: it will not do for who is left. */
static bool serve_stored(struct flight *flight, struct stored *stored, bool on_error)
{
    struct visit *visit, *next;

    for (visit = TAILQ_FIRST(&flight->visits); visit != NULL; visit = next) {
        struct answer answer = {.verdict = judge_stored(flight, stored),
                                .private = !flight->rules->edge};
        next = TAILQ_NEXT(visit, link);
        if (!is_servable(answer.verdict.state, on_error))
            return false;
        if (visit->request->received_us > flight->asked_us)
            continue;
        answer.row =
            answer.verdict.state == FRESHNESS_ON_ERROR ? ANSWER_ON_ERROR : ANSWER_COLLAPSED;
        take_out(flight, visit);
        respond_entry(visit, &stored->entry, &answer, stored->bytes);
    }
    return true;
}

/* What is stored under its key may still be served. */
static bool is_of_our_generation(const struct flight *flight)
{
    const struct identity *identity = flight->flights->backend->identity;

    return identity_is_verified(identity) && identity_generation(identity) == flight->generation;
}

/* ---- Failures */

static void end_with_failure(struct flight *flight)
{
    const struct flight_failure *failure = &flight->failure;
    struct metrics *metrics = flight->flights->backend->metrics;
    struct visit *visit;

    while ((visit = next_visit(flight)) != NULL) {
        if (visit != flight->leader)
            metrics_collapsed(metrics, flight->route, failure->collapse);
        respond_failure(visit, failure->status, failure->detail, visit != flight->leader);
    }
    end(flight);
}

static void on_last_look(void *data, enum cache_found found, struct stored *stored)
{
    struct flight *flight = data;

    flight->asking = NULL;
    if (found == CACHE_FOUND && is_of_our_generation(flight))
        serve_stored(flight, stored, true);
    end_with_failure(flight);
}

/* Where Postgres cannot answer, or may not be asked, a context may allow an entry past its budget.
 */
static bool allows_on_error(const struct flight *flight, int status)
{
    return flight->bypass != BYPASS_NO_BUDGET && flight->rules->policy.stale_if_error_us > 0 &&
           is_of_our_generation(flight) && (status == 503 || status == 504);
}

/* `on_error` false: no entry may be served instead. */
static void fail(struct flight *flight, const struct flight_failure *failure, bool on_error)
{
    const char *detail = failure->detail;

    set_state(flight, FLIGHT_FAILING);
    flight->failure = *failure;
    if (!on_error || !allows_on_error(flight, failure->status)) {
        end_with_failure(flight);
        return;
    }
    if (detail != NULL)
        flight->failure.detail = mem_check(talloc_strdup(node_of(flight), detail));
    flight->asked_us = clock_monotonic_us();
    flight->asking =
        cache_look_up(flight->flights->backend->cache, flight->base, on_last_look, flight);
}

/* ---- Results */

static enum answer_row row_of(const struct flight *flight, const struct visit *visit,
                              const struct fill_result *result)
{
    if (flight->bypass == BYPASS_NO_BUDGET)
        return visit->is_disabled ? ANSWER_DISABLED : ANSWER_NO_BUDGET;
    if (flight->bypass == BYPASS_TOO_LARGE || result->storing == FILL_TOO_LARGE)
        return ANSWER_TOO_LARGE;
    if (flight->bypass == BYPASS_NO_REDIS || result->storing == FILL_NO_REDIS)
        return ANSWER_NO_REDIS;
    if (visit != flight->leader)
        return ANSWER_COLLAPSED;
    return visit->expired ? ANSWER_EXPIRED : ANSWER_MISS;
}

static struct flight *new_flight(struct flights *flights, const struct visit *visit);

/* Moves a visit into a flight of those that fail apart from the others, which is made for the first
   of them. */
static struct flight *set_apart(struct flight *failing, struct flight *flight, struct visit *visit)
{
    if (failing == NULL)
        failing = new_flight(flight->flights, visit);
    failing->bypass = flight->bypass;
    if (flight->leader == visit) {
        failing->leader = visit;
        flight->leader = NULL; /* another may come to lie at its address */
    }
    park(failing, visit);
    return failing;
}

static const struct flight_failure timed_out = {504, NULL, COLLAPSE_TIMEOUT};

static void join_anew(struct flights *flights, struct visit_list *visits)
{
    struct visit *visit;

    while ((visit = TAILQ_FIRST(visits)) != NULL) {
        TAILQ_REMOVE(visits, visit, link);
        flights_join(flights, visit, true);
    }
}

/* Those for whom it is too old go on together, in the next flight: there is still one query at a
   time. */
static void end_with_result(struct flight *flight, const struct fill_result *result)
{
    struct flights *flights = flight->flights;
    struct visit_list later = TAILQ_HEAD_INITIALIZER(later);
    struct flight *failing = NULL;
    struct visit *visit;

    while ((visit = next_visit(flight)) != NULL) {
        enum visit_end how = flight_answer(visit, result, row_of(flight, visit, result));
        if (how == VISIT_TIMED_OUT)
            failing = set_apart(failing, flight, visit);
        else if (how == VISIT_COMES_LATER)
            TAILQ_INSERT_TAIL(&later, visit, link);
    }
    end(flight);
    if (failing != NULL)
        fail(failing, &timed_out, true);
    join_anew(flights, &later);
}

static void on_lost(void *data)
{
    unlist(data);
}

/* The server does not run the failed query any more. */
static void on_settled(void *data)
{
    struct flight *flight = data;
    struct flights *flights = flight->flights;
    struct visit_list later = TAILQ_HEAD_INITIALIZER(later);
    struct visit *visit;

    flight->held = false;
    unlist(flight);
    if (flight->state != FLIGHT_HELD)
        return;
    while ((visit = next_visit(flight)) != NULL)
        TAILQ_INSERT_TAIL(&later, visit, link);
    end(flight);
    join_anew(flights, &later);
}

static void on_filled(void *data, const struct fill_result *result)
{
    struct flight *flight = data;
    const struct flight_failure failure = {result->status, result->detail, COLLAPSE_FAILED};

    flight->fill = NULL;
    flight->held = result->unmarked;
    flight->left = result->outcome == QUERY_LEFT;
    if (result->outcome == QUERY_DONE || result->outcome == QUERY_NO_ROW)
        end_with_result(flight, result);
    else if (flight->left)
        end(flight);
    else
        fail(flight, &failure, true);
}

/* Each of them waits for a slot from its own arrival; the query, from that of the last. */
static void start_fill(struct flight *flight, const struct fill_request *request)
{
    const struct visit *visit;

    flight->fill = fill_start(flight->flights->backend, request);
    TAILQ_FOREACH (visit, &flight->visits, link) {
        fill_wait_longer(flight->fill, visit->request->received_us);
        heed_deadline(flight, visit);
    }
}

/* ---- Rations */

static const char *client_of(const struct backend *backend, const struct visit *visit)
{
    size_t place = backend->app->client_place;

    return place != (size_t)NO_PLACE ? visit->request->variables[place]
                                     : visit->request->remote_addr;
}

static bool may_start_query(const struct backend *backend, const struct visit *visit)
{
    return backend->ration == NULL ||
           ration_take(backend->ration, client_of(backend, visit), clock_monotonic_us());
}

/* The first visit leads whose client may start a query; the others wait for it, which costs them
   nothing. false: there is none. */
static bool find_leader(struct flight *flight)
{
    struct visit *visit;

    TAILQ_FOREACH (visit, &flight->visits, link)
        if (may_start_query(flight->flights->backend, visit))
            break;
    flight->leader = visit;
    return visit != NULL;
}

static void log_lone_client(const struct backend *backend)
{
    if (ration_has_one_client(backend->ration))
        log_event_limited(
            LOG_LEVEL_WARN, "one client makes all requests that reach the database",
            log_text("client_misses_by", backend->app->config->settings.client_misses_by),
            log_text("advice", "if it is a balancer, name a variable that it sets"));
}

static void end_rationed(struct flight *flight)
{
    const struct backend *backend = flight->flights->backend;
    struct visit *visit;

    while ((visit = next_visit(flight)) != NULL)
        respond_rationed(
            visit, ration_wait(backend->ration, client_of(backend, visit), clock_monotonic_us()));
    log_lone_client(backend);
    end(flight);
}

static void lead(struct flight *flight, enum flight_bypass bypass, const struct lease *lease)
{
    set_state(flight, FLIGHT_FILLING);
    flight->bypass = bypass;
    const struct fill_request request = {
        .route = flight->route,
        .values = &flight->values,
        .lease = lease,
        .generation = flight->generation,
        .origin = bypass == BYPASS_NONE ? QUERY_MISS : QUERY_BYPASS,
        .since_us = flight->leader->request->received_us,
        .lost = on_lost,
        .done = on_filled,
        .settled = on_settled,
        .data = flight,
    };
    start_fill(flight, &request);
}

/* ---- Waiting for the lease */

/* Also while it is looked at: the answer under way may be from before. */
static void on_news(void *data, enum cache_news news)
{
    struct flight *flight = data;

    flight->untold = news == CACHE_NOT_TOLD;
    if (flight->state == FLIGHT_WAITING)
        look(flight);
    else if (flight->state == FLIGHT_LOOKING)
        set_state(flight, FLIGHT_LOOKING_TWICE);
}

/* The lease is another's: watch, look again once nothing is missed any more, and again when it
   has ended or would have. */
static void await_other(struct flight *flight, int64_t left_ms)
{
    const struct backend *backend = flight->flights->backend;
    int64_t wait_ms = left_ms > 0 ? left_ms + AFTER_LEASE_MS : NO_EXPIRY_MS;

    set_state(flight, FLIGHT_WAITING);
    if (flight->watch == NULL)
        flight->watch = cache_watch(node_of(flight), backend->cache, flight->base, on_news, flight);
    if (flight->untold && wait_ms > UNTOLD_MS)
        wait_ms = UNTOLD_MS;
    ev_now_update(backend->loop);
    ev_timer_set(&flight->recheck, (double)wait_ms / 1000.0, 0.0);
    ev_timer_start(backend->loop, &flight->recheck);
}

static void give_up(struct flight *flight, const struct lease_answer *answer)
{
    static const struct lease_mark no_mark = {.kind = LEASE_MARK_NONE};

    if (answer->state == LEASE_WON && !flight->only_looks)
        cache_end(flight->flights->backend->cache, &answer->lease, &no_mark, NULL, NULL);
}

/* Nobody leads. Where we cannot either, nobody is waited for: who could is not here to ask. */
static void on_free(struct flight *flight, const struct lease_answer *answer)
{
    static const struct flight_failure away = {503, NULL, COLLAPSE_FAILED};

    if (!flight->only_looks) {
        lead(flight, BYPASS_NONE, &answer->lease);
    } else if (postgres_can_run(flight->flights->backend->postgres)) {
        look(flight);
    } else {
        flight->leader = TAILQ_FIRST(&flight->visits);
        fail(flight, &away, true);
    }
}

/* Whether what comes of this starts a query of ours. */
static bool would_lead(const struct flight *flight, enum lease_state state)
{
    return (state == LEASE_WON && !flight->only_looks) || state == LEASE_TOO_LARGE ||
           state == LEASE_AWAY;
}

/* What the lease's state asks for, where no stored response will do. */
static void go_on(struct flight *flight, const struct lease_answer *answer)
{
    const struct flight_failure failed = {answer->failed_status, NULL, COLLAPSE_FAILED};

    if (would_lead(flight, answer->state) && !find_leader(flight)) {
        give_up(flight, answer);
        end_rationed(flight);
        return;
    }
    switch (answer->state) {
    case LEASE_WON:
        on_free(flight, answer);
        break;
    case LEASE_HELD:
        if (flight->state == FLIGHT_LOOKING_TWICE)
            look(flight);
        else
            await_other(flight, answer->left_ms);
        break;
    case LEASE_FAILED:
        fail(flight, &failed, true);
        break;
    case LEASE_TOO_LARGE:
        lead(flight, BYPASS_TOO_LARGE, NULL);
        break;
    case LEASE_AWAY:
        lead(flight, BYPASS_NO_REDIS, NULL);
        break;
    }
}

static void on_looked(void *data, struct lease_answer *answer)
{
    static const struct flight_failure unverified = {503, NULL, COLLAPSE_FAILED};
    struct flight *flight = data;

    flight->asking = NULL;
    if (!identity_is_verified(flight->flights->backend->identity)) {
        give_up(flight, answer);
        fail(flight, &unverified, false);
        return;
    }
    bool served = serve_stored(flight, answer->stored, false);
    if (!served) {
        go_on(flight, answer);
        return;
    }
    give_up(flight, answer);
    if (TAILQ_EMPTY(&flight->visits))
        end(flight);
    else
        look(flight);
}

static void look(struct flight *flight)
{
    static const struct flight_failure unverified = {503, NULL, COLLAPSE_FAILED};
    const struct backend *backend = flight->flights->backend;
    const struct visit *visit;

    /* it may have been refused while we waited */
    if (!identity_is_verified(backend->identity)) {
        fail(flight, &unverified, false);
        return;
    }
    set_state(flight, FLIGHT_LOOKING);
    if (!ev_is_active(&flight->deadline))
        TAILQ_FOREACH (visit, &flight->visits, link)
            heed_deadline(flight, visit);
    flight->asked_us = clock_monotonic_us();
    flight->only_looks = !postgres_can_run(backend->postgres);
    flight->asking = flight->only_looks
                         ? cache_look_at_lease(backend->cache, flight->base, on_looked, flight)
                         : cache_take(backend->cache, flight->base, on_looked, flight);
}

static void on_recheck(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    look(timer->data);
}

/* ---- Making and joining */

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

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events);

static struct flight *new_flight(struct flights *flights, const struct visit *visit)
{
    struct flight_node *node = mem_check(talloc_zero(flights, struct flight_node));
    struct flight *flight = &node->flight;

    flight->flights = flights;
    flight->state = FLIGHT_NEW;
    flight->route = visit->route;
    flight->rules = visit->rules;
    flight->generation = visit->generation;
    copy_values(flight, visit);
    TAILQ_INIT(&flight->visits);
    TAILQ_INSERT_TAIL(&flights->all, node, link);
    flights->count++;
    ev_init(&flight->recheck, on_recheck);
    ev_init(&flight->deadline, on_deadline);
    flight->recheck.data = flight->deadline.data = flight;
    talloc_set_destructor(node, node_destroy);
    return flight;
}

/* Nobody is left who waits. What has not begun does not begin; what runs goes on where it is of use
   to those who come. */
static void leave_alone(struct flight *flight)
{
    bool runs = flight->state == FLIGHT_FILLING;

    if (!runs || (flight->fill != NULL && fill_leave(flight->fill)))
        end(flight);
}

/* Takes out those who have waited for as long as they may, into a flight of their own (NULL: nobody
   has). */
static struct flight *take_out_overdue(struct flight *flight, int64_t *next_us)
{
    struct flight *failing = NULL;
    struct visit *visit, *next_in_line;
    int64_t now_us = clock_monotonic_us();

    for (visit = TAILQ_FIRST(&flight->visits); visit != NULL; visit = next_in_line) {
        int64_t at_us = gives_up_us(flight, visit);
        next_in_line = TAILQ_NEXT(visit, link);
        if (at_us > now_us) {
            *next_us = at_us < *next_us ? at_us : *next_us;
            continue;
        }
        take_out(flight, visit);
        failing = set_apart(failing, flight, visit);
    }
    return failing;
}

/* They fail together; the others wait on. */
static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    static const struct flight_failure no_slot = {503, NULL, COLLAPSE_FAILED};
    struct flight *flight = timer->data;
    bool filling = flight->state == FLIGHT_FILLING;
    int64_t next_us = INT64_MAX;

    (void)loop;
    (void)events;
    if (!has_deadline(flight)) /* it has begun meanwhile */
        return;
    struct flight *failing = take_out_overdue(flight, &next_us);
    if (TAILQ_EMPTY(&flight->visits))
        leave_alone(flight);
    else
        set_deadline(flight, next_us);
    if (failing != NULL)
        fail(failing, filling ? &no_slot : &timed_out, true);
}

/* Nothing more may wait or be begun. An old answer takes one look-up, and no place. */
static void refuse(struct flights *flights, struct visit *visit, bool shared)
{
    static const struct flight_failure full = {503, NULL, COLLAPSE_FAILED};
    struct flight *flight = new_flight(flights, visit);

    park(flight, visit);
    flight->leader = visit;
    flight->bypass = shared ? BYPASS_NONE : BYPASS_NO_BUDGET;
    fail(flight, &full, true);
}

/* As a mark in the cache would have it: the query is not begun again while the server may run it.
 */
static void fail_with(struct flights *flights, struct visit *visit, int status)
{
    const struct flight_failure failed = {status, NULL, COLLAPSE_FAILED};
    struct flight *flight = new_flight(flights, visit);

    park(flight, visit);
    fail(flight, &failed, true);
}

static void join(struct flight *flight, struct visit *visit)
{
    park(flight, visit);
    if (flight->fill != NULL)
        fill_wait_longer(flight->fill, visit->request->received_us);
    heed_deadline(flight, visit);
}

void flights_join(struct flights *flights, struct visit *visit, bool shared)
{
    const struct settings *settings = &flights->backend->app->config->settings;
    const struct flight wanted = {.base = visit->base};
    struct flight **found;

    found = shared ? tfind(&wanted, &flights->by_base, compare) : NULL;
    if (flights->waiting >= (size_t)settings->max_waiting ||
        (found == NULL && flights->count >= (size_t)settings->max_waiting)) {
        refuse(flights, visit, shared);
        return;
    }
    if (found != NULL && (*found)->held && !(*found)->left) {
        fail_with(flights, visit, (*found)->failure.status);
        return;
    }
    if (found != NULL) {
        join(*found, visit);
        return;
    }
    struct flight *flight = new_flight(flights, visit);
    park(flight, visit);
    if (!shared) {
        if (find_leader(flight))
            lead(flight, BYPASS_NO_BUDGET, NULL);
        else
            end_rationed(flight);
        return;
    }
    list(flight);
    look(flight);
}

void flights_leave(struct visit *visit)
{
    struct flight *flight = visit->flight;

    take_out(flight, visit);
    if (flight->leader == visit)
        flight->leader = NULL;
    if (TAILQ_EMPTY(&flight->visits))
        leave_alone(flight);
}

void flights_abandon(struct flights *flights)
{
    struct flight_node *node, *next;

    for (node = TAILQ_FIRST(&flights->all); node != NULL; node = next) {
        struct visit *visit;
        next = TAILQ_NEXT(node, link);
        while ((visit = next_visit(&node->flight)) != NULL)
            respond_failure(visit, 503, NULL, true);
        node->flight.leader = NULL;
        if (node->flight.state != FLIGHT_FILLING && node->flight.state != FLIGHT_HELD)
            end(&node->flight);
    }
}

struct flights *flights_new(TALLOC_CTX *ctx, struct backend *backend)
{
    struct flights *flights = mem_check(talloc_zero(ctx, struct flights));

    flights->backend = backend;
    TAILQ_INIT(&flights->all);
    return flights;
}
