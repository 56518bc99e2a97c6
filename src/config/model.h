/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration as the rest of the program sees it: plain, read-only values.
   All strings are NUL-terminated UTF-8 owned by the struct config. */
#ifndef LEEWAY_CONFIG_MODEL_H
#define LEEWAY_CONFIG_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coding/coding.h"
#include "config/settings.h"

enum { CONFIG_MAX_SEGMENTS = 32, CONFIG_MAX_PARAMS = 32 }; /* of a route */

/* Where a key or a block stands, for error messages. */
struct config_place {
    const char *file; /* as given on the command line or to include() */
    int line;         /* from 1; 0: the whole file */
};

/* What is allowed, and likely a mistake. */
struct config_warning {
    struct config_place place;
    const char *text; /* a sentence without a full stop */
};

/* A staleness budget and what hangs on it. */
struct context {
    const char *name;
    struct config_place place;
    int64_t budget_ms;         /* 0: never cached */
    int64_t refresh_after_ms;  /* refresh_at x budget, rounded down: from this age a hit is stale */
    int64_t stale_if_error_ms; /* beyond the budget */
    int64_t negative_budget_ms; /* how long a 404 may be served, at most budget_ms */
    bool edge;
    const struct coding *coding; /* in which answers are stored and sent; NULL: none */
    int64_t compress_min_bytes;
};

enum param_type {
    PARAM_INT,    /* 64 bit */
    PARAM_NUMBER, /* plain decimal, at most 64 digits */
    PARAM_BOOL,
    PARAM_TEXT,
    PARAM_UUID,
    PARAM_DATE,
    PARAM_ENUM,
};

/* "int", "number", ...; the same words as in the file. */
const char *param_type_name(enum param_type type);

enum param_source {
    PARAM_FROM_PATH,
    PARAM_FROM_QUERY,
    PARAM_FROM_VARIABLE, /* a FastCGI variable */
};

struct param_spec {
    const char *name;
    struct config_place place;
    enum param_type type;
    enum param_source source;
    const char *variable;     /* PARAM_FROM_VARIABLE: its name */
    const char *default_text; /* as written; NULL: none */
    struct config_place default_place;
    bool required;   /* false: an absent one is NULL in SQL */
    const char *min; /* as written (int: an integer, number: a decimal); NULL: no bound */
    const char *max;
    int64_t max_length;        /* text: characters */
    bool slashes;              /* from the path of a private route: may hold separators */
    const char *const *values; /* enum: NULL-terminated */
};

enum route_shape { SHAPE_OBJECT, SHAPE_ARRAY, SHAPE_VALUE };

const char *route_shape_name(enum route_shape shape);

struct route {
    const char *name;    /* unique; only [A-Za-z0-9_.-], made from the pattern unless given */
    const char *pattern; /* "/users/{id}/profile", without mount */
    struct config_place place;
    const struct context *context;
    const struct param_spec *params; /* in the order $1, $2, ... */
    size_t n_params;
    const char *sql; /* one query, without a semicolon or white space behind it */
    /* By index into params: whether sql has that $n. Postgres does not know a parameter that
       it does not find, and takes no value for it unless its type comes with the statement. */
    bool uses_param[CONFIG_MAX_PARAMS];
    enum route_shape shape;
    int64_t slots; /* that its queries may hold at once on a host; 0: no bound of its own */
    bool private;  /* set, or some parameter comes from a variable */
    bool reject_unknown_params;
    size_t index; /* its place in config.routes */
};

struct config {
    const char *file;
    struct settings settings;
    struct config_place conninfo_place; /* of settings.postgres.conninfo, or line 0 */
    const struct context *contexts;
    size_t n_contexts;
    const struct route *routes;
    size_t n_routes;
    const struct config_warning *warnings; /* in the order in which they were found */
    size_t n_warnings;
};

#endif
