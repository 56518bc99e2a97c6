/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes a request target through splitting, matching, binding and the key, and
   aborts where two of them disagree. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/conditional.h"
#include "route/key.h"
#include "route/param.h"
#include "route/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const words[] = {"up", "down", NULL};

static const struct param_spec specs[] = {
    {.name = "id", .type = PARAM_INT, .source = PARAM_FROM_PATH, .required = true, .min = "-9"},
    {.name = "t", .type = PARAM_TEXT, .source = PARAM_FROM_PATH, .required = true, .max_length = 9},
    {.name = "n", .type = PARAM_NUMBER, .source = PARAM_FROM_QUERY, .max = "1.5"},
    {.name = "b", .type = PARAM_BOOL, .source = PARAM_FROM_QUERY},
    {.name = "u", .type = PARAM_UUID, .source = PARAM_FROM_QUERY},
    {.name = "d", .type = PARAM_DATE, .source = PARAM_FROM_QUERY, .default_text = "2024-02-29"},
    {.name = "e", .type = PARAM_ENUM, .source = PARAM_FROM_QUERY, .values = words},
    {.name = "q", .type = PARAM_TEXT, .source = PARAM_FROM_QUERY, .max_length = 9},
};

#define ROUTE(name_, pattern_)                                                                     \
    {                                                                                              \
        .name = (name_), .pattern = (pattern_), .place = {"fuzz", 1}, .params = specs,             \
        .n_params = sizeof specs / sizeof specs[0], .sql = "select 1"                              \
    }

static const struct route routes[] = {
    ROUTE("a", "/a/{id}/{t}"),      ROUTE("b", "/{t}/b/{id}"), ROUTE("c", "/a/b/{id}/{t}/"),
    ROUTE("d", "/%7e%2F/{id}/{t}"), ROUTE("e", "/{id}/{t}"),
};

static const struct config config = {
    .file = "fuzz",
    .settings = {.health_path = "/health", .metrics_path = "/metrics"},
    .routes = routes,
    .n_routes = sizeof routes / sizeof routes[0],
};

static const struct route_table *shared_table(void)
{
    static struct route_table *table;
    struct config_error error;

    if (table == NULL && (table = route_table_new(NULL, &config, &error)) == NULL)
        abort();
    return table;
}

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_round_trip(TALLOC_CTX *ctx, struct slice raw, enum uri_decode how)
{
    size_t len, again_len;
    char *text = uri_decode(ctx, raw, how, &len);
    struct buf encoded;

    if (text == NULL)
        return;
    buf_init(&encoded, ctx, 1);
    uri_encode(&encoded, text, len);
    char *again = uri_decode(ctx, (struct slice){encoded.data, encoded.len}, how, &again_len);
    must(again != NULL && again_len == len && strlen(again) == len && strcmp(again, text) == 0);
}

static const char *no_variable(void *data, const char *name)
{
    (void)data;
    (void)name;
    return NULL;
}

static void check_request(TALLOC_CTX *ctx, struct slice path, struct slice query)
{
    struct route_match match;
    struct param_values values;
    const char *detail = NULL;

    if (route_table_find(shared_table(), path, &match) == 0)
        return;
    if (param_bind(ctx, &match, query, no_variable, NULL, &values, &detail) != 0) {
        must(detail != NULL);
        return;
    }
    must(param_values_fit(ctx, match.route, &values));
    const char *key = key_base(ctx, "leeway", match.route, "0123456789abcdef", &values);
    must(strchr(key, '{') == strrchr(key, '{') && strchr(key, '}') == key + strlen(key) - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    const char *target = mem_check(talloc_strndup(ctx, (const char *)data, size));
    struct slice path, query, below;

    uri_split(target, &path, &query);
    check_round_trip(ctx, path, URI_DECODE_PATH);
    check_round_trip(ctx, query, URI_DECODE_QUERY);
    if (uri_below_mount(path, "/m%41", &below) || uri_below_mount(path, "", &below))
        check_request(ctx, below, query);
    (void)conditional_none_match(target, "\"abc\"");
    talloc_free(ctx);
    return 0;
}
