/* SPDX-License-Identifier: BSD-2-Clause */
/* Length, path, mount, built-in paths, routes, parameters, in this order. */
#include "config.h"

#include "app/resolve.h"

#include <string.h>

#include "http/uri.h"

static void refuse(struct resolved *resolved, int status, const char *detail)
{
    resolved->kind = RESOLVED_REFUSED;
    resolved->status = status;
    resolved->detail = detail;
}

/* The raw target, or, from a server that keeps it to itself, what it made of it: that is decoded,
   and encoded again so that nothing is decoded twice. false: the target has a fragment. */
static bool find_path(TALLOC_CTX *ctx, const struct request_target *target, struct slice *path,
                      struct slice *query)
{
    struct buf joined;

    if (target->raw != NULL && target->raw[0] != '\0')
        return uri_split(target->raw, path, query);
    buf_init(&joined, ctx, strlen(target->script_name) + strlen(target->path_info));
    uri_encode_path(&joined, target->script_name);
    uri_encode_path(&joined, target->path_info);
    *path = (struct slice){joined.data, joined.len};
    *query = (struct slice){target->query, strlen(target->query)};
    return true;
}

static bool is_path(struct slice path, const char *built_in)
{
    size_t len;

    return built_in[0] != '\0' && uri_begins_with(path, built_in, &len) && len == path.len;
}

/* RESOLVED_ROUTE: none of the paths that leeway itself answers. */
static enum resolved_kind built_in(const struct application *app, struct slice path)
{
    const struct settings *settings = &app->config->settings;

    if (is_path(path, settings->health_path))
        return RESOLVED_HEALTH;
    if (is_path(path, settings->metrics_path))
        return RESOLVED_METRICS;
    return is_path(path, app->ready_path) ? RESOLVED_READY : RESOLVED_ROUTE;
}

static void resolve_path(TALLOC_CTX *ctx, const struct application *app, struct slice path,
                         struct slice query, param_variable_fn *variable, void *data,
                         struct resolved *resolved)
{
    const char *mount = app->config->settings.mount, *detail;
    struct slice below;
    size_t len;

    if (!uri_below_mount(path, mount, &below)) {
        refuse(resolved, 404, "There is no such route.");
        return;
    }
    /* Whoever guards them in front may compare them as they are spelt: another spelling is not
       theirs. */
    resolved->kind = uri_begins_with(path, mount, &len) ? built_in(app, below) : RESOLVED_ROUTE;
    if (resolved->kind != RESOLVED_ROUTE)
        return;
    if (route_table_find(app->routes, below, &resolved->match) == 0) {
        refuse(resolved, 404, "There is no such route.");
        return;
    }
    int status =
        param_bind(ctx, &resolved->match, query, variable, data, &resolved->values, &detail);
    if (status != 0)
        refuse(resolved, status, detail);
}

void resolve(TALLOC_CTX *ctx, const struct application *app, const struct request_target *target,
             param_variable_fn *variable, void *data, struct resolved *resolved)
{
    struct slice path, query;

    *resolved = (struct resolved){.kind = RESOLVED_REFUSED};
    if (target->raw != NULL && strlen(target->raw) > RESOLVE_MAX_TARGET_BYTES)
        refuse(resolved, 414, "The URL is longer than 8192 bytes.");
    else if (!find_path(ctx, target, &path, &query))
        refuse(resolved, 400, "The URL has a fragment (\"#\"), which is not sent.");
    else
        resolve_path(ctx, app, path, query, variable, data, resolved);
}
