/* SPDX-License-Identifier: BSD-2-Clause */
/* Typed, checked, canonical parameter values: what is equal has equal bytes. */
#ifndef LEEWAY_ROUTE_PARAM_H
#define LEEWAY_ROUTE_PARAM_H

#include <stdbool.h>
#include <talloc.h>

#include "config/load.h"
#include "http/uri.h"
#include "route/table.h"

/* A route's values in the order $1, $2, ...: canonical UTF-8, or NULL for NULL. */
struct param_values {
    const char **texts;
    size_t count;
};

/* Canonicalises one value. NULL if it is not of the type or out of range. The
   result is `text` itself, a constant or a child of `ctx`. */
const char *param_canonical(TALLOC_CTX *ctx, const struct param_spec *spec, const char *text)
    __attribute__((warn_unused_result));

/* What param_canonical() asks of a value, for messages: "must be an integer from
   1 to 100". A child of `ctx`. */
char *param_requirement(TALLOC_CTX *ctx, const struct param_spec *spec);

/* Whether min, max and default are of the type and within each other's range. */
int param_check_spec(TALLOC_CTX *ctx, const struct param_spec *spec, struct config_error *error)
    __attribute__((warn_unused_result));

/* How a FastCGI variable is looked up: its value, or NULL. */
typedef const char *param_variable_fn(void *data, const char *name);

/* 0 and *values (children of `ctx`, constants or borrowed from the route),
   or the status to answer with, 400, 401 or 404, and in *detail a sentence for the
   client that names the parameter and never its value. */
int param_bind(TALLOC_CTX *ctx, const struct route_match *match, struct slice query,
               param_variable_fn *variable, void *data, struct param_values *values,
               const char **detail) __attribute__((warn_unused_result));

/* The same for values that were canonical when a job was made: checks count and
   type anew. false: they do not fit the route as it is now. */
bool param_values_fit(TALLOC_CTX *ctx, const struct route *route,
                      const struct param_values *values);

#endif
