/* SPDX-License-Identifier: BSD-2-Clause */
/* Which flights a worker has, the state of each, and the visits that wait for it. */
#include "config.h"

#include "app/flight_private.h"

#include <assert.h>
#include <search.h>
#include <string.h>

#include "app/respond.h"
#include "base/mem.h"

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct flight *)a)->base, ((const struct flight *)b)->base);
}

size_t flights_waiting(const struct flights *flights)
{
    return flights->waiting;
}

static void list(struct flight *flight)
{
    mem_check(tsearch(flight, &flight->flights->by_base, compare));
    flight->listed = true;
}

void flight_unlist(struct flight *flight)
{
    if (flight->listed)
        tdelete(flight, &flight->flights->by_base, compare);
    flight->listed = false;
}

/* ---- States */

void flight_set_state(struct flight *flight, enum flight_state to)
{
    struct ev_loop *loop = flight->flights->backend->loop;

    assert(flight_state_may_follow(flight->state, to));
    if (to != FLIGHT_LOOKING_TWICE) {
        cache_cancel(flight->asking);
        flight->asking = NULL;
    }
    if (to != FLIGHT_WAITING)
        ev_timer_stop(loop, &flight->recheck);
    steps_remove(flight->flights->backend->steps, &flight->next);
    if (!flight_state_is_undecided(to)) {
        TALLOC_FREE(flight->watch);
        ev_timer_stop(loop, &flight->deadline);
    }
    if (to != FLIGHT_FILLING)
        flight->fill = NULL;
    if (to == FLIGHT_ENDED || to == FLIGHT_ANSWERING || (to == FLIGHT_FAILING && !flight->held))
        flight_unlist(flight);
    flight->state = to;
}

void flight_end(struct flight *flight)
{
    assert(TAILQ_EMPTY(&flight->visits));
    if (flight->held) {
        if (flight->state != FLIGHT_HELD)
            flight_set_state(flight, FLIGHT_HELD);
        return;
    }
    flight_set_state(flight, FLIGHT_ENDED);
    talloc_free(flight);
}

/* Also where all that a worker has is freed. */
static int flight_destroy(struct flight *flight)
{
    if (flight->state != FLIGHT_ENDED)
        flight_set_state(flight, FLIGHT_ENDED);
    stored_drop_other(&flight->stored);
    TAILQ_REMOVE(&flight->flights->all, flight, link);
    flight->flights->count--;
    return 0;
}

void flight_leave_alone(struct flight *flight)
{
    bool runs = flight->state == FLIGHT_FILLING;

    if (!runs || (flight->fill != NULL && fill_leave(flight->fill)))
        flight_end(flight);
}

/* ---- Visits */

void flight_take_out(struct flight *flight, struct visit *visit)
{
    TAILQ_REMOVE(&flight->visits, visit, link);
    visit->flight = NULL;
    visit->state = VISIT_NEW;
    flight->flights->waiting--;
}

struct visit *flight_next_visit(struct flight *flight)
{
    struct visit *visit = TAILQ_FIRST(&flight->visits);

    if (visit != NULL)
        flight_take_out(flight, visit);
    return visit;
}

void flight_park(struct flight *flight, struct visit *visit)
{
    visit->flight = flight;
    visit->state = VISIT_WAITING;
    TAILQ_INSERT_TAIL(&flight->visits, visit, link);
    flight->flights->waiting++;
}

/* ---- Crowds */

void flight_go_on_soon(struct flight *flight)
{
    steps_add(flight->flights->backend->steps, &flight->next);
}

static void on_next(void *data)
{
    struct flight *flight = data;

    if (flight->state == FLIGHT_ANSWERING)
        flight_go_on_with_result(flight);
    else
        flight_go_on_with_failure(flight);
}

/* ---- Making and joining */

static void copy_values(struct flight *flight, const struct visit *visit)
{
    flight->base = mem_check(talloc_strdup(flight, visit->base));
    flight->values.count = visit->values.count;
    flight->values.texts =
        mem_check(talloc_zero_array(flight, const char *, visit->values.count + 1));
    for (size_t i = 0; i < visit->values.count; i++)
        if (visit->values.texts[i] != NULL)
            flight->values.texts[i] = mem_check(talloc_strdup(flight, visit->values.texts[i]));
}

struct flight *flight_new(struct flights *flights, const struct visit *visit)
{
    struct flight *flight = mem_check(talloc_zero(flights, struct flight));

    flight->flights = flights;
    flight->state = FLIGHT_NEW;
    flight->route = visit->route;
    flight->rules = visit->rules;
    flight->generation = visit->generation;
    copy_values(flight, visit);
    TAILQ_INIT(&flight->visits);
    TAILQ_INSERT_TAIL(&flights->all, flight, link);
    flights->count++;
    ev_init(&flight->recheck, flight_on_recheck);
    ev_init(&flight->deadline, flight_on_deadline);
    flight->recheck.data = flight->deadline.data = flight;
    flight->next = (struct step){.fn = on_next, .data = flight};
    talloc_set_destructor(flight, flight_destroy);
    return flight;
}

/* Nothing more may wait or be begun. An old answer takes one look-up, and no place. */
static void refuse(struct flights *flights, struct visit *visit, bool shared)
{
    static const struct flight_failure full = {503, NULL, COLLAPSE_FAILED, SHED_WAITING};
    struct flight *flight = flight_new(flights, visit);

    flight_park(flight, visit);
    flight->leader = visit;
    flight->bypass = shared ? BYPASS_NONE : BYPASS_NO_BUDGET;
    flight_fail(flight, &full, true);
}

/* As a mark in the cache would have it: the query is not begun again while the server may run it.
 */
static void fail_with(struct flights *flights, struct visit *visit, int status)
{
    const struct flight_failure failed = {status, NULL, COLLAPSE_FAILED, SHED_NOT};
    struct flight *flight = flight_new(flights, visit);

    flight_park(flight, visit);
    flight_fail(flight, &failed, true);
}

static void join(struct flight *flight, struct visit *visit)
{
    flight_park(flight, visit);
    if (flight->fill != NULL)
        fill_wait_longer(flight->fill, visit->request->received_us);
    flight_heed_deadline(flight, visit);
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
    struct flight *flight = flight_new(flights, visit);
    flight_park(flight, visit);
    if (!shared) {
        if (flight_find_leader(flight))
            flight_lead(flight, BYPASS_NO_BUDGET, NULL);
        else
            flight_end_rationed(flight);
        return;
    }
    list(flight);
    flight_look(flight);
}

/* ---- Leaving */

void flights_leave(struct visit *visit)
{
    struct flight *flight = visit->flight;

    flight_take_out(flight, visit);
    if (flight->leader == visit)
        flight->leader = NULL;
    if (TAILQ_EMPTY(&flight->visits))
        flight_leave_alone(flight);
}

void flights_abandon(struct flights *flights)
{
    struct flight *flight, *next;

    for (flight = TAILQ_FIRST(&flights->all); flight != NULL; flight = next) {
        struct visit *visit;
        next = TAILQ_NEXT(flight, link);
        while ((visit = flight_next_visit(flight)) != NULL)
            respond_failure(visit, 503, NULL, true);
        flight->leader = NULL;
        if (flight->state != FLIGHT_FILLING && flight->state != FLIGHT_HELD)
            flight_end(flight);
    }
}

struct flights *flights_new(TALLOC_CTX *ctx, struct backend *backend)
{
    struct flights *flights = mem_check(talloc_zero(ctx, struct flights));

    flights->backend = backend;
    TAILQ_INIT(&flights->all);
    return flights;
}
