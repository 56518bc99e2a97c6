/* SPDX-License-Identifier: BSD-2-Clause */
/* A flight asks for the lease and does what the answer says; it asks again whenever the lease may
   have ended. What an answer of the cache says is for visits that had come when it was asked: who
   came later may have come after a purge that it has not seen. */
#include "config.h"

#include "app/flight_private.h"

#include "app/respond.h"
#include "base/clock.h"

enum {
    AFTER_LEASE_MS = 5, /* when a lease that was not renewed is surely gone */
    NO_EXPIRY_MS = 50,  /* it ended between two commands */
    UNTOLD_MS = 100,    /* how often to look where no wake-up comes */
};

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

static bool serve_some(struct flight *flight, struct stored *stored, bool on_error, size_t most)
{
    struct visit *visit, *next;

    for (visit = TAILQ_FIRST(&flight->visits); visit != NULL && most > 0; visit = next) {
        struct answer answer = {.verdict = judge_stored(flight, stored),
                                .private = !flight->rules->edge};
        next = TAILQ_NEXT(visit, link);
        if (!is_servable(answer.verdict.state, on_error))
            return false;
        if (visit->request->received_us > flight->asked_us)
            continue;
        if (!respond_can_send(visit, stored))
            return false;
        if (stored->other != NULL) /* to make it took its time */
            answer.verdict = judge_stored(flight, stored);
        if (!is_servable(answer.verdict.state, on_error))
            return false;
        answer.row =
            answer.verdict.state == FRESHNESS_ON_ERROR ? ANSWER_ON_ERROR : ANSWER_COLLAPSED;
        if (answer.row == ANSWER_ON_ERROR)
            flight_count_shed(flight);
        flight_take_out(flight, visit);
        respond_stored(visit, stored, &answer);
        most--;
    }
    return true;
}

bool flight_serve_stored(struct flight *flight, struct stored *stored, bool on_error, size_t most)
{
    bool served = serve_some(flight, stored, on_error, most);

    stored_drop_other(stored);
    return served;
}

/* ---- Waiting for the lease */

/* Also while it is looked at: the answer under way may be from before. */
static void on_news(void *data, enum cache_news news)
{
    struct flight *flight = data;

    flight->untold = news == CACHE_NOT_TOLD;
    if (flight->state == FLIGHT_WAITING)
        flight_look(flight);
    else if (flight->state == FLIGHT_LOOKING)
        flight_set_state(flight, FLIGHT_LOOKING_TWICE);
}

/* The lease is another's: watch, look again once nothing is missed any more, and again when it
   has ended or would have. */
static void await_other(struct flight *flight, int64_t left_ms)
{
    const struct backend *backend = flight->flights->backend;
    int64_t wait_ms = left_ms > 0 ? left_ms + AFTER_LEASE_MS : NO_EXPIRY_MS;

    flight_set_state(flight, FLIGHT_WAITING);
    if (flight->watch == NULL)
        flight->watch = cache_watch(flight, backend->cache, flight->base, on_news, flight);
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
    static const struct flight_failure away = {503, NULL, COLLAPSE_FAILED, SHED_NOT};

    if (!flight->only_looks) {
        flight_lead(flight, BYPASS_NONE, &answer->lease);
    } else if (postgres_can_run(flight->flights->backend->postgres)) {
        flight_look(flight);
    } else {
        flight->leader = TAILQ_FIRST(&flight->visits);
        flight_fail(flight, &away, true);
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
    const struct flight_failure failed = {answer->failed_status, NULL, COLLAPSE_FAILED, SHED_NOT};

    if (would_lead(flight, answer->state) && !flight_find_leader(flight)) {
        give_up(flight, answer);
        flight_end_rationed(flight);
        return;
    }
    switch (answer->state) {
    case LEASE_WON:
        on_free(flight, answer);
        break;
    case LEASE_HELD:
        if (flight->state == FLIGHT_LOOKING_TWICE)
            flight_look(flight);
        else
            await_other(flight, answer->left_ms);
        break;
    case LEASE_FAILED:
        flight_fail(flight, &failed, true);
        break;
    case LEASE_TOO_LARGE:
        flight_lead(flight, BYPASS_TOO_LARGE, NULL);
        break;
    case LEASE_AWAY:
        flight_lead(flight, BYPASS_NO_REDIS, NULL);
        break;
    }
}

static void on_looked(void *data, struct lease_answer *answer)
{
    static const struct flight_failure unverified = {503, NULL, COLLAPSE_FAILED, SHED_NOT};
    struct flight *flight = data;

    flight->asking = NULL;
    if (!identity_is_verified(flight->flights->backend->identity)) {
        give_up(flight, answer);
        flight_fail(flight, &unverified, false);
        return;
    }
    /* for those beyond that it is looked up once more */
    bool served = flight_serve_stored(flight, answer->stored, false, FLIGHT_ANSWERS_A_TURN);
    if (!served) {
        go_on(flight, answer);
        return;
    }
    give_up(flight, answer);
    if (TAILQ_EMPTY(&flight->visits))
        flight_end(flight);
    else
        flight_look(flight);
}

void flight_look(struct flight *flight)
{
    static const struct flight_failure unverified = {503, NULL, COLLAPSE_FAILED, SHED_NOT};
    const struct backend *backend = flight->flights->backend;
    const struct visit *visit;

    /* it may have been refused while we waited */
    if (!identity_is_verified(backend->identity)) {
        flight_fail(flight, &unverified, false);
        return;
    }
    flight_set_state(flight, FLIGHT_LOOKING);
    if (!ev_is_active(&flight->deadline))
        TAILQ_FOREACH (visit, &flight->visits, link)
            flight_heed_deadline(flight, visit);
    flight->asked_us = clock_monotonic_us();
    flight->only_looks = !postgres_can_run(backend->postgres);
    flight->asking = flight->only_looks
                         ? cache_look_at_lease(backend->cache, flight->base, on_looked, flight)
                         : cache_take(backend->cache, flight->base, on_looked, flight);
}

void flight_on_recheck(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    flight_look(timer->data);
}
