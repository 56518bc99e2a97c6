/* SPDX-License-Identifier: BSD-2-Clause */
/* Splits at raw slashes first and decodes afterwards, so that an encoded slash
   never makes a segment. */
#include "config.h"

#include "route/pattern.h"

#include <string.h>

static struct slice decoded(TALLOC_CTX *ctx, struct slice raw)
{
    struct slice text = raw;

    if (memchr(raw.data, '%', raw.len) != NULL)
        text.data = uri_decode(ctx, raw, URI_DECODE_PATH, &text.len);
    return text;
}

bool segments_of_path(TALLOC_CTX *ctx, struct slice path, struct segments *segments)
{
    const char *end = path.data + path.len;
    const char *at = path.data;

    segments->count = 0;
    segments->dots = false;
    while (at < end && *at == '/' && segments->count < ROUTE_MAX_SEGMENTS) {
        const char *start = at + 1;
        const char *slash = memchr(start, '/', (size_t)(end - start));
        at = slash != NULL ? slash : end;

        struct slice raw = {start, (size_t)(at - start)};
        struct slice text = decoded(ctx, raw);
        if (raw.len == 0 && at < end)
            return false;
        segments->dots = segments->dots || (text.data != NULL && uri_is_dots(text));
        segments->items[segments->count++] = (struct segment){.raw = raw, .text = text};
    }
    return segments->count > 0 && at == end;
}

static const struct param_spec *find_path_param(const struct route *route, struct slice name)
{
    for (size_t i = 0; i < route->n_params; i++) {
        const struct param_spec *spec = &route->params[i];
        if (spec->source == PARAM_FROM_PATH && strlen(spec->name) == name.len &&
            memcmp(spec->name, name.data, name.len) == 0)
            return spec;
    }
    return NULL;
}

static bool is_named_before(const struct segments *segments, size_t end, size_t param)
{
    for (size_t i = 0; i < end; i++)
        if (segments->items[i].named && segments->items[i].param == param)
            return true;
    return false;
}

static int bind_name(const struct route *route, struct segments *segments, size_t at,
                     TALLOC_CTX *error_ctx, struct config_error *error)
{
    struct segment *segment = &segments->items[at];
    struct slice name = {segment->raw.data + 1, segment->raw.len - 2};
    const struct param_spec *spec = find_path_param(route, name);

    if (spec == NULL)
        return config_fail(error_ctx, error, route->place,
                           "pattern \"%s\": {%.*s} has no param block", route->pattern,
                           (int)name.len, name.data);
    segment->named = true;
    segment->param = (size_t)(spec - route->params);
    if (segment->param >= ROUTE_MAX_SEGMENTS)
        return config_fail(error_ctx, error, spec->place,
                           "param \"%s\" is part of the path and must be among the first %d params",
                           spec->name, ROUTE_MAX_SEGMENTS);
    if (is_named_before(segments, at, segment->param))
        return config_fail(error_ctx, error, route->place, "pattern \"%s\" names {%s} twice",
                           route->pattern, spec->name);
    return 0;
}

static bool is_name(struct slice raw)
{
    return raw.len > 2 && raw.data[0] == '{' && raw.data[raw.len - 1] == '}' &&
           memchr(raw.data + 1, '{', raw.len - 1) == NULL &&
           memchr(raw.data, '}', raw.len - 1) == NULL;
}

int segments_of_pattern(TALLOC_CTX *ctx, const struct route *route, struct segments *segments,
                        TALLOC_CTX *error_ctx, struct config_error *error)
{
    struct slice path = {route->pattern, strlen(route->pattern)};

    if (path.len == 0 || path.data[0] != '/')
        return config_fail(error_ctx, error, route->place, "pattern \"%s\" must begin with \"/\"",
                           route->pattern);
    if (!segments_of_path(ctx, path, segments) || segments->dots)
        return config_fail(error_ctx, error, route->place,
                           "pattern \"%s\" has an empty segment, \".\", \"..\" or more than %d"
                           " segments and matches nothing",
                           route->pattern, ROUTE_MAX_SEGMENTS);
    for (size_t i = 0; i < segments->count; i++) {
        struct slice raw = segments->items[i].raw;
        if (is_name(raw)) {
            if (bind_name(route, segments, i, error_ctx, error) != 0)
                return -1;
        } else if (memchr(raw.data, '{', raw.len) != NULL || memchr(raw.data, '}', raw.len)) {
            return config_fail(error_ctx, error, route->place,
                               "pattern \"%s\": a {name} must be a whole segment; a brace is"
                               " written %%7B or %%7D",
                               route->pattern);
        } else if (segments->items[i].text.data == NULL) {
            return config_fail(error_ctx, error, route->place,
                               "pattern \"%s\" has a broken percent-escape", route->pattern);
        }
    }
    return 0;
}
