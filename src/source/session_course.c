/* SPDX-License-Identifier: BSD-2-Clause */
/* Each step sends one packet and takes its results; when the last has come, an event chooses the
   next step (session_step.h). */
#include "config.h"

#include "source/session_state.h"

#include "base/clock.h"

enum {
    /* The judge has a limit of its own, and this is beyond it. */
    JUDGE_MS = 10 * 1000,
    /* A connection that was idle for longer is tried first, for this long at the most. */
    TRY_AFTER_MS = 1000,
    TRY_MS = 500,
};

/* ---- Steps */

/* Where a connection turns out to be dead while something is sent there is nothing left to watch:
   it is lost from the loop, for whoever started the step still needs the session. */
static void start_step(struct session *session, enum session_step step)
{
    session->step = step;
    session->now = (struct step_state){.part = 0};
    session->step_us = clock_monotonic_us();
    session_send_step(session);
    int unsent = PQflush(session->conn);
    session_watch(session, unsent == 1 ? EV_READ | EV_WRITE : EV_READ);
    if (PQstatus(session->conn) == CONNECTION_BAD)
        session_set_deadline(session, 0);
}

/* A pooler may let it wait for a server as long as a query, which tells nothing. */
static bool is_untried(const struct session *session)
{
    return session->step == STEP_IDLE && !session->pooled &&
           session_quiet_us(session) >= (int64_t)TRY_AFTER_MS * 1000;
}

static struct session_facts facts_of(const struct session *session)
{
    const struct query *query = session->query;
    bool has_plan = query != NULL && query->plan != NULL;

    return (struct session_facts){
        .pooled = session->pooled,
        .has_query = query != NULL,
        .has_plan = has_plan,
        .is_untried = is_untried(session),
        .is_prepared =
            has_plan && session->prepared[query->statement->route->index] == query->plan->number,
        .is_trial = query != NULL && query->is_trial,
        .is_untidy = PQtransactionStatus(session->conn) == PQTRANS_INERROR && !session->spent,
        .is_outdated = session->outdated,
        .is_held = session_left_ms(session->hold_until_us) > 0,
        .unjudged = session->unjudged,
    };
}

/* One more description, and its plan is tried without a name. */
static void begin_trial(struct session *session)
{
    struct query *query = session->query;

    plan_release(query->plan);
    query->plan = NULL;
    query->is_trial = true;
    query->trials++;
    session_forget_result(session);
}

static void start_query(struct session *session)
{
    struct query *query = session->query;

    session->started_us = clock_monotonic_us();
    session->late = false;
    session->just_prepared = false;
    if (query->plan == NULL && !query->is_trial)
        query->plan = plan_hold(query->statement->plan);
    session_set_deadline(session, query->request.limit_ms + SERVER_FIRST_MS);
}

/* It is not the query's time that passes. */
static void start_try(struct session *session)
{
    int64_t connect_ms = session->options.settings->connect_timeout_ms;

    session->late = false;
    session_set_deadline(session, connect_ms < TRY_MS ? connect_ms : TRY_MS);
}

/* While no query is under way, what the server says is a notice to libpq, be it the last. */
static void take_notice(void *data, const PGresult *notice)
{
    struct session *session = data;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);

    if (severity == NULL) /* as from poolers */
        severity = PQresultErrorField(notice, PG_DIAG_SEVERITY);
    if (severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
        session->is_ended = true;
}

/* It has connected, and may have been given its first query meanwhile. */
static void begin_work(struct session *session)
{
    PQsetNoticeReceiver(session->conn, take_notice, session);
    session->worked = true;
    session->request = PQgetCancel(session->conn);
    dial_settle(session->dial);
    TALLOC_FREE(session->dial);
    session_end_outage(session);
    session_stop_deadline(session);
    session->idle_since_us = clock_monotonic_us();
    start_step(session, STEP_IDLE);
    session->options.events->up(session->options.pool, session);
    if (session->query == NULL)
        return;
    start_query(session);
    session_go_on(session, EVENT_DONE);
}

static void start_judging(struct session *session)
{
    session->step = STEP_JUDGE;
    session->now = (struct step_state){.part = 0};
    session_ask_judge(session);
    if (session->question == NULL)
        session_go_on(session, session->now.refused ? EVENT_FAILED : EVENT_DONE);
    else
        session_set_deadline(session, JUDGE_MS);
}

/* All of the step's results are there. */
static void await_judgement(struct session *session)
{
    session->unjudged = session->step;
    session->step = STEP_REJUDGE;
    session_set_deadline(session, JUDGE_MS);
}

/* The step's results are there: what follows sets its own time. */
static void end_wait(struct session *session, enum session_step to)
{
    session->step = to;
    session_set_deadline(session, session->query->request.limit_ms + SERVER_FIRST_MS);
    session_step_done(session);
}

/* Of a try that no query waits for: it stays as idle as it was. */
static void end_try(struct session *session)
{
    session_stop_deadline(session);
    session->step = STEP_IDLE;
    session->options.events->settled(session->options.pool, session);
}

void session_go_on(struct session *session, enum session_event event)
{
    const struct session_facts facts = facts_of(session);
    enum session_step to = session_next_step(session->step, event, &facts);

    if (session->step == STEP_REJUDGE && event == EVENT_DONE) {
        end_wait(session, to);
        return;
    }
    switch (to) {
    case STEP_CLOSED:
        if (session->query != NULL && session->outdated)
            begin_trial(session); /* elsewhere */
        session_lose(session);
        break;
    case STEP_IDLE:
        if (!session->worked)
            begin_work(session);
        else if (session->query == NULL && session->step == STEP_TRY)
            end_try(session);
        else if (session->query == NULL)
            session_settle(session);
        else
            session_end_query(session);
        break;
    case STEP_JUDGE:
        start_judging(session);
        break;
    case STEP_REJUDGE:
        await_judgement(session);
        break;
    case STEP_CANCEL:
        session_give_query_up(session);
        break;
    case STEP_CUT:
        session_cut(session);
        break;
    case STEP_TRY:
        start_try(session);
        start_step(session, to);
        break;
    default:
        if (to == STEP_DESCRIBE && session->outdated)
            begin_trial(session);
        start_step(session, to);
    }
}

/* ---- Events */

static enum session_event end_of_setup(struct session *session)
{
    if (session->now.sqlstate[0] != '\0' || session->place[PLACE_BACKEND] == NULL)
        return EVENT_FAILED;
    if (session->in_recovery) {
        session_log_recovery();
        return EVENT_FAILED;
    }
    return EVENT_DONE;
}

static void note_success(struct session *session)
{
    struct query *query = session->query;

    if (session->step == STEP_PREPARE) {
        session->prepared[query->statement->route->index] = query->plan->number;
        session->just_prepared = true;
    } else if (session->step == STEP_EXECUTE) {
        session_finish_rows(session);
        if (query->is_trial && session->result.outcome != QUERY_BROKEN)
            statement_use_plan(query->statement, query->plan);
    }
}

/* What the query began and did not end would go on in the next one; an error in it is the next
   step's business. */
static bool is_left_over(const struct session *session)
{
    PGTransactionStatusType status = PQtransactionStatus(session->conn);

    return status != PQTRANS_IDLE && !(status == PQTRANS_INERROR && session->step != STEP_TIDY);
}

static enum session_event end_of_query_step(struct session *session)
{
    session->spent = session->spent || is_left_over(session);
    session_end_cancel(session);
    if (session->query == NULL)
        return session->spent ? EVENT_LOST : EVENT_DONE;
    if (session->now.terminated || (session->outdated && session->spent))
        return EVENT_LOST;
    if (session->now.refused) {
        session->result.outcome = QUERY_AWAY;
        session->result.told = false;
        session->spent = true;
    }
    if (session->step == STEP_TIDY)
        return EVENT_DONE;
    if (session->outdated)
        return EVENT_OUTDATED;
    /* one of its names may be taken */
    if (session->step == STEP_PREPARE && session->result.outcome == QUERY_TIMED_OUT)
        session->spent = true;
    if (session->now.sqlstate[0] == '\0' && session->result.outcome == QUERY_DONE)
        note_success(session);
    return session->result.outcome == QUERY_DONE ? EVENT_DONE : EVENT_FAILED;
}

void session_step_done(struct session *session)
{
    if (session->step == STEP_TRY) {
        session->tried_us = clock_monotonic_us();
        if (session->query != NULL)
            start_query(session);
    }
    if (session->step < STEP_IDLE)
        session_go_on(session, end_of_setup(session));
    else
        session_go_on(session,
                      session->question != NULL ? EVENT_UNJUDGED : end_of_query_step(session));
}

/* Nobody waits for it; behind a pooler it may have to wait for a server. */
void session_try(struct session *session)
{
    session->late = false;
    session_set_deadline(session, session->options.settings->connect_timeout_ms);
    start_step(session, STEP_TRY);
}

void session_run(struct session *session, struct query *query)
{
    session->query = query;
    session_forget_result(session);
    if (session->step != STEP_IDLE)
        return;
    if (!is_untried(session))
        start_query(session);
    session_go_on(session, EVENT_DONE);
}
