/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes a request target through splitting, matching, binding and the key, and
   aborts where two of them disagree; the values that come out must, as a request
   of their own, have the same key. As If-None-Match it must match what it names. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cache/keys.h"
#include "http/conditional.h"
#include "http/variables.h"
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

static const struct param_spec private_specs[] = {
    {.name = "q", .type = PARAM_TEXT, .source = PARAM_FROM_QUERY, .max_length = 9},
    {.name = "v", .type = PARAM_NUMBER, .source = PARAM_FROM_VARIABLE, .variable = "V"},
    {.name = "t", .type = PARAM_TEXT, .source = PARAM_FROM_PATH, .required = true, .max_length = 9},
};

#define ROUTE_WITH(name_, pattern_, specs_, reject)                                                \
    {                                                                                              \
        .name = (name_), .pattern = (pattern_), .place = {"fuzz", 1}, .params = (specs_),          \
        .n_params = sizeof(specs_) / sizeof(specs_)[0], .sql = "select 1",                         \
        .reject_unknown_params = (reject), .private = (reject)                                     \
    }
#define ROUTE(name_, pattern_) ROUTE_WITH(name_, pattern_, specs, false)

static const struct route routes[] = {
    ROUTE("a", "/a/{id}/{t}"),    ROUTE("b", "/{t}/b/{id}"),
    ROUTE("c", "/a/b/{id}/{t}/"), ROUTE("d", "/%7e%2F/{id}/{t}"),
    ROUTE("e", "/{id}/{t}"),      ROUTE_WITH("f", "/v/{t}", private_specs, true),
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

static void check_pairs(TALLOC_CTX *ctx, struct slice query)
{
    struct slice rest = query, name, value;
    const char *end = query.len > 0 ? query.data + query.len : query.data;

    while (uri_next_pair(&rest, &name, &value)) {
        must(name.data >= query.data && name.data + name.len <= value.data);
        must(value.data + value.len <= rest.data && rest.data + rest.len == end);
        check_round_trip(ctx, name, URI_DECODE_QUERY);
        check_round_trip(ctx, value, URI_DECODE_QUERY);
    }
    must(rest.len == 0);
}

static const char *variable(void *data, const char *name)
{
    must(strcmp(name, "V") == 0);
    return data;
}

static struct slice encoded(TALLOC_CTX *ctx, const char *text)
{
    struct buf out;

    buf_init(&out, ctx, 1);
    uri_encode(&out, text, strlen(text));
    return (struct slice){out.data, out.len};
}

static const char *key_of(TALLOC_CTX *ctx, const struct route *route,
                          const struct param_values *values)
{
    const char *key = key_base(ctx, "leeway", route, "0123456789abcdef", values);

    must(strchr(key, '{') == strrchr(key, '{') && strchr(key, '}') == key + strlen(key) - 1);
    return key;
}

/* The request that is written with the values as they came out. */
static void check_canonical(TALLOC_CTX *ctx, const struct route *route,
                            const struct param_values *values)
{
    struct route_match match = {.route = route};
    struct param_values again;
    const char *detail = NULL;
    char *from_server = NULL;
    struct buf query;

    buf_init(&query, ctx, 1);
    for (size_t i = 0; i < values->count; i++) {
        const struct param_spec *spec = &route->params[i];
        if (values->texts[i] == NULL)
            continue;
        struct slice text = encoded(ctx, values->texts[i]);
        if (spec->source == PARAM_FROM_PATH)
            match.values[i] = text;
        else if (spec->source == PARAM_FROM_VARIABLE)
            from_server = mem_check(talloc_strdup(ctx, values->texts[i]));
        else
            buf_printf(&query, "&%s=%s", spec->name, text.data);
    }
    int status = param_bind(ctx, &match, (struct slice){query.data, query.len}, variable,
                            from_server, &again, &detail);
    must(status == 0 && strcmp(key_of(ctx, route, values), key_of(ctx, route, &again)) == 0);
}

/* What a private route must never get out of one segment. */
static bool separates(const char *text)
{
    return strpbrk(text, "/\\") != NULL || strcmp(text, ".") == 0 || strcmp(text, "..") == 0;
}

/* The variable is what the query ends with. */
static void check_request(TALLOC_CTX *ctx, struct slice path, struct slice query)
{
    struct route_match match;
    struct param_values values;
    const char *detail = NULL;
    char *from_server = query.data != NULL ? strrchr(query.data, '=') : NULL;

    if (from_server != NULL)
        from_server++;
    if (route_table_find(shared_table(), path, &match) == 0)
        return;
    int status = param_bind(ctx, &match, query, variable, from_server, &values, &detail);
    if (status != 0) {
        must((status == 400 || status == 401) && detail != NULL);
        return;
    }
    must(param_values_fit(ctx, match.route, &values));
    must(!match.route->private || !separates(values.texts[2]));
    check_canonical(ctx, match.route, &values);
}

static void check_none_match(TALLOC_CTX *ctx, const char *field)
{
    const char *etag = "\"abc\"";
    bool named = conditional_none_match(field, etag);

    must(!named || strstr(field, etag) != NULL || strchr(field, '*') != NULL);
    must(conditional_none_match(field, "W/\"abc\"") == named);
    must(conditional_none_match(mem_check(talloc_asprintf(ctx, "\"abc\" ,%s", field)), etag));
}

/* Found from the front, and looked for from the back: one value, or a contradiction. */
static void check_variables(TALLOC_CTX *ctx, const char *text)
{
    enum { MAX_ENTRIES = 16 };
    struct variables *variables = variables_new(ctx);
    char *entries[MAX_ENTRIES + 1] = {NULL};
    char *rest = mem_check(talloc_strdup(ctx, text));
    const char *last = NULL;
    bool differ = false;
    int count = 0;

    while (count < MAX_ENTRIES && (entries[count] = strsep(&rest, "&")) != NULL)
        count++;
    entries[count] = NULL;
    variables_add(variables, "V", false);
    for (int i = count - 1; i >= 0; i--) {
        if (strncmp(entries[i], "V=", 2) != 0)
            continue;
        differ = differ || (last != NULL && strcmp(last, entries[i] + 2) != 0);
        last = entries[i] + 2;
    }
    must((variables_find(variables, entries, ctx) != NULL) == differ);
    must(differ || (variables->items[0].value == NULL) == (last == NULL));
    must(differ || last == NULL || strcmp(variables->items[0].value, last) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    const char *target = mem_check(talloc_strndup(ctx, (const char *)data, size));
    struct slice path, query, below;

    must(uri_split(target, &path, &query) == (strchr(target, '#') == NULL));
    check_round_trip(ctx, path, URI_DECODE_PATH);
    check_round_trip(ctx, query, URI_DECODE_QUERY);
    check_pairs(ctx, query);
    if (uri_below_mount(path, "/m%41", &below) || uri_below_mount(path, "", &below))
        check_request(ctx, below, query);
    check_none_match(ctx, target);
    check_variables(ctx, target);
    talloc_free(ctx);
    return 0;
}
