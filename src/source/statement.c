/* SPDX-License-Identifier: BSD-2-Clause */
/* Column types and the SQL that suits them. */
#include "config.h"

#include "source/statement.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* Object identifiers of pg_type, fixed for all versions of Postgres. */
static const struct plain_type {
    Oid oid;
    enum json_kind kind;
} plain_types[] = {
    {16, JSON_BOOL},     /* boolean */
    {20, JSON_NUMBER},   /* bigint */
    {21, JSON_NUMBER},   /* smallint */
    {23, JSON_NUMBER},   /* integer */
    {700, JSON_NUMBER},  /* real */
    {701, JSON_NUMBER},  /* double precision */
    {1700, JSON_NUMBER}, /* numeric */
    {25, JSON_STRING},   /* text */
    {1043, JSON_STRING}, /* character varying */
    {1042, JSON_STRING}, /* character */
    {2950, JSON_STRING}, /* uuid */
    {114, JSON_RAW},     /* json */
    {3802, JSON_RAW},    /* jsonb */
};

static const struct plain_type *find_plain_type(Oid oid)
{
    for (size_t i = 0; i < sizeof plain_types / sizeof plain_types[0]; i++)
        if (plain_types[i].oid == oid)
            return &plain_types[i];
    return NULL;
}

static bool all_plain(const PGresult *result)
{
    for (int i = 0; i < PQnfields(result); i++)
        if (find_plain_type(PQftype(result, i)) == NULL)
            return false;
    return true;
}

static const char *duplicate_name(const PGresult *result)
{
    for (int i = 0; i < PQnfields(result); i++)
        for (int k = 0; k < i; k++)
            if (strcmp(PQfname(result, i), PQfname(result, k)) == 0)
                return PQfname(result, i);
    return NULL;
}

/* `.*` keeps a column from being taken for the row, whatever its name; the line
   break ends a comment in the route's last line. */
static char *render_by_postgres(TALLOC_CTX *ctx, const struct route *route)
{
    if (route->shape == SHAPE_VALUE)
        return mem_check(talloc_asprintf(
            ctx, "select to_json(\"leeway value\") from (%s\n) as \"leeway row\"(\"leeway value\")",
            route->sql));
    return mem_check(talloc_asprintf(
        ctx, "select row_to_json(\"leeway row\".*) from (%s\n) as \"leeway row\"", route->sql));
}

int statement_choose_plan(TALLOC_CTX *ctx, struct statement *statement, const PGresult *described,
                          char *error, size_t error_size)
{
    const struct route *route = statement->route;
    int columns = PQnfields(described);

    /* another session of the process was faster */
    if (statement->plan != PLAN_UNKNOWN)
        return 0;
    if (route->shape == SHAPE_VALUE && columns != 1) {
        snprintf(error, error_size, "shape = value needs one column, and the query has %d",
                 columns);
        return -1;
    }
    if (route->shape != SHAPE_VALUE && duplicate_name(described) != NULL) {
        snprintf(error, error_size, "two columns are named \"%s\"", duplicate_name(described));
        return -1;
    }
    statement_forget_plan(statement);
    if (all_plain(described)) {
        statement->plan = PLAN_PLAIN;
        statement->sql = mem_check(talloc_strdup(ctx, route->sql));
    } else {
        statement->plan = PLAN_RENDERED;
        statement->sql = render_by_postgres(ctx, route);
    }
    return 0;
}

void statement_forget_plan(struct statement *statement)
{
    statement->plan = PLAN_UNKNOWN;
    statement->generation++;
    talloc_free(statement->sql);
    statement->sql = NULL;
}

bool statement_columns(const struct statement *statement, const PGresult *result,
                       struct json_column *columns)
{
    int count = PQnfields(result);

    if (statement->plan == PLAN_RENDERED) {
        columns[0] = (struct json_column){.name = "", .kind = JSON_RAW};
        return count == 1;
    }
    if (count > STATEMENT_MAX_COLUMNS || duplicate_name(result) != NULL ||
        (statement->route->shape == SHAPE_VALUE && count != 1))
        return false;
    for (int i = 0; i < count; i++) {
        const struct plain_type *type = find_plain_type(PQftype(result, i));
        if (type == NULL)
            return false;
        columns[i] = (struct json_column){.name = PQfname(result, i), .kind = type->kind};
    }
    return true;
}
