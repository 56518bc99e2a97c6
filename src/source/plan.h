/* SPDX-License-Identifier: BSD-2-Clause */
/* How a route's rows are asked for and read: its SQL as written if all its columns are of plain
   types, whose text is JSON but for quotes, or wrapped so that Postgres renders each row. A plan is
   made from a description of the SQL and never changes: a query is read by the one that it was
   sent with, whatever becomes of the tables or of other queries meanwhile. */
#ifndef LEEWAY_SOURCE_PLAN_H
#define LEEWAY_SOURCE_PLAN_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "config/model.h"
#include "source/json.h"

enum plan_kind {
    PLAN_PLAIN,
    PLAN_RENDERED, /* each row is one column of JSON */
};

struct plan {
    const struct route *route;
    unsigned number; /* no other plan of the process has it; part of a prepared statement's name */
    enum plan_kind kind;
    const char *sql;
    size_t n_columns; /* of what arrives */
    const struct json_column *columns;
    const Oid *types;
    size_t n_described; /* of the SQL as the route has it, which PLAN_RENDERED wraps */
    const char *const *described_names;
    const Oid *described_types;
    unsigned holders;
};

/* Chooses the plan from a description of the route's SQL. NULL and a sentence in `error`: rows of
   such columns can't be the route's response. The caller holds it. */
struct plan *plan_make(const struct route *route, const PGresult *described, char *error,
                       size_t error_size) __attribute__((warn_unused_result));

/* One holder more, and one less; without any it is gone. Both take NULL. */
struct plan *plan_hold(struct plan *plan);
void plan_release(struct plan *plan);

/* Whether rows with the columns of `result` are those that the plan was made for. */
bool plan_fits(const struct plan *plan, const PGresult *result) __attribute__((warn_unused_result));

/* Whether the route's own SQL still has the columns that the plan was made from. Of a rendered plan
   the rows cannot tell. */
bool plan_is_of(const struct plan *plan, const PGresult *described)
    __attribute__((warn_unused_result));

/* The types that go with the SQL when it is parsed, one a parameter: 0 where Postgres finds out,
   and text for one that the SQL does not use, which it would not take a value for otherwise. */
void plan_param_types(const struct route *route, Oid types[CONFIG_MAX_PARAMS]);

#endif
