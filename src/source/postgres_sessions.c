/* SPDX-License-Identifier: BSD-2-Clause */
/* The sessions of the pool. A failure to connect opens a breaker: queries are turned away at once,
   and a session without a query is tried once a second. A query that hangs may be alone with that:
   such a try tells. */
#include "config.h"

#include "source/postgres_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "source/cancel.h"

enum {
    BREAKER_US = 1000 * 1000,
    IDLE_S = 60,
    /* What is between may forget a session on which nothing is said, and tell nobody. */
    QUIET_US = 5 * 1000 * 1000,
};

struct pooled {
    TAILQ_ENTRY(pooled) link;
    struct session *session;
    struct slots_place place;    /* of a query that was given up and may still run */
    void (*settled)(void *data); /* who waits for its end; NULL: nobody */
    void *data;
};

/* ---- Breaker */

bool postgres_is_up(const struct postgres *postgres)
{
    return !postgres->down;
}

int64_t postgres_heard_us(const struct postgres *postgres)
{
    return postgres->heard_us;
}

/* A second, more or less: the workers of many hosts do not come at once to a server that is back.
 */
static void retry_later(struct postgres *postgres)
{
    int64_t retry_us = BREAKER_US / 2 + (uint32_t)random_number() % (BREAKER_US + 1);

    ev_now_update(postgres->loop);
    ev_timer_stop(postgres->loop, &postgres->retry);
    ev_timer_set(&postgres->retry, (double)retry_us / 1e6, 0.0);
    ev_timer_start(postgres->loop, &postgres->retry);
}

static void open_breaker(struct postgres *postgres)
{
    postgres->down = true;
    retry_later(postgres);
}

static void close_breaker(struct postgres *postgres)
{
    postgres->down = postgres->doubted = false;
    ev_timer_stop(postgres->loop, &postgres->retry);
}

/* ---- Opening and closing */

/* Every session that reports is one of ours. */
static struct pooled *find_pooled(struct postgres *postgres, const struct session *session)
{
    struct pooled *pooled = TAILQ_FIRST(&postgres->sessions);

    while (pooled->session != session)
        pooled = TAILQ_NEXT(pooled, link);
    return pooled;
}

/* Last, for what it leads to may close idle sessions. */
static void tell_settled(void (*settled)(void *data), void *data)
{
    if (settled != NULL)
        settled(data);
}

static void close_session(struct postgres *postgres, struct pooled *pooled)
{
    void (*settled)(void *data) = pooled->settled;
    void *settled_data = pooled->data;

    TAILQ_REMOVE(&postgres->sessions, pooled, link);
    postgres->n_sessions--;
    postgres_give_place_back(postgres, &pooled->place);
    if (postgres->trying == pooled->session) {
        postgres->trying = NULL;
        if (postgres->down)
            retry_later(postgres);
    }
    talloc_free(pooled);
    tell_settled(settled, settled_data);
}

/* Whether it may have another query. */
static bool is_fit(const struct postgres *postgres, const struct session *session)
{
    uint64_t generation = session_generation(session);

    return !session_is_aged(session) &&
           (postgres->generation == 0 || generation == 0 || generation == postgres->generation);
}

static void close_idle_sessions(struct postgres *postgres, bool unfit_only)
{
    struct pooled *pooled = TAILQ_FIRST(&postgres->sessions);

    while (pooled != NULL) {
        struct pooled *next = TAILQ_NEXT(pooled, link);
        if (session_is_idle(pooled->session) && (!unfit_only || !is_fit(postgres, pooled->session)))
            close_session(postgres, pooled);
        pooled = next;
    }
}

/* The session has nothing to do any more, and may have nothing to do here. */
static void close_if_done(struct postgres *postgres, struct pooled *pooled)
{
    const struct session *session = pooled->session;

    if (session_is_closed(session) || (session_is_idle(session) && !is_fit(postgres, session)))
        close_session(postgres, pooled);
}

struct session *postgres_open_session(struct postgres *postgres)
{
    struct pooled *pooled = mem_check(talloc_zero(postgres, struct pooled));

    pooled->place = postgres_no_place;
    pooled->session = session_new(pooled, &postgres->session_options);
    TAILQ_INSERT_HEAD(&postgres->sessions, pooled, link);
    postgres->n_sessions++;
    return pooled->session;
}

/* Never more than one at a time: what becomes of it tells whether Postgres is there. */
static void try_to_connect(struct postgres *postgres)
{
    if (postgres->trying == NULL)
        postgres->trying = postgres_open_session(postgres);
}

void postgres_on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    try_to_connect(timer->data);
}

static bool has_session(const struct postgres *postgres)
{
    const struct pooled *pooled;

    TAILQ_FOREACH (pooled, &postgres->sessions, link)
        if (!session_is_ending(pooled->session))
            return true;
    return false;
}

/* After a failure to connect, sessions that still work may do for all queries: nobody else would
   find out that the others could be had again. */
void postgres_connect(struct postgres *postgres)
{
    if (!postgres->down && !has_session(postgres))
        postgres_open_session(postgres);
    else if (postgres->down && !ev_is_active(&postgres->retry))
        try_to_connect(postgres);
}

void postgres_use_generation(struct postgres *postgres, uint64_t generation)
{
    postgres->generation = generation;
    close_idle_sessions(postgres, true);
}

/* Idle sessions that have grown old are closed, and those beyond the first that have had nothing to
   do for a minute; the others are tried. */
void postgres_on_reap(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct postgres *postgres = timer->data;
    int64_t before_us = clock_monotonic_us() - (int64_t)IDLE_S * 1000000;
    struct pooled *pooled = TAILQ_LAST(&postgres->sessions, pooled_list);

    (void)loop;
    (void)events;
    cancel_tend();
    while (pooled != NULL) {
        struct pooled *earlier = TAILQ_PREV(pooled, pooled_list, link);
        if (session_is_idle(pooled->session) &&
            (!is_fit(postgres, pooled->session) ||
             (postgres->n_sessions > 1 && session_idle_since_us(pooled->session) < before_us)))
            close_session(postgres, pooled);
        else if (session_is_idle(pooled->session) && session_quiet_us(pooled->session) >= QUIET_US)
            session_try(pooled->session);
        pooled = earlier;
    }
}

/* ---- Choice */

static bool has_living_session(const struct postgres *postgres)
{
    const struct pooled *pooled;

    TAILQ_FOREACH (pooled, &postgres->sessions, link)
        if (session_is_alive(pooled->session))
            return true;
    return false;
}

static struct session *idle_session(const struct postgres *postgres)
{
    const struct pooled *pooled;

    TAILQ_FOREACH (pooled, &postgres->sessions, link)
        if (session_is_idle(pooled->session) && is_fit(postgres, pooled->session))
            return pooled->session;
    return NULL;
}

struct session *postgres_session_for(const struct postgres *postgres, const struct query *query)
{
    bool wants_new = query->resends > 0 || query->wants_new;

    return wants_new && postgres->full_until_us == 0 ? NULL : idle_session(postgres);
}

static bool may_wait_for_session(const struct postgres *postgres)
{
    return postgres->full_until_us != 0 && has_living_session(postgres);
}

bool postgres_is_away(const struct postgres *postgres)
{
    return postgres->down && !may_wait_for_session(postgres);
}

/* While it is down, a session without a query tries. */
bool postgres_is_full(struct postgres *postgres)
{
    int64_t now_us = clock_monotonic_us();

    if (!may_wait_for_session(postgres))
        return false;
    if (postgres->down || now_us < postgres->full_until_us)
        return true;
    postgres->full_until_us = now_us + BREAKER_US;
    return false;
}

bool postgres_can_run(const struct postgres *postgres)
{
    return !postgres_is_away(postgres) || idle_session(postgres) != NULL;
}

bool postgres_is_busy(const struct postgres *postgres)
{
    const struct pooled *pooled;

    TAILQ_FOREACH (pooled, &postgres->sessions, link)
        if (!session_is_idle(pooled->session) && !session_is_ending(pooled->session))
            return true;
    return false;
}

/* ---- What sessions report */

static void on_session_up(void *data, const struct session *session)
{
    struct postgres *postgres = data;

    if (session_is_pooled(session) && postgres->settings->pooler == POOLER_AUTO &&
        postgres->settings->prepared && !postgres->told_pooler) {
        log_event(LOG_LEVEL_WARN, "a pooler is in front of postgres",
                  log_text("action", "statements are not prepared by name"),
                  log_text("hint",
                           "set pooler = session if it keeps a server for each session, and "
                           "else pooler = transaction"));
        postgres->told_pooler = true;
    }
    close_breaker(postgres);
    postgres->heard_us = clock_monotonic_us();
    if (postgres->trying == session)
        postgres->trying = NULL;
    postgres->full_until_us = 0;
}

static void on_session_ended(void *data, struct session *session, struct query *query,
                             const struct query_result *result)
{
    struct postgres *postgres = data;
    struct pooled *pooled = find_pooled(postgres, session);

    if (session_is_ending(session)) {
        pooled->place = query->place;
        query->place = postgres_no_place;
        pooled->settled = result->hold_ms > 0 ? query->request.settled : NULL;
        pooled->data = query->request.data;
    } else {
        postgres->heard_us = clock_monotonic_us();
    }
    /* not in the list meanwhile: what the answer leads to may close idle sessions */
    TAILQ_REMOVE(&postgres->sessions, pooled, link);
    postgres_answer(postgres, query, result);
    TAILQ_INSERT_HEAD(&postgres->sessions, pooled, link);
    if (session_is_hung(session)) {
        postgres->doubted = true;
        try_to_connect(postgres);
    }
    close_if_done(postgres, pooled);
}

static void on_session_settled(void *data, struct session *session)
{
    struct postgres *postgres = data;
    struct pooled *pooled = find_pooled(postgres, session);
    void (*settled)(void *data) = pooled->settled;
    void *settled_data = pooled->data;

    pooled->settled = NULL;
    postgres->heard_us = clock_monotonic_us();
    postgres_give_place_back(postgres, &pooled->place);
    close_if_done(postgres, pooled);
    tell_settled(settled, settled_data);
}

/* The sessions that there are do, as long as there are any. Another process may use the slot. */
static void on_full(struct postgres *postgres, struct query *query)
{
    postgres->full_until_us = clock_monotonic_us() + BREAKER_US;
    postgres->doubted = false;
    if (query == NULL)
        return;
    postgres_give_place_back(postgres, &query->place);
    postgres_queue_again(postgres, query);
}

/* Where a query has hung before, each idle session would let another wait for its whole time. */
static void note_failure(struct postgres *postgres, enum session_end how)
{
    if (postgres->doubted && how == SESSION_UNREACHABLE)
        close_idle_sessions(postgres, false);
    postgres->doubted = false;
    postgres->full_until_us = 0;
    open_breaker(postgres);
}

static bool is_failure(enum session_end how)
{
    return how == SESSION_UNREACHABLE || how == SESSION_REFUSED || how == SESSION_FULL ||
           how == SESSION_BARRED;
}

static void on_session_closed(void *data, struct session *session, struct query *query,
                              enum session_end how)
{
    struct postgres *postgres = data;
    bool was_pooled = session_is_pooled(session);

    close_session(postgres, find_pooled(postgres, session));
    if ((how == SESSION_FULL || how == SESSION_BARRED) && has_living_session(postgres)) {
        if (how == SESSION_BARRED)
            open_breaker(postgres);
        on_full(postgres, query);
        return;
    }
    if (is_failure(how))
        note_failure(postgres, how);
    if (query == NULL) {
        if (how == SESSION_DEAD && !was_pooled && !has_session(postgres))
            postgres_open_session(postgres);
        return;
    }
    if (how == SESSION_DEAD) {
        query->wants_new = true; /* others were idle for as long */
        postgres_queue_again(postgres, query);
        return;
    }
    if (how == SESSION_LOST && (query_may_be_resent(query) || query->ends_held)) {
        query->resends++;
        postgres_queue_again(postgres, query);
    } else {
        postgres_answer_without_result(postgres, query, QUERY_AWAY);
    }
}

const struct session_events postgres_session_events = {
    .up = on_session_up,
    .ended = on_session_ended,
    .settled = on_session_settled,
    .closed = on_session_closed,
};
