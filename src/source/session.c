/* SPDX-License-Identifier: BSD-2-Clause */
/* Each step sends one packet and takes its results; when the last has come, an event chooses the
   next step (session_step.h). */
#include "config.h"

#include "source/session.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "source/cancel.h"
#include "source/hosts.h"
#include "source/packet.h"
#include "source/rows.h"
#include "source/session_step.h"
#include "source/sqlstate.h"
#include "source/verdict.h"

enum {
    /* The server's own statement_timeout gets this long to say so first. */
    SERVER_FIRST_MS = 250,
    /* Plans that are tried for one query whose tables keep changing. */
    MAX_TRIALS = 3,
    /* Of one row: a connection that has taken more is not kept. */
    /* More than one piece that comes at once, with the rows that are whole in it. */
    ARRIVING_BYTES = 256 * 1024,
    BULKY_BYTES = 8 * 1024 * 1024,
    /* How often the log is reminded of an outage that stays the same. */
    REMIND_S = 60,
    /* By this much the server may be late with ending a query that is past its limit. */
    END_MARGIN_MS = 1000,
    /* A cancelled query that goes on for this long has its connection closed, if the server then
       notices; which it does within a second, and a bit. */
    CANCEL_MS = 1000,
    NOTICE_MS = 1500,
    /* The judge has a limit of its own, and this is beyond it. */
    JUDGE_MS = 10 * 1000,
    /* A connection that was idle for longer is tried first, for this long at the most. */
    TRY_AFTER_MS = 1000,
    TRY_MS = 500,
};

/* What the results of one step have been so far. */
struct step_state {
    struct packet packet;
    size_t part;                   /* whose results come now */
    size_t syncs;                  /* that have come */
    bool started;                  /* something of the part has come */
    char sqlstate[SQLSTATE_BYTES]; /* of the first error; "": none */
    bool terminated;               /* by the server; the query is to be sent elsewhere */
    bool unexpected; /* a result that no part of ours has: the connection's state is not known */
    bool full;       /* the server, or a pooler, allows no more connections */
    bool refused;    /* the place is not the one that is meant, or can't be told */
    bool unwanted;   /* rows still come, and none is of use */
};

struct session {
    struct session_options options;
    PGconn *conn; /* NULL: not yet, or it has been cut */
    enum session_step step;
    struct hosts_look_up *look_up; /* STEP_RESOLVE */
    struct step_state now;
    bool worked; /* it has connected and is set up */
    bool pooled; /* as in struct session_facts */
    bool spent;  /* something was left that nobody knows of: not to be used again */
    bool in_recovery;
    bool may_read_database;
    char *place[PLACE_COLUMNS]; /* as the server said last */
    char *first_backend;        /* of the first transaction */
    uint64_t generation;
    struct place_question *question; /* NULL: none, or a verdict has been given */
    enum session_step unjudged;      /* STEP_REJUDGE: as in struct session_facts */
    uint32_t nonce;
    unsigned *prepared;  /* by statement index: the plan that has a name here, 0: none */
    unsigned *named;     /* likewise: the plan of which a name may be there, 0: none */
    struct query *query; /* NULL: none */
    bool just_prepared;  /* for this query */
    bool outdated;       /* its plan does not fit any more, or may not */
    struct query_result result;
    struct rows *rows;
    size_t arriving;                /* about as much of a row has come that is not whole */
    struct result_share incomplete; /* that, less what comes in one piece anyway */
    int64_t idle_since_us;
    int64_t started_us;    /* when the query's first step was sent */
    int64_t step_us;       /* when this step's packet was */
    int64_t until_us;      /* it is used for new queries; 0: for ever */
    bool watched;          /* the server ends a query soon whose client has gone */
    struct cancel *cancel; /* NULL: none, or it is over */
    int64_t hold_until_us; /* what was given up has ended by then */
    bool hung;
    ev_io io;
    ev_timer deadline;
    bool late; /* the deadline has been put off once */
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

static void watch(struct session *session, int events)
{
    struct ev_loop *loop = session->options.loop;
    int fd = PQsocket(session->conn);

    /* while it connects libpq may change sockets between two polls, also for one of the same
       number, which then has to be watched anew */
    if (session->step != STEP_CONNECT && ev_is_active(&session->io) && session->io.fd == fd &&
        (session->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(loop, &session->io);
    if (fd == -1)
        return;
    ev_io_set(&session->io, fd, events);
    ev_io_start(loop, &session->io);
}

/* Rounded up: a timer that is set to it does not come before. */
static int64_t left_ms(int64_t until_us)
{
    int64_t left_us = until_us - clock_monotonic_us();

    return left_us > 0 ? (left_us + 999) / 1000 : 0;
}

static void set_deadline(struct session *session, int64_t ms)
{
    ev_now_update(session->options.loop);
    ev_timer_stop(session->options.loop, &session->deadline);
    ev_timer_set(&session->deadline, (double)ms / 1000.0, 0.0);
    ev_timer_start(session->options.loop, &session->deadline);
}

static void stop_deadline(struct session *session)
{
    ev_timer_stop(session->options.loop, &session->deadline);
}

/* Each process tries about once a second: once for an outage, and again when it changes. */
static void log_outage(const struct session *session, const char *error)
{
    struct session_outage *outage = session->options.outage;
    int64_t now_us = clock_monotonic_us();
    uint64_t hash = XXH3_64bits(error, strlen(error)) | 1;

    if (hash == outage->error && now_us - outage->told_us < (int64_t)REMIND_S * 1000000)
        return;
    *outage = (struct session_outage){.error = hash, .told_us = now_us, .full = session->now.full};
    log_event_limited(LOG_LEVEL_WARN, "cannot connect to postgres", log_text("error", error));
}

static void log_connection(struct session *session)
{
    char *error = mem_check(talloc_strdup(session, PQerrorMessage(session->conn)));
    size_t len = strlen(error);

    while (len > 0 && error[len - 1] == '\n')
        error[--len] = '\0';
    session->now.full = verdict_take_refusal(error);
    log_outage(session, error);
    talloc_free(error);
}

static void withdraw_question(struct session *session)
{
    if (session->question != NULL)
        session->options.judge.withdraw(session->question);
    session->question = NULL;
}

/* The one end of a connection that has failed. */
static void drop_arriving(struct session *session)
{
    session->arriving = 0;
    result_share_release(&session->incomplete);
}

static void lose_as(struct session *session, enum session_end how)
{
    struct query *query = session->query;

    withdraw_question(session);
    drop_arriving(session);
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

static void lose(struct session *session)
{
    if (has_server_told(session)) {
        session->spent = true;
        end_query(session);
        return;
    }
    lose_as(session, session->step == STEP_TRY                    ? SESSION_DEAD
                     : session->worked || session->now.terminated ? SESSION_LOST
                     : session->now.refused                       ? SESSION_REFUSED
                     : session->now.full                          ? SESSION_FULL
                                                                  : SESSION_UNREACHABLE);
}

static void forget_result(struct session *session)
{
    session->outdated = false;
    drop_arriving(session);
    TALLOC_FREE(session->rows);
    session->result = (struct query_result){.outcome = QUERY_DONE};
}

static void log_if_slow(const struct session *session, const struct query *query,
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

static void fail(struct session *session, const char *error)
{
    session->result.outcome = QUERY_BROKEN;
    log_event_limited(LOG_LEVEL_ERROR, "query failed",
                      log_text("route", session->query->request.route->pattern),
                      log_text("sqlstate", session->now.sqlstate), log_text("error", error));
}

/* What the server says while no value has been sent is about the route's own SQL; later it may
   quote one, and then the condition and the server's own function have to do. */
static void log_refusal(const struct session *session, const PGresult *res)
{
    const char *sqlstate = session->now.sqlstate;
    const char *file = PQresultErrorField(res, PG_DIAG_SOURCE_FILE);
    bool safe = session->step == STEP_DESCRIBE || session->step == STEP_PREPARE ||
                sqlstate_message_is_safe(sqlstate, file);

    log_event_limited(
        LOG_LEVEL_ERROR, "query failed", log_text("route", session->query->request.route->pattern),
        log_text("sqlstate", sqlstate), log_text("condition", sqlstate_condition(sqlstate)),
        log_text("error", safe ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)
                               : "not logged, for it may quote a value; see the server's log"),
        log_text("source", PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION)));
}

/* Whether a statement that was prepared for an earlier query may be what is wrong. */
static bool is_suspect(const struct session *session, const PGresult *res)
{
    const struct query *query = session->query;

    const char *function = PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);

    return session->step == STEP_EXECUTE && !session->pooled && !query->is_trial &&
           (!session->just_prepared || statement_is_outdated(function)) &&
           statement_may_be_outdated(query->statement, session->now.sqlstate, function,
                                     clock_monotonic_us());
}

/* The server ends this connection, which may be the only one that it ends. */
static bool is_termination(const PGresult *res, const char *sqlstate)
{
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

    return (strcmp(sqlstate, "57P01") == 0 || strcmp(sqlstate, "57P02") == 0) &&
           (severity == NULL || strcmp(severity, "ERROR") != 0);
}

static void log_fault(const struct session *session, const struct verdict *verdict,
                      const PGresult *res)
{
    const struct query *query = session->query;
    const char *sqlstate = session->now.sqlstate;
    unsigned parameter = session->result.parameter;

    if (verdict->outcome == QUERY_BAD_VALUE)
        log_event_limited(
            LOG_LEVEL_WARN, "a value was refused by postgres",
            log_text("route", query->request.route->pattern), log_text("sqlstate", sqlstate),
            log_text("condition", sqlstate_condition(sqlstate)),
            log_text("parameter", parameter != 0 ? query->request.route->params[parameter - 1].name
                                                 : "not known"));
    else if (verdict->canceled)
        log_event_limited(LOG_LEVEL_WARN, "query canceled by an operator",
                          log_text("route", query->request.route->pattern),
                          log_text("sqlstate", sqlstate));
    else if (verdict->status == 0 && verdict->outcome != QUERY_TIMED_OUT)
        log_refusal(session, res);
}

static void take_verdict(struct session *session, enum packet_part part, const PGresult *res)
{
    struct query *query = session->query;
    struct query_result *result = &session->result;
    bool is_query = session->step == STEP_EXECUTE && part == PART_QUERY;
    const struct verdict_facts facts = {
        .sqlstate = session->now.sqlstate,
        .has_values = is_query && query->statement->route->n_params > 0,
        .is_query = is_query,
        .ran_ms = (clock_monotonic_us() - session->step_us) / 1000,
        .limit_ms = query->request.limit_ms,
    };
    const struct verdict verdict = verdict_of(&facts);

    snprintf(query->sqlstate, sizeof query->sqlstate, "%s", facts.sqlstate);
    result->outcome = verdict.outcome;
    result->status = verdict.status;
    result->told = verdict_is_of_query(facts.sqlstate);
    if (verdict.status != 0) {
        verdict_message(PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY), query->message);
        result->message = query->message[0] != '\0' ? query->message : NULL;
    }
    if (verdict.outcome == QUERY_BAD_VALUE)
        result->parameter = verdict_parameter(PQresultErrorField(res, PG_DIAG_CONTEXT));
    if (result->parameter > query->statement->route->n_params)
        result->parameter = 0;
    log_fault(session, &verdict, res);
}

static void take_query_error(struct session *session, enum packet_part part, const PGresult *res)
{
    struct query *query = session->query;
    const char *sqlstate = session->now.sqlstate;

    if (is_suspect(session, res)) {
        session->outdated = true;
        snprintf(query->suspected, sizeof query->suspected, "%s", sqlstate);
        return;
    }
    if (query->is_trial && strcmp(query->suspected, sqlstate) == 0)
        statement_pause(query->statement, sqlstate, clock_monotonic_us());
    take_verdict(session, part, res);
}

/* The questions of setting up are our own, and hold nobody's values. */
static void log_setup_error(const struct session *session, const PGresult *res)
{
    log_event(LOG_LEVEL_WARN, "postgres refused the session's first questions",
              log_text("sqlstate", session->now.sqlstate),
              log_text("error", PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)));
}

/* What goes around a query failed, and not the query. */
static bool is_around_query(enum packet_part part)
{
    return part == PART_PLACE || part == PART_BEGIN;
}

/* That another session would run into as well. */
static bool is_limit(const char *sqlstate)
{
    return strcmp(sqlstate, "55P03") == 0 || strcmp(sqlstate, "57014") == 0;
}

/* The first error of a step is the one that tells; what follows from it is passed over. */
static void take_error(struct session *session, enum packet_part part, const PGresult *res)
{
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    if (part == PART_DEALLOCATE || part == PART_WATCH)
        return; /* then it was gone already, or cannot be had here */
    if (session->outdated)
        return; /* as of the cancel that followed */
    if (part == PART_TIDY && session->worked) {
        session->spent = true; /* the query itself was right, or has failed before */
        return;
    }
    session->spent = session->spent || is_around_query(part);
    if (session->now.sqlstate[0] != '\0' || session->result.outcome != QUERY_DONE)
        return;
    snprintf(session->now.sqlstate, sizeof session->now.sqlstate, "%s",
             sqlstate != NULL ? sqlstate : "XX000");
    session->now.terminated =
        (is_termination(res, session->now.sqlstate) ||
         (session->worked && is_around_query(part) && !is_limit(session->now.sqlstate))) &&
        (session->query == NULL || query_may_be_resent(session->query));
    if (session->now.terminated)
        return;
    if (!session->worked) {
        session->now.full = verdict_is_full(session->now.sqlstate,
                                            PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
        log_setup_error(session, res);
    } else if (session->query != NULL) {
        take_query_error(session, part, res);
    }
}

/* Whether what still comes of this step is of no use. */
static bool is_discarded(const struct session *session)
{
    return session->now.refused || session->now.terminated || session->outdated ||
           session->result.outcome != QUERY_DONE;
}

/* The tables are not those any more that the plan was made for. */
static void take_change(struct session *session)
{
    session->now.unwanted = true;
    session->outdated = session->query->trials < MAX_TRIALS;
    if (!session->outdated)
        fail(session, "the result's columns keep changing");
}

static void take_rows(struct session *session, const PGresult *res)
{
    struct query *query = session->query;

    if (is_discarded(session))
        return;
    if (PQresultMemorySize(res) > BULKY_BYTES)
        session->spent = true; /* libpq's own buffer never shrinks */
    if (session->rows == NULL)
        session->rows = rows_new(session, query->plan, session->options.bound);
    switch (rows_take(session->rows, res)) {
    case ROWS_OK:
    case ROWS_NONE:
        break;
    case ROWS_OUTDATED:
        take_change(session);
        break;
    case ROWS_BROKEN:
        session->now.unwanted = true;
        fail(session, rows_problem(session->rows));
        break;
    }
}

static void finish_rows(struct session *session)
{
    if (session->rows == NULL) {
        fail(session, "the statement gives no rows");
        return;
    }
    switch (rows_finish(session->rows, &session->result.json)) {
    case ROWS_OK:
    case ROWS_OUTDATED:
        break;
    case ROWS_NONE:
        session->result.outcome = QUERY_NO_ROW;
        break;
    case ROWS_BROKEN:
        fail(session, rows_problem(session->rows));
        break;
    }
}

static void take_description(struct session *session, const PGresult *res)
{
    struct query *query = session->query;
    char error[256];

    if (is_discarded(session))
        return;
    query->plan = plan_make(query->statement->route, res, error, sizeof error);
    if (query->plan == NULL)
        fail(session, error);
    else if (query->statement->plan == NULL)
        statement_use_plan(query->statement, query->plan);
}

static void step_done(struct session *session);
static void go_on(struct session *session, enum session_event event);

/* Whoever waits for it goes on. Results that are still to come find it when they have. */
static void take_judgement(void *data, enum place_verdict verdict, uint64_t generation)
{
    struct session *session = data;

    session->question = NULL;
    session->now.refused = verdict != PLACE_RIGHT;
    if (verdict == PLACE_RIGHT)
        session->generation = generation;
    if (session->step == STEP_JUDGE) {
        set_deadline(session, session->options.settings->connect_timeout_ms);
        go_on(session, session->now.refused ? EVENT_FAILED : EVENT_DONE);
    } else if (session->step == STEP_REJUDGE) {
        go_on(session, EVENT_DONE);
    }
}

/* Whether the answers of this server may be used. What is not known at once is told later. */
static void ask_judge(struct session *session)
{
    const struct postgres_judge *judge = &session->options.judge;
    const struct place_asker asker = {.told = take_judgement, .session = session};
    const struct postgres_place place = {
        .system_identifier = session->place[PLACE_SYSTEM],
        .database_oid = session->place[PLACE_DATABASE],
        .user = session->place[PLACE_USER],
        .search_path = session->place[PLACE_SEARCH_PATH],
        .recurring = session->pooled,
    };

    session->now.refused = false;
    if (judge->judge == NULL)
        return;
    withdraw_question(session);
    enum place_verdict verdict =
        judge->judge(judge->data, &place, &asker, &session->question, &session->generation);
    session->now.refused = verdict == PLACE_WRONG || verdict == PLACE_UNKNOWN;
}

static void note_place(struct session *session, const PGresult *res)
{
    int n_columns = session->worked ? PLACE_RECURRING : PLACE_COLUMNS;

    for (int i = 0; i < n_columns; i++) {
        talloc_free(session->place[i]);
        session->place[i] = mem_check(talloc_strdup(session, PQgetvalue(res, 0, i)));
    }
    session->in_recovery = session->place[PLACE_IN_RECOVERY][0] == 't';
}

static bool is_same(const struct session *session, const PGresult *res, enum place_column column)
{
    return strcmp(session->place[column], PQgetvalue(res, 0, column)) == 0;
}

static void log_recovery(void)
{
    log_event_limited(LOG_LEVEL_WARN, "postgres is in recovery",
                      log_text("action", "it is not asked, for its lag cannot be bounded"));
}

/* What a query's transaction says of where it runs: through a pooler it may have come to another
   server, and a path may change under a session, by the server's file or by a schema that is made.
 */
static void compare_place(struct session *session, const PGresult *res)
{
    bool moved = !is_same(session, res, PLACE_STARTED) || !is_same(session, res, PLACE_NAME) ||
                 (session->pooled && !is_same(session, res, PLACE_DATABASE));
    bool changed = !is_same(session, res, PLACE_USER) || !is_same(session, res, PLACE_SEARCH_PATH);

    note_place(session, res);
    if (session->in_recovery) {
        session->result.outcome = QUERY_AWAY;
        log_recovery();
    } else if (moved) /* another server: a new session asks which one */
    {
        session->now.terminated = true;
    } else if (changed) {
        ask_judge(session);
    }
}

/* A pooler tells a process id of its own, or has another server for the second transaction. */
static bool is_pooler_between(const struct session *session)
{
    const struct postgres_settings *settings = session->options.settings;
    const char *backend = session->place[PLACE_BACKEND];

    if (!settings->prepared || settings->pooler == POOLER_TRANSACTION)
        return true;
    return settings->pooler == POOLER_AUTO &&
           (strcmp(backend, session->first_backend) != 0 ||
            strtoll(backend, NULL, 10) != PQbackendPID(session->conn));
}

/* Two transactions, of which the second tells all. */
static void take_place(struct session *session, const PGresult *res)
{
    if (PQntuples(res) != 1) {
        session->spent = true;
    } else if (session->worked) {
        compare_place(session, res);
    } else if (session->step == STEP_PLACE) {
        note_place(session, res);
        session->may_read_database = session->place[PLACE_MAY_READ_DATABASE][0] == 't';
        talloc_free(session->first_backend);
        session->first_backend = mem_check(talloc_strdup(session, session->place[PLACE_BACKEND]));
    } else {
        note_place(session, res);
        session->pooled = is_pooler_between(session);
    }
}

static void take_tuples(struct session *session, enum packet_part part, const PGresult *res)
{
    switch (part) {
    case PART_PLACE:
        take_place(session, res);
        break;
    case PART_QUERY:
        take_rows(session, res);
        break;
    case PART_WATCH:
        session->watched = PQntuples(res) == 1 && !PQgetisnull(res, 0, 0);
        break;
    case PART_PINS:
    case PART_BEGIN:
    case PART_TIDY:
    case PART_DEALLOCATE:
    case PART_PARSE:
    case PART_DESCRIBE:
    case PART_COLUMNS:
        break;
    }
}

/* As of COPY: libpq would go on giving it for ever. */
static void take_unexpected(struct session *session)
{
    session->now.unexpected = true;
    session->spent = true;
    if (session->query != NULL && session->worked && session->result.outcome == QUERY_DONE)
        fail(session, "the statement has a result that is not rows");
}

/* Of a query that was given up: only the end is of interest. */
static bool is_of_no_use(ExecStatusType status)
{
    return status == PGRES_FATAL_ERROR || status == PGRES_TUPLES_OK ||
           status == PGRES_SINGLE_TUPLE || status == PGRES_COMMAND_OK;
}

static void take_result(struct session *session, const PGresult *res)
{
    const struct step_state *now = &session->now;
    enum packet_part part =
        now->part < now->packet.n_parts ? now->packet.parts[now->part] : PART_TIDY;
    ExecStatusType status = PQresultStatus(res);

    if (session->step == STEP_CANCEL && is_of_no_use(status))
        return;
    switch (status) {
    case PGRES_PIPELINE_SYNC:
        session->now.syncs++;
        break;
    case PGRES_PIPELINE_ABORTED: /* by an error that has been taken */
        break;
    case PGRES_SINGLE_TUPLE:
    case PGRES_TUPLES_OK:
        take_tuples(session, part, res);
        break;
    case PGRES_COMMAND_OK:
        if (part == PART_DESCRIBE)
            take_description(session, res);
        else if (part == PART_COLUMNS && !is_discarded(session) &&
                 !plan_is_of(session->query->plan, res))
            take_change(session);
        break;
    case PGRES_FATAL_ERROR:
        take_error(session, part, res);
        break;
    default:
        take_unexpected(session);
    }
}

/* No two sessions' names are alike: should a pooler mix their connections up, there is an error and
   not somebody else's statement. */
static void name_plan(const struct session *session, unsigned number, char name[PACKET_NAME_BYTES])
{
    snprintf(name, PACKET_NAME_BYTES, "leeway_%08x_%zu_%u", session->nonce,
             session->query->statement->route->index, number);
}

static struct packet_limits limits_of(const struct session *session)
{
    const struct query *query = session->query;
    int64_t pinned_ms = session->options.settings->statement_timeout_ms;

    return (struct packet_limits){
        .execution_ms = query != NULL ? query->request.limit_ms : pinned_ms,
        .pinned_ms = pinned_ms,
        .watched = session->watched,
    };
}

static void send_prepare(struct session *session)
{
    const struct query *query = session->query;
    const struct packet_limits limits = limits_of(session);
    size_t index = query->statement->route->index;
    unsigned before = session->named[index]; /* also of a preparation that was broken off */
    char name[PACKET_NAME_BYTES], name_before[PACKET_NAME_BYTES];

    name_plan(session, query->plan->number, name);
    name_plan(session, before, name_before);
    packet_prepare(&session->now.packet, session->conn, &limits, query->plan, name,
                   before != 0 ? name_before : NULL);
    session->prepared[index] = 0;
    session->named[index] = query->plan->number;
}

static void send_execute(struct session *session)
{
    const struct query *query = session->query;
    const struct packet_limits limits = limits_of(session);
    bool named = !session->pooled && !query->is_trial;
    char name[PACKET_NAME_BYTES];

    name_plan(session, query->plan->number, name);
    const struct packet_query sent = {
        .plan = query->plan,
        .values = query->request.values,
        .name = named ? name : NULL,
        .pooled = session->pooled,
        .may_read_database = session->may_read_database,
    };
    /* age counts from before anything that can make the server take the snapshot */
    session->result.sent_us = clock_monotonic_us();
    packet_execute(&session->now.packet, session->conn, &limits, &sent);
}

static void send_step(struct session *session)
{
    struct packet *packet = &session->now.packet;
    const struct packet_limits limits = limits_of(session);

    switch (session->step) {
    case STEP_RESOLVE:
    case STEP_CONNECT:
        break;
    case STEP_PLACE:
        packet_place(packet, session->conn, session->options.settings);
        break;
    case STEP_IDENTIFY:
        packet_identify(packet, session->conn, session->options.settings,
                        session->may_read_database,
                        session->place[PLACE_MAY_READ_SYSTEM][0] == 't');
        break;
    case STEP_PIN:
        packet_pin(packet, session->conn, &limits);
        break;
    case STEP_TRY:
        packet_try(packet, session->conn);
        break;
    case STEP_DESCRIBE:
        packet_describe(packet, session->conn, &limits, session->query->statement->route,
                        session->pooled, session->may_read_database);
        break;
    case STEP_PREPARE:
        send_prepare(session);
        break;
    case STEP_EXECUTE:
        send_execute(session);
        break;
    case STEP_TIDY:
        packet_tidy(packet, session->conn, session->pooled);
        break;
    case STEP_JUDGE:
    case STEP_IDLE:
    case STEP_REJUDGE:
    case STEP_CANCEL:
    case STEP_CUT:
    case STEP_CLOSED:
        break;
    }
}

/* Where a connection turns out to be dead while something is sent there is nothing left to watch:
   it is lost from the loop, for whoever started the step still needs the session. */
static void start_step(struct session *session, enum session_step step)
{
    session->step = step;
    session->now = (struct step_state){.part = 0};
    session->step_us = clock_monotonic_us();
    send_step(session);
    int unsent = PQflush(session->conn);
    watch(session, unsent == 1 ? EV_READ | EV_WRITE : EV_READ);
    if (PQstatus(session->conn) == CONNECTION_BAD)
        set_deadline(session, 0);
}

/* A pooler may let it wait for a server as long as a query, which tells nothing. */
static bool is_untried(const struct session *session)
{
    return session->step == STEP_IDLE && !session->pooled &&
           clock_monotonic_us() - session->idle_since_us >= (int64_t)TRY_AFTER_MS * 1000;
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
        .is_held = left_ms(session->hold_until_us) > 0,
        .unjudged = session->unjudged,
    };
}

/* Where nobody waits for the verdict any more, nobody knows what the session is good for. */
static void end_question(struct session *session)
{
    session->spent = session->spent || session->question != NULL;
    withdraw_question(session);
}

/* Hands the result on; the session is idle, and may be given the next query, before the pool hears
   of it. */
static void end_query(struct session *session)
{
    struct query *query = session->query;
    struct query_result result = session->result;
    /* the session may be closed before the result has been used */
    struct rows *rows = session->rows != NULL ? talloc_steal(NULL, session->rows) : NULL;

    stop_deadline(session);
    end_question(session);
    result.generation = session->generation;
    log_if_slow(session, query, &result);
    session->query = NULL;
    session->rows = NULL;
    forget_result(session);
    session->step = session->spent ? STEP_CLOSED : STEP_IDLE;
    session->idle_since_us = clock_monotonic_us();
    watch(session, EV_READ);
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
    forget_result(session);
}

static void start_query(struct session *session)
{
    struct query *query = session->query;

    session->started_us = clock_monotonic_us();
    session->late = false;
    session->just_prepared = false;
    if (query->plan == NULL && !query->is_trial)
        query->plan = plan_hold(query->statement->plan);
    set_deadline(session, query->request.limit_ms + SERVER_FIRST_MS);
}

/* It is not the query's time that passes. */
static void start_try(struct session *session)
{
    int64_t connect_ms = session->options.settings->connect_timeout_ms;

    session->late = false;
    set_deadline(session, connect_ms < TRY_MS ? connect_ms : TRY_MS);
}

/* The server would have said by now that the limit is over; what waits in front of it, for a lock
   while it is prepared or for a pooler's connection, tells nothing of the server. */
static bool is_server_hung(const struct session *session)
{
    return session->result.outcome == QUERY_TIMED_OUT && !session->pooled &&
           session->now.part == 0 && !session->now.started &&
           clock_monotonic_us() - session->step_us >= session->query->request.limit_ms * 1000;
}

/* Behind a pooler it may have waited for a server until now, and be given one as long as the
   connection is there; the time of a query that is begun then has only begun too. */
static bool may_begin_yet(const struct session *session)
{
    return session->pooled && session->now.part == 0 && !session->now.started;
}

/* A server that looks whether its client is there ends any query soon after the connection was
   closed. Else it is the statement's limit that ends it, unless its SQL catches that. */
static void set_hold(struct session *session)
{
    bool at_once = may_begin_yet(session);
    int64_t now_us = clock_monotonic_us();
    int64_t cancel_ms = at_once ? 0 : CANCEL_MS;
    int64_t noticed_us = now_us + (cancel_ms + NOTICE_MS) * 1000;
    int64_t begun_us = at_once ? now_us : session->step_us;
    int64_t limit_us = begun_us + (session->query->request.limit_ms + END_MARGIN_MS) * 1000;

    session->hold_until_us = session->watched ? noticed_us : limit_us;
    set_deadline(session, at_once || session->watched ? cancel_ms : left_ms(limit_us));
}

/* Answers the query, of which nothing more is wanted, and waits for its end. */
static void give_query_up(struct session *session)
{
    struct query *query = session->query;

    /* nothing is answered from a place that has not been judged */
    if (session->result.outcome == QUERY_DONE || session->question != NULL)
        session->result =
            (struct query_result){.outcome = QUERY_TIMED_OUT, .sent_us = session->result.sent_us};
    end_question(session);
    session->hung = is_server_hung(session);
    session->spent = session->spent || session->hung || session->step == STEP_PREPARE;
    set_hold(session);
    if (session->cancel == NULL)
        session->cancel = cancel_start(session->conn);
    struct query_result result = session->result;
    result.generation = session->generation;
    result.hold_ms = left_ms(session->hold_until_us);
    log_if_slow(session, query, &result);
    session->query = NULL;
    forget_result(session);
    session->step = STEP_CANCEL;
    session->options.events->ended(session->options.pool, session, query, &result);
}

/* What was given up has ended. */
static void settle(struct session *session)
{
    stop_deadline(session);
    session->step = STEP_IDLE;
    session->idle_since_us = clock_monotonic_us();
    watch(session, EV_READ);
    session->options.events->settled(session->options.pool, session);
}

/* Then the server's next attempt to send fails, or it looks whether anybody is there. */
static void cut(struct session *session)
{
    ev_io_stop(session->options.loop, &session->io);
    PQfinish(session->conn);
    session->conn = NULL;
    session->step = STEP_CUT;
    set_deadline(session, left_ms(session->hold_until_us));
}

/* Where connections are few some sessions are refused and others not, for as long as it lasts. */
static void end_outage(struct session *session)
{
    struct session_outage *outage = session->options.outage;

    if (!outage->full)
        outage->error = 0;
}

/* It has connected, and may have been given its first query meanwhile. */
static void begin_work(struct session *session)
{
    session->worked = true;
    end_outage(session);
    stop_deadline(session);
    session->idle_since_us = clock_monotonic_us();
    start_step(session, STEP_IDLE);
    session->options.events->up(session->options.pool, session);
    if (session->query == NULL)
        return;
    start_query(session);
    go_on(session, EVENT_DONE);
}

static void start_judging(struct session *session)
{
    session->step = STEP_JUDGE;
    session->now = (struct step_state){.part = 0};
    ask_judge(session);
    if (session->question == NULL)
        go_on(session, session->now.refused ? EVENT_FAILED : EVENT_DONE);
    else
        set_deadline(session, JUDGE_MS);
}

/* All of the step's results are there. */
static void await_judgement(struct session *session)
{
    session->unjudged = session->step;
    session->step = STEP_REJUDGE;
    set_deadline(session, JUDGE_MS);
}

/* The step's results are there: what follows sets its own time. */
static void end_wait(struct session *session, enum session_step to)
{
    session->step = to;
    set_deadline(session, session->query->request.limit_ms + SERVER_FIRST_MS);
    step_done(session);
}

/* The one place where a step follows another. */
static void go_on(struct session *session, enum session_event event)
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
        lose(session);
        break;
    case STEP_IDLE:
        if (!session->worked)
            begin_work(session);
        else if (session->query == NULL)
            settle(session);
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
        give_query_up(session);
        break;
    case STEP_CUT:
        cut(session);
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
        log_recovery();
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
        finish_rows(session);
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

/* One that is still on its way would hit the next query. */
static void end_cancel(struct session *session)
{
    if (session->cancel != NULL && !cancel_end(session->cancel))
        session->spent = true;
    session->cancel = NULL;
}

static enum session_event end_of_query_step(struct session *session)
{
    session->spent = session->spent || is_left_over(session);
    end_cancel(session);
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
    if (session->step == STEP_TRY)
        start_query(session);
    if (session->step < STEP_IDLE)
        go_on(session, end_of_setup(session));
    else
        go_on(session, session->question != NULL ? EVENT_UNJUDGED : end_of_query_step(session));
}

static void poll_connect(struct session *session)
{
    switch (PQconnectPoll(session->conn)) {
    case PGRES_POLLING_READING:
        watch(session, EV_READ);
        break;
    case PGRES_POLLING_WRITING:
        watch(session, EV_WRITE);
        break;
    case PGRES_POLLING_OK:
        PQsetnonblocking(session->conn, 1);
        go_on(session, PQenterPipelineMode(session->conn) == 1 ? EVENT_DONE : EVENT_LOST);
        break;
    default:
        log_connection(session);
        lose(session);
    }
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
    drop_arriving(session);
    now->started = PQresultStatus(res) != PGRES_PIPELINE_SYNC;
    take_result(session, res);
    PQclear(res);
    return true;
}

static void give_up(struct session *session)
{
    if (session->query != NULL && session->worked)
        end_query(session);
    else
        lose(session);
}

/* Rows that nobody wants are not read to their end. An outdated plan's query is run anew when its
   end has come. */
static void refuse_rows(struct session *session)
{
    if (!session->outdated)
        go_on(session, EVENT_LATE);
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
        lose(session);
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

/* libpq takes in a row as a whole, however long. false: there is no room for what comes of this
   one. What is counted is what the socket holds before libpq reads from it, which is about what it
   reads. */
static bool count_arriving(struct session *session)
{
    size_t counted;
    int waiting = 0;

    if (session->step != STEP_EXECUTE || is_discarded(session) ||
        ioctl(session->io.fd, FIONREAD, &waiting) == -1)
        return true;
    session->arriving += (size_t)waiting;
    counted = session->arriving > ARRIVING_BYTES ? session->arriving - ARRIVING_BYTES : 0;
    const char *problem = result_share_set(&session->incomplete, counted);
    if (problem != NULL)
        fail(session, problem);
    return problem == NULL;
}

/* The rest of the row would have to be read before the connection could be used again. */
static void refuse_row(struct session *session)
{
    session->spent = true;
    end_query(session);
}

static void on_io(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct session *session = watcher->data;

    (void)loop;
    if (session->step == STEP_CONNECT) {
        poll_connect(session);
        return;
    }
    if ((events & EV_WRITE) != 0 && PQflush(session->conn) == 0)
        watch(session, EV_READ);
    if (!count_arriving(session)) {
        refuse_row(session);
        return;
    }
    if (PQconsumeInput(session->conn) == 0 || PQstatus(session->conn) == CONNECTION_BAD) {
        lose(session);
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

static void fail_to_connect(struct session *session)
{
    if (session->step != STEP_RESOLVE && PQstatus(session->conn) == CONNECTION_BAD)
        log_connection(session);
    else
        log_outage(session, "no answer in time");
    lose(session);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct session *session = timer->data;

    (void)loop;
    (void)events;
    /* once: a result that comes in drops must not go on for ever */
    if (!session->late && is_our_delay(session)) {
        session->late = true;
        set_deadline(session, SERVER_FIRST_MS);
        return;
    }
    if (session->step < STEP_IDLE) {
        fail_to_connect(session);
        return;
    }
    if (session->step != STEP_CUT && PQstatus(session->conn) == CONNECTION_BAD) {
        lose(session);
        return;
    }
    if (session->step == STEP_TIDY && session->query != NULL) { /* what it has come to is known */
        session->spent = true;
        end_query(session);
        return;
    }
    go_on(session, EVENT_LATE);
}

static void ignore_notice(void *data, const PGresult *notice)
{
    (void)data;
    (void)notice;
}

static int session_destroy(struct session *session)
{
    ev_io_stop(session->options.loop, &session->io);
    ev_timer_stop(session->options.loop, &session->deadline);
    withdraw_question(session);
    if (session->cancel != NULL)
        cancel_end(session->cancel);
    drop_arriving(session);
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

/* `hosts` NULL: libpq finds them without looking anything up. */
static void start_connecting(struct session *session, const struct hosts *hosts)
{
    const struct postgres_settings *settings = session->options.settings;
    const char *const keywords[] = {"dbname",
                                    "password",
                                    "fallback_application_name",
                                    "client_encoding",
                                    hosts != NULL ? "host" : NULL,
                                    "hostaddr",
                                    "port",
                                    NULL};
    const char *const values[] = {settings->conninfo,
                                  settings->password,
                                  "leeway",
                                  "UTF8",
                                  hosts != NULL ? hosts->names : NULL,
                                  hosts != NULL ? hosts->addresses : NULL,
                                  hosts != NULL ? hosts->ports : NULL,
                                  NULL};

    session->conn = mem_check(PQconnectStartParams(keywords, values, 1));
    PQsetNoticeReceiver(session->conn, ignore_notice, NULL);
    PQsetErrorVerbosity(session->conn, PQERRORS_VERBOSE); /* for verdict_take_refusal() */
    /* a connection that failed at once is noticed by the first poll, from the loop */
    if (PQsocket(session->conn) != -1)
        watch(session, EV_WRITE);
    else
        set_deadline(session, 0);
}

static void on_hosts(void *data, const struct hosts *hosts, const char *problem)
{
    struct session *session = data;

    session->look_up = NULL;
    if (hosts == NULL) {
        log_outage(session, problem);
        go_on(session, EVENT_FAILED);
        return;
    }
    const struct session_facts facts = facts_of(session);
    session->step = session_next_step(session->step, EVENT_DONE, &facts);
    start_connecting(session, hosts);
}

struct session *session_new(TALLOC_CTX *ctx, const struct session_options *options)
{
    struct session *session = mem_check(talloc_zero(ctx, struct session));
    int64_t timeout_ms = options->settings->connect_timeout_ms;

    session->options = *options;
    session->incomplete.bound = options->bound;
    if (getrandom(&session->nonce, sizeof session->nonce, GRND_NONBLOCK) == -1)
        session->nonce = (uint32_t)clock_monotonic_us();
    set_lifetime(session);
    session->prepared = mem_check(talloc_zero_array(session, unsigned, options->n_statements + 1));
    session->named = mem_check(talloc_zero_array(session, unsigned, options->n_statements + 1));
    ev_init(&session->io, on_io);
    ev_init(&session->deadline, on_deadline);
    session->io.data = session->deadline.data = session;
    talloc_set_destructor(session, session_destroy);
    set_deadline(session, timeout_ms);
    session->step = STEP_RESOLVE;
    session->look_up = hosts_look_up(session, options->loop, options->settings->conninfo,
                                     timeout_ms, on_hosts, session);
    if (session->look_up == NULL) {
        session->step = STEP_CONNECT;
        start_connecting(session, NULL);
    }
    return session;
}

void session_run(struct session *session, struct query *query)
{
    session->query = query;
    forget_result(session);
    if (session->step != STEP_IDLE)
        return;
    if (!is_untried(session))
        start_query(session);
    go_on(session, EVENT_DONE);
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
    go_on(session, EVENT_LATE);
}
