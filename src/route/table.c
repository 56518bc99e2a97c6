/* SPDX-License-Identifier: BSD-2-Clause */
/* A trie over segments whose literal edges all lie in one hash table, keyed by
   the node they leave and the decoded segment. The routes' names lie in it too,
   as edges out of a node that no path reaches. */
#include "config.h"

#include "route/table.h"

#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "route/param.h"
#include "route/pattern.h"

enum { ROOT = 0, NONE = 0 };
#define NAMES SIZE_MAX

struct edge {
    size_t from;
    struct slice text;
    size_t to; /* a node, or out of NAMES 1 + the route's index; NONE: the place is free */
};

struct node {
    size_t named; /* where any segment leads for which there is no edge, or NONE */
    const struct target *target;
};

/* A route and which of a path's segments are whose values. */
struct target {
    const struct route *route;
    size_t n_captures;
    struct {
        size_t segment, param;
    } captures[];
};

struct route_table {
    const struct config *config;
    struct node *nodes;
    size_t n_nodes;
    struct edge *edges; /* open addressing, at most half full */
    size_t mask;
};

/* The edge, or the free place for it. */
static struct edge *find_edge(const struct route_table *table, size_t from, struct slice text)
{
    size_t at = (size_t)XXH3_64bits_withSeed(text.data, text.len, from);

    for (;; at++) {
        struct edge *edge = &table->edges[at & table->mask];
        if (edge->to == NONE || (edge->from == from && edge->text.len == text.len &&
                                 memcmp(edge->text.data, text.data, text.len) == 0))
            return edge;
    }
}

static size_t literal_child(const struct route_table *table, size_t from, struct slice text)
{
    return text.data != NULL ? find_edge(table, from, text)->to : NONE;
}

static size_t add_child(struct route_table *table, size_t from, const struct segment *segment)
{
    if (segment->named) {
        if (table->nodes[from].named == NONE)
            table->nodes[from].named = table->n_nodes++;
        return table->nodes[from].named;
    }
    struct edge *edge = find_edge(table, from, segment->text);
    if (edge->to == NONE)
        *edge = (struct edge){from, segment->text, table->n_nodes++};
    return edge->to;
}

static const struct target *target_new(TALLOC_CTX *ctx, const struct route *route,
                                       const struct segments *segments)
{
    struct target *target = mem_check(
        talloc_zero_size(ctx, sizeof *target + segments->count * sizeof target->captures[0]));

    target->route = route;
    for (size_t i = 0; i < segments->count; i++) {
        if (!segments->items[i].named)
            continue;
        target->captures[target->n_captures].segment = i;
        target->captures[target->n_captures].param = segments->items[i].param;
        target->n_captures++;
    }
    return target;
}

static int add_name(struct route_table *table, size_t index, TALLOC_CTX *error_ctx,
                    struct config_error *error)
{
    const struct route *route = &table->config->routes[index];
    struct slice name = {route->name, strlen(route->name)};
    struct edge *edge = find_edge(table, NAMES, name);

    if (edge->to != NONE) {
        const struct route *first = &table->config->routes[edge->to - 1];
        return config_fail(error_ctx, error, route->place,
                           "route \"%s\" has the same name, \"%s\", as route \"%s\" at %s:%d",
                           route->pattern, route->name, first->pattern, first->place.file,
                           first->place.line);
    }
    *edge = (struct edge){NAMES, name, index + 1};
    return 0;
}

static int add_route(struct route_table *table, size_t index, TALLOC_CTX *error_ctx,
                     struct config_error *error)
{
    const struct route *route = &table->config->routes[index];
    struct segments segments;
    size_t node = ROOT;

    if (segments_of_pattern(table, route, &segments, error_ctx, error) != 0)
        return -1;
    for (size_t i = 0; i < segments.count; i++)
        node = add_child(table, node, &segments.items[i]);
    const struct target *taken = table->nodes[node].target;
    if (taken != NULL)
        return config_fail(error_ctx, error, route->place,
                           "route \"%s\" collides with route \"%s\" at %s:%d", route->pattern,
                           taken->route->pattern, taken->route->place.file,
                           taken->route->place.line);
    table->nodes[node].target = target_new(table, route, &segments);
    for (size_t i = 0; i < route->n_params; i++)
        if (param_check_spec(error_ctx, &route->params[i], error) != 0)
            return -1;
    return add_name(table, index, error_ctx, error);
}

/* A {name} beside a built-in path is no collision: there the literal wins. */
static int check_built_in(const struct route_table *table, const char *setting, const char *path,
                          TALLOC_CTX *error_ctx, struct config_error *error)
{
    TALLOC_CTX *scratch = mem_check(talloc_new(NULL));
    struct segments segments;
    size_t node = ROOT;
    int result = 0;

    if (segments_of_path(scratch, (struct slice){path, strlen(path)}, &segments) &&
        !segments.dots) {
        for (size_t i = 0; i < segments.count && (i == 0 || node != NONE); i++)
            node = literal_child(table, node, segments.items[i].text);
        const struct target *target = node != NONE ? table->nodes[node].target : NULL;
        if (target != NULL)
            result = config_fail(error_ctx, error, target->route->place,
                                 "route \"%s\" collides with %s", target->route->pattern, setting);
    }
    talloc_free(scratch);
    return result;
}

static int check_built_ins(const struct route_table *table, TALLOC_CTX *error_ctx,
                           struct config_error *error)
{
    const char *health = table->config->settings.health_path;
    const char *metrics = table->config->settings.metrics_path;

    if (*health != '\0' && strcmp(health, metrics) == 0)
        return config_fail(error_ctx, error, (struct config_place){table->config->file, 0},
                           "health_path and metrics_path are the same, \"%s\"", health);
    if (check_built_in(table, "health_path", health, error_ctx, error) != 0)
        return -1;
    return check_built_in(table, "metrics_path", metrics, error_ctx, error);
}

static struct route_table *table_alloc(TALLOC_CTX *ctx, const struct config *config)
{
    struct route_table *table = mem_check(talloc_zero(ctx, struct route_table));
    size_t max_nodes = 1, slots = 2;

    for (size_t i = 0; i < config->n_routes; i++)
        for (const char *c = config->routes[i].pattern; *c != '\0'; c++)
            max_nodes += *c == '/';
    while (slots < 2 * (max_nodes + config->n_routes))
        slots *= 2;
    table->config = config;
    table->n_nodes = 1;
    table->nodes = mem_check(talloc_zero_array(table, struct node, max_nodes));
    table->edges = mem_check(talloc_zero_array(table, struct edge, slots));
    table->mask = slots - 1;
    return table;
}

struct route_table *route_table_new(TALLOC_CTX *ctx, const struct config *config,
                                    struct config_error *error)
{
    struct route_table *table = table_alloc(ctx, config);
    int result = 0;

    for (size_t i = 0; i < config->n_routes && result == 0; i++)
        result = add_route(table, i, ctx, error);
    if (result == 0)
        result = check_built_ins(table, ctx, error);
    if (result != 0)
        TALLOC_FREE(table);
    return table;
}

/* Depth is at most ROUTE_MAX_SEGMENTS, and no node is visited twice. */
static const struct target *search(const struct route_table *table, size_t node,
                                   const struct segments *segments, size_t depth)
{
    const struct target *found = NULL;

    if (depth == segments->count)
        return table->nodes[node].target;
    size_t child = literal_child(table, node, segments->items[depth].text);
    if (child != NONE)
        found = search(table, child, segments, depth + 1);
    child = table->nodes[node].named;
    if (found == NULL && child != NONE && segments->items[depth].raw.len > 0)
        found = search(table, child, segments, depth + 1);
    return found;
}

int route_table_find(const struct route_table *table, struct slice path, struct route_match *match)
{
    TALLOC_CTX *scratch = mem_check(talloc_new(NULL));
    const struct target *target = NULL;
    struct segments segments;

    if (segments_of_path(scratch, path, &segments))
        target = search(table, ROOT, &segments, 0);
    if (target != NULL && segments.dots && !target->route->private)
        target = NULL;
    if (target != NULL) {
        *match = (struct route_match){.route = target->route};
        for (size_t i = 0; i < target->n_captures; i++)
            match->values[target->captures[i].param] =
                segments.items[target->captures[i].segment].raw;
    }
    talloc_free(scratch);
    return target != NULL ? 1 : 0;
}

const struct route *route_table_by_name(const struct route_table *table, const char *name)
{
    size_t to = find_edge(table, NAMES, (struct slice){name, strlen(name)})->to;

    return to != NONE ? &table->config->routes[to - 1] : NULL;
}
