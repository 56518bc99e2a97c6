/* SPDX-License-Identifier: BSD-2-Clause */
/* What a request target means: a path that leeway itself answers, a route with its parameters, or a
   refusal. Neither Redis nor Postgres is asked. Workers and leewayctl ask the same. */
#ifndef LEEWAY_APP_RESOLVE_H
#define LEEWAY_APP_RESOLVE_H

#include "app/application.h"
#include "route/param.h"

enum resolved_kind {
    RESOLVED_REFUSED,
    RESOLVED_HEALTH,
    RESOLVED_METRICS,
    RESOLVED_READY,
    RESOLVED_ROUTE,
};

struct resolved {
    enum resolved_kind kind;
    int status;               /* RESOLVED_REFUSED: 400, 401, 404 or 414 */
    const char *detail;       /* RESOLVED_REFUSED: a sentence for the client */
    struct route_match match; /* RESOLVED_ROUTE, or refused for its parameters; else route NULL */
    struct param_values values;
};

enum { RESOLVE_MAX_TARGET_BYTES = 8192 };

/* Where a request's target was found. */
struct request_target {
    const char *raw; /* as the client sent it; NULL or "": it is not known, and the others tell */
    const char *script_name; /* decoded, and joined with path_info */
    const char *path_info;
    const char *query; /* raw, without '?' */
};

/* `variable` as for param_bind(). Everything made is a child of `ctx`. */
void resolve(TALLOC_CTX *ctx, const struct application *app, const struct request_target *target,
             param_variable_fn *variable, void *data, struct resolved *resolved);

#endif
