/* SPDX-License-Identifier: BSD-2-Clause */
/* `context` blocks: staleness budgets and what follows from them. */
#include "config.h"

#include <string.h>

#include "base/mem.h"
#include "config/build.h"
#include "config/keys.h"

enum { DEFAULT_BUDGET_MS = 60 * 1000, LEAST_BUDGET_MS = 1000 };

static const char default_name[] = "default";

static int check_budgets(const struct config_build *build, const struct config_block *block,
                         const struct context_keys *keys)
{
    if (keys->budget_ms == -1)
        return config_build_fail(build, block->place,
                                 "context \"%s\" has no budget; give it one, like budget = 60s",
                                 block->title);
    if (keys->budget_ms > 0 && keys->budget_ms < LEAST_BUDGET_MS)
        return config_build_fail(build, config_block_place(block, "budget"),
                                 "budget is out of range: it must be 0s, or from 1s to 30d");
    if (keys->budget_ms == 0 && keys->stale_if_error_ms > 0)
        return config_build_fail(build, config_block_place(block, "stale_if_error"),
                                 "stale_if_error has no meaning with a budget of 0s, under which "
                                 "nothing is kept; remove it");
    if (keys->negative_budget_ms > keys->budget_ms)
        return config_build_fail(build, config_block_place(block, "negative_budget"),
                                 "negative_budget is out of range: it cannot be longer than the "
                                 "budget");
    return 0;
}

static int check_title(const struct config_build *build, const struct config_block *block,
                       size_t n_before)
{
    const struct context *contexts = build->config->contexts;

    if (block->title[0] == '\0')
        return config_build_fail(build, block->place, "the name of a context cannot be empty");
    for (const char *c = block->title; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return config_build_fail(build, block->place,
                                     "the name of a context cannot have control characters");
    for (size_t i = 0; i < n_before; i++)
        if (strcmp(contexts[i].name, block->title) == 0)
            return config_build_fail(build, block->place,
                                     "context \"%s\" is given twice; first in %s:%d", block->title,
                                     contexts[i].place.file, contexts[i].place.line);
    return 0;
}

/* `block` may be NULL for the default context. */
static int read_context(const struct config_build *build, const struct config_block *block,
                        struct context *context)
{
    bool is_default = block == NULL || strcmp(block->title, default_name) == 0;
    struct context_keys keys = {
        .budget_ms = is_default ? DEFAULT_BUDGET_MS : -1,
        .negative_budget_ms = -1,
    };

    if (config_read_keys(build, "context", block, &keys) == -1)
        return -1;
    if (block != NULL && check_budgets(build, block, &keys) == -1)
        return -1;
    *context = (struct context){
        .name = block != NULL ? block->title : default_name,
        .place = block != NULL ? block->place : (struct config_place){build->config->file, 0},
        .budget_ms = keys.budget_ms,
        .refresh_after_ms = keys.budget_ms * keys.refresh_at_billionths / 1000000000,
        .stale_if_error_ms = keys.stale_if_error_ms,
        .negative_budget_ms =
            keys.negative_budget_ms != -1 ? keys.negative_budget_ms : keys.budget_ms / 10,
        .edge = keys.edge,
        .coding = keys.coding,
        .compress_min_bytes = keys.compress_min_bytes,
    };
    return 0;
}

int config_build_contexts(const struct config_build *build, const struct config_block *root)
{
    struct config *config = build->config;
    struct context *contexts =
        mem_check(talloc_zero_array(config, struct context, root->n_blocks + 1));
    bool has_default = false;

    config->contexts = contexts;
    for (size_t i = 0; i < root->n_blocks; i++) {
        const struct config_block *block = root->blocks[i];
        if (strcmp(block->kind, "context") != 0)
            continue;
        if (check_title(build, block, config->n_contexts) == -1 ||
            read_context(build, block, &contexts[config->n_contexts]) == -1)
            return -1;
        has_default = has_default || strcmp(block->title, default_name) == 0;
        config->n_contexts++;
    }
    return has_default ? 0 : read_context(build, NULL, &contexts[config->n_contexts++]);
}
