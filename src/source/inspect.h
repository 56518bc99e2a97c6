/* SPDX-License-Identifier: BSD-2-Clause */
/* Questions to Postgres for an operator's tool: in turn, each waited for. Runs no route's query. */
#ifndef LEEWAY_SOURCE_INSPECT_H
#define LEEWAY_SOURCE_INSPECT_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "config/model.h"

struct inspect;

/* Connects as the daemons do. NULL and a sentence in `error`. Closed by talloc_free. */
struct inspect *inspect_connect(TALLOC_CTX *ctx, struct ev_loop *loop,
                                const struct postgres_settings *settings, char *error,
                                size_t error_size) __attribute__((warn_unused_result));

/* What became of servers that were tried before this one; "": it was the first. Borrowed. */
const char *inspect_problem(const struct inspect *inspect);

struct inspect_server {
    const char *version; /* "15.8 (Debian ...)" */
    bool in_recovery;
    bool pooled; /* it is a pooler that has answered, and that has this server behind it */
    int64_t max_connections;
    int64_t reserved; /* of those, for superusers and the like */
    int64_t in_use;   /* by everybody, this connection not counted */
};

int inspect_server(TALLOC_CTX *ctx, struct inspect *inspect, struct inspect_server *server,
                   char *error, size_t error_size) __attribute__((warn_unused_result));

struct inspect_column {
    const char *name;
    const char *type; /* as format_type() spells it */
};

/* What Postgres makes of a route's SQL. Children of `ctx`. */
struct inspect_statement {
    const char **param_types; /* what it infers of $1, $2, ... */
    size_t n_params;
    struct inspect_column *columns;
    size_t n_columns;
};

/* Prepares the SQL as it is sent by the daemons, also in the form that their plan gives it, and has
   it planned, but not run: what would change data is an error. */
int inspect_statement(TALLOC_CTX *ctx, struct inspect *inspect, const struct route *route,
                      struct inspect_statement *statement, char *error, size_t error_size)
    __attribute__((warn_unused_result));

#endif
