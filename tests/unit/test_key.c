/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys tell all parameter lists apart, and fingerprints all deployments. */
#include "config.h"

#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cache/keys.h"
#include "route/fingerprint.h"

#define FINGERPRINT "0123456789abcdef"

static const struct route plain_route = {.name = "users.id", .pattern = "/users/{id}"};

static void test_base(void **state)
{
    static const struct {
        const char *texts[3];
        size_t count;
        const char *params;
    } cases[] = {
        {{NULL}, 0, ""},
        {{NULL}, 1, ""},
        {{""}, 1, "="},
        {{"7"}, 1, "=7"},
        {{NULL, NULL}, 2, "&"},
        {{"", NULL}, 2, "=&"},
        {{NULL, ""}, 2, "&="},
        {{"a", NULL, "b c"}, 3, "=a&&=b%20c"},
        {{"&=", "{}", "%:"}, 3, "=%26%3D&=%7B%7D&=%25%3A"},
        {{"caf\xc3\xa9"}, 1, "=caf%C3%A9"},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *texts[] = {cases[i].texts[0], cases[i].texts[1], cases[i].texts[2]};
        const struct param_values values = {texts, cases[i].count};
        const char *expected = mem_check(
            talloc_asprintf(ctx, "leeway:{users.id." FINGERPRINT ":%s}", cases[i].params));
        char *key = key_base(ctx, "leeway", &plain_route, FINGERPRINT, &values);
        check(strcmp(key, expected) == 0, "case %zu gave %s", i, key);
        assert_ptr_equal(talloc_parent(key), ctx);
    }
    talloc_free(ctx);
}

enum { TUPLES = 400, MAX_TEXTS = 3, MAX_PIECES = 3 };

/* A linear congruential generator: the same tuples in every run. */
static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

static const char *random_text(TALLOC_CTX *ctx, uint32_t *seed)
{
    static const char *const pieces[] = {"", "a", "&", "=", "%", "%26", "{", "}", "\xc3\xa9", "&="};
    char *text = NULL;

    for (uint32_t n = next_random(seed) % (MAX_PIECES + 1); n > 0; n--) {
        const char *piece = pieces[next_random(seed) % COUNT_OF(pieces)];
        text = text == NULL ? talloc_strdup(ctx, piece) : talloc_strdup_append(text, piece);
        mem_check(text);
    }
    return text;
}

static bool same_texts(const char *const *a, const char *const *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if ((a[i] == NULL) != (b[i] == NULL) || (a[i] != NULL && strcmp(a[i], b[i]) != 0))
            return false;
    return true;
}

static void test_only_equal_values_share_a_key(void **state)
{
    uint32_t seed = 20240229;

    (void)state;
    for (size_t count = 1; count <= MAX_TEXTS; count++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        const char *texts[TUPLES][MAX_TEXTS];
        const char *keys[TUPLES];
        size_t equal = 0;

        for (size_t i = 0; i < TUPLES; i++) {
            for (size_t k = 0; k < count; k++)
                texts[i][k] = random_text(ctx, &seed);
            const struct param_values values = {texts[i], count};
            keys[i] = key_base(ctx, "leeway", &plain_route, FINGERPRINT, &values);
            for (size_t j = 0; j < i; j++) {
                bool same = same_texts(texts[i], texts[j], count);
                equal += same;
                check((strcmp(keys[i], keys[j]) == 0) == same, "%s and %s", keys[i], keys[j]);
            }
        }
        check(equal > 0 && equal < (size_t)TUPLES * (TUPLES - 1) / 2, "%zu of %zu texts", equal,
              count);
        talloc_free(ctx);
    }
}

enum { MAX_PRINTS = 64 };

struct prints {
    char seen[MAX_PRINTS][FINGERPRINT_HEX + 1];
    size_t count;
};

static void add_print(struct prints *prints, const struct route *route,
                      const struct fingerprint_scope *scope)
{
    char *print = prints->seen[prints->count];

    fingerprint_of_route(route, scope, print);
    assert_int_equal(strlen(print), FINGERPRINT_HEX);
    assert_int_equal(strspn(print, "0123456789abcdef"), FINGERPRINT_HEX);
    for (size_t i = 0; i < prints->count; i++)
        check(strcmp(prints->seen[i], print) != 0, "prints %zu and %zu", i, prints->count);
    prints->count++;
}

static const struct fingerprint_scope scope = {"leeway", "shop", 1};

static const struct param_spec base_spec = {
    .name = "p", .type = PARAM_TEXT, .source = PARAM_FROM_QUERY, .required = true, .max_length = 9};

static void add_spec(struct prints *prints, const struct param_spec *specs, size_t count)
{
    struct route route = plain_route;

    route.sql = "select 1";
    route.params = specs;
    route.n_params = count;
    add_print(prints, &route, &scope);
}

static void test_declarations_tell(void **state)
{
    static const char *const one[] = {"a", NULL}, *const joined[] = {"ab", NULL},
                             *const two[] = {"a", "b", NULL}, *const empty[] = {"", NULL};
    struct prints prints = {.count = 0};
    struct param_spec specs[2] = {base_spec, base_spec};

    (void)state;
#define ADD_WITH(field, value)                                                                     \
    do {                                                                                           \
        specs[0] = base_spec;                                                                      \
        specs[0].field = (value);                                                                  \
        add_spec(&prints, specs, 1);                                                               \
    } while (0)
    add_spec(&prints, specs, 0);
    add_spec(&prints, specs, 1);
    add_spec(&prints, specs, 2);
    ADD_WITH(name, "q");
    ADD_WITH(name, "1:p");
    ADD_WITH(type, PARAM_INT);
    ADD_WITH(source, PARAM_FROM_PATH);
    ADD_WITH(variable, "p");
    ADD_WITH(variable, "");
    ADD_WITH(default_text, "p");
    ADD_WITH(default_text, "");
    ADD_WITH(default_text, "-");
    ADD_WITH(required, false);
    ADD_WITH(min, "1");
    ADD_WITH(max, "1");
    ADD_WITH(max_length, 10);
    ADD_WITH(values, one);
    ADD_WITH(values, joined);
    ADD_WITH(values, two);
    ADD_WITH(values, empty);
#undef ADD_WITH
}

static void test_scope_and_query_tell(void **state)
{
    static const struct {
        struct fingerprint_scope scope;
        const char *sql;
        enum route_shape shape;
    } cases[] = {
        {{"leeway", "shop", 1}, "select 1", SHAPE_OBJECT},
        {{"leewa", "yshop", 1}, "select 1", SHAPE_OBJECT},
        {{"leeway", "", 1}, "select 1", SHAPE_OBJECT},
        {{"shop", "leeway", 1}, "select 1", SHAPE_OBJECT},
        {{"leeway", "shop", 2}, "select 1", SHAPE_OBJECT},
        {{"leeway", "shop", 1}, "select 2", SHAPE_OBJECT},
        {{"leeway", "shop", 1}, "select 1", SHAPE_ARRAY},
        {{"leeway", "shop", 1}, "select 1", SHAPE_VALUE},
    };
    struct prints prints = {.count = 0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct route route = plain_route;
        route.sql = cases[i].sql;
        route.shape = cases[i].shape;
        add_print(&prints, &route, &cases[i].scope);
    }
}

static void test_place_and_budget_do_not_tell(void **state)
{
    static const struct context context = {.name = "c", .budget_ms = 1000};
    char before[FINGERPRINT_HEX + 1], after[FINGERPRINT_HEX + 1];
    struct param_spec spec = base_spec;
    struct route route = plain_route;

    (void)state;
    route.sql = "select 1";
    route.params = &spec;
    route.n_params = 1;
    fingerprint_of_route(&route, &scope, before);
    route.place = (struct config_place){"other.conf", 7};
    route.context = &context;
    route.index = 3;
    spec.place = (struct config_place){"other.conf", 8};
    fingerprint_of_route(&route, &scope, after);
    assert_string_equal(before, after);
}

static void test_generation_tells(void **state)
{
    char one[FINGERPRINT_HEX + 1], other[FINGERPRINT_HEX + 1], again[FINGERPRINT_HEX + 1];

    (void)state;
    fingerprint_of_generation(FINGERPRINT, 1, one);
    fingerprint_of_generation(FINGERPRINT, 2, other);
    fingerprint_of_generation(FINGERPRINT, 1, again);
    assert_int_equal(strspn(one, "0123456789abcdef"), FINGERPRINT_HEX);
    assert_string_not_equal(one, other);
    assert_string_equal(one, again);
    fingerprint_of_generation("0123456789abcdee", 1, other);
    assert_string_not_equal(one, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base),
        cmocka_unit_test(test_only_equal_values_share_a_key),
        cmocka_unit_test(test_declarations_tell),
        cmocka_unit_test(test_scope_and_query_tell),
        cmocka_unit_test(test_place_and_budget_do_not_tell),
        cmocka_unit_test(test_generation_tells),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
