/* SPDX-License-Identifier: BSD-2-Clause */
/* Column types and the SQL that suits them. */
#include "config.h"

#include "source/plan.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* Object identifiers of pg_type, fixed for all versions of Postgres. */
enum { OID_JSON = 114, OID_TEXT = 25 };

static const struct plain_type {
    Oid oid;
    enum json_kind kind;
} plain_types[] = {
    {16, JSON_BOOL},         /* boolean */
    {20, JSON_NUMBER},       /* bigint */
    {21, JSON_NUMBER},       /* smallint */
    {23, JSON_NUMBER},       /* integer */
    {700, JSON_NUMBER},      /* real */
    {701, JSON_NUMBER},      /* double precision */
    {1700, JSON_NUMBER},     /* numeric */
    {OID_TEXT, JSON_STRING}, /* text */
    {1043, JSON_STRING},     /* character varying */
    {1042, JSON_STRING},     /* character */
    {2950, JSON_STRING},     /* uuid */
    {OID_JSON, JSON_RAW},    /* json */
    {3802, JSON_RAW},        /* jsonb */
};

static const struct plain_type *find_plain_type(Oid oid)
{
    for (size_t i = 0; i < sizeof plain_types / sizeof plain_types[0]; i++)
        if (plain_types[i].oid == oid)
            return &plain_types[i];
    return NULL;
}

static enum json_kind kind_of(Oid oid)
{
    const struct plain_type *type = find_plain_type(oid);

    return type != NULL ? type->kind : JSON_STRING;
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
        return mem_check(talloc_asprintf(ctx,
                                         "select pg_catalog.to_json(\"leeway value\") from (%s\n) "
                                         "as \"leeway row\"(\"leeway value\")",
                                         route->sql));
    return mem_check(talloc_asprintf(
        ctx, "select pg_catalog.row_to_json(\"leeway row\".*) from (%s\n) as \"leeway row\"",
        route->sql));
}

static bool suits_shape(const struct route *route, const PGresult *described, char *error,
                        size_t error_size)
{
    int columns = PQnfields(described);

    if (columns == 0)
        snprintf(error, error_size, "it gives no rows with columns");
    else if (route->shape == SHAPE_VALUE && columns != 1)
        snprintf(error, error_size, "shape = value needs one column, and the query has %d",
                 columns);
    else if (route->shape != SHAPE_VALUE && duplicate_name(described) != NULL)
        snprintf(error, error_size, "two columns are named \"%s\"", duplicate_name(described));
    else
        return true;
    return false;
}

static void take_columns(struct plan *plan, const PGresult *described)
{
    size_t count = plan->n_columns;
    struct json_column *columns =
        mem_check(talloc_zero_array(plan, struct json_column, (unsigned)count));
    Oid *types = mem_check(talloc_zero_array(plan, Oid, (unsigned)count));

    for (size_t i = 0; i < count; i++) {
        bool rendered = plan->kind == PLAN_RENDERED;
        types[i] = rendered ? OID_JSON : PQftype(described, (int)i);
        columns[i] = (struct json_column){
            .name = rendered ? "" : mem_check(talloc_strdup(columns, PQfname(described, (int)i))),
            .kind = kind_of(types[i]),
        };
    }
    plan->columns = columns;
    plan->types = types;
}

static void note_description(struct plan *plan, const PGresult *described)
{
    size_t count = (size_t)PQnfields(described);
    const char **names = mem_check(talloc_zero_array(plan, const char *, (unsigned)count));
    Oid *types = mem_check(talloc_zero_array(plan, Oid, (unsigned)count));

    for (size_t i = 0; i < count; i++) {
        names[i] = mem_check(talloc_strdup(names, PQfname(described, (int)i)));
        types[i] = PQftype(described, (int)i);
    }
    plan->n_described = count;
    plan->described_names = names;
    plan->described_types = types;
}

struct plan *plan_make(const struct route *route, const PGresult *described, char *error,
                       size_t error_size)
{
    static unsigned last_number;

    if (!suits_shape(route, described, error, error_size))
        return NULL;
    struct plan *plan = mem_check(talloc_zero(NULL, struct plan));
    plan->route = route;
    plan->number = ++last_number;
    plan->holders = 1;
    if (all_plain(described)) {
        plan->kind = PLAN_PLAIN;
        plan->sql = mem_check(talloc_strdup(plan, route->sql));
        plan->n_columns = (size_t)PQnfields(described);
    } else {
        plan->kind = PLAN_RENDERED;
        plan->sql = render_by_postgres(plan, route);
        plan->n_columns = 1;
    }
    take_columns(plan, described);
    note_description(plan, described);
    return plan;
}

struct plan *plan_hold(struct plan *plan)
{
    if (plan != NULL)
        plan->holders++;
    return plan;
}

void plan_release(struct plan *plan)
{
    if (plan != NULL && --plan->holders == 0)
        talloc_free(plan);
}

bool plan_fits(const struct plan *plan, const PGresult *result)
{
    if ((size_t)PQnfields(result) != plan->n_columns)
        return false;
    for (size_t i = 0; i < plan->n_columns; i++) {
        if (PQftype(result, (int)i) != plan->types[i])
            return false;
        if (plan->kind == PLAN_PLAIN && strcmp(PQfname(result, (int)i), plan->columns[i].name) != 0)
            return false;
    }
    return true;
}

bool plan_is_of(const struct plan *plan, const PGresult *described)
{
    if ((size_t)PQnfields(described) != plan->n_described)
        return false;
    for (size_t i = 0; i < plan->n_described; i++)
        if (PQftype(described, (int)i) != plan->described_types[i] ||
            strcmp(PQfname(described, (int)i), plan->described_names[i]) != 0)
            return false;
    return true;
}

void plan_param_types(const struct route *route, Oid types[CONFIG_MAX_PARAMS])
{
    for (size_t i = 0; i < route->n_params; i++)
        types[i] = route->uses_param[i] ? 0 : OID_TEXT;
}
