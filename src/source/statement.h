/* SPDX-License-Identifier: BSD-2-Clause */
/* A route's SQL as it is sent: as written if all its columns are of plain types,
   whose text is JSON but for quotes, or wrapped so that Postgres renders the row. */
#ifndef LEEWAY_SOURCE_STATEMENT_H
#define LEEWAY_SOURCE_STATEMENT_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "config/model.h"
#include "source/json.h"

enum { STATEMENT_MAX_COLUMNS = 1664 }; /* Postgres's own limit for a target list */

enum statement_plan {
    PLAN_UNKNOWN, /* its columns have to be described first */
    PLAN_PLAIN,
    PLAN_RENDERED, /* each row is one column of JSON */
};

struct statement {
    const struct route *route;
    enum statement_plan plan;
    unsigned generation; /* counts plans; part of the prepared statement's name */
    char *sql;           /* what is prepared once the plan is known */
};

/* Chooses the plan from a description of the route's SQL. 0, or -1 and a sentence in
   `error`: no row of such columns can be the route's response. */
int statement_choose_plan(TALLOC_CTX *ctx, struct statement *statement, const PGresult *described,
                          char *error, size_t error_size) __attribute__((warn_unused_result));

/* Forgets the plan: the tables have changed. */
void statement_forget_plan(struct statement *statement);

/* Fills in `columns` for the rows of `result`. false: some column is not of the kind that
   the plan was made for. */
bool statement_columns(const struct statement *statement, const PGresult *result,
                       struct json_column *columns) __attribute__((warn_unused_result));

#endif
