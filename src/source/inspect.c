/* SPDX-License-Identifier: BSD-2-Clause */
/* libpq's blocking calls once it is connected, which the server's statement_timeout bounds. Each
   question is a transaction that changes nothing, settings included, so that a pooler keeps it on
   one connection.
 */
#include "config.h"

#include "source/inspect.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "source/dial.h"
#include "source/plan.h"

struct inspect {
    struct ev_loop *loop;
    struct dial *dial;
    bool dialled;
    PGconn *conn;
    const struct postgres_settings *settings;
};

static int inspect_destroy(struct inspect *inspect)
{
    PQfinish(inspect->conn);
    return 0;
}

/* The first line is what happened; the rest are hints. */
static int complain(char *error, size_t error_size, const char *message)
{
    snprintf(error, error_size, "%.*s", (int)strcspn(message, "\n"), message);
    return -1;
}

/* NULL: it failed, and `error` says why. */
static PGresult *ask(struct inspect *inspect, const char *sql, const char *value, char *error,
                     size_t error_size)
{
    PGresult *res =
        PQexecParams(inspect->conn, sql, value != NULL ? 1 : 0, NULL, &value, NULL, NULL, 0);

    if (PQresultStatus(res) == PGRES_TUPLES_OK || PQresultStatus(res) == PGRES_COMMAND_OK)
        return res;
    complain(error, error_size, PQerrorMessage(inspect->conn));
    PQclear(res);
    return NULL;
}

static int begin(struct inspect *inspect, char *error, size_t error_size)
{
    char sql[64];

    snprintf(sql, sizeof sql, "SET LOCAL statement_timeout = %" PRId64,
             inspect->settings->statement_timeout_ms);
    PGresult *res = ask(inspect, "BEGIN READ ONLY", NULL, error, error_size);
    if (res != NULL) {
        PQclear(res);
        res = ask(inspect, sql, NULL, error, error_size);
    }
    PQclear(res);
    return res != NULL ? 0 : -1;
}

static void end(struct inspect *inspect)
{
    PQclear(PQexec(inspect->conn, "ROLLBACK"));
}

static void on_dialled(void *data, PGconn *conn)
{
    struct inspect *inspect = data;

    inspect->conn = conn;
    inspect->dialled = true;
}

static void await_dial(struct inspect *inspect)
{
    inspect->dialled = false;
    while (!inspect->dialled)
        ev_run(inspect->loop, EVRUN_ONCE);
}

static bool is_in_recovery(struct inspect *inspect)
{
    PGresult *res = PQexec(inspect->conn, "SELECT pg_catalog.pg_is_in_recovery()");
    bool is = PQntuples(res) == 1 && PQgetvalue(res, 0, 0)[0] == 't';

    PQclear(res);
    return is;
}

struct inspect *inspect_connect(TALLOC_CTX *ctx, struct ev_loop *loop,
                                const struct postgres_settings *settings, char *error,
                                size_t error_size)
{
    struct inspect *inspect = mem_check(talloc_zero(ctx, struct inspect));
    struct dial_memory memory = {.server = ""};
    const struct dial_options options = {
        .loop = loop, .settings = settings, .application = "leewayctl", .memory = &memory};

    inspect->loop = loop;
    inspect->settings = settings;
    talloc_set_destructor(inspect, inspect_destroy);
    inspect->dial = dial_new(inspect, &options, on_dialled, inspect);
    await_dial(inspect);
    while (inspect->conn != NULL && dial_has_next(inspect->dial) && is_in_recovery(inspect)) {
        PQfinish(inspect->conn);
        inspect->conn = NULL;
        dial_note(inspect->dial, "it is in recovery");
        dial_next(inspect->dial);
        await_dial(inspect);
    }
    if (inspect->conn != NULL)
        return inspect;
    complain(error, error_size, dial_problem(inspect->dial));
    talloc_free(inspect);
    return NULL;
}

const char *inspect_problem(const struct inspect *inspect)
{
    return dial_problem(inspect->dial);
}

int inspect_server(TALLOC_CTX *ctx, struct inspect *inspect, struct inspect_server *server,
                   char *error, size_t error_size)
{
    static const char sql[] = "SELECT current_setting('server_version'), pg_is_in_recovery(), "
                              "current_setting('max_connections'), "
                              "current_setting('superuser_reserved_connections')::int + "
                              "coalesce(current_setting('reserved_connections', true)::int, 0), "
                              "(SELECT count(*) FROM pg_stat_activity "
                              "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()), "
                              "pg_backend_pid()";

    if (begin(inspect, error, error_size) == -1)
        return -1;
    PGresult *res = ask(inspect, "SET LOCAL search_path TO pg_catalog", NULL, error, error_size);
    if (res != NULL) {
        PQclear(res);
        res = ask(inspect, sql, NULL, error, error_size);
    }
    end(inspect);
    if (res == NULL)
        return -1;
    server->version = mem_check(talloc_strdup(ctx, PQgetvalue(res, 0, 0)));
    server->in_recovery = PQgetvalue(res, 0, 1)[0] == 't';
    server->max_connections = strtoll(PQgetvalue(res, 0, 2), NULL, 10);
    server->reserved = strtoll(PQgetvalue(res, 0, 3), NULL, 10);
    server->in_use = strtoll(PQgetvalue(res, 0, 4), NULL, 10);
    server->pooled = strtoll(PQgetvalue(res, 0, 5), NULL, 10) != PQbackendPID(inspect->conn);
    PQclear(res);
    return 0;
}

static const char *type_name(TALLOC_CTX *ctx, struct inspect *inspect, Oid type)
{
    char number[24], error[8];

    snprintf(number, sizeof number, "%u", type);
    PGresult *res = ask(inspect, "SELECT pg_catalog.format_type($1::pg_catalog.oid, NULL)", number,
                        error, sizeof error);
    const char *name = mem_check(talloc_strdup(ctx, res != NULL ? PQgetvalue(res, 0, 0) : number));
    PQclear(res);
    return name;
}

static void take_description(TALLOC_CTX *ctx, struct inspect *inspect, const PGresult *described,
                             struct inspect_statement *statement)
{
    statement->n_params = (size_t)PQnparams(described);
    statement->n_columns = (size_t)PQnfields(described);
    statement->param_types =
        mem_check(talloc_zero_array(ctx, const char *, (unsigned)statement->n_params + 1));
    statement->columns = mem_check(
        talloc_zero_array(ctx, struct inspect_column, (unsigned)statement->n_columns + 1));
    for (size_t i = 0; i < statement->n_params; i++)
        statement->param_types[i] = type_name(ctx, inspect, PQparamtype(described, (int)i));
    for (size_t i = 0; i < statement->n_columns; i++)
        statement->columns[i] = (struct inspect_column){
            .name = mem_check(talloc_strdup(ctx, PQfname(described, (int)i))),
            .type = type_name(ctx, inspect, PQftype(described, (int)i)),
        };
}

static int prepare(struct inspect *inspect, const struct route *route, const char *name,
                   const char *sql, char *error, size_t error_size)
{
    Oid types[CONFIG_MAX_PARAMS];

    plan_param_types(route, types);
    PGresult *res = PQprepare(inspect->conn, name, sql, (int)route->n_params, types);
    bool prepared = PQresultStatus(res) == PGRES_COMMAND_OK;

    if (!prepared)
        complain(error, error_size,
                 PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) != NULL
                     ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)
                     : PQerrorMessage(inspect->conn));
    PQclear(res);
    return prepared ? 0 : -1;
}

/* Nodes of a plan that a read-only transaction refuses, and what to call them. */
static const char *forbidden_node(const char *plan)
{
    static const struct {
        const char *node;
        const char *problem;
    } nodes[] = {
        {"\"Node Type\": \"ModifyTable\"", "it changes data, and queries are read-only"},
        {"\"Node Type\": \"LockRows\"", "it locks rows, and queries are read-only"},
    };

    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++)
        if (strstr(plan, nodes[i].node) != NULL)
            return nodes[i].problem;
    return NULL;
}

/* NULLs for values are not those of a domain that excludes them. */
static bool is_of_our_nulls(const PGresult *res)
{
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    return sqlstate != NULL && (strcmp(sqlstate, "23502") == 0 || strcmp(sqlstate, "23514") == 0);
}

static int judge_explanation(struct inspect *inspect, const char *execute, char *error,
                             size_t error_size)
{
    PGresult *res = PQexec(inspect->conn, execute);
    const char *problem = NULL;
    int result = 0;

    if (PQresultStatus(res) == PGRES_TUPLES_OK)
        problem = PQntuples(res) > 0 ? forbidden_node(PQgetvalue(res, 0, 0)) : NULL;
    else if (!is_of_our_nulls(res))
        problem = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (problem != NULL)
        result = complain(error, error_size, problem);
    PQclear(res);
    return result;
}

/* Values that are not there cannot fold a part of the plan away: it is a generic one. The statement
   is gone again before the transaction ends, for a pooler may have another server then. */
static int explain(TALLOC_CTX *ctx, struct inspect *inspect, const struct route *route,
                   const char *sql, char *error, size_t error_size)
{
    char *execute = mem_check(talloc_strdup(ctx, "EXPLAIN (FORMAT JSON) EXECUTE leeway_check"));

    for (size_t i = 0; i < route->n_params; i++)
        execute = mem_check(talloc_strdup_append(execute, i == 0 ? "(NULL" : ", NULL"));
    if (route->n_params > 0)
        execute = mem_check(talloc_strdup_append(execute, ")"));
    if (prepare(inspect, route, "leeway_check", sql, error, error_size) == -1)
        return -1;
    PQclear(PQexec(inspect->conn, "SAVEPOINT leeway_check"));
    PQclear(PQexec(inspect->conn, "SET LOCAL plan_cache_mode = force_generic_plan"));
    int result = judge_explanation(inspect, execute, error, error_size);
    PQclear(PQexec(inspect->conn, "ROLLBACK TO SAVEPOINT leeway_check"));
    PQclear(PQexec(inspect->conn, "DEALLOCATE leeway_check"));
    return result;
}

static int inspect_within(TALLOC_CTX *ctx, struct inspect *inspect, const struct route *route,
                          struct inspect_statement *out, char *error, size_t error_size)
{
    struct plan *plan = NULL;
    int result = -1;

    if (prepare(inspect, route, "", route->sql, error, error_size) == -1)
        return -1;
    PGresult *described = PQdescribePrepared(inspect->conn, "");
    if (PQresultStatus(described) != PGRES_COMMAND_OK)
        complain(error, error_size, PQerrorMessage(inspect->conn));
    else if ((plan = plan_make(route, described, error, error_size)) != NULL)
        result = prepare(inspect, route, "", plan->sql, error, error_size);
    if (result == 0)
        result = explain(ctx, inspect, route, plan->sql, error, error_size);
    plan_release(plan);
    if (result == 0)
        take_description(ctx, inspect, described, out);
    PQclear(described);
    return result;
}

int inspect_statement(TALLOC_CTX *ctx, struct inspect *inspect, const struct route *route,
                      struct inspect_statement *out, char *error, size_t error_size)
{
    if (begin(inspect, error, error_size) == -1)
        return -1;
    int result = inspect_within(ctx, inspect, route, out, error, error_size);
    end(inspect);
    return result;
}
