/* SPDX-License-Identifier: BSD-2-Clause */
/* Paths and patterns as sequences of segments. */
#ifndef LEEWAY_ROUTE_PATTERN_H
#define LEEWAY_ROUTE_PATTERN_H

#include <stdbool.h>
#include <talloc.h>

#include "config/load.h"
#include "http/uri.h"
#include "route/table.h"

struct segment {
    struct slice raw;  /* as it stands between two slashes; empty behind a trailing one */
    struct slice text; /* decoded; data NULL: it equals no literal */
    size_t param;      /* in a pattern and a {name}: the index of its parameter */
    bool named;        /* in a pattern: a {name} */
};

struct segments {
    struct segment items[ROUTE_MAX_SEGMENTS];
    size_t count;
    bool dots; /* one of them is "." or "..", decoded */
};

/* false: it does not begin with '/', has too many segments or an empty one before
   the last. Decoded text is a child of `ctx` or borrowed from
   `path`. */
bool segments_of_path(TALLOC_CTX *ctx, struct slice path, struct segments *segments)
    __attribute__((warn_unused_result));

/* The same for a route's pattern, with its {names} bound to parameters. The
   errors' text is owned by `error_ctx`. */
int segments_of_pattern(TALLOC_CTX *ctx, const struct route *route, struct segments *segments,
                        TALLOC_CTX *error_ctx, struct config_error *error)
    __attribute__((warn_unused_result));

#endif
