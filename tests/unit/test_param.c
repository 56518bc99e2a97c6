/* SPDX-License-Identifier: BSD-2-Clause */
/* How requests are bound to a route's parameters. */
#include "config.h"

#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cache/keys.h"
#include "route/param.h"

static const char *shown(const char *text)
{
    return text != NULL ? text : "(null)";
}

/* /users/{id}: $1 from the path, $2 from REMOTE_USER, the others from the query. */
static const char *const orders[] = {"up", "down", NULL};

static const struct param_spec specs[] = {
    {.name = "id", .type = PARAM_INT, .source = PARAM_FROM_PATH, .required = true, .min = "1"},
    {.name = "user",
     .type = PARAM_TEXT,
     .source = PARAM_FROM_VARIABLE,
     .variable = "REMOTE_USER",
     .required = true,
     .max_length = 8},
    {.name = "q",
     .type = PARAM_TEXT,
     .source = PARAM_FROM_QUERY,
     .required = true,
     .max_length = 8},
    {.name = "limit",
     .type = PARAM_INT,
     .source = PARAM_FROM_QUERY,
     .default_text = "020",
     .required = true,
     .min = "1",
     .max = "100"},
    {.name = "caf\xc3\xa9 x", .type = PARAM_ENUM, .source = PARAM_FROM_QUERY, .values = orders},
};

enum { ID, USER, Q, LIMIT, ORDER };

static const char *only_remote_user(void *data, const char *name)
{
    return strcmp(name, "REMOTE_USER") == 0 ? data : NULL;
}

struct request {
    const char *id, *user, *query;
    bool reject_unknown;
};

static int bind_request(TALLOC_CTX *ctx, const struct request *request, struct param_values *values,
                        const char **detail)
{
    struct route *route = mem_check(talloc_zero(ctx, struct route));
    struct route_match match = {.route = route};
    struct slice query = {request->query, request->query != NULL ? strlen(request->query) : 0};
    char *user = request->user != NULL ? mem_check(talloc_strdup(ctx, request->user)) : NULL;

    route->name = "users";
    route->params = specs;
    route->n_params = COUNT_OF(specs);
    route->reject_unknown_params = request->reject_unknown;
    match.values[ID] = (struct slice){request->id, strlen(request->id)};
    *detail = NULL;
    return param_bind(ctx, &match, query, only_remote_user, user, values, detail);
}

static void test_bound(void **state)
{
    static const struct {
        struct request request;
        const char *texts[COUNT_OF(specs)];
    } cases[] = {
        {{"7", "ann", "q=x", false}, {"7", "ann", "x", "20", NULL}},
        {{"7", "ann", "q=x", true}, {"7", "ann", "x", "20", NULL}},
        {{"%30%37", "ann", "q=", false}, {"7", "ann", "", "20", NULL}},
        {{"7", "ann", "q", false}, {"7", "ann", "", "20", NULL}},
        {{"7", "b\xc3\xa9", "limit=007&q=a+b%2Bc", false}, {"7", "b\xc3\xa9", "a b+c", "7", NULL}},
        {{"7", "ann", "&&%71=x&", false}, {"7", "ann", "x", "20", NULL}},
        {{"7", "ann", "q=x&caf%C3%A9+x=down", false}, {"7", "ann", "x", "20", "down"}},
        {{"7", "ann", "q=x&caf\xc3\xa9%20x=up", false}, {"7", "ann", "x", "20", "up"}},
        /* nobody sets a path parameter or a variable by the query */
        {{"7", "ann", "q=x&id=8&user=eve", false}, {"7", "ann", "x", "20", NULL}},
        /* what is not declared does not count, broken or not */
        {{"7", "ann", "a=1&q=x&a=2&Q=y&=z&b=%zz&c=%00&d=%ff", false},
         {"7", "ann", "x", "20", NULL}},
        {{"7", "a&b=c%41", "q=a%26b", false}, {"7", "a&b=c%41", "a&b", "20", NULL}},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct param_values values;
        const char *detail;
        int status = bind_request(ctx, &cases[i].request, &values, &detail);
        check(status == 0, "case %zu gave %d: %s", i, status, shown(detail));
        assert_int_equal(values.count, COUNT_OF(specs));
        for (size_t k = 0; k < values.count; k++) {
            const char *expected = cases[i].texts[k];
            check((values.texts[k] == NULL) == (expected == NULL) &&
                      (expected == NULL || strcmp(values.texts[k], expected) == 0),
                  "case %zu gave $%zu \"%s\"", i, k + 1, shown(values.texts[k]));
        }
    }
    talloc_free(ctx);
}

#define BAD_ENCODING " is not percent-encoded UTF-8 without NUL."

static void test_refused(void **state)
{
    static const struct {
        struct request request;
        int status;
        const char *detail;
    } cases[] = {
        {{"7", "ann", NULL, false}, 400, "Parameter \"q\" is missing."},
        {{"7", "ann", "limit=1", false}, 400, "Parameter \"q\" is missing."},
        {{"7", "ann", "q=x&q=y", false}, 400, "Parameter \"q\" is given twice."},
        {{"7", "ann", "q=x&%71=x", false}, 400, "Parameter \"q\" is given twice."},
        {{"7", "ann", "q=&q=", false}, 400, "Parameter \"q\" is given twice."},
        {{"7", "ann", "q=x&limit=1&limit=1", false}, 400, "Parameter \"limit\" is given twice."},
        {{"7", "ann", "q=%zz", false}, 400, "Parameter \"q\"" BAD_ENCODING},
        {{"7", "ann", "q=%4", false}, 400, "Parameter \"q\"" BAD_ENCODING},
        {{"7", "ann", "q=a%00", false}, 400, "Parameter \"q\"" BAD_ENCODING},
        {{"7", "ann", "q=%ff", false}, 400, "Parameter \"q\"" BAD_ENCODING},
        {{"7", "ann", "q=x&%zz=1", false}, 400, "A parameter's name" BAD_ENCODING},
        {{"7", "ann", "%", false}, 400, "A parameter's name" BAD_ENCODING},
        {{"%zz", "ann", "q=x", false}, 400, "Parameter \"id\"" BAD_ENCODING},
        {{"%00", "ann", "q=x", false}, 400, "Parameter \"id\"" BAD_ENCODING},
        {{"\xff", "ann", "q=x", false}, 400, "Parameter \"id\"" BAD_ENCODING},
        {{"7+", "ann", "q=x", false}, 400, "Parameter \"id\" must be an integer of at least 1."},
        {{"0", "ann", "q=x", false}, 400, "Parameter \"id\" must be an integer of at least 1."},
        {{"7%2F", "ann", "q=x", false}, 400, "Parameter \"id\" must be an integer of at least 1."},
        {{"7", "ann", "q=x&limit=101", false},
         400,
         "Parameter \"limit\" must be an integer from 1 to 100."},
        {{"7", "ann", "q=x&limit=", false},
         400,
         "Parameter \"limit\" must be an integer from 1 to 100."},
        {{"7", "ann", "q=123456789", false},
         400,
         "Parameter \"q\" must be UTF-8 text of at most 8 characters."},
        {{"7", "ann", "q=x&caf%C3%A9+x=UP", false},
         400,
         "Parameter \"caf\xc3\xa9 x\" must be one of \"up\", \"down\"."},
        {{"7", NULL, "q=x", false},
         401,
         "Parameter \"user\" comes from the web server, which gave none."},
        {{"7", "", "q=x&user=eve", false},
         401,
         "Parameter \"user\" comes from the web server, which gave none."},
        {{"7", "much-too-long", "q=x", false},
         400,
         "Parameter \"user\" must be UTF-8 text of at most 8 characters."},
        {{"7", "\xff", "q=x", false},
         400,
         "Parameter \"user\" must be UTF-8 text of at most 8 characters."},
        {{"7", "ann", "q=x&other=1", true}, 400, "Parameter \"other\" is unknown here."},
        {{"7", "ann", "q=x&id=7", true}, 400, "Parameter \"id\" is unknown here."},
        {{"7", "ann", "q=x&Q=y", true}, 400, "Parameter \"Q\" is unknown here."},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct param_values values;
        const char *detail;
        int status = bind_request(ctx, &cases[i].request, &values, &detail);
        check(status == cases[i].status, "case %zu gave %d: %s", i, status, shown(detail));
        assert_string_equal(detail, cases[i].detail);
    }
    talloc_free(ctx);
}

/* /find/{word}/{path}, of which `path` may hold separators. */
static const struct param_spec path_specs[] = {
    {.name = "user",
     .type = PARAM_TEXT,
     .source = PARAM_FROM_VARIABLE,
     .variable = "REMOTE_USER",
     .required = true,
     .max_length = 64},
    {.name = "word",
     .type = PARAM_TEXT,
     .source = PARAM_FROM_PATH,
     .required = true,
     .max_length = 64},
    {.name = "path",
     .type = PARAM_TEXT,
     .source = PARAM_FROM_PATH,
     .required = true,
     .max_length = 64,
     .slashes = true},
};

static int bind_segment(TALLOC_CTX *ctx, size_t param, const char *raw, bool private, bool login,
                        const char **text, const char **detail)
{
    struct route route = {.params = path_specs, .n_params = 3, .private = private};
    struct route_match match = {.route = &route};
    struct param_values values;
    char user[] = "ann";

    match.values[1] = match.values[2] = (struct slice){"x", 1};
    match.values[param] = (struct slice){raw, strlen(raw)};
    int status = param_bind(ctx, &match, (struct slice){NULL, 0}, only_remote_user,
                            login ? user : NULL, &values, detail);
    *text = status == 0 ? values.texts[param] : NULL;
    return status;
}

/* A server in front may have seen another path in it. */
static void test_separators(void **state)
{
    static const struct {
        const char *raw, *text;
        bool separates, dots;
    } cases[] = {
        {"a", "a", false, false},
        {"...", "...", false, false},
        {"..a", "..a", false, false},
        {"a..", "a..", false, false},
        {".a", ".a", false, false},
        {"a;b", "a;b", false, false},
        {"a;..", "a;..", false, false},
        {";..", ";..", false, false},
        {"%252e%252e", "%2e%2e", false, false},
        {"%252f", "%2f", false, false},
        {"..%252f..%252fx", "..%2f..%2fx", false, false},
        {"%EF%BC%8F", "\xef\xbc\x8f", false, false}, /* FULLWIDTH SOLIDUS */
        {"a%2fb", "a/b", true, false},
        {"%2F", "/", true, false},
        {"..%2f..%2fx", "../../x", true, false},
        {"x%2f..", "x/..", true, false},
        {"a%5cb", "a\\b", true, false},
        {"..%5C..%5Cx", "..\\..\\x", true, false},
        {"a\\b", "a\\b", true, false},
        {"..;a=b", "..;a=b", true, false},
        {".%3b", ".;", true, false},
        {".", ".", true, true},
        {"%2e", ".", true, true},
        {"..", "..", true, true},
        {"%2e%2E", "..", true, true},
        {".%2e", "..", true, true},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);
    const char *text, *detail;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *raw = cases[i].raw;
        for (int login = 0; login < 2; login++) {
            int status = bind_segment(ctx, 1, raw, true, login, &text, &detail);
            int expected = cases[i].separates ? 400 : login ? 0 : 401;
            check(status == expected, "\"%s\" gave %d, login %d", raw, status, login);
        }
        int status = bind_segment(ctx, 2, raw, true, true, &text, &detail);
        check(status == (cases[i].dots ? 404 : 0), "\"%s\" with slashes gave %d", raw, status);
        if (status == 0)
            assert_string_equal(text, cases[i].text);
        assert_int_equal(bind_segment(ctx, 1, raw, false, true, &text, &detail), 0);
        assert_string_equal(text, cases[i].text);
    }
    assert_int_equal(bind_segment(ctx, 1, "a%2fb", true, true, &text, &detail), 400);
    assert_string_equal(detail, "Parameter \"word\" must not hold \"/\", \"\\\" or be dots.");
    talloc_free(ctx);
}

static void test_number_of_pairs(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct param_values values;
    const char *detail;
    struct buf query;

    (void)state;
    buf_init(&query, ctx, 0);
    buf_append_str(&query, "&&&q=x");
    for (int i = 1; i < 256; i++)
        buf_append_str(&query, "&&a");
    const struct request most = {"7", "ann", query.data, false};
    assert_int_equal(bind_request(ctx, &most, &values, &detail), 0);
    buf_append_str(&query, "&a");
    const struct request more = {"7", "ann", query.data, false};
    assert_int_equal(bind_request(ctx, &more, &values, &detail), 400);
    assert_string_equal(detail, "The query has more than 256 parameters.");
    talloc_free(ctx);
}

static void test_values_outlive_variables(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct route route = {.name = "me", .params = &specs[USER], .n_params = 1};
    struct route_match match = {.route = &route};
    struct param_values values;
    const char *detail;
    char user[] = "ann";

    (void)state;
    assert_int_equal(
        param_bind(ctx, &match, (struct slice){NULL, 0}, only_remote_user, user, &values, &detail),
        0);
    user[0] = 'x';
    assert_string_equal(values.texts[0], "ann");
    talloc_free(ctx);
}

static void test_equal_requests_share_a_key(void **state)
{
    static const struct {
        struct request a, b;
        bool equal;
    } cases[] = {
        {{"7", "ann", "q=x", false}, {"007", "ann", "q=%78&limit=20", false}, true},
        {{"7", "ann", "q=x&limit=5", false}, {"7", "ann", "limit=05&z=1&q=x", false}, true},
        {{"7", "ann", "q=a+b", false}, {"7", "ann", "q=a%20b", false}, true},
        {{"7", "ann", "q=a+b", false}, {"7", "ann", "q=a%2Bb", false}, false},
        {{"7", "ann", "q=x", false}, {"7", "eve", "q=x", false}, false},
        {{"7", "ann", "q=x", false}, {"7", "ann", "q=X", false}, false},
        {{"7", "ann", "q=x", false}, {"7", "ann", "q=x&limit=21", false}, false},
    };
    static const struct route route = {.name = "users"};
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct param_values a, b;
        const char *detail;
        assert_int_equal(bind_request(ctx, &cases[i].a, &a, &detail), 0);
        assert_int_equal(bind_request(ctx, &cases[i].b, &b, &detail), 0);
        const char *key_a = key_base(ctx, "leeway", &route, "f", &a);
        const char *key_b = key_base(ctx, "leeway", &route, "f", &b);
        check((strcmp(key_a, key_b) == 0) == cases[i].equal, "%s and %s", key_a, key_b);
    }
    talloc_free(ctx);
}

static void test_fit(void **state)
{
    static const struct {
        const char *texts[COUNT_OF(specs)];
        bool fits;
    } cases[] = {
        {{"7", "ann", "x", "20", NULL}, true},    {{"7", "ann", "", "20", "up"}, true},
        {{"07", "ann", "x", "20", NULL}, false},  {{"0", "ann", "x", "20", NULL}, false},
        {{NULL, "ann", "x", "20", NULL}, false},  {{"7", NULL, "x", "20", NULL}, false},
        {{"7", "", "x", "20", NULL}, false},      {{"7", "ann", NULL, "20", NULL}, false},
        {{"7", "ann", "x", NULL, NULL}, false},   {{"7", "ann", "x", "101", NULL}, false},
        {{"7", "ann", "x", "20", "left"}, false}, {{"7", "ann", "\xff", "20", NULL}, false},
    };
    static const struct route route = {.params = specs, .n_params = COUNT_OF(specs)}, none = {0};
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *texts[COUNT_OF(specs)];
        struct param_values values = {texts, COUNT_OF(specs)};
        memcpy(texts, cases[i].texts, sizeof texts);
        check(param_values_fit(ctx, &route, &values) == cases[i].fits, "case %zu", i);
        assert_false(param_values_fit(ctx, &none, &values));
        values.count--;
        assert_false(param_values_fit(ctx, &route, &values));
    }
    assert_true(param_values_fit(ctx, &none, &(struct param_values){NULL, 0}));
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_separators),
        cmocka_unit_test(test_number_of_pairs),
        cmocka_unit_test(test_values_outlive_variables),
        cmocka_unit_test(test_equal_requests_share_a_key),
        cmocka_unit_test(test_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
