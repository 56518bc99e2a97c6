/* SPDX-License-Identifier: BSD-2-Clause */
/* Puts files together in the order in which an operator reads them, and notices
   what is given twice. */
#include "config.h"

#include "config/tree.h"

#include <glob.h>
#include <string.h>

#include "base/mem.h"
#include "config/file.h"
#include "config/parse.h"

enum { MAX_FILE = 4 * 1024 * 1024, MAX_INCLUDES = 10 };

struct loading {
    struct config_block *root;
    TALLOC_CTX *error_ctx;
    struct config_error *error;
    int level; /* includes that are open */
};

static int load_file(struct loading *l, const char *file, const struct config_place *include);

void config_block_add(struct config_block *parent, struct config_block *block)
{
    parent->blocks = mem_check(
        talloc_realloc(parent, parent->blocks, struct config_block *, parent->n_blocks + 1));
    parent->blocks[parent->n_blocks++] = block;
}

int config_block_add_entry(struct config_block *block, const struct config_entry *entry,
                           TALLOC_CTX *error_ctx, struct config_error *error)
{
    const struct config_entry *other = config_block_find(block, entry->name);

    if (other != NULL)
        return config_fail(error_ctx, error, entry->place, "%s is given twice; first in %s:%d",
                           entry->name, other->place.file, other->place.line);
    block->entries =
        mem_check(talloc_realloc(block, block->entries, struct config_entry, block->n_entries + 1));
    block->entries[block->n_entries++] = *entry;
    return 0;
}

const struct config_entry *config_block_find(const struct config_block *block, const char *name)
{
    for (size_t i = 0; block != NULL && i < block->n_entries; i++)
        if (strcmp(block->entries[i].name, name) == 0)
            return &block->entries[i];
    return NULL;
}

struct config_place config_block_place(const struct config_block *block, const char *name)
{
    const struct config_entry *entry = config_block_find(block, name);

    return entry != NULL ? entry->place : block->place;
}

struct config_block *config_block_child(const struct config_block *block, const char *kind)
{
    for (size_t i = 0; i < block->n_blocks; i++)
        if (strcmp(block->blocks[i]->kind, kind) == 0)
            return block->blocks[i];
    return NULL;
}

static int include_glob(struct loading *l, const char *pattern, const struct config_place *place)
{
    glob_t found;
    int rc = glob(pattern, 0, NULL, &found);
    int result = 0;

    if (rc == GLOB_NOMATCH)
        return 0;
    if (rc != 0)
        return config_fail(l->error_ctx, l->error, *place, "%s cannot be searched", pattern);
    for (size_t i = 0; result == 0 && i < found.gl_pathc; i++)
        result = load_file(l, found.gl_pathv[i], place);
    globfree(&found);
    return result;
}

/* The directory of the including file may hold what glob(3) takes for a wildcard. */
static char *escape_wildcards(TALLOC_CTX *ctx, const char *file)
{
    char *escaped = mem_check(talloc_zero_array(ctx, char, 2 * strlen(file) + 1));
    char *out = escaped;

    for (; *file != '\0'; file++) {
        if (strchr("*?[\\", *file) != NULL)
            *out++ = '\\';
        *out++ = *file;
    }
    return escaped;
}

static int include(struct loading *l, const struct config_block *block)
{
    const char *file = block->place.file;
    bool wild = strpbrk(block->title, "*?[") != NULL;
    int rc;

    if (l->level == MAX_INCLUDES)
        return config_fail(l->error_ctx, l->error, block->place,
                           "includes are nested more than %d deep; does a file include itself?",
                           MAX_INCLUDES);
    l->level++;
    if (wild)
        rc = include_glob(
            l, config_file_beside(l->root, escape_wildcards(l->root, file), block->title),
            &block->place);
    else
        rc = load_file(l, config_file_beside(l->root, file, block->title), &block->place);
    l->level--;
    return rc;
}

static int merge_entries(struct loading *l, struct config_block *into,
                         const struct config_block *block)
{
    for (size_t i = 0; i < block->n_entries; i++)
        if (config_block_add_entry(into, &block->entries[i], l->error_ctx, l->error) == -1)
            return -1;
    return 0;
}

static int merge_block(struct loading *l, struct config_block *block)
{
    struct config_block *same;

    if (strcmp(block->kind, "include") == 0)
        return include(l, block);
    if (block->kind[0] == '\0')
        return merge_entries(l, l->root, block);
    same = block->title == NULL ? config_block_child(l->root, block->kind) : NULL;
    if (same != NULL)
        return merge_entries(l, same, block);
    config_block_add(l->root, block);
    return 0;
}

/* `include` is where it is included, or NULL. */
static int load_file(struct loading *l, const char *file, const struct config_place *include)
{
    const char *name = mem_check(talloc_strdup(l->root, file));
    struct config_block *tree;
    const char *problem;
    size_t len;
    char *text = config_file_read(l->error_ctx, name, MAX_FILE, &len, &problem);
    int rc = 0;

    if (text == NULL && include != NULL)
        return config_fail(l->error_ctx, l->error, *include, "%s %s", name, problem);
    if (text == NULL)
        return config_fail(l->error_ctx, l->error, (struct config_place){name, 0}, "this file %s",
                           problem);
    tree = config_parse(l->root, l->error_ctx, name, text, len, l->error);
    talloc_free(text);
    if (tree == NULL)
        return -1;
    for (size_t i = 0; rc == 0 && i < tree->n_blocks; i++)
        rc = merge_block(l, tree->blocks[i]);
    return rc;
}

struct config_block *config_tree_load(TALLOC_CTX *ctx, TALLOC_CTX *error_ctx, const char *file,
                                      struct config_error *error)
{
    struct config_block *root = mem_check(talloc_zero(ctx, struct config_block));
    struct loading loading = {.root = root, .error_ctx = error_ctx, .error = error};

    root->kind = "";
    root->place = (struct config_place){mem_check(talloc_strdup(root, file)), 0};
    if (load_file(&loading, file, NULL) == 0)
        return root;
    talloc_free(root);
    return NULL;
}
