/* SPDX-License-Identifier: BSD-2-Clause */
/* From a path to its route, at a cost that depends on the number of segments
   and not on the number of routes. */
#ifndef LEEWAY_ROUTE_TABLE_H
#define LEEWAY_ROUTE_TABLE_H

#include <talloc.h>

#include "config/load.h"
#include "http/uri.h"

enum { ROUTE_MAX_SEGMENTS = 32 };

struct route_table;

/* What a path matched: the raw (still percent-encoded) segments of the {names},
   by the index of their parameter; the others are {NULL, 0}. */
struct route_match {
    const struct route *route;
    struct slice values[ROUTE_MAX_SEGMENTS];
};

/* Borrows `config`, which must outlive it. NULL and *error: patterns collide
   with each other or with health_path or metrics_path, or a default, min or
   max is not of its parameter's type. */
struct route_table *route_table_new(TALLOC_CTX *ctx, const struct config *config,
                                    struct config_error *error) __attribute__((warn_unused_result));

/* 1 and *match, or 0: no route. `path` is raw and below mount. A literal
   segment wins over a {name}; literals are compared decoded. Empty segments,
   "." and ".." (also encoded) match nothing but a {name} of a private route, whose parameters
   param_bind() then refuses; a trailing slash is another path. */
int route_table_find(const struct route_table *table, struct slice path, struct route_match *match)
    __attribute__((warn_unused_result));

const struct route *route_table_by_name(const struct route_table *table, const char *name);

#endif
