/* SPDX-License-Identifier: BSD-2-Clause */
/* `route` blocks: pattern, name, context and query. */
#include "config.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "config/build.h"
#include "config/file.h"
#include "config/keys.h"
#include "config/pattern.h"
#include "config/sql.h"

enum { MAX_SQL_FILE = 1024 * 1024 };

static const struct context *find_context(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->n_contexts; i++)
        if (strcmp(config->contexts[i].name, name) == 0)
            return &config->contexts[i];
    return NULL;
}

/* Against the routes before it. */
static int check_duplicates(const struct config_build *build, const struct config_block *block,
                            const struct route *route)
{
    const struct config *config = build->config;
    bool named = config_block_find(block, "name") != NULL;

    for (size_t i = 0; i < route->index; i++) {
        const struct route *other = &config->routes[i];
        if (strcmp(other->pattern, route->pattern) == 0)
            return config_build_fail(build, route->place,
                                     "route \"%s\" is given twice; first in %s:%d", route->pattern,
                                     other->place.file, other->place.line);
        if (strcmp(other->name, route->name) == 0)
            return config_build_fail(build, config_block_place(block, "name"),
                                     "the %sname \"%s\" is already that of route \"%s\" in %s:%d; "
                                     "give this route another with the key name",
                                     named ? "" : "generated ", route->name, other->pattern,
                                     other->place.file, other->place.line);
    }
    return 0;
}

static char *read_sql_file(const struct config_build *build, const struct config_entry *entry)
{
    const char *path = config_file_beside(build->config, entry->place.file, entry->texts[0]);
    const char *problem;
    size_t len;
    char *sql = config_file_read(build->config, path, MAX_SQL_FILE, &len, &problem);

    if (sql == NULL)
        config_build_fail(build, entry->place, "sql_file: %s %s", path, problem);
    else if (strlen(sql) != len || utf8_length(sql, len) == -1)
        config_build_fail(build, entry->place, "sql_file: %s is not UTF-8 text", path);
    else
        return sql;
    return NULL;
}

static int check_verb(const struct config_build *build, const struct config_entry *entry,
                      const struct sql_facts *facts)
{
    if (facts->verb == NULL)
        return config_build_fail(build, entry->place, "%s: the query is empty", entry->name);
    if (facts->is_query)
        return 0;
    if (facts->verb_len == 0)
        return config_build_fail(build, entry->place,
                                 "%s: the query must begin with SELECT, WITH, VALUES or TABLE",
                                 entry->name);
    return config_build_fail(
        build, entry->place,
        "%s: the query begins with \"%.*s\"; it must be SELECT, WITH, VALUES or TABLE", entry->name,
        (int)facts->verb_len, facts->verb);
}

static int check_sql(const struct config_build *build, const struct config_entry *entry,
                     const struct sql_facts *facts, size_t n_params)
{
    if (facts->problem != NULL)
        return config_build_fail(build, entry->place, "%s: the query is malformed: %s", entry->name,
                                 facts->problem);
    if (check_verb(build, entry, facts) == -1)
        return -1;
    if (facts->highest_param > (int64_t)n_params)
        return config_build_fail(
            build, entry->place,
            "%s: the query uses $%lld, but the route has only %zu param block%s", entry->name,
            (long long)facts->highest_param, n_params, n_params == 1 ? "" : "s");
    return 0;
}

static int read_sql(const struct config_build *build, const struct config_block *block,
                    struct route *route)
{
    const struct config_entry *sql = config_block_find(block, "sql");
    const struct config_entry *sql_file = config_block_find(block, "sql_file");
    const struct config_entry *entry = sql != NULL ? sql : sql_file;

    if (entry == NULL)
        return config_build_fail(build, block->place,
                                 "route \"%s\" has no query; give it sql or sql_file",
                                 route->pattern);
    if (sql != NULL && sql_file != NULL)
        return config_build_fail(build, sql_file->place,
                                 "route \"%s\" has both sql and sql_file; remove one",
                                 route->pattern);

    const char *text = sql != NULL ? sql->texts[0] : read_sql_file(build, sql_file);
    if (text == NULL)
        return -1;
    struct sql_facts facts = sql_inspect(text);
    if (check_sql(build, entry, &facts, route->n_params) == -1)
        return -1;
    size_t len = facts.len;
    while (len > 0 && strchr(" \t\r\n\f\v;", text[len - 1]) != NULL)
        len--;
    route->sql = mem_check(talloc_strndup(build->config, text, len));
    memcpy(route->uses_param, facts.uses_param, sizeof route->uses_param);
    return 0;
}

static int read_route(const struct config_build *build, const struct config_block *block,
                      struct route *route)
{
    const char *problem = pattern_problem(build->ctx, block->title);
    struct route_keys keys = {0};

    if (problem != NULL)
        return config_build_fail(build, block->place, "the pattern \"%s\" is malformed: %s",
                                 block->title, problem);
    if (config_read_keys(build, "route", block, &keys) == -1)
        return -1;
    *route = (struct route){
        .name = keys.name != NULL ? keys.name : pattern_route_name(build->config, block->title),
        .pattern = block->title,
        .place = block->place,
        .context = find_context(build->config, keys.context),
        .shape = keys.shape,
        .slots = keys.slots,
        .private = keys.private,
        .reject_unknown_params = keys.reject_unknown_params,
        .index = build->config->n_routes,
    };
    if (route->context == NULL)
        return config_build_fail(build, config_block_place(block, "context"),
                                 "there is no context \"%s\"; define it or use another",
                                 keys.context);
    if (check_duplicates(build, block, route) == -1 ||
        config_build_params(build, block, route) == -1)
        return -1;
    return read_sql(build, block, route);
}

int config_build_routes(const struct config_build *build, const struct config_block *root)
{
    struct config *config = build->config;
    struct route *routes = mem_check(talloc_zero_array(config, struct route, root->n_blocks + 1));

    config->routes = routes;
    for (size_t i = 0; i < root->n_blocks; i++) {
        if (strcmp(root->blocks[i]->kind, "route") != 0)
            continue;
        if (read_route(build, root->blocks[i], &routes[config->n_routes]) == -1)
            return -1;
        config->n_routes++;
    }
    return 0;
}
