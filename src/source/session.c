/* SPDX-License-Identifier: BSD-2-Clause */
/* Each step sends one message and takes its results; step_done() chooses what
   comes next. */
#include "config.h"

#include "source/session.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "source/cancel.h"

enum {
    /* The server's own statement_timeout gets this long to say so first. */
    SERVER_FIRST_MS = 250,
    /* A response past this is an error, whoever asks for it. */
    RESPONSE_MAX_BYTES = 64 * 1024 * 1024,
};

enum session_step {
    STEP_CONNECT,
    STEP_SETUP,
    STEP_IDENTIFY, /* which cluster it is, where the role may know */
    STEP_IDLE,
    STEP_BEGIN,    /* prepared = false: a transaction carries the settings */
    STEP_PROBE,    /* parse the route's own SQL ... */
    STEP_DESCRIBE, /* ... to see its columns */
    STEP_PREPARE,
    STEP_EXECUTE,
    STEP_COMMIT,
};

/* The columns of what is asked of each server. */
enum place_field {
    PLACE_IN_RECOVERY,
    PLACE_DATABASE,
    PLACE_USER,
    PLACE_SEARCH_PATH,
    PLACE_MAY_IDENTIFY,
    PLACE_SYSTEM, /* asked for by itself */
    PLACE_FIELDS,
};

/* What makes a place, but for the system identifier, which not every role may read. */
#define SELECT_PLACE                                                                               \
    "SELECT pg_catalog.pg_is_in_recovery(), (SELECT oid FROM pg_catalog.pg_database "              \
    "WHERE datname = pg_catalog.current_database()), current_user, "                               \
    "pg_catalog.current_setting('search_path') || ' = ' || "                                       \
    "pg_catalog.array_to_string(pg_catalog.current_schemas(true), ','), "                          \
    "pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute')"

struct session {
    struct session_options options;
    PGconn *conn;
    enum session_step step;
    bool worked;         /* it has connected and taken its settings */
    unsigned *prepared;  /* by statement index: the generation prepared here, 0: none */
    unsigned preparing;  /* the generation that STEP_PREPARE has sent */
    struct query *query; /* NULL: none */
    struct query_result result;
    bool replan; /* the tables have changed: describe and run once more */
    bool in_recovery;
    char *place[PLACE_FIELDS]; /* what the server has said of itself */
    uint64_t generation;
    bool terminated;  /* by the server; the query is to be sent elsewhere */
    char sqlstate[6]; /* of the query's error; "": none */
    struct json_writer *writer;
    struct json_column *columns;
    struct json_cell *cells;
    int64_t idle_since_us;
    int64_t started_us; /* when the query's first step was sent */
    ev_io io;
    ev_timer deadline;
    bool late; /* the deadline has been put off once */
};

static void start_step(struct session *session, enum session_step step);

uint64_t session_generation(const struct session *session)
{
    return session->generation;
}

bool session_is_idle(const struct session *session)
{
    return session->step == STEP_IDLE && session->query == NULL;
}

int64_t session_idle_since_us(const struct session *session)
{
    return session->idle_since_us;
}

static void watch(struct session *session, int events)
{
    struct ev_loop *loop = session->options.loop;
    int fd = PQsocket(session->conn);

    /* libpq may change sockets between two polls while it connects */
    if (ev_is_active(&session->io) && session->io.fd == fd &&
        (session->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(loop, &session->io);
    if (fd == -1)
        return;
    ev_io_set(&session->io, fd, events);
    ev_io_start(loop, &session->io);
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

static void log_connection(struct session *session, const char *message)
{
    char *error = mem_check(talloc_strdup(session, PQerrorMessage(session->conn)));
    size_t len = strlen(error);

    while (len > 0 && error[len - 1] == '\n')
        error[--len] = '\0';
    log_event(LOG_LEVEL_WARN, message, log_text("error", error));
    talloc_free(error);
}

/* The one end of a connection that has failed. */
static void lose_as(struct session *session, enum session_end how)
{
    struct query *query = session->query;

    session->query = NULL;
    session->options.events->closed(session->options.pool, session, query, how);
}

static void lose(struct session *session)
{
    lose_as(session, session->worked ? SESSION_LOST : SESSION_UNREACHABLE);
}

static void forget_result(struct session *session)
{
    TALLOC_FREE(session->writer);
    TALLOC_FREE(session->columns);
    TALLOC_FREE(session->cells);
    session->result = (struct query_result){.outcome = QUERY_DONE};
    session->sqlstate[0] = '\0';
    session->replan = false;
}

static void log_if_slow(const struct session *session, const struct query *query,
                        const struct query_result *result)
{
    int64_t limit_ms = session->options.slow_query_ms;
    int64_t took_ms = (clock_monotonic_us() - session->started_us) / 1000;
    bool slow = limit_ms > 0 && took_ms >= limit_ms;

    if (result->outcome == QUERY_TIMED_OUT)
        log_event(LOG_LEVEL_WARN, "query timed out",
                  log_text("route", query->request.route->pattern), log_number("ms", took_ms));
    else if (slow)
        log_event(LOG_LEVEL_WARN, "slow query", log_text("route", query->request.route->pattern),
                  log_number("ms", took_ms));
}

static void go_idle(struct session *session)
{
    session->step = STEP_IDLE;
    session->idle_since_us = clock_monotonic_us();
    watch(session, EV_READ);
}

/* Hands the result on; the session is idle, and may be given the next query, before
   the pool hears of it. */
static void end_query(struct session *session)
{
    struct query *query = session->query;
    struct query_result result = session->result;
    /* the session may be closed before the result has been used */
    struct json_writer *writer = talloc_steal(NULL, session->writer);

    stop_deadline(session);
    result.generation = session->generation;
    log_if_slow(session, query, &result);
    session->query = NULL;
    session->writer = NULL;
    forget_result(session);
    go_idle(session);
    session->options.events->ended(session->options.pool, session, query, &result);
    talloc_free(writer);
}

static void log_broken(struct session *session, const char *error)
{
    log_event(LOG_LEVEL_ERROR, "query failed",
              log_text("route", session->query->request.route->pattern),
              log_text("sqlstate", session->sqlstate), log_text("error", error));
}

static void fail(struct session *session, const char *error)
{
    session->result.outcome = QUERY_BROKEN;
    log_broken(session, error);
}

static bool in_class(const char *sqlstate, const char *class)
{
    return strncmp(sqlstate, class, 2) == 0;
}

static enum query_outcome outcome_of(const char *sqlstate)
{
    if (in_class(sqlstate, "22"))
        return QUERY_BAD_VALUE;
    if (strcmp(sqlstate, "57014") == 0)
        return QUERY_TIMED_OUT;
    if (in_class(sqlstate, "53") || in_class(sqlstate, "57") || in_class(sqlstate, "08"))
        return QUERY_AWAY;
    return QUERY_BROKEN;
}

/* Messages of these classes may quote values: only their code is logged. */
static const char *message_to_log(const PGresult *res, const char *sqlstate)
{
    if (in_class(sqlstate, "22") || in_class(sqlstate, "23") || in_class(sqlstate, "P0"))
        return "";
    return PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
}

static void take_error(struct session *session, const PGresult *res)
{
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    snprintf(session->sqlstate, sizeof session->sqlstate, "%s", sqlstate != NULL ? sqlstate : "");
    if (session->step == STEP_SETUP || session->step == STEP_IDENTIFY || session->query == NULL)
        return;
    /* 0A000: cached plan must not change result type; 26000: no such statement */
    if (!session->query->retried &&
        (strcmp(session->sqlstate, "0A000") == 0 || strcmp(session->sqlstate, "26000") == 0)) {
        session->replan = true;
        return;
    }
    /* the server ends this connection, which may be the only one that it ends */
    if (!session->query->retried &&
        (strcmp(session->sqlstate, "57P01") == 0 || strcmp(session->sqlstate, "57P02") == 0)) {
        session->terminated = true;
        return;
    }
    session->result.outcome = outcome_of(session->sqlstate);
    if (session->result.outcome == QUERY_BAD_VALUE)
        log_event(LOG_LEVEL_INFO, "a value was refused by postgres",
                  log_text("route", session->query->request.route->pattern),
                  log_text("sqlstate", session->sqlstate));
    else if (session->result.outcome != QUERY_TIMED_OUT)
        log_broken(session, message_to_log(res, session->sqlstate));
}

/* The columns of the first result that has them decide whether the plan still fits. */
static bool take_columns(struct session *session, const PGresult *res)
{
    const struct statement *statement = session->query->statement;
    size_t count = (size_t)PQnfields(res) + 1;

    if (session->columns != NULL)
        return true;
    session->columns = mem_check(talloc_array(session, struct json_column, count));
    session->cells = mem_check(talloc_array(session, struct json_cell, count));
    if (!statement_columns(statement, res, session->columns)) {
        session->replan = true;
        return false;
    }
    /* each row comes in a result of its own: the names must outlive the first */
    for (size_t i = 0; i + 1 < count; i++)
        session->columns[i].name =
            mem_check(talloc_strdup(session->columns, session->columns[i].name));
    session->writer = json_writer_new(session, statement->route->shape,
                                      statement->plan == PLAN_RENDERED, RESPONSE_MAX_BYTES);
    return true;
}

static void take_json_status(struct session *session, enum json_status status)
{
    switch (status) {
    case JSON_OK:
        break;
    case JSON_NO_ROW:
        session->result.outcome = QUERY_NO_ROW;
        break;
    case JSON_TOO_MANY:
        fail(session, "more than one row was selected for a shape of one");
        break;
    case JSON_TOO_LONG:
        fail(session, "the response is over 64 MB");
        break;
    case JSON_NOT_WRITABLE:
        fail(session, "a value cannot be written as JSON");
        break;
    }
}

static void take_rows(struct session *session, const PGresult *res)
{
    if (session->replan || session->result.outcome != QUERY_DONE || !take_columns(session, res))
        return;
    size_t count = (size_t)PQnfields(res);
    for (int row = 0; row < PQntuples(res) && session->result.outcome == QUERY_DONE; row++) {
        for (size_t i = 0; i < count; i++) {
            bool is_null = PQgetisnull(res, row, (int)i);
            session->cells[i] = (struct json_cell){
                .text = is_null ? NULL : PQgetvalue(res, row, (int)i),
                .len = (size_t)PQgetlength(res, row, (int)i),
            };
        }
        take_json_status(session,
                         json_writer_row(session->writer, session->columns, session->cells, count));
    }
}

static void take_description(struct session *session, const PGresult *res)
{
    char error[256];

    if (statement_choose_plan(session->options.pool, session->query->statement, res, error,
                              sizeof error) == -1)
        fail(session, error);
}

static void take_place_field(struct session *session, enum place_field field, const char *text)
{
    talloc_free(session->place[field]);
    session->place[field] = mem_check(talloc_strdup(session, text));
}

static void take_place(struct session *session, const PGresult *res)
{
    if (PQntuples(res) != 1)
        return;
    if (session->step == STEP_IDENTIFY) {
        take_place_field(session, PLACE_SYSTEM, PQgetvalue(res, 0, 0));
    } else if (PQnfields(res) == PLACE_SYSTEM) {
        for (int i = 0; i < PLACE_SYSTEM; i++)
            take_place_field(session, (enum place_field)i, PQgetvalue(res, 0, i));
        session->in_recovery = session->place[PLACE_IN_RECOVERY][0] == 't';
    }
}

static void take_result(struct session *session, const PGresult *res)
{
    switch (PQresultStatus(res)) {
    case PGRES_SINGLE_TUPLE:
    case PGRES_TUPLES_OK:
        if (session->step == STEP_EXECUTE)
            take_rows(session, res);
        else
            take_place(session, res);
        break;
    case PGRES_COMMAND_OK:
        if (session->step == STEP_DESCRIBE)
            take_description(session, res);
        else if (session->step == STEP_EXECUTE)
            fail(session, "the statement gives no rows");
        break;
    case PGRES_EMPTY_QUERY:
        fail(session, "the statement is empty");
        break;
    default:
        take_error(session, res);
    }
}

static void name_statement(const struct session *session, char *name, size_t size)
{
    const struct statement *statement = session->query->statement;

    snprintf(name, size, "leeway_%zu_%u", statement->route->index, statement->generation);
}

/* LOCAL inside the transaction that a pooler keeps on one server connection, or for
   the session where the connection is ours alone. */
static void send_settings(struct session *session, const char *before, const char *local)
{
    char sql[1024];

    snprintf(sql, sizeof sql,
             "%s; SET %sstatement_timeout = %lld; SET %sTimeZone = 'UTC'; "
             "SET %sDateStyle = 'ISO, YMD'; SET %sIntervalStyle = 'postgres'; "
             "SET %sextra_float_digits = 1; %s",
             before, local, (long long)session->options.settings->statement_timeout_ms, local,
             local, local, local, SELECT_PLACE);
    PQsendQuery(session->conn, sql);
}

static void send_execute(struct session *session)
{
    const struct query *query = session->query;
    const struct param_values *values = query->request.values;
    char name[64];
    int sent;

    session->result.sent_us = clock_monotonic_us();
    if (session->options.settings->prepared) {
        name_statement(session, name, sizeof name);
        sent = PQsendQueryPrepared(session->conn, name, (int)values->count, values->texts, NULL,
                                   NULL, 0);
    } else {
        sent = PQsendQueryParams(session->conn, query->statement->sql, (int)values->count, NULL,
                                 values->texts, NULL, NULL, 0);
    }
    if (sent == 1)
        PQsetSingleRowMode(session->conn);
}

static void send_step(struct session *session)
{
    char name[64];

    switch (session->step) {
    case STEP_SETUP:
        if (session->options.settings->prepared)
            send_settings(session, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "");
        else
            PQsendQuery(session->conn, SELECT_PLACE);
        break;
    case STEP_IDENTIFY:
        PQsendQuery(session->conn, "SELECT system_identifier FROM pg_catalog.pg_control_system()");
        break;
    case STEP_BEGIN:
        send_settings(session, "BEGIN READ ONLY", "LOCAL ");
        break;
    case STEP_PROBE:
        PQsendPrepare(session->conn, "", session->query->request.route->sql, 0, NULL);
        break;
    case STEP_DESCRIBE:
        PQsendDescribePrepared(session->conn, "");
        break;
    case STEP_PREPARE:
        session->preparing = session->query->statement->generation;
        name_statement(session, name, sizeof name);
        PQsendPrepare(session->conn, name, session->query->statement->sql, 0, NULL);
        break;
    case STEP_EXECUTE:
        send_execute(session);
        break;
    case STEP_COMMIT:
        PQsendQuery(session->conn, "COMMIT");
        break;
    case STEP_CONNECT:
    case STEP_IDLE:
        break;
    }
}

/* A message that could not be sent shows as a lost connection when it is flushed. */
static void start_step(struct session *session, enum session_step step)
{
    session->step = step;
    send_step(session);
    int unsent = PQflush(session->conn);
    watch(session, unsent == 1 ? EV_READ | EV_WRITE : EV_READ);
}

static bool is_prepared(const struct session *session)
{
    const struct statement *statement = session->query->statement;

    return session->prepared[statement->route->index] == statement->generation;
}

/* What the query needs next, once the connection is ready for it. */
static void advance_query(struct session *session)
{
    if (session->query->statement->plan == PLAN_UNKNOWN)
        start_step(session, STEP_PROBE);
    else if (session->options.settings->prepared && !is_prepared(session))
        start_step(session, STEP_PREPARE);
    else
        start_step(session, STEP_EXECUTE);
}

static void start_query(struct session *session)
{
    const struct postgres_settings *settings = session->options.settings;
    int64_t limit_ms = session->query->request.limit_ms;

    session->started_us = clock_monotonic_us();
    session->late = false;
    set_deadline(session,
                 limit_ms < settings->statement_timeout_ms ? limit_ms : limit_ms + SERVER_FIRST_MS);
    if (settings->prepared)
        advance_query(session);
    else
        start_step(session, STEP_BEGIN);
}

static void retry_query(struct session *session)
{
    struct query *query = session->query;

    query->retried = true;
    statement_forget_plan(query->statement);
    forget_result(session);
    if (session->options.settings->prepared)
        advance_query(session);
    else
        start_step(session, STEP_BEGIN);
}

static void finish_rows(struct session *session)
{
    if (session->replan || session->result.outcome != QUERY_DONE)
        return;
    if (session->writer == NULL)
        fail(session, "the statement gives no rows");
    else
        take_json_status(session, json_writer_finish(session->writer, &session->result.json));
}

static const char *place_text(const struct session *session, enum place_field field)
{
    return session->place[field] != NULL ? session->place[field] : "";
}

static bool is_right_place(struct session *session)
{
    const struct postgres_judge *judge = &session->options.judge;
    const struct postgres_place place = {
        .system_identifier = place_text(session, PLACE_SYSTEM),
        .database_oid = place_text(session, PLACE_DATABASE),
        .user = place_text(session, PLACE_USER),
        .search_path = place_text(session, PLACE_SEARCH_PATH),
    };

    return judge->judge == NULL ||
           judge->judge(judge->data, &place, &session->generation) == PLACE_RIGHT;
}

static void setup_done(struct session *session)
{
    if (session->sqlstate[0] != '\0' || session->in_recovery) {
        if (session->in_recovery)
            log_message(LOG_LEVEL_WARN,
                        "postgres is in recovery: its lag cannot be bounded, so it is not asked");
        else
            log_connection(session, "postgres refused the session's settings");
        lose(session);
        return;
    }
    if (session->step == STEP_SETUP && session->place[PLACE_MAY_IDENTIFY] != NULL &&
        session->place[PLACE_MAY_IDENTIFY][0] == 't') {
        start_step(session, STEP_IDENTIFY);
        return;
    }
    if (!is_right_place(session)) {
        lose_as(session, SESSION_REFUSED);
        return;
    }
    session->worked = true;
    stop_deadline(session);
    session->step = STEP_IDLE;
    session->options.events->up(session->options.pool);
    if (session->query != NULL)
        start_query(session);
    else
        go_idle(session);
}

/* A failed step of a query ends it; in a transaction the COMMIT comes first. */
static void query_step_done(struct session *session)
{
    if (session->terminated) {
        lose(session);
        return;
    }
    if (session->in_recovery && session->step == STEP_BEGIN)
        session->result.outcome = QUERY_AWAY;
    bool failed = session->sqlstate[0] != '\0' || session->result.outcome != QUERY_DONE;
    bool over = session->step == STEP_EXECUTE || session->step == STEP_COMMIT || failed;

    if (session->step == STEP_EXECUTE && !failed)
        finish_rows(session);
    if (session->step == STEP_PREPARE && !failed)
        session->prepared[session->query->statement->route->index] = session->preparing;
    if (over && session->step != STEP_COMMIT && !session->options.settings->prepared)
        start_step(session, STEP_COMMIT);
    else if (over && session->replan && !session->query->retried)
        retry_query(session);
    else if (over && session->replan) {
        fail(session, "the result's columns keep changing");
        end_query(session);
    } else if (over)
        end_query(session);
    else if (session->step == STEP_PROBE)
        start_step(session, STEP_DESCRIBE);
    else
        advance_query(session);
}

static void step_done(struct session *session)
{
    if (session->step == STEP_SETUP || session->step == STEP_IDENTIFY)
        setup_done(session);
    else if (session->step != STEP_IDLE)
        query_step_done(session);
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
        start_step(session, STEP_SETUP);
        break;
    default:
        log_connection(session, "cannot connect to postgres");
        lose(session);
    }
}

static void take_results(struct session *session)
{
    while (session->step != STEP_IDLE && !PQisBusy(session->conn)) {
        PGresult *res = PQgetResult(session->conn);
        if (res == NULL) {
            step_done(session);
            return;
        }
        take_result(session, res);
        PQclear(res);
    }
    if (PQstatus(session->conn) == CONNECTION_BAD)
        lose(session);
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
    if (PQconsumeInput(session->conn) == 0 || PQstatus(session->conn) == CONNECTION_BAD)
        lose(session);
    else
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
        set_deadline(session, SERVER_FIRST_MS);
        return;
    }
    if (session->step == STEP_CONNECT || session->step == STEP_SETUP ||
        session->step == STEP_IDENTIFY) {
        if (PQstatus(session->conn) == CONNECTION_BAD)
            log_connection(session, "cannot connect to postgres");
        else
            log_event(LOG_LEVEL_WARN, "cannot connect to postgres",
                      log_text("error", "no answer in time"));
        lose(session);
        return;
    }
    struct query *query = session->query;
    const struct query_result result = {.outcome = QUERY_TIMED_OUT,
                                        .sent_us = session->result.sent_us};
    /* had the limit been the server's own, it would have said so by now */
    bool hung = query->request.limit_ms >= session->options.settings->statement_timeout_ms;
    cancel_in_background(session->conn);
    log_if_slow(session, query, &result);
    session->query = NULL;
    session->options.events->ended(session->options.pool, session, query, &result);
    lose_as(session, hung ? SESSION_HUNG : SESSION_LOST);
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
    PQfinish(session->conn);
    return 0;
}

struct session *session_new(TALLOC_CTX *ctx, const struct session_options *options)
{
    static const char *const keywords[] = {"dbname", "fallback_application_name", "client_encoding",
                                           NULL};
    const char *const values[] = {options->settings->conninfo, "leeway", "UTF8", NULL};
    struct session *session = mem_check(talloc_zero(ctx, struct session));

    session->options = *options;
    session->prepared = mem_check(talloc_zero_array(session, unsigned, options->n_statements + 1));
    ev_init(&session->io, on_io);
    ev_init(&session->deadline, on_deadline);
    session->io.data = session->deadline.data = session;
    session->conn = mem_check(PQconnectStartParams(keywords, values, 1));
    talloc_set_destructor(session, session_destroy);
    PQsetNoticeReceiver(session->conn, ignore_notice, NULL);
    set_deadline(session, options->settings->connect_timeout_ms);
    /* a connection that failed at once is noticed by the first poll, from the loop */
    if (PQsocket(session->conn) != -1)
        watch(session, EV_WRITE);
    else
        set_deadline(session, 0);
    return session;
}

void session_run(struct session *session, struct query *query)
{
    session->query = query;
    forget_result(session);
    if (session->step == STEP_IDLE)
        start_query(session);
}
