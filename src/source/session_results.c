/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows, descriptions and errors as they come. */
#include "config.h"

#include "source/session_state.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/verdict.h"

enum {
    /* Plans that are tried for one query whose tables keep changing. */
    MAX_TRIALS = 3,
    /* More than one piece that comes at once, with the rows that are whole in it. */
    ARRIVING_BYTES = 256 * 1024,
    /* Of one row: a connection that has taken more is not kept. */
    BULKY_BYTES = 8 * 1024 * 1024,
};

void session_drop_arriving(struct session *session)
{
    session->arriving = 0;
    result_share_release(&session->incomplete);
}

/* What has come of a result and what is still coming are two parts of one. */
static bool is_alone(const struct session *session)
{
    size_t own = session->incomplete.bytes + (session->rows != NULL ? rows_held(session->rows) : 0);

    return session->incomplete.bound->held == own;
}

static void fail(struct session *session, const char *error)
{
    if (error == result_bound_crowded && is_alone(session))
        error = result_bound_exceeded;
    session->result.outcome = error == result_bound_crowded ? QUERY_NO_ROOM : QUERY_BROKEN;
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
        if (verdict_is_full(session->now.sqlstate,
                            PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)))
            session->now.refusal = REFUSAL_FULL;
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

static void begin_rows(struct session *session)
{
    struct json_work work = *session->options.work;

    work.route = session->query->plan->route;
    session->rows = rows_new(session, session->query->plan, session->options.bound);
    rows_tell(session->rows, &work);
}

static void take_rows_status(struct session *session, enum rows_status status)
{
    switch (status) {
    case ROWS_OK:
    case ROWS_MORE:
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

static void take_rows(struct session *session, PGresult *res)
{
    if (is_discarded(session))
        return;
    if (PQresultMemorySize(res) > BULKY_BYTES)
        session->spent = true; /* libpq's own buffer never shrinks */
    if (session->rows == NULL)
        begin_rows(session);
    enum rows_status status = rows_take(session->rows, res);
    if (status == ROWS_MORE)
        session->unfinished = res;
    take_rows_status(session, status);
}

void session_drop_unfinished(struct session *session)
{
    PQclear(session->unfinished);
    session->unfinished = NULL;
}

void session_write_on(struct session *session)
{
    enum rows_status status = rows_go_on(session->rows);

    if (status == ROWS_MORE)
        return;
    session_drop_unfinished(session);
    take_rows_status(session, status);
}

size_t session_length(const struct session *session)
{
    return session->rows != NULL ? rows_length(session->rows) : 0;
}

void session_finish_rows(struct session *session)
{
    if (session->rows == NULL) {
        fail(session, "the statement gives no rows");
        return;
    }
    switch (rows_finish(session->rows, &session->json)) {
    case ROWS_OK:
        session->result.json = &session->json;
        break;
    case ROWS_MORE:
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

static void take_tuples(struct session *session, enum packet_part part, PGresult *res)
{
    switch (part) {
    case PART_PLACE:
        session_take_place(session, res);
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

/* libpq's own errors have no SQLSTATE. */
static void note_end(struct session *session, const PGresult *res)
{
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    if (sqlstate != NULL && session->now.sqlstate[0] == '\0')
        snprintf(session->now.sqlstate, sizeof session->now.sqlstate, "%s", sqlstate);
}

void session_take_result(struct session *session, PGresult *res)
{
    const struct step_state *now = &session->now;
    enum packet_part part =
        now->part < now->packet.n_parts ? now->packet.parts[now->part] : PART_TIDY;
    ExecStatusType status = PQresultStatus(res);

    if (session->step == STEP_CANCEL && is_of_no_use(status)) {
        note_end(session, res);
        return;
    }
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

/* libpq takes in a row as a whole, however long. false: there is no room for what comes of this
   one. What is counted is what the socket holds before libpq reads from it, which is about what it
   reads. */
bool session_count_arriving(struct session *session)
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
