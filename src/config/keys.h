/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of all keys (settings.def) and what reads a block by it. */
#ifndef LEEWAY_CONFIG_KEYS_H
#define LEEWAY_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/build.h"
#include "config/model.h"

enum key_type {
    KEY_COUNT,      /* int64_t */
    KEY_PROCESSES,  /* int64_t; "auto" is the number of processors */
    KEY_DURATION,   /* int64_t, milliseconds */
    KEY_SIZE,       /* int64_t, bytes */
    KEY_MODE,       /* int64_t, written in octal */
    KEY_GROUP,      /* int64_t, the number of a group; -1 if empty */
    KEY_RATE,       /* struct rate; empty is none */
    KEY_SHARE,      /* int64_t, billionths, above 0 and at most 1 */
    KEY_BOOL,       /* bool */
    KEY_LOG,        /* const char *: "stderr", "syslog" or "file:PATH" */
    KEY_POOLER,     /* enum pooler */
    KEY_CODING,     /* const struct coding *; NULL is none */
    KEY_SHAPE,      /* enum route_shape */
    KEY_PARAM_TYPE, /* enum param_type */
    KEY_UNKNOWN,    /* bool: reject */
    KEY_TEXT,       /* const char *, like all that follow but the lists */
    KEY_NAME,       /* [A-Za-z0-9_.-]+ */
    KEY_VARIABLE,   /* a FastCGI variable */
    KEY_PREFIX,
    KEY_DIRECTORY, /* an absolute path */
    KEY_ADDRESS,   /* unix:PATH, tcp:HOST:PORT or tls:HOST:PORT */
    KEY_MOUNT,     /* without a trailing slash */
    KEY_URL_PATH,  /* or empty */
    KEY_LIST,      /* const char *const *, NULL-terminated */
    KEY_ADDRESSES, /* const struct networks * */
};

struct config_key {
    const char *block; /* "", "redis", "postgres", "context", "route", "param" */
    const char *name;
    enum key_type type;
    size_t offset;            /* of the member that receives the value */
    const char *default_text; /* NULL: none; a list's elements are joined with ',' */
    const char *min;          /* NULL: no bound */
    const char *max;
    const char *prose;
};

/* All rows of settings.def; `*count` of them. */
const struct config_key *config_keys(size_t *count);

bool config_key_is_list(const struct config_key *key);

/* What the rows of a context, a route and a param are read into. */
struct context_keys {
    int64_t budget_ms;
    int64_t refresh_at_billionths;
    int64_t stale_if_error_ms;
    int64_t negative_budget_ms;
    bool edge;
    const struct coding *coding;
    int64_t compress_min_bytes;
};

struct route_keys {
    const char *context;
    const char *name;
    const char *sql;
    const char *sql_file;
    enum route_shape shape;
    int64_t slots;
    bool private;
    bool reject_unknown_params;
};

struct param_keys {
    enum param_type type;
    const char *from;
    const char *default_text;
    bool required;
    const char *min;
    const char *max;
    int64_t max_length;
    bool slashes;
    const char *const *values;
};

/* Fills the struct at `base` from `block`, which may be NULL: defaults only.
   `kind` chooses the rows. 0, or -1 and the error is reported. */
int config_read_keys(const struct config_build *build, const char *kind,
                     const struct config_block *block, void *base)
    __attribute__((warn_unused_result));

#endif
