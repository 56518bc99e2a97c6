/* SPDX-License-Identifier: BSD-2-Clause */
/* A flight without a result answers with an entry past its budget, where the context allows that on
   an error, or with the failure. */
#include "config.h"

#include "app/flight_private.h"

#include "app/respond.h"
#include "base/clock.h"
#include "base/mem.h"

const struct flight_failure flight_timed_out = {504, NULL, COLLAPSE_TIMEOUT, SHED_NOT};

/* What is stored under its key may still be served. */
static bool is_of_our_generation(const struct flight *flight)
{
    const struct identity *identity = flight->flights->backend->identity;

    return identity_is_verified(identity) && identity_generation(identity) == flight->generation;
}

void flight_count_shed(const struct flight *flight)
{
    metrics_shed(flight->flights->backend->metrics, flight->route, flight->failure.shed);
}

void flight_go_on_with_failure(struct flight *flight)
{
    const struct flight_failure *failure = &flight->failure;
    struct metrics *metrics = flight->flights->backend->metrics;
    size_t left = FLIGHT_ANSWERS_A_TURN;
    struct visit *visit;

    while (left-- > 0 && (visit = flight_next_visit(flight)) != NULL) {
        if (visit != flight->leader)
            metrics_collapsed(metrics, flight->route, failure->collapse);
        flight_count_shed(flight);
        respond_failure(visit, failure->status, failure->detail, visit != flight->leader);
    }
    if (TAILQ_EMPTY(&flight->visits))
        flight_end(flight);
    else
        flight_go_on_soon(flight);
}

static void look_for_old(struct flight *flight);

static void on_old(void *data, enum cache_found found, struct stored *stored)
{
    struct flight *flight = data;

    flight->asking = NULL;
    bool served = found == CACHE_FOUND && is_of_our_generation(flight) &&
                  flight_serve_stored(flight, stored, true, FLIGHT_ANSWERS_A_TURN);
    /* for those beyond that it is looked up once more: nobody joins a flight that fails */
    if (served && !TAILQ_EMPTY(&flight->visits))
        look_for_old(flight);
    else
        flight_go_on_with_failure(flight);
}

static void look_for_old(struct flight *flight)
{
    flight->asked_us = clock_monotonic_us();
    flight->asking = cache_look_up(flight->flights->backend->cache, flight->base, on_old, flight);
}

/* Where Postgres cannot answer, or may not be asked, a context may allow an entry past its budget.
 */
static bool allows_on_error(const struct flight *flight, int status)
{
    return flight->bypass != BYPASS_NO_BUDGET && flight->rules->policy.stale_if_error_us > 0 &&
           is_of_our_generation(flight) && (status == 503 || status == 504);
}

void flight_fail(struct flight *flight, const struct flight_failure *failure, bool on_error)
{
    const char *detail = failure->detail;

    flight_set_state(flight, FLIGHT_FAILING);
    flight->failure = *failure;
    if (detail != NULL)
        flight->failure.detail = mem_check(talloc_strdup(flight, detail));
    if (!on_error || !allows_on_error(flight, failure->status)) {
        flight_go_on_with_failure(flight);
        return;
    }
    look_for_old(flight);
}

struct flight *flight_set_apart(struct flight *failing, struct flight *flight, struct visit *visit)
{
    if (failing == NULL)
        failing = flight_new(flight->flights, visit);
    failing->bypass = flight->bypass;
    if (flight->leader == visit) {
        failing->leader = visit;
        flight->leader = NULL; /* another may come to lie at its address */
    }
    flight_park(failing, visit);
    return failing;
}
