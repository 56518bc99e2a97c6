/* SPDX-License-Identifier: BSD-2-Clause */
/* SQL of our own, and the order in which it goes out. */
#include "config.h"

#include "source/packet.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

/* Values would print otherwise, or mean something else, where a role, a database or the server's
   file says so. What chooses the data (search_path, collation, ...) is the operator's. */
#define PINNED_SETTINGS(SET)                                                                       \
    SET("TimeZone", "UTC")                                                                         \
    SET("DateStyle", "ISO, YMD")                                                                   \
    SET("IntervalStyle", "postgres")                                                               \
    SET("bytea_output", "hex")                                                                     \
    SET("extra_float_digits", "1")                                                                 \
    SET("quote_all_identifiers", "off")                                                            \
    SET("client_encoding", "UTF8")                                                                 \
    SET("standard_conforming_strings", "on")                                                       \
    SET("transform_null_equals", "off")                                                            \
    SET("xmlbinary", "base64")                                                                     \
    SET("array_nulls", "on")

/* To set this one, the server reads a file, which is only done where it has another value. */
#define PIN_ABBREVIATIONS(local)                                                                   \
    ", CASE WHEN pg_catalog.current_setting('timezone_abbreviations') OPERATOR(pg_catalog.<>) "    \
    "'Default' THEN "                                                                              \
    "pg_catalog.set_config('timezone_abbreviations', 'Default', " local ") END"

/* A server before 14 does not know it. */
#define WATCH(local)                                                                               \
    "CASE WHEN pg_catalog.current_setting('client_connection_check_interval', true) IS NOT NULL "  \
    "THEN pg_catalog.set_config('client_connection_check_interval', '1s', " local ") END"

#define SET_IN_SESSION(name, value)     ", pg_catalog.set_config('" name "', '" value "', false)"
#define SET_IN_TRANSACTION(name, value) ", pg_catalog.set_config('" name "', '" value "', true)"

/* What tells one server from another at little cost. Of search_path, the setting alone does not say
   which of its schemas there are. No operator or function is looked for along it. */
#define RECURRING_PLACE                                                                            \
    "pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery(), "                                \
    "pg_catalog.encode(pg_catalog.timestamptz_send(pg_catalog.pg_postmaster_start_time()), "       \
    "'hex'), pg_catalog.current_database(), current_user, "                                        \
    "pg_catalog.concat(pg_catalog.current_setting('search_path'), ' = ', "                         \
    "pg_catalog.array_to_string(pg_catalog.current_schemas(false), ','))"
#define MAY_READ                                                                                   \
    ", pg_catalog.has_table_privilege('pg_catalog.pg_database', 'select'), "                       \
    "pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute')"
#define DATABASE                                                                                   \
    "(SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) "                \
    "pg_catalog.current_database())"
/* Of the lock that this query itself has on the view, for who may not read pg_database. */
#define DATABASE_OF_LOCK                                                                           \
    "(SELECT pg_catalog.max(database) FROM pg_catalog.pg_locks WHERE locktype "                    \
    "OPERATOR(pg_catalog.=) 'relation' AND pid OPERATOR(pg_catalog.=) "                            \
    "pg_catalog.pg_backend_pid() AND database OPERATOR(pg_catalog.<>) 0::pg_catalog.oid)"
#define SYSTEM "(SELECT system_identifier FROM pg_catalog.pg_control_system())"

/* A neighbour may have left others; these are what the connection's own role has. */
#define OWN_ROLE "SET LOCAL ROLE TO DEFAULT"
#define OWN_PATH "SET LOCAL search_path TO DEFAULT"

/* Tables of a neighbour's session must not be found in front of the route's. */
#define HIDE_TEMPORARY                                                                             \
    ", pg_catalog.set_config('search_path', "                                                      \
    "pg_catalog.concat(pg_catalog.current_setting('search_path'), ', pg_temp'), true)"

/* The same for every query: prepared by name where the session is ours alone. */
struct fixed {
    const char *name;
    const char *sql;
};

static const struct fixed begin = {"leeway_begin",
                                   "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE"},
                          place = {"leeway_place", "SELECT " RECURRING_PLACE},
                          place_limit = {"leeway_place_limit",
                                         "SELECT " RECURRING_PLACE
                                         ", pg_catalog.set_config('statement_timeout', $1, true)"},
                          mark = {"leeway_mark", "SAVEPOINT leeway"},
                          undo = {"leeway_undo", "ROLLBACK TO SAVEPOINT leeway"},
                          commit = {"leeway_commit", "COMMIT"},
                          unlock = {"leeway_unlock", "SELECT pg_catalog.pg_advisory_unlock_all()"};

static void add(struct packet *packet, enum packet_part part)
{
    assert(packet->n_parts < PACKET_PARTS);
    packet->parts[packet->n_parts++] = part;
}

static void send_sql(struct packet *packet, PGconn *conn, enum packet_part part, const char *sql)
{
    add(packet, part);
    PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0);
}

static void send_sync(struct packet *packet, PGconn *conn)
{
    packet->syncs++;
    PQpipelineSync(conn);
}

void packet_pin(struct packet *packet, PGconn *conn, const struct packet_limits *limits)
{
    static const struct fixed *const fixed[] = {&begin, &place,  &place_limit, &mark,
                                                &undo,  &commit, &unlock};
    char sql[4096];

    *packet = (struct packet){.n_parts = 0};
    /* a pooler may hand on a connection on which another process of ours has prepared its own */
    send_sql(packet, conn, PART_DEALLOCATE, "DEALLOCATE ALL");
    snprintf(sql, sizeof sql,
             "SELECT pg_catalog.set_config('statement_timeout', '%" PRId64
             "', false)" PINNED_SETTINGS(SET_IN_SESSION) PIN_ABBREVIATIONS("false") "%s",
             limits->pinned_ms, limits->watched ? ", " WATCH("false") : "");
    send_sql(packet, conn, PART_PINS, sql);
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        add(packet, PART_PARSE);
        PQsendPrepare(conn, fixed[i]->name, fixed[i]->sql, 0, NULL);
    }
    send_sync(packet, conn);
}

/* For the transaction: where the session has another, or none. */
static void send_limit(struct packet *packet, PGconn *conn, const struct packet_limits *limits)
{
    char sql[128];

    if (limits->execution_ms == limits->pinned_ms)
        return;
    snprintf(sql, sizeof sql,
             "SELECT pg_catalog.set_config('statement_timeout', '%" PRId64 "', true)",
             limits->execution_ms);
    send_sql(packet, conn, PART_BEGIN, sql);
}

static void send_parse(struct packet *packet, PGconn *conn, const char *name, const char *sql,
                       const struct route *route)
{
    Oid types[CONFIG_MAX_PARAMS];

    plan_param_types(route, types);
    add(packet, PART_PARSE);
    PQsendPrepare(conn, name, sql, (int)route->n_params, types);
}

/* The statement whose columns are described; the plan's own is of the name itself. */
static void name_inner(const char *name, char inner[PACKET_NAME_BYTES + 2])
{
    snprintf(inner, PACKET_NAME_BYTES + 2, "%s_c", name);
}

static void send_deallocate(struct packet *packet, PGconn *conn, const char *name)
{
    char sql[128];

    snprintf(sql, sizeof sql, "DEALLOCATE %s", name);
    send_sql(packet, conn, PART_DEALLOCATE, sql);
    send_sync(packet, conn); /* it may be gone already */
}

void packet_prepare(struct packet *packet, PGconn *conn, const struct packet_limits *limits,
                    const struct plan *plan, const char *name, const char *before)
{
    char inner[PACKET_NAME_BYTES + 2];

    *packet = (struct packet){.n_parts = 0};
    if (before != NULL) {
        name_inner(before, inner);
        send_deallocate(packet, conn, before);
        send_deallocate(packet, conn, inner);
    }
    send_limit(packet, conn, limits);
    if (plan->kind == PLAN_RENDERED) {
        name_inner(name, inner);
        send_parse(packet, conn, inner, plan->route->sql, plan->route);
    }
    send_parse(packet, conn, name, plan->sql, plan->route);
    send_sync(packet, conn);
}

/* In front of the query: on a pooler's connection nothing can be known from earlier. */
static void send_local_pins(struct packet *packet, PGconn *conn, const struct packet_limits *limits,
                            bool may_read_database)
{
    char sql[4096];

    send_sql(packet, conn, PART_BEGIN, OWN_ROLE);
    send_sql(packet, conn, PART_BEGIN, OWN_PATH);
    snprintf(sql, sizeof sql,
             "SELECT " RECURRING_PLACE ", %s, pg_catalog.set_config('statement_timeout', '%" PRId64
             "', true)" PINNED_SETTINGS(SET_IN_TRANSACTION) PIN_ABBREVIATIONS("true") HIDE_TEMPORARY
             "%s",
             may_read_database ? DATABASE : DATABASE_OF_LOCK, limits->execution_ms,
             limits->watched ? ", " WATCH("true") : "");
    send_sql(packet, conn, PART_PLACE, sql);
}

static void send_fixed(struct packet *packet, PGconn *conn, enum packet_part part,
                       const struct fixed *fixed, bool named)
{
    if (!named) {
        send_sql(packet, conn, part, fixed->sql);
        return;
    }
    add(packet, part);
    PQsendQueryPrepared(conn, fixed->name, 0, NULL, NULL, NULL, 0);
}

void packet_describe(struct packet *packet, PGconn *conn, const struct packet_limits *limits,
                     const struct route *route, bool pooled, bool may_read_database)
{
    *packet = (struct packet){.n_parts = 0};
    if (pooled) {
        send_fixed(packet, conn, PART_BEGIN, &begin, false);
        send_local_pins(packet, conn, limits, may_read_database);
    } else {
        send_limit(packet, conn, limits);
    }
    send_parse(packet, conn, "", route->sql, route);
    add(packet, PART_DESCRIBE);
    PQsendDescribePrepared(conn, "");
    if (pooled)
        send_fixed(packet, conn, PART_TIDY, &commit, false);
    send_sync(packet, conn);
}

/* In the query's transaction the tables are locked by then, and stay as they are described. */
static void send_columns(struct packet *packet, PGconn *conn, const struct packet_query *query)
{
    char inner[PACKET_NAME_BYTES + 2] = "";

    if (query->plan->kind != PLAN_RENDERED)
        return;
    if (query->name != NULL)
        name_inner(query->name, inner);
    else
        send_parse(packet, conn, inner, query->plan->route->sql, query->plan->route);
    add(packet, PART_COLUMNS);
    PQsendDescribePrepared(conn, inner);
}

/* A transaction of its own role's path, whatever a pooler's connection was left with. */
static void send_question(struct packet *packet, PGconn *conn,
                          const struct postgres_settings *settings, const char *sql)
{
    char timeout[64];

    snprintf(timeout, sizeof timeout, "SET LOCAL statement_timeout = %" PRId64,
             settings->statement_timeout_ms);
    send_fixed(packet, conn, PART_BEGIN, &begin, false);
    send_sql(packet, conn, PART_BEGIN, timeout);
    send_sql(packet, conn, PART_BEGIN, OWN_ROLE);
    send_sql(packet, conn, PART_BEGIN, OWN_PATH);
    send_sql(packet, conn, PART_PLACE, sql);
    send_fixed(packet, conn, PART_TIDY, &commit, false);
    send_sync(packet, conn);
}

void packet_place(struct packet *packet, PGconn *conn, const struct postgres_settings *settings)
{
    *packet = (struct packet){.n_parts = 0};
    send_question(packet, conn, settings, "SELECT " RECURRING_PLACE MAY_READ);
}

void packet_identify(struct packet *packet, PGconn *conn, const struct postgres_settings *settings,
                     bool may_read_database, bool may_read_system)
{
    char sql[1024];

    *packet = (struct packet){.n_parts = 0};
    snprintf(sql, sizeof sql, "SELECT " RECURRING_PLACE ", %s, %s",
             may_read_database ? DATABASE : DATABASE_OF_LOCK, may_read_system ? SYSTEM : "NULL");
    send_question(packet, conn, settings, sql);
    send_sql(packet, conn, PART_WATCH, "SELECT " WATCH("true"));
    send_sync(packet, conn);
}

static void send_query(struct packet *packet, PGconn *conn, const struct packet_query *query)
{
    int n_values = (int)query->values->count;
    const char *const *values = query->values->texts;
    Oid types[CONFIG_MAX_PARAMS];

    add(packet, PART_QUERY);
    if (query->name != NULL) {
        PQsendQueryPrepared(conn, query->name, n_values, values, NULL, NULL, 0);
        return;
    }
    plan_param_types(query->plan->route, types);
    PQsendQueryParams(conn, query->plan->sql, n_values, types, values, NULL, NULL, 0);
}

static void send_place(struct packet *packet, PGconn *conn, const struct packet_limits *limits)
{
    char text[24];
    const char *const values[] = {text};

    if (limits->execution_ms == limits->pinned_ms) {
        send_fixed(packet, conn, PART_PLACE, &place, true);
        return;
    }
    snprintf(text, sizeof text, "%" PRId64, limits->execution_ms);
    add(packet, PART_PLACE);
    PQsendQueryPrepared(conn, place_limit.name, 1, values, NULL, NULL, 0);
}

void packet_execute(struct packet *packet, PGconn *conn, const struct packet_limits *limits,
                    const struct packet_query *query)
{
    *packet = (struct packet){.n_parts = 0};
    send_fixed(packet, conn, PART_BEGIN, &begin, !query->pooled);
    if (query->pooled)
        send_local_pins(packet, conn, limits, query->may_read_database);
    else
        send_place(packet, conn, limits);
    send_fixed(packet, conn, PART_BEGIN, &mark, !query->pooled);
    send_columns(packet, conn, query);
    send_query(packet, conn, query);
    send_fixed(packet, conn, PART_TIDY, &undo, !query->pooled);
    send_fixed(packet, conn, PART_TIDY, &commit, !query->pooled);
    if (!query->pooled) /* behind a pooler they may be a neighbour's */
        send_fixed(packet, conn, PART_TIDY, &unlock, true);
    send_sync(packet, conn);
}

void packet_tidy(struct packet *packet, PGconn *conn, bool pooled)
{
    *packet = (struct packet){.n_parts = 0};
    send_sql(packet, conn, PART_TIDY, "ROLLBACK");
    if (!pooled)
        send_fixed(packet, conn, PART_TIDY, &unlock, true);
    send_sync(packet, conn);
}

void packet_try(struct packet *packet, PGconn *conn)
{
    *packet = (struct packet){.n_parts = 0};
    send_sync(packet, conn);
}
