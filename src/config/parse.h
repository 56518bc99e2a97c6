/* SPDX-License-Identifier: BSD-2-Clause */
/* One file's text, parsed by libConfuse into a tree of texts with their places. */
#ifndef LEEWAY_CONFIG_PARSE_H
#define LEEWAY_CONFIG_PARSE_H

#include <stddef.h>
#include <talloc.h>

#include "config/build.h"

/* A block that holds the file's blocks in their order, a child of `ctx`. Keys
   outside of blocks are in blocks of kind "", an include is a block of kind
   "include" whose title is the file name. NULL: *error is filled in, its texts
   owned by `error_ctx`. Borrows `file` for as long as the tree lives. Overwrites
   `text`. Not reentrant, because libConfuse is not. */
struct config_block *config_parse(TALLOC_CTX *ctx, TALLOC_CTX *error_ctx, const char *file,
                                  char *text, size_t len, struct config_error *error)
    __attribute__((warn_unused_result));

#endif
