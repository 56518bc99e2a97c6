/* SPDX-License-Identifier: BSD-2-Clause */
/* What the pool can ask of a session, how one begins, and how it or its query ends. */
#include "config.h"

#include "source/session_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "source/cancel.h"

uint64_t session_generation(const struct session *session)
{
    return session->generation;
}

bool session_is_pooled(const struct session *session)
{
    return session->pooled;
}

bool session_is_alive(const struct session *session)
{
    return session->step != STEP_CLOSED && session->step != STEP_CUT;
}

bool session_is_closed(const struct session *session)
{
    return session->step == STEP_CLOSED;
}

bool session_is_idle(const struct session *session)
{
    return session->step == STEP_IDLE && session->query == NULL;
}

bool session_is_ending(const struct session *session)
{
    return session->query == NULL && (session->step == STEP_CANCEL || session->step == STEP_CUT ||
                                      session->step == STEP_TIDY);
}

bool session_is_hung(const struct session *session)
{
    return session->hung;
}

bool session_is_aged(const struct session *session)
{
    return session->until_us != 0 && clock_monotonic_us() >= session->until_us;
}

int64_t session_idle_since_us(const struct session *session)
{
    return session->idle_since_us;
}

int64_t session_quiet_us(const struct session *session)
{
    int64_t heard_us =
        session->idle_since_us > session->tried_us ? session->idle_since_us : session->tried_us;

    return clock_monotonic_us() - heard_us;
}

bool session_take_back(struct session *session)
{
    if (session->step >= STEP_IDLE)
        return false;
    session->query = NULL;
    return true;
}

void session_give_up(struct session *session)
{
    if (session->step != STEP_DESCRIBE && session->step != STEP_PREPARE &&
        session->step != STEP_EXECUTE)
        return;
    if (session->result.outcome == QUERY_DONE)
        session->result =
            (struct query_result){.outcome = QUERY_LEFT, .sent_us = session->result.sent_us};
    session_go_on(session, EVENT_LATE);
}

/* ---- Ends */

/* The server has said nothing of what was sent, not even that it ends the session. */
static bool may_run_on(const struct session *session)
{
    return session->query != NULL && session->step == STEP_EXECUTE && !session->now.terminated &&
           session->now.sqlstate[0] == '\0';
}

/* The one end of a connection that has failed. */
static void lose_as(struct session *session, enum session_end how)
{
    struct query *query = session->query;

    if (how == SESSION_LOST && may_run_on(session))
        session_hold_lost(session, query);
    session_withdraw_question(session);
    session_drop_arriving(session);
    session_drop_unfinished(session);
    session->query = NULL;
    session->step = STEP_CLOSED;
    session->options.events->closed(session->options.pool, session, query, how);
}

/* Of what is wrong with the query itself, before it closed the connection. Of a place that is not
   the one that is meant, or of which that is not known yet, nothing is answered. */
static bool has_server_told(const struct session *session)
{
    return session->query != NULL && session->step > STEP_TRY && session->now.sqlstate[0] != '\0' &&
           session->result.outcome != QUERY_DONE && session->result.outcome != QUERY_AWAY &&
           session->question == NULL && !session->now.refused;
}

void session_end_connection(struct session *session)
{
    lose_as(session, session->step == STEP_TRY                    ? SESSION_DEAD
                     : session->worked || session->now.terminated ? SESSION_LOST
                     : session->now.refused                       ? SESSION_REFUSED
                     : session->now.refusal == REFUSAL_FULL       ? SESSION_FULL
                     : session->now.refusal == REFUSAL_BARRED     ? SESSION_BARRED
                                                                  : SESSION_UNREACHABLE);
}

/* A query that was given up, of whose end the server has said nothing yet. */
static bool may_still_run(const struct session *session)
{
    return session->step == STEP_CANCEL && PQstatus(session->conn) == CONNECTION_BAD &&
           session->now.sqlstate[0] == '\0' && session_left_ms(session->hold_until_us) > 0;
}

void session_lose(struct session *session)
{
    if (may_still_run(session)) {
        session_cut(session);
    } else if (has_server_told(session)) {
        session->spent = true;
        session_end_query(session);
    } else if (!session_leave_server(session, false)) {
        session_end_connection(session);
    }
}

void session_forget_result(struct session *session)
{
    session->outdated = false;
    session_drop_arriving(session);
    session_drop_unfinished(session);
    TALLOC_FREE(session->rows);
    session->result = (struct query_result){.outcome = QUERY_DONE};
}

void session_log_if_slow(const struct session *session, const struct query *query,
                         const struct query_result *result)
{
    int64_t limit_ms = session->options.slow_query_ms;
    int64_t took_ms = (clock_monotonic_us() - session->started_us) / 1000;
    bool slow = limit_ms > 0 && took_ms >= limit_ms;

    if (result->outcome == QUERY_TIMED_OUT)
        log_event_limited(LOG_LEVEL_WARN, "query timed out",
                          log_text("route", query->request.route->pattern),
                          log_number("ms", took_ms), log_text("sqlstate", query->sqlstate));
    else if (slow)
        log_event_limited(LOG_LEVEL_WARN, "slow query",
                          log_text("route", query->request.route->pattern),
                          log_number("ms", took_ms));
}

void session_end_query(struct session *session)
{
    struct query *query = session->query;
    struct query_result result = session->result;
    /* the session may be closed before the result has been used */
    const struct json_text json = session->json;
    struct rows *rows = session->rows != NULL ? talloc_steal(NULL, session->rows) : NULL;

    session_stop_deadline(session);
    session_end_question(session);
    result.generation = session->generation;
    result.json = result.json != NULL ? &json : NULL;
    session_log_if_slow(session, query, &result);
    session->query = NULL;
    session->rows = NULL;
    session_forget_result(session);
    session->step = session->spent ? STEP_CLOSED : STEP_IDLE;
    session->idle_since_us = clock_monotonic_us();
    session_watch(session, EV_READ);
    session->options.events->ended(session->options.pool, session, query, &result);
    talloc_free(rows);
}

/* ---- Beginning */

static int session_destroy(struct session *session)
{
    ev_io_stop(session->options.loop, &session->io);
    ev_timer_stop(session->options.loop, &session->deadline);
    session_withdraw_question(session);
    if (session->cancel != NULL)
        cancel_end(session->cancel);
    PQfreeCancel(session->request);
    session_drop_arriving(session);
    session_drop_unfinished(session);
    steps_remove(session->options.steps, &session->pause);
    PQfinish(session->conn);
    return 0;
}

/* Not all at once, for those of a start were made at once. */
static void set_lifetime(struct session *session)
{
    int64_t lifetime_ms = session->options.settings->session_lifetime_ms;

    if (lifetime_ms != 0)
        session->until_us =
            clock_monotonic_us() + lifetime_ms * (900 + (int64_t)(session->nonce % 101));
}

struct session *session_new(TALLOC_CTX *ctx, const struct session_options *options)
{
    struct session *session = mem_check(talloc_zero(ctx, struct session));

    session->options = *options;
    session->incomplete.bound = options->bound;
    session->nonce = (uint32_t)random_number();
    set_lifetime(session);
    session->prepared = mem_check(talloc_zero_array(session, unsigned, options->n_statements + 1));
    session->named = mem_check(talloc_zero_array(session, unsigned, options->n_statements + 1));
    ev_init(&session->io, session_on_io);
    ev_init(&session->deadline, session_on_deadline);
    session->pause = (struct step){.fn = session_on_pause_end, .data = session};
    session->io.data = session->deadline.data = session;
    talloc_set_destructor(session, session_destroy);
    session_connect(session);
    return session;
}
