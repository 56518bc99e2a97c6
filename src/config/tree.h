/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration file with all its includes as one tree. */
#ifndef LEEWAY_CONFIG_TREE_H
#define LEEWAY_CONFIG_TREE_H

#include <talloc.h>

#include "config/build.h"

/* The root block, a child of `ctx`: its entries are the keys outside of blocks;
   `redis` and `postgres` blocks are merged into one each. NULL: *error is filled
   in, its texts owned by `error_ctx`. */
struct config_block *config_tree_load(TALLOC_CTX *ctx, TALLOC_CTX *error_ctx, const char *file,
                                      struct config_error *error)
    __attribute__((warn_unused_result));

#endif
