/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads a configuration file with libConfuse and checks all that can be
   checked without connecting to anything. */
#ifndef LEEWAY_CONFIG_LOAD_H
#define LEEWAY_CONFIG_LOAD_H

#include <talloc.h>

#include "config/model.h"

/* What is wrong, and where. `line` 0: the whole file. */
struct config_error {
    char *file; /* owned by the context given to config_load */
    int line;
    char *text; /* a sentence without a full stop */
};

/* 0: *config is complete, a child of `ctx`, and freed as one piece.
   -1: *error is filled in. Never prints, never exits. Checks that need to know
   routes as a whole (collisions, defaults of the wrong type) are made by
   route_table_new(). */
int config_load(TALLOC_CTX *ctx, const char *file, const struct config **config,
                struct config_error *error) __attribute__((warn_unused_result));

/* Fills in *error and returns -1, so that a check reads "return config_fail(...)". */
int config_fail(TALLOC_CTX *ctx, struct config_error *error, struct config_place place,
                const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
