/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of the loader share: the parsed file as a tree of texts, and
   the configuration that is being made of it. */
#ifndef LEEWAY_CONFIG_BUILD_H
#define LEEWAY_CONFIG_BUILD_H

#include <stddef.h>
#include <talloc.h>

#include "config/load.h"
#include "config/model.h"

/* A key with its value, or values if it is a list, unquoted. */
struct config_entry {
    const char *name;
    struct config_place place;
    const char **texts; /* NULL-terminated */
    size_t n_texts;     /* at least 1 */
};

struct config_block {
    const char *kind;  /* "" for the root, else "redis", "route", ... */
    const char *title; /* NULL if the kind has none */
    struct config_place place;
    struct config_entry *entries;
    size_t n_entries;
    struct config_block **blocks; /* in the order of the file */
    size_t n_blocks;
};

/* NULL if the block (which may be NULL) does not have the key. */
const struct config_entry *config_block_find(const struct config_block *block, const char *name);

/* Where the key stands, or the block if it does not have it. */
struct config_place config_block_place(const struct config_block *block, const char *name);

/* The first block of that kind in it, or NULL. */
struct config_block *config_block_child(const struct config_block *block, const char *kind);

/* `parent` does not come to own `block`. */
void config_block_add(struct config_block *parent, struct config_block *block);

/* Copies *entry, and borrows what it points to. 0, or -1 if the block has the key. */
int config_block_add_entry(struct config_block *block, const struct config_entry *entry,
                           TALLOC_CTX *error_ctx, struct config_error *error)
    __attribute__((warn_unused_result));

struct config_build {
    TALLOC_CTX *ctx; /* owns the error's texts */
    struct config_error *error;
    struct config *config; /* owns everything else */
};

/* config_fail() for a build: always -1. */
int config_build_fail(const struct config_build *build, struct config_place place,
                      const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Adds to build->config->warnings. */
void config_build_warn(const struct config_build *build, struct config_place place,
                       const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Contexts and then routes, from the root block into build->config. 0 or -1. */
int config_build_contexts(const struct config_build *build, const struct config_block *root)
    __attribute__((warn_unused_result));
int config_build_routes(const struct config_build *build, const struct config_block *root)
    __attribute__((warn_unused_result));

/* The files of the redis block's TLS: paths, and whether they can be used. 0 or -1. */
int config_build_tls(const struct config_build *build, const struct config_block *redis)
    __attribute__((warn_unused_result));

/* The passwords of password_file, from the blocks that have it, into build->config. 0 or -1. */
int config_build_passwords(const struct config_build *build, const struct config_block *redis,
                           const struct config_block *postgres) __attribute__((warn_unused_result));

/* A route's `param` blocks into route->params. 0 or -1. */
int config_build_params(const struct config_build *build, const struct config_block *block,
                        struct route *route) __attribute__((warn_unused_result));

#endif
