/* SPDX-License-Identifier: BSD-2-Clause */
/* The pool: queries wait for a slot, which routes are given in turn, then get an idle session or a
   new one. A failure to connect opens a breaker: queries are turned away at once, and a session
   without a query is tried once a second. A query that hangs may be alone with that: such a try
   tells. */
#include "config.h"

#include "source/postgres.h"

#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "source/cancel.h"
#include "source/claims.h"
#include "source/query.h"
#include "source/session.h"

enum {
    BREAKER_US = 1000 * 1000,
    IDLE_S = 60,
    REAP_S = 1,
    /* What is between may forget a session on which nothing is said, and tell nobody. */
    QUIET_US = 5 * 1000 * 1000,
    /* Other processes' slots are freed without a word: look again this often while
       queries wait. */
    SLOT_RETRY_MS = CLAIMS_RENEW_MS,
};

struct pooled {
    TAILQ_ENTRY(pooled) link;
    struct session *session;
    struct slots_place place;    /* of a query that was given up and may still run */
    void (*settled)(void *data); /* who waits for its end; NULL: nobody */
    void *data;
};

TAILQ_HEAD(pooled_list, pooled);

struct postgres {
    struct ev_loop *loop;
    const struct postgres_settings *settings;
    struct slots *slots;
    struct statement *statements; /* by route index */
    size_t n_statements;
    struct session_options session_options;
    struct session_outage outage;
    struct result_bound bound;
    struct json_work work;
    struct dial_memory memory;
    struct pooled_list sessions; /* the most recently used one first */
    size_t n_sessions;
    struct turns *waiting;        /* for a slot, by routes */
    int64_t full_until_us;        /* no more connections are allowed; 0: they may be */
    bool down;                    /* the breaker is open */
    bool doubted;                 /* a query has hung, and what is tried is to tell */
    const struct session *trying; /* opened to see whether Postgres is there; NULL: none is */
    bool told_pooler;
    uint64_t generation; /* that sessions have to be of; 0: any */
    ev_timer pump;
    ev_timer reap;
    ev_timer retry; /* while it is down */
};

bool postgres_is_up(const struct postgres *postgres)
{
    return !postgres->down;
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

static void pump_after(struct postgres *postgres, int64_t ms)
{
    ev_now_update(postgres->loop);
    ev_timer_stop(postgres->loop, &postgres->pump);
    ev_timer_set(&postgres->pump, (double)ms / 1000.0, 0.0);
    ev_timer_start(postgres->loop, &postgres->pump);
}

static const struct slots_place no_place = {.slot = -1, .share = -1};

static void pump_if_needed(struct postgres *postgres)
{
    if (!turns_are_empty(postgres->waiting))
        pump_after(postgres, 0);
}

static void give_place_back(struct postgres *postgres, struct slots_place *place)
{
    if (place->slot == -1)
        return;
    slots_give_place_back(postgres->slots, place);
    pump_if_needed(postgres);
}

static void answer(struct postgres *postgres, struct query *query,
                   const struct query_result *result)
{
    give_place_back(postgres, &query->place);
    query->request.done(query->request.data, result);
    talloc_free(query);
    pump_if_needed(postgres);
}

static void answer_without_result(struct postgres *postgres, struct query *query,
                                  enum query_outcome outcome)
{
    const struct query_result result = {.outcome = outcome, .lost = query->resends > 0};

    answer(postgres, query, &result);
}

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
    if (postgres->trying == session)
        postgres->trying = NULL;
    postgres->full_until_us = 0;
}

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
    give_place_back(postgres, &pooled->place);
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

static struct session *open_session(struct postgres *postgres)
{
    struct pooled *pooled = mem_check(talloc_zero(postgres, struct pooled));

    pooled->place = no_place;
    pooled->session = session_new(pooled, &postgres->session_options);
    TAILQ_INSERT_HEAD(&postgres->sessions, pooled, link);
    postgres->n_sessions++;
    return pooled->session;
}

/* Never more than one at a time: what becomes of it tells whether Postgres is there. */
static void try_to_connect(struct postgres *postgres)
{
    if (postgres->trying == NULL)
        postgres->trying = open_session(postgres);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    try_to_connect(timer->data);
}

static void on_session_ended(void *data, struct session *session, struct query *query,
                             const struct query_result *result)
{
    struct postgres *postgres = data;
    struct pooled *pooled = find_pooled(postgres, session);

    if (session_is_ending(session)) {
        pooled->place = query->place;
        query->place = no_place;
        pooled->settled = result->hold_ms > 0 ? query->request.settled : NULL;
        pooled->data = query->request.data;
    }
    /* not in the list meanwhile: what the answer leads to may close idle sessions */
    TAILQ_REMOVE(&postgres->sessions, pooled, link);
    answer(postgres, query, result);
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
    give_place_back(postgres, &pooled->place);
    close_if_done(postgres, pooled);
    tell_settled(settled, settled_data);
}

void postgres_use_generation(struct postgres *postgres, uint64_t generation)
{
    postgres->generation = generation;
    close_idle_sessions(postgres, true);
}

static bool has_living_session(const struct postgres *postgres)
{
    const struct pooled *pooled;

    TAILQ_FOREACH (pooled, &postgres->sessions, link)
        if (session_is_alive(pooled->session))
            return true;
    return false;
}

/* Before others, for it has had its turn. */
static void queue_again(struct postgres *postgres, struct query *query)
{
    query->session = NULL;
    turns_add_again(postgres->waiting, &query->turn);
    pump_after(postgres, 0);
}

/* The sessions that there are do, as long as there are any. Another process may use the slot. */
static void on_full(struct postgres *postgres, struct query *query)
{
    postgres->full_until_us = clock_monotonic_us() + BREAKER_US;
    postgres->doubted = false;
    if (query == NULL)
        return;
    give_place_back(postgres, &query->place);
    queue_again(postgres, query);
}

/* Where a query has hung before, each idle session would let another wait for its whole time. */
static void note_failure(struct postgres *postgres, enum session_end how)
{
    if (postgres->doubted && how == SESSION_UNREACHABLE)
        close_idle_sessions(postgres, false);
    postgres->doubted = false;
    open_breaker(postgres);
}

static bool has_session(const struct postgres *postgres)
{
    const struct pooled *pooled;

    TAILQ_FOREACH (pooled, &postgres->sessions, link)
        if (!session_is_ending(pooled->session))
            return true;
    return false;
}

static void on_session_closed(void *data, struct session *session, struct query *query,
                              enum session_end how)
{
    struct postgres *postgres = data;
    bool was_pooled = session_is_pooled(session);

    close_session(postgres, find_pooled(postgres, session));
    if (how == SESSION_FULL && has_living_session(postgres)) {
        on_full(postgres, query);
        return;
    }
    if (how == SESSION_UNREACHABLE || how == SESSION_REFUSED || how == SESSION_FULL)
        note_failure(postgres, how);
    if (query == NULL) {
        if (how == SESSION_DEAD && !was_pooled && !has_session(postgres))
            open_session(postgres);
        return;
    }
    if (how == SESSION_DEAD) {
        query->wants_new = true; /* others were idle for as long */
        queue_again(postgres, query);
        return;
    }
    if (how == SESSION_LOST && (query_may_be_resent(query) || query->ends_held)) {
        query->resends++;
        queue_again(postgres, query);
    } else {
        answer_without_result(postgres, query, QUERY_AWAY);
    }
}

static struct session *idle_session(const struct postgres *postgres)
{
    const struct pooled *pooled;

    TAILQ_FOREACH (pooled, &postgres->sessions, link)
        if (session_is_idle(pooled->session) && is_fit(postgres, pooled->session))
            return pooled->session;
    return NULL;
}

bool postgres_can_run(const struct postgres *postgres)
{
    return !postgres->down || idle_session(postgres) != NULL;
}

bool postgres_is_busy(const struct postgres *postgres)
{
    const struct pooled *pooled;

    TAILQ_FOREACH (pooled, &postgres->sessions, link)
        if (!session_is_idle(pooled->session) && !session_is_ending(pooled->session))
            return true;
    return false;
}

static struct query *query_of(struct turn *turn)
{
    return turn != NULL ? (struct query *)((char *)turn - offsetof(struct query, turn)) : NULL;
}

/* A place that it got stays with it. */
static enum slots_taken take_place(struct postgres *postgres, struct query *query)
{
    if (postgres->slots == NULL || query->place.slot != -1)
        return SLOTS_TAKEN;
    return slots_take_place(postgres->slots, query->turn.group, query->turn.since_us,
                            &query->place);
}

static struct query *find_overdue(const struct postgres *postgres)
{
    int64_t now_us = clock_monotonic_us();
    struct turn *turn;

    for (turn = turns_each(postgres->waiting, NULL); turn != NULL;
         turn = turns_each(postgres->waiting, turn))
        if (query_of(turn)->waits_until_us <= now_us && !query_is_held(query_of(turn)))
            break;
    return query_of(turn);
}

static void answer_overdue(struct postgres *postgres, enum query_outcome outcome)
{
    struct query *query;

    while ((query = find_overdue(postgres)) != NULL) {
        turns_remove(postgres->waiting, &query->turn);
        answer_without_result(postgres, query, outcome);
    }
}

/* An idle one, or NULL: a new one is to be opened. One whose session was ended by the server finds
   others of that time as dead. */
static struct session *session_for(const struct postgres *postgres, const struct query *query)
{
    bool wants_new = query->resends > 0 || query->wants_new;

    return wants_new && postgres->full_until_us == 0 ? NULL : idle_session(postgres);
}

/* Nothing is to be had but the sessions that are busy now. One a second tries for more. */
static bool is_full(struct postgres *postgres)
{
    int64_t now_us = clock_monotonic_us();

    if (postgres->full_until_us == 0 || !has_living_session(postgres))
        return false;
    if (now_us < postgres->full_until_us)
        return true;
    postgres->full_until_us = now_us + BREAKER_US;
    return false;
}

/* What those wait for who wait on. */
enum lack { LACK_NOTHING, LACK_SESSION, LACK_SHARE, LACK_SLOT };

static enum lack find_lack(struct postgres *postgres, struct query *query, bool needs_new)
{
    if (needs_new && is_full(postgres))
        return LACK_SESSION;
    switch (take_place(postgres, query)) {
    case SLOTS_TAKEN:
        break;
    case SLOTS_NO_SHARE:
        return LACK_SHARE;
    case SLOTS_NONE:
        return LACK_SLOT;
    }
    return LACK_NOTHING;
}

/* Who is next and can be run, with a place; or turned away, as no session is to be had. NULL: there
   is nobody. */
static struct query *next_to_run(struct postgres *postgres, enum lack *lack)
{
    struct turn *turn;

    *lack = LACK_NOTHING;
    for (turn = turns_next(postgres->waiting, NULL); turn != NULL;
         turn = turns_next(postgres->waiting, turn)) {
        struct query *query = query_of(turn);
        if (query_is_held(query))
            continue;
        bool needs_new = session_for(postgres, query) == NULL;
        if (query->ends_held || (needs_new && postgres->down))
            return query;
        *lack = find_lack(postgres, query, needs_new);
        if (*lack == LACK_NOTHING)
            return query;
        if (*lack != LACK_SHARE)
            break;
    }
    return NULL;
}

/* What other processes wait for, and which routes they have run. */
static void look_at_others(struct postgres *postgres)
{
    struct turn *turn;

    if (postgres->slots == NULL)
        return;
    slots_look(postgres->slots);
    for (turn = turns_each(postgres->waiting, NULL); turn != NULL;
         turn = turns_each(postgres->waiting, turn))
        turns_note_served(postgres->waiting, turn->group,
                          slots_served_us(postgres->slots, turn->group));
}

static void run_or_turn_away(struct postgres *postgres, struct query *query)
{
    struct session *session = session_for(postgres, query);

    turns_remove(postgres->waiting, &query->turn);
    if (query->ends_held || (session == NULL && postgres->down)) {
        answer_without_result(postgres, query, QUERY_AWAY);
        return;
    }
    turns_note_served(postgres->waiting, query->turn.group, clock_monotonic_us());
    query->session = session != NULL ? session : open_session(postgres);
    session_run(query->session, query);
}

static void on_pump(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct postgres *postgres = timer->data;
    struct query *query;
    enum lack lack;

    (void)loop;
    (void)events;
    look_at_others(postgres);
    while ((query = next_to_run(postgres, &lack)) != NULL)
        run_or_turn_away(postgres, query);
    answer_overdue(postgres, lack == LACK_SESSION ? QUERY_FULL : QUERY_NO_SLOT);
    if (postgres->slots != NULL && (lack != LACK_SLOT || turns_are_empty(postgres->waiting)))
        slots_stop_waiting(postgres->slots);
    if (!turns_are_empty(postgres->waiting))
        pump_after(postgres, SLOT_RETRY_MS);
}

static int query_destroy(struct query *query)
{
    plan_release(query->plan);
    return 0;
}

struct query *postgres_query(struct postgres *postgres, const struct query_request *request)
{
    struct query *query = mem_check(talloc_zero(postgres, struct query));

    talloc_set_destructor(query, query_destroy);
    query->request = *request;
    query->statement = &postgres->statements[request->route->index];
    query->place = no_place;
    postgres_wait_longer(postgres, query, request->since_us);
    turns_add(postgres->waiting, &query->turn, request->route->index, request->since_us);
    pump_after(postgres, 0);
    return query;
}

bool postgres_has_begun(const struct query *query)
{
    return query->session != NULL || query_is_held(query);
}

void postgres_wait_longer(const struct postgres *postgres, struct query *query, int64_t since_us)
{
    int64_t until_us = since_us + postgres->settings->slot_timeout_ms * 1000;

    if (until_us > query->waits_until_us)
        query->waits_until_us = until_us;
}

bool postgres_leave(struct postgres *postgres, struct query *query, bool cancel)
{
    if (query_is_held(query)) {
        query->ends_held = query->ends_held || cancel;
        return false;
    }
    if (query->session == NULL) {
        turns_remove(postgres->waiting, &query->turn);
    } else if (!session_take_back(query->session)) {
        if (cancel)
            session_give_up(query->session);
        return false;
    }
    give_place_back(postgres, &query->place);
    talloc_free(query);
    return true;
}

/* Idle sessions that have grown old are closed, and those beyond the first that have had nothing to
   do for a minute; the others are tried. */
static void on_reap(struct ev_loop *loop, ev_timer *timer, int events)
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

static int postgres_destroy(struct postgres *postgres)
{
    ev_timer_stop(postgres->loop, &postgres->pump);
    ev_timer_stop(postgres->loop, &postgres->reap);
    ev_timer_stop(postgres->loop, &postgres->retry);
    for (size_t i = 0; i < postgres->n_statements; i++)
        statement_use_plan(&postgres->statements[i], NULL);
    return 0;
}

/* After a failure to connect, sessions that still work may do for all queries: nobody else would
   find out that the others could be had again. */
void postgres_connect(struct postgres *postgres)
{
    if (!postgres->down && !has_session(postgres))
        open_session(postgres);
    else if (postgres->down && !ev_is_active(&postgres->retry))
        try_to_connect(postgres);
}

struct postgres *postgres_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct config *config,
                              struct slots *slots, const struct postgres_judge *judge)
{
    static const struct session_events events = {
        .up = on_session_up,
        .ended = on_session_ended,
        .settled = on_session_settled,
        .closed = on_session_closed,
    };
    struct postgres *postgres = mem_check(talloc_zero(ctx, struct postgres));

    cancel_init();
    postgres->loop = loop;
    postgres->settings = &config->settings.postgres;
    postgres->slots = slots;
    postgres->bound.limit = (size_t)config->settings.max_response_bytes;
    TAILQ_INIT(&postgres->sessions);
    postgres->statements =
        mem_check(talloc_zero_array(postgres, struct statement, config->n_routes + 1));
    postgres->n_statements = config->n_routes;
    postgres->waiting = turns_new(postgres, config->n_routes);
    for (size_t i = 0; i < config->n_routes; i++) {
        postgres->statements[i].route = &config->routes[i];
        if (slots != NULL)
            slots_add_route(slots, config->routes[i].name, (size_t)config->routes[i].slots);
    }
    postgres->session_options = (struct session_options){
        .loop = loop,
        .settings = postgres->settings,
        .slow_query_ms = config->settings.slow_query_ms,
        .n_statements = config->n_routes,
        .events = &events,
        .outage = &postgres->outage,
        .bound = &postgres->bound,
        .work = &postgres->work,
        .memory = &postgres->memory,
        .pool = postgres,
    };
    if (judge != NULL)
        postgres->session_options.judge = *judge;
    ev_init(&postgres->pump, on_pump);
    ev_timer_init(&postgres->reap, on_reap, REAP_S, REAP_S);
    ev_init(&postgres->retry, on_retry);
    postgres->pump.data = postgres->reap.data = postgres->retry.data = postgres;
    ev_timer_start(loop, &postgres->reap);
    talloc_set_destructor(postgres, postgres_destroy);
    return postgres;
}

void postgres_on_work(struct postgres *postgres, void (*fn)(void *data, const struct route *route),
                      void *data)
{
    postgres->work = (struct json_work){.fn = fn, .data = data};
}
