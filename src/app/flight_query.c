/* SPDX-License-Identifier: BSD-2-Clause */
/* The query of a flight: on whose account it is started, and who is answered with its result. */
#include "config.h"

#include "app/flight_private.h"

#include "app/flight_answer.h"
#include "app/respond.h"
#include "base/clock.h"
#include "base/log.h"

/* Of an answer to a crowd, in one turn of the loop. */
enum { BYTES_A_TURN = 256 * 1024 };

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

bool flight_find_leader(struct flight *flight)
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

void flight_end_rationed(struct flight *flight)
{
    const struct backend *backend = flight->flights->backend;
    struct visit *visit;

    while ((visit = flight_next_visit(flight)) != NULL)
        respond_rationed(
            visit, ration_wait(backend->ration, client_of(backend, visit), clock_monotonic_us()));
    log_lone_client(backend);
    flight_end(flight);
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

static void join_anew(struct flights *flights, struct visit_list *visits)
{
    struct visit *visit;

    while ((visit = TAILQ_FIRST(visits)) != NULL) {
        TAILQ_REMOVE(visits, visit, link);
        flights_join(flights, visit, true);
    }
}

/* How many get the answer in one turn: a long one is much of a turn's time. */
static size_t batch_of(const struct stored *stored)
{
    /* as it is for those who do not accept its coding */
    size_t most = BYTES_A_TURN / (stored->entry.head_len + stored->entry.plain_len);

    if (most < 1)
        return 1;
    return most < FLIGHT_ANSWERS_A_TURN ? most : FLIGHT_ANSWERS_A_TURN;
}

/* Those for whom it is too old go on together, in the next flight: there is still one query at a
   time. */
void flight_go_on_with_result(struct flight *flight)
{
    const struct fill_result *result = &flight->result;
    struct flights *flights = flight->flights;
    struct visit_list later = TAILQ_HEAD_INITIALIZER(later);
    size_t left = batch_of(&flight->stored);
    struct flight *failing = NULL;
    struct visit *visit;

    while (left-- > 0 && (visit = flight_next_visit(flight)) != NULL) {
        enum visit_end how = flight_answer(visit, result, row_of(flight, visit, result));
        if (how == VISIT_TIMED_OUT)
            failing = flight_set_apart(failing, flight, visit);
        else if (how == VISIT_COMES_LATER)
            TAILQ_INSERT_TAIL(&later, visit, link);
    }
    if (TAILQ_EMPTY(&flight->visits))
        flight_end(flight);
    else
        flight_go_on_soon(flight);
    if (failing != NULL)
        flight_fail(failing, &flight_timed_out, true);
    join_anew(flights, &later);
}

/* Who comes from now on is for the next flight. */
static void end_with_result(struct flight *flight, const struct fill_result *result)
{
    flight_set_state(flight, FLIGHT_ANSWERING);
    flight->result = *result;
    flight->stored = *result->stored;
    flight->result.stored = &flight->stored;
    talloc_steal(flight, flight->stored.bytes);
    flight_go_on_with_result(flight);
}

static void on_lost(void *data)
{
    flight_unlist(data);
}

/* The server does not run the failed query any more. */
static void on_settled(void *data)
{
    struct flight *flight = data;
    struct flights *flights = flight->flights;
    struct visit_list later = TAILQ_HEAD_INITIALIZER(later);
    struct visit *visit;

    flight->held = false;
    flight_unlist(flight);
    if (flight->state != FLIGHT_HELD)
        return;
    while ((visit = flight_next_visit(flight)) != NULL)
        TAILQ_INSERT_TAIL(&later, visit, link);
    flight_end(flight);
    join_anew(flights, &later);
}

static enum shed_reason shed_by(enum query_outcome outcome)
{
    switch (outcome) {
    case QUERY_NO_SLOT:
        return SHED_SLOT;
    case QUERY_FULL:
        return SHED_CONNECTION;
    default:
        return SHED_NOT;
    }
}

static void on_filled(void *data, const struct fill_result *result)
{
    struct flight *flight = data;
    const struct flight_failure failure = {result->status, result->detail, COLLAPSE_FAILED,
                                           shed_by(result->outcome)};

    flight->fill = NULL;
    flight->held = result->unmarked;
    flight->left = result->outcome == QUERY_LEFT;
    if (result->outcome == QUERY_DONE || result->outcome == QUERY_NO_ROW)
        end_with_result(flight, result);
    else if (flight->left)
        flight_end(flight);
    else
        flight_fail(flight, &failure, true);
}

/* ---- Start */

/* Each of them waits for a slot from its own arrival; the query, from that of the last. */
static void start_fill(struct flight *flight, const struct fill_request *request)
{
    const struct visit *visit;

    flight->fill = fill_start(flight->flights->backend, request);
    TAILQ_FOREACH (visit, &flight->visits, link) {
        fill_wait_longer(flight->fill, visit->request->received_us);
        flight_heed_deadline(flight, visit);
    }
}

void flight_lead(struct flight *flight, enum flight_bypass bypass, const struct lease *lease)
{
    flight_set_state(flight, FLIGHT_FILLING);
    flight->bypass = bypass;
    const struct fill_request request = {
        .route = flight->route,
        .base = flight->base,
        .values = &flight->values,
        .coded = flight->leader->accepts.prefers_coded,
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
