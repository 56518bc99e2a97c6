/* SPDX-License-Identifier: BSD-2-Clause */
/* Each step sends one packet and takes its results; when the last has come, an event chooses the
   next step (session_step.h). */
#include "config.h"

#include "source/session_state.h"

#include <poll.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "source/cancel.h"

enum {
    /* The server's own statement_timeout gets this long to say so first. */
    SERVER_FIRST_MS = 250,
    /* The judge has a limit of its own, and this is beyond it. */
    JUDGE_MS = 10 * 1000,
    /* A connection that was idle for longer is tried first, for this long at the most. */
    TRY_AFTER_MS = 1000,
    TRY_MS = 500,
};

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

void session_watch(struct session *session, int events)
{
    struct ev_loop *loop = session->options.loop;
    int fd = PQsocket(session->conn);

    if (ev_is_active(&session->io) && session->io.fd == fd &&
        (session->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(loop, &session->io);
    if (fd == -1)
        return;
    ev_io_set(&session->io, fd, events);
    ev_io_start(loop, &session->io);
}

/* Rounded up: a timer that is set to it does not come before. */
int64_t session_left_ms(int64_t until_us)
{
    int64_t left_us = until_us - clock_monotonic_us();

    return left_us > 0 ? (left_us + 999) / 1000 : 0;
}

void session_set_deadline(struct session *session, int64_t ms)
{
    ev_now_update(session->options.loop);
    ev_timer_stop(session->options.loop, &session->deadline);
    ev_timer_set(&session->deadline, (double)ms / 1000.0, 0.0);
    ev_timer_start(session->options.loop, &session->deadline);
}

void session_stop_deadline(struct session *session)
{
    ev_timer_stop(session->options.loop, &session->deadline);
}

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
    session->query = NULL;
    session->step = STEP_CLOSED;
    session->options.events->closed(session->options.pool, session, query, how);
}

static void end_query(struct session *session);

/* Of what is wrong with the query itself, before it closed the connection. Of a place that is not
   the one that is meant, or of which that is not known yet, nothing is answered. */
static bool has_server_told(const struct session *session)
{
    return session->query != NULL && session->step > STEP_TRY && session->now.sqlstate[0] != '\0' &&
           session->result.outcome != QUERY_DONE && session->result.outcome != QUERY_AWAY &&
           session->question == NULL && !session->now.refused;
}

/* None of its servers will do, or it has worked. */
static void end_connection(struct session *session)
{
    lose_as(session, session->step == STEP_TRY                    ? SESSION_DEAD
                     : session->worked || session->now.terminated ? SESSION_LOST
                     : session->now.refused                       ? SESSION_REFUSED
                     : session->now.full                          ? SESSION_FULL
                                                                  : SESSION_UNREACHABLE);
}

void session_lose(struct session *session)
{
    if (has_server_told(session)) {
        session->spent = true;
        end_query(session);
    } else if (!session_leave_server(session, false)) {
        end_connection(session);
    }
}

void session_forget_result(struct session *session)
{
    session->outdated = false;
    session_drop_arriving(session);
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

static void step_done(struct session *session);

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

/* Hands the result on; the session is idle, and may be given the next query, before the pool hears
   of it. */
static void end_query(struct session *session)
{
    struct query *query = session->query;
    struct query_result result = session->result;
    /* the session may be closed before the result has been used */
    struct rows *rows = session->rows != NULL ? talloc_steal(NULL, session->rows) : NULL;

    session_stop_deadline(session);
    session_end_question(session);
    result.generation = session->generation;
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

/* It has connected, and may have been given its first query meanwhile. */
static void begin_work(struct session *session)
{
    session->worked = true;
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
    step_done(session);
}

/* Nobody waits for it; behind a pooler it may have to wait for a server. */
void session_try(struct session *session)
{
    session->late = false;
    session_set_deadline(session, session->options.settings->connect_timeout_ms);
    start_step(session, STEP_TRY);
}

/* Of a try that no query waits for: it stays as idle as it was. */
static void end_try(struct session *session)
{
    session_stop_deadline(session);
    session->step = STEP_IDLE;
    session->options.events->settled(session->options.pool, session);
}

/* The one place where a step follows another. */
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
            end_query(session);
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

static void step_done(struct session *session)
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

/* Rows are taken one by one as they come, which libpq wants to be told before the first. */
static void begin_part(struct session *session)
{
    struct step_state *now = &session->now;

    now->part++;
    now->started = false;
    if (now->part < now->packet.n_parts && now->packet.parts[now->part] == PART_QUERY)
        PQsetSingleRowMode(session->conn);
}

/* true: the step is not over, and more may be there. */
static bool take_next(struct session *session)
{
    struct step_state *now = &session->now;
    PGresult *res = PQgetResult(session->conn);

    if (res == NULL) {
        if (!now->started)
            return false;
        begin_part(session);
        return true;
    }
    session_drop_arriving(session);
    now->started = PQresultStatus(res) != PGRES_PIPELINE_SYNC;
    session_take_result(session, res);
    PQclear(res);
    return true;
}

static void give_up(struct session *session)
{
    if (session->query != NULL && session->worked)
        end_query(session);
    else
        session_lose(session);
}

/* Rows that nobody wants are not read to their end. An outdated plan's query is run anew when its
   end has come. */
static void refuse_rows(struct session *session)
{
    if (!session->outdated)
        session_go_on(session, EVENT_LATE);
    else if (session->cancel == NULL)
        session->cancel = cancel_start(session->conn);
}

static bool awaits_results(const struct session *session)
{
    return session->step != STEP_JUDGE && session->step != STEP_IDLE &&
           session->step != STEP_REJUDGE;
}

static void take_results(struct session *session)
{
    while (awaits_results(session) && !PQisBusy(session->conn) && take_next(session)) {
        if (session->now.unexpected) {
            give_up(session);
            return;
        }
        if (session->now.syncs == session->now.packet.syncs) {
            step_done(session);
            return;
        }
    }
    if (PQstatus(session->conn) == CONNECTION_BAD)
        session_lose(session);
    else if (session->step == STEP_EXECUTE && session->now.unwanted)
        refuse_rows(session);
}

/* Behind a pooler a neighbour may have listened; libpq keeps them until they are asked for. */
static void drop_notifications(struct session *session)
{
    PGnotify *notification;

    while ((notification = PQnotifies(session->conn)) != NULL)
        PQfreemem(notification);
}

/* The rest of the row would have to be read before the connection could be used again. The server
   may have much to do behind it: the query is given up like any other. */
static void refuse_row(struct session *session)
{
    session->spent = true;
    session_go_on(session, EVENT_LATE);
    if (session->step == STEP_CANCEL)
        session_cut(session);
}

static void on_io(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct session *session = watcher->data;

    (void)loop;
    if ((events & EV_WRITE) != 0 && PQflush(session->conn) == 0)
        session_watch(session, EV_READ);
    if (!session_count_arriving(session)) {
        refuse_row(session);
        return;
    }
    if (PQconsumeInput(session->conn) == 0 || PQstatus(session->conn) == CONNECTION_BAD) {
        session_lose(session);
        return;
    }
    drop_notifications(session);
    take_results(session);
}

/* Whether the server has done its part and it is us who are late, as after the process was stopped
   or the machine had no time for it: then what has come is looked at first. */
static bool is_our_delay(struct session *session)
{
    struct pollfd fd = {.fd = session->io.fd};

    if (!ev_is_active(&session->io))
        return false;
    fd.events = (short)(((session->io.events & EV_READ) != 0 ? POLLIN : 0) |
                        ((session->io.events & EV_WRITE) != 0 ? POLLOUT : 0));
    return poll(&fd, 1, 0) == 1;
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct session *session = timer->data;

    (void)loop;
    (void)events;
    /* once: a result that comes in drops must not go on for ever */
    if (!session->late && is_our_delay(session)) {
        session->late = true;
        session_set_deadline(session, SERVER_FIRST_MS);
        return;
    }
    if (session->step < STEP_IDLE) {
        if (!session_leave_server(session, true))
            end_connection(session);
        return;
    }
    if (session->step != STEP_CUT && PQstatus(session->conn) == CONNECTION_BAD) {
        session_lose(session);
        return;
    }
    if (session->step == STEP_TIDY && session->query != NULL) { /* what it has come to is known */
        session->spent = true;
        end_query(session);
        return;
    }
    session_go_on(session, EVENT_LATE);
}

static int session_destroy(struct session *session)
{
    ev_io_stop(session->options.loop, &session->io);
    ev_timer_stop(session->options.loop, &session->deadline);
    session_withdraw_question(session);
    if (session->cancel != NULL)
        cancel_end(session->cancel);
    session_drop_arriving(session);
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
    ev_init(&session->io, on_io);
    ev_init(&session->deadline, on_deadline);
    session->io.data = session->deadline.data = session;
    talloc_set_destructor(session, session_destroy);
    session_connect(session);
    return session;
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
