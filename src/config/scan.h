/* SPDX-License-Identifier: BSD-2-Clause */
/* A look at a file before libConfuse parses it, for what libConfuse 3.3 accepts
   in silence, reports at another line, or stumbles over. */
#ifndef LEEWAY_CONFIG_SCAN_H
#define LEEWAY_CONFIG_SCAN_H

#include <stddef.h>
#include <talloc.h>

#include "config/load.h"

/* Lines on which keys and blocks begin, in the order of the file: libConfuse
   knows only where a value or a block ends. */
struct config_scan {
    int *key_lines; /* of every "key = value" */
    size_t n_keys;
    int *block_lines; /* of every "name {", "name title {" and "name(" */
    size_t n_blocks;
};

/* Checks that strings, comments, lists and blocks are closed and that nothing
   stands between the tokens; overwrites comments in `text` with spaces, because
   libConfuse miscounts lines in them. `text` ends with a NUL at `len`. 0, with
   the lines as children of `ctx`, or -1 and *error, whose texts are owned by
   `error_ctx`. */
int config_scan(TALLOC_CTX *ctx, TALLOC_CTX *error_ctx, const char *file, char *text, size_t len,
                struct config_scan *scan, struct config_error *error)
    __attribute__((warn_unused_result));

#endif
