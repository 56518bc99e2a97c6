/* SPDX-License-Identifier: BSD-2-Clause */
/* From paths to routes, and which configurations are refused. */
#include "config.h"

#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "route/table.h"

enum { FIRST_LINE = 11, LINES_A_ROUTE = 10, DEFAULT_LINE = 999 };

static const struct param_spec path_params[] = {
    {.name = "id", .type = PARAM_TEXT, .source = PARAM_FROM_PATH, .max_length = 256},
    {.name = "other", .type = PARAM_TEXT, .source = PARAM_FROM_PATH, .max_length = 256},
    {.name = "query", .type = PARAM_TEXT, .source = PARAM_FROM_QUERY, .max_length = 256},
};

static struct route route_of(size_t index, const char *pattern)
{
    return (struct route){
        .name = pattern,
        .pattern = pattern,
        .place = {"test.conf", FIRST_LINE + LINES_A_ROUTE * (int)index},
        .params = path_params,
        .n_params = COUNT_OF(path_params),
        .index = index,
    };
}

static struct config *config_of(TALLOC_CTX *ctx, const char *const *patterns)
{
    struct config *config = mem_check(talloc_zero(ctx, struct config));
    struct route *routes = mem_check(talloc_zero_array(config, struct route, 64));

    for (size_t i = 0; patterns[i] != NULL; i++)
        routes[config->n_routes++] = route_of(i, patterns[i]);
    config->file = "test.conf";
    config->routes = routes;
    config->settings.health_path = "/health";
    config->settings.metrics_path = "/metrics";
    return config;
}

static struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static bool slice_is(struct slice slice, const char *text)
{
    if (text == NULL)
        return slice.data == NULL;
    return slice.data != NULL && slice.len == strlen(text) &&
           memcmp(slice.data, text, slice.len) == 0;
}

/* Of a private route they are found, to be refused with its parameters. */
static void test_dots_of_private_routes(void **state)
{
    static const char *const patterns[] = {"/me/{id}", "/me/{id}/x", "/all/{id}", NULL};
    static const struct {
        const char *path;
        int found;
    } cases[] = {
        {"/me/..", 1},   {"/me/%2e", 1}, {"/me/.%2E/x", 1}, {"/me/../y", 0},    {"/../me/x", 0},
        {"/me/./..", 0}, {"/me//", 0},   {"/all/..", 0},    {"/all/%2e%2e", 0}, {"/all/...", 1},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct config *config = config_of(ctx, patterns);
    struct route *routes = mem_check(talloc_memdup(ctx, config->routes, sizeof(struct route[3])));
    struct config_error error;
    struct route_match match;

    (void)state;
    routes[0].private = routes[1].private = true;
    config->routes = routes;
    const struct route_table *table = route_table_new(ctx, config, &error);
    assert_non_null(table);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(route_table_find(table, slice_of(cases[i].path), &match) == cases[i].found, "\"%s\"",
              cases[i].path);
    talloc_free(ctx);
}

static void test_find(void **state)
{
    static const char *const patterns[] = {
        "/",
        "/users",
        "/users/",
        "/users/{id}",
        "/users/{id}/profile",
        "/users/me/settings",
        "/users/me",
        "/a/{id}/c/{other}",
        "/a/{other}/c/d/{id}",
        "/a/b/{id}/d",
        "/caf%C3%A9/{id}/",
        "/blank%20and%2Fslash",
        "/{other}/only/{id}",
        NULL,
    };
    static const struct {
        const char *path, *pattern; /* pattern NULL: no route */
        const char *id, *other;
    } cases[] = {
        {"/", "/", NULL, NULL},
        {"/users", "/users", NULL, NULL},
        {"/users/", "/users/", NULL, NULL},
        {"/Users", NULL, NULL, NULL},
        {"/user", NULL, NULL, NULL},
        {"/userss", NULL, NULL, NULL},
        {"/users/7", "/users/{id}", "7", NULL},
        {"/users/7/", NULL, NULL, NULL},
        {"/users/me", "/users/me", NULL, NULL},
        {"/users/m%65", "/users/me", NULL, NULL},
        {"/users/me2", "/users/{id}", "me2", NULL},
        {"/users/me/settings", "/users/me/settings", NULL, NULL},
        {"/users/me/profile", "/users/{id}/profile", "me", NULL},
        {"/users/m%65/profile", "/users/{id}/profile", "m%65", NULL},
        {"/users/7/settings", NULL, NULL, NULL},
        {"/users/7/profile/", NULL, NULL, NULL},
        {"/u%73ers/a%2Fb/profile", "/users/{id}/profile", "a%2Fb", NULL},
        {"/users%2F7", NULL, NULL, NULL},
        {"/users/+", "/users/{id}", "+", NULL},
        /* what is broken is the parameter's business */
        {"/users/%zz", "/users/{id}", "%zz", NULL},
        {"/users/%00", "/users/{id}", "%00", NULL},
        {"/users/\xff", "/users/{id}", "\xff", NULL},
        {"/%zz", NULL, NULL, NULL},
        /* backtracking over several levels, parameters by their own index */
        {"/a/x/c/y", "/a/{id}/c/{other}", "x", "y"},
        {"/a/x/c/d", "/a/{id}/c/{other}", "x", "d"},
        {"/a/x/c/d/y", "/a/{other}/c/d/{id}", "y", "x"},
        {"/a/b/c/d", "/a/b/{id}/d", "c", NULL},
        {"/a/b/c/e", "/a/{id}/c/{other}", "b", "e"},
        {"/a/b/c/d/e", "/a/{other}/c/d/{id}", "e", "b"},
        {"/a/only/z", "/{other}/only/{id}", "z", "a"},
        {"/a/b/c", NULL, NULL, NULL},
        {"/a/x/c/", NULL, NULL, NULL},
        {"/caf\xc3\xa9/x/", "/caf%C3%A9/{id}/", "x", NULL},
        {"/caf%c3%a9/x/", "/caf%C3%A9/{id}/", "x", NULL},
        {"/caf%C3%A9/x", NULL, NULL, NULL},
        {"/caf%C3%A9//", NULL, NULL, NULL},
        {"/blank%20and%2fslash", "/blank%20and%2Fslash", NULL, NULL},
        {"/blank+and%2Fslash", NULL, NULL, NULL},
        {"/blank%20and/slash", NULL, NULL, NULL},
        /* empty and dot segments */
        {"", NULL, NULL, NULL},
        {"users", NULL, NULL, NULL},
        {"*", NULL, NULL, NULL},
        {"//", NULL, NULL, NULL},
        {"//users", NULL, NULL, NULL},
        {"/users//", NULL, NULL, NULL},
        {"/users//profile", NULL, NULL, NULL},
        {"/users/.", NULL, NULL, NULL},
        {"/users/..", NULL, NULL, NULL},
        {"/users/%2e", NULL, NULL, NULL},
        {"/users/%2E%2e", NULL, NULL, NULL},
        {"/users/.%2E/profile", NULL, NULL, NULL},
        {"/users/./me", NULL, NULL, NULL},
        {"/a/../users", NULL, NULL, NULL},
        {"/users/...", "/users/{id}", "...", NULL},
        {"/users/.hidden", "/users/{id}", ".hidden", NULL},
        {"/users/..%2F", "/users/{id}", "..%2F", NULL},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct config_error error;
    const struct route_table *table = route_table_new(ctx, config_of(ctx, patterns), &error);

    (void)state;
    assert_non_null(table);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct route_match match;
        int found = route_table_find(table, slice_of(cases[i].path), &match);
        check(found == (cases[i].pattern != NULL), "\"%s\" gave %d", cases[i].path, found);
        if (found == 0)
            continue;
        check(strcmp(match.route->pattern, cases[i].pattern) == 0, "\"%s\" gave %s", cases[i].path,
              match.route->pattern);
        check(slice_is(match.values[0], cases[i].id), "id of \"%s\"", cases[i].path);
        check(slice_is(match.values[1], cases[i].other), "other of \"%s\"", cases[i].path);
        for (size_t k = 2; k < COUNT_OF(match.values); k++)
            check(slice_is(match.values[k], NULL), "value %zu of \"%s\"", k, cases[i].path);
    }
    talloc_free(ctx);
}

static void test_refused(void **state)
{
    static const struct {
        const char *patterns[4];
        int line; /* 0: accepted */
        const char *text;
    } cases[] = {
        {{"/a", "/a/", "/{id}", "/{id}/"}, 0, NULL},
        {{"/{id}/b", "/a/{id}", NULL}, 0, NULL},
        {{"/a", "/b", "/a", NULL}, 31, "route \"/a\" collides with route \"/a\" at test.conf:11"},
        {{"/a/{id}", "/a/{other}", NULL},
         21,
         "route \"/a/{other}\" collides with route \"/a/{id}\" at test.conf:11"},
        {{"/a b", "/%61%20b", NULL},
         21,
         "route \"/%61%20b\" collides with route \"/a b\" at test.conf:11"},
        {{"/{id}", "/health", NULL}, 21, "route \"/health\" collides with health_path"},
        {{"/metric%73", NULL}, 11, "route \"/metric%73\" collides with metrics_path"},
        {{"/{id}", "/health/", "/metrics/a", "/healt"}, 0, NULL},
        {{"a", NULL}, 11, "pattern \"a\" must begin with \"/\""},
        {{"", NULL}, 11, "pattern \"\" must begin with \"/\""},
        {{"/{nobody}", NULL}, 11, "pattern \"/{nobody}\": {nobody} has no param block"},
        {{"/{i}", NULL}, 11, "pattern \"/{i}\": {i} has no param block"},
        {{"/{query}", NULL}, 11, "pattern \"/{query}\": {query} has no param block"},
        {{"/{id}/{id}", NULL}, 11, "pattern \"/{id}/{id}\" names {id} twice"},
        {{"/a%", NULL}, 11, "pattern \"/a%\" has a broken percent-escape"},
        {{"/a%00", NULL}, 11, "pattern \"/a%00\" has a broken percent-escape"},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *const patterns[] = {cases[i].patterns[0], cases[i].patterns[1],
                                        cases[i].patterns[2], cases[i].patterns[3], NULL};
        struct config_error error = {NULL, 0, NULL};
        const struct route_table *table = route_table_new(ctx, config_of(ctx, patterns), &error);
        check((table == NULL) == (cases[i].line != 0), "case %zu: %s", i, error.text);
        check(error.line == cases[i].line, "case %zu: line %d, %s", i, error.line, error.text);
        if (cases[i].line != 0)
            assert_string_equal(error.text, cases[i].text);
    }
    talloc_free(ctx);
}

static void test_patterns_that_match_nothing(void **state)
{
    static const char *const patterns[] = {"//",    "//a",    "/a//b",  "/a//",   "/./a",
                                           "/a/..", "/%2e/a", "/{id}x", "/x{id}", "/{}",
                                           "/{id",  "/id}",   "/{{id}", "/{id}}", "/{id}{other}"};
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        const char *const list[] = {patterns[i], NULL};
        struct config_error error = {NULL, 0, NULL};
        check(route_table_new(ctx, config_of(ctx, list), &error) == NULL, "\"%s\"", patterns[i]);
        assert_int_equal(error.line, FIRST_LINE);
    }
    talloc_free(ctx);
}

static void test_built_ins(void **state)
{
    static const char *const patterns[] = {"/health", "/", NULL};
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct config *config = config_of(ctx, patterns);
    struct config_error error;

    (void)state;
    config->settings.health_path = "";
    config->settings.metrics_path = "";
    assert_non_null(route_table_new(ctx, config, &error));
    config->settings.health_path = "/status";
    config->settings.metrics_path = "/status";
    assert_null(route_table_new(ctx, config, &error));
    assert_string_equal(error.text, "health_path and metrics_path are the same, \"/status\"");
    assert_int_equal(error.line, 0);
    config->settings.metrics_path = "/";
    assert_null(route_table_new(ctx, config, &error));
    assert_string_equal(error.text, "route \"/\" collides with metrics_path");
    talloc_free(ctx);
}

static void test_segment_limit(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    char *path = mem_check(talloc_strdup(ctx, ""));
    struct config_error error;
    struct route_match match;

    (void)state;
    for (int i = 0; i < ROUTE_MAX_SEGMENTS; i++)
        path = mem_check(talloc_asprintf_append(path, "/s"));
    const char *const longest[] = {path, NULL};
    struct route_table *table = route_table_new(ctx, config_of(ctx, longest), &error);
    assert_non_null(table);
    assert_int_equal(route_table_find(table, slice_of(path), &match), 1);
    const char *longer = mem_check(talloc_asprintf(ctx, "%s/", path));
    assert_int_equal(route_table_find(table, slice_of(longer), &match), 0);
    const char *const too_long[] = {longer, NULL};
    assert_null(route_table_new(ctx, config_of(ctx, too_long), &error));
    assert_int_equal(error.line, FIRST_LINE);
    talloc_free(ctx);
}

/* Every literal has a {name} beside it, and only the last segment tells. */
static void test_deep_backtracking(void **state)
{
    static const char *const patterns[] = {"/a/a/a/{id}/x", "/a/a/{id}/a/y", "/a/{id}/a/a/z",
                                           "/{id}/a/a/a/w", NULL};
    static const struct {
        const char *path, *pattern;
    } cases[] = {
        {"/a/a/a/a/x", "/a/a/a/{id}/x"},
        {"/a/a/a/a/y", "/a/a/{id}/a/y"},
        {"/a/a/a/a/z", "/a/{id}/a/a/z"},
        {"/a/a/a/a/w", "/{id}/a/a/a/w"},
        {"/a/a/a/a/v", NULL},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct config_error error;
    struct route_table *table = route_table_new(ctx, config_of(ctx, patterns), &error);

    (void)state;
    assert_non_null(table);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct route_match match;
        int found = route_table_find(table, slice_of(cases[i].path), &match);
        check(found == (cases[i].pattern != NULL), "%s", cases[i].path);
        if (found == 0)
            continue;
        assert_string_equal(match.route->pattern, cases[i].pattern);
        assert_true(slice_is(match.values[0], "a"));
    }
    talloc_free(ctx);
}

/* Equal literals below many nodes. */
static void test_many_routes(void **state)
{
    enum { SIDE = 100, ROUTES = SIDE * SIDE };
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct config *config = config_of(ctx, (const char *const[]){NULL});
    struct route *routes = mem_check(talloc_array(ctx, struct route, ROUTES));
    struct config_error error;

    (void)state;
    for (size_t i = 0; i < ROUTES; i++)
        routes[i] =
            route_of(i, mem_check(talloc_asprintf(ctx, "/v%zu/{id}/r%zu", i / SIDE, i % SIDE)));
    config->routes = routes;
    config->n_routes = ROUTES;
    struct route_table *table = route_table_new(ctx, config, &error);
    assert_non_null(table);
    for (size_t i = 0; i < ROUTES; i++) {
        char path[64];
        struct route_match match;
        snprintf(path, sizeof path, "/v%zu/%zu/r%zu", i / SIDE, i, i % SIDE);
        assert_int_equal(route_table_find(table, slice_of(path), &match), 1);
        assert_ptr_equal(match.route, &routes[i]);
        assert_ptr_equal(route_table_by_name(table, routes[i].name), &routes[i]);
        snprintf(path, sizeof path, "/v%zu/x/v%zu", i / SIDE, i % SIDE);
        assert_int_equal(route_table_find(table, slice_of(path), &match), 0);
    }
    talloc_free(ctx);
}

static void test_names(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct config *config = config_of(ctx, (const char *const[]){NULL});
    struct route routes[] = {route_of(0, "/a"), route_of(1, "/b")};
    struct config_error error;

    (void)state;
    routes[0].name = "first";
    routes[1].name = "a";
    config->routes = routes;
    config->n_routes = COUNT_OF(routes);
    struct route_table *table = route_table_new(ctx, config, &error);
    assert_ptr_equal(route_table_by_name(table, "first"), &routes[0]);
    assert_ptr_equal(route_table_by_name(table, "a"), &routes[1]);
    assert_null(route_table_by_name(table, "b"));
    assert_null(route_table_by_name(table, ""));
    routes[1].name = "first";
    assert_null(route_table_new(ctx, config, &error));
    assert_int_equal(error.line, FIRST_LINE + LINES_A_ROUTE);
    assert_string_equal(
        error.text, "route \"/b\" has the same name, \"first\", as route \"/a\" at test.conf:11");
    talloc_free(ctx);
}

static void test_no_routes(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct config_error error;
    struct route_match match;
    struct route_table *table =
        route_table_new(ctx, config_of(ctx, (const char *const[]){NULL}), &error);

    (void)state;
    assert_non_null(table);
    assert_int_equal(route_table_find(table, slice_of("/"), &match), 0);
    assert_null(route_table_by_name(table, "x"));
    talloc_free(ctx);
}

static void test_index_of_a_path_parameter(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct config *config = config_of(ctx, (const char *const[]){NULL});
    struct param_spec specs[ROUTE_MAX_SEGMENTS + 1];
    struct route route = route_of(0, "/a/{id}");
    struct config_error error;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(specs); i++)
        specs[i] = path_params[2];
    specs[ROUTE_MAX_SEGMENTS - 1] = path_params[0];
    route.params = specs;
    route.n_params = COUNT_OF(specs);
    config->routes = &route;
    config->n_routes = 1;
    assert_non_null(route_table_new(ctx, config, &error));
    specs[ROUTE_MAX_SEGMENTS - 1] = path_params[2];
    specs[ROUTE_MAX_SEGMENTS] = path_params[0];
    specs[ROUTE_MAX_SEGMENTS].place = (struct config_place){"test.conf", 77};
    assert_null(route_table_new(ctx, config, &error));
    assert_int_equal(error.line, 77);
    talloc_free(ctx);
}

static void test_bounds_and_defaults(void **state)
{
    static const char *const values[] = {"up", "down", NULL};
    static const struct {
        enum param_type type;
        const char *min, *max, *default_text;
        int line; /* 0: accepted */
        const char *text;
    } cases[] = {
        {PARAM_INT, NULL, NULL, NULL, 0, NULL},
        {PARAM_INT, "1", "100", "020", 0, NULL},
        {PARAM_INT, "1", "1", "1", 0, NULL},
        {PARAM_INT, "one", NULL, NULL, 500, "min of param \"p\" must be an integer"},
        {PARAM_INT, NULL, "1.5", NULL, 500, "max of param \"p\" must be an integer"},
        {PARAM_INT, "2", "1", NULL, 500, "max of param \"p\" must be an integer of at least 2"},
        {PARAM_INT, "1", "9", "10", 999, "default of param \"p\" must be an integer from 1 to 9"},
        {PARAM_INT, "1", NULL, "0", 999, "default of param \"p\" must be an integer of at least 1"},
        {PARAM_INT, NULL, "9", "", 999, "default of param \"p\" must be an integer of at most 9"},
        {PARAM_NUMBER, "-0.5", "0.50", "0", 0, NULL},
        {PARAM_NUMBER, "1e3", NULL, NULL, 500, "min of param \"p\" must be a plain decimal number"},
        {PARAM_NUMBER, "0.2", "0.19", NULL, 500,
         "max of param \"p\" must be a plain decimal number of at least 0.2"},
        {PARAM_TEXT, NULL, NULL, "", 0, NULL},
        {PARAM_TEXT, NULL, NULL, "12345", 999,
         "default of param \"p\" must be UTF-8 text of at most 4 characters"},
        {PARAM_TEXT, "1", NULL, NULL, 500, "param \"p\" of type text takes no min"},
        {PARAM_DATE, NULL, "9", NULL, 500, "param \"p\" of type date takes no max"},
        {PARAM_BOOL, NULL, NULL, "1", 0, NULL},
        {PARAM_BOOL, NULL, NULL, "yes", 999, "default of param \"p\" must be true or false"},
        {PARAM_UUID, NULL, NULL, "x", 999, "default of param \"p\" must be a UUID"},
        {PARAM_DATE, NULL, NULL, "2023-02-29", 999,
         "default of param \"p\" must be a date such as 2024-02-29"},
        {PARAM_ENUM, NULL, NULL, "down", 0, NULL},
        {PARAM_ENUM, NULL, NULL, "left", 999,
         "default of param \"p\" must be one of \"up\", \"down\""},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct config *config = config_of(ctx, (const char *const[]){NULL});

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct param_spec spec = {
            .name = "p",
            .place = {"test.conf", 500},
            .type = cases[i].type,
            .source = PARAM_FROM_QUERY,
            .default_text = cases[i].default_text,
            .default_place = {"test.conf", DEFAULT_LINE},
            .min = cases[i].min,
            .max = cases[i].max,
            .max_length = 4,
            .values = values,
        };
        struct route route = route_of(0, "/a");
        struct config_error error = {NULL, 0, NULL};
        route.params = &spec;
        route.n_params = 1;
        config->routes = &route;
        config->n_routes = 1;
        const struct route_table *table = route_table_new(ctx, config, &error);
        check((table == NULL) == (cases[i].line != 0), "case %zu: %s", i, error.text);
        check(error.line == cases[i].line, "case %zu: line %d", i, error.line);
        if (cases[i].text != NULL)
            assert_string_equal(error.text, cases[i].text);
    }
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_dots_of_private_routes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_patterns_that_match_nothing),
        cmocka_unit_test(test_built_ins),
        cmocka_unit_test(test_segment_limit),
        cmocka_unit_test(test_deep_backtracking),
        cmocka_unit_test(test_many_routes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_no_routes),
        cmocka_unit_test(test_index_of_a_path_parameter),
        cmocka_unit_test(test_bounds_and_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
