/* SPDX-License-Identifier: BSD-2-Clause */
/* Which columns are written here, which rows Postgres renders, and which results a plan is for. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "source/plan.h"

enum { MAX_COLUMNS = 3, INT4 = 23, TEXT = 25, JSON = 114, JSONB = 3802, DATE = 1082 };

/* A result of no rows with these columns, as a description has them. */
static PGresult *describe(const char *const *names, const Oid *types, int count)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_COMMAND_OK);
    PGresAttDesc columns[MAX_COLUMNS];

    for (int i = 0; i < count; i++) {
        union {
            const char *text;
            char *as_name;
        } name = {names[i]};
        columns[i] = (PGresAttDesc){.name = name.as_name, .typid = types[i], .typlen = -1};
    }
    if (count > 0)
        assert_int_equal(PQsetResultAttrs(result, count, columns), 1);
    return result;
}

static void test_plans(void **state)
{
    static const struct {
        enum route_shape shape;
        const char *names[MAX_COLUMNS];
        Oid types[MAX_COLUMNS];
        int count;
        enum plan_kind kind;
        const char *sql; /* NULL: refused */
    } cases[] = {
        {SHAPE_OBJECT, {"a", "b", "c"}, {INT4, TEXT, JSONB}, 3, PLAN_PLAIN, "select x -- y"},
        {SHAPE_OBJECT,
         {"a", "b"},
         {INT4, DATE},
         2,
         PLAN_RENDERED,
         "select pg_catalog.row_to_json(\"leeway row\".*) from (select x -- y\n) as \"leeway "
         "row\""},
        {SHAPE_ARRAY,
         {"a"},
         {DATE},
         1,
         PLAN_RENDERED,
         "select pg_catalog.row_to_json(\"leeway row\".*) from (select x -- y\n) as \"leeway "
         "row\""},
        {SHAPE_VALUE,
         {"a"},
         {DATE},
         1,
         PLAN_RENDERED,
         "select pg_catalog.to_json(\"leeway value\") from (select x -- y\n) as "
         "\"leeway row\"(\"leeway value\")"},
        {SHAPE_VALUE, {"a"}, {TEXT}, 1, PLAN_PLAIN, "select x -- y"},
        {SHAPE_VALUE, {"a", "b"}, {TEXT, TEXT}, 2, PLAN_PLAIN, NULL},
        {SHAPE_VALUE, {NULL}, {0}, 0, PLAN_PLAIN, NULL},
        {SHAPE_OBJECT, {"a", "b", "a"}, {TEXT, TEXT, TEXT}, 3, PLAN_PLAIN, NULL},
        {SHAPE_OBJECT, {NULL}, {0}, 0, PLAN_PLAIN, NULL},
        {SHAPE_ARRAY, {NULL}, {0}, 0, PLAN_PLAIN, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct route route = {.shape = cases[i].shape, .sql = "select x -- y"};
        PGresult *result = describe(cases[i].names, cases[i].types, cases[i].count);
        char error[256] = "";
        struct plan *plan = plan_make(&route, result, error, sizeof error);

        check((plan != NULL) == (cases[i].sql != NULL), "case %zu: %s", i, error);
        if (plan != NULL) {
            check(plan->kind == cases[i].kind, "case %zu", i);
            assert_string_equal(plan->sql, cases[i].sql);
        } else {
            assert_string_not_equal(error, "");
        }
        plan_release(plan);
        PQclear(result);
    }
}

static void test_what_fits_a_plan(void **state)
{
    static const struct {
        Oid made_for[MAX_COLUMNS]; /* 0 ends it */
        const char *names[MAX_COLUMNS];
        Oid types[MAX_COLUMNS]; /* of what arrives */
        int count;
        bool fits;
    } cases[] = {
        {{INT4, TEXT}, {"a", "b"}, {INT4, TEXT}, 2, true},
        {{INT4, TEXT}, {"a", "c"}, {INT4, TEXT}, 2, false},
        {{INT4, TEXT}, {"b", "a"}, {INT4, TEXT}, 2, false},
        {{INT4, TEXT}, {"a", "b"}, {TEXT, TEXT}, 2, false},
        {{INT4, TEXT}, {"a"}, {INT4}, 1, false},
        {{INT4, TEXT}, {"a", "b", "c"}, {INT4, TEXT, TEXT}, 3, false},
        {{INT4, TEXT}, {NULL}, {0}, 0, false},
        {{JSONB, TEXT}, {"a", "b"}, {JSON, TEXT}, 2, false},
        /* rendered: one column of JSON, whatever its name, and nothing else */
        {{INT4, DATE}, {"row_to_json"}, {JSON}, 1, true},
        {{INT4, DATE}, {"any"}, {JSON}, 1, true},
        {{INT4, DATE}, {"row_to_json"}, {TEXT}, 1, false},
        {{INT4, DATE}, {"a", "b"}, {INT4, DATE}, 2, false},
        {{INT4, DATE}, {"a", "b"}, {INT4, TEXT}, 2, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct route route = {.shape = SHAPE_OBJECT, .sql = "select x"};
        PGresult *described = describe((const char *[]){"a", "b"}, cases[i].made_for, 2);
        PGresult *result = describe(cases[i].names, cases[i].types, cases[i].count);
        char error[64];
        struct plan *plan = plan_make(&route, described, error, sizeof error);

        PQclear(described);
        check(plan_fits(plan, result) == cases[i].fits, "case %zu", i);
        plan_release(plan);
        PQclear(result);
    }
}

static void test_what_a_plan_was_made_from(void **state)
{
    const struct route route = {.shape = SHAPE_OBJECT, .sql = "select x"};
    PGresult *described = describe((const char *[]){"a", "b"}, (Oid[]){INT4, DATE}, 2);
    PGresult *further = describe((const char *[]){"a", "b", "a"}, (Oid[]){INT4, DATE, INT4}, 3);
    PGresult *renamed = describe((const char *[]){"a", "c"}, (Oid[]){INT4, DATE}, 2);
    PGresult *retyped = describe((const char *[]){"a", "b"}, (Oid[]){TEXT, DATE}, 2);
    char error[64];
    struct plan *plan = plan_make(&route, described, error, sizeof error);

    (void)state;
    assert_int_equal(plan->kind, PLAN_RENDERED);
    assert_true(plan_is_of(plan, described));
    assert_false(plan_is_of(plan, further));
    assert_false(plan_is_of(plan, renamed));
    assert_false(plan_is_of(plan, retyped));
    plan_release(plan);
    PQclear(described);
    PQclear(further);
    PQclear(renamed);
    PQclear(retyped);
}

static void test_a_plan_is_kept_while_somebody_holds_it(void **state)
{
    const struct route route = {.shape = SHAPE_OBJECT, .sql = "select x"};
    PGresult *described = describe((const char *[]){"a"}, (Oid[]){INT4}, 1);
    char error[64];
    struct plan *plan = plan_make(&route, described, error, sizeof error);
    struct plan *other = plan_make(&route, described, error, sizeof error);

    (void)state;
    PQclear(described);
    assert_int_not_equal(plan->number, other->number);
    plan_release(other);
    assert_ptr_equal(plan_hold(plan), plan);
    plan_release(plan);
    assert_string_equal(plan->columns[0].name, "a");
    assert_int_equal(plan->columns[0].kind, JSON_NUMBER);
    plan_release(plan);
    assert_null(plan_hold(NULL));
    plan_release(NULL);
}

static void test_types_of_what_is_not_used(void **state)
{
    const struct route route = {.n_params = 3, .uses_param = {false, true, false}};
    Oid types[CONFIG_MAX_PARAMS];

    (void)state;
    plan_param_types(&route, types);
    assert_int_equal(types[0], TEXT);
    assert_int_equal(types[1], 0);
    assert_int_equal(types[2], TEXT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans),
        cmocka_unit_test(test_what_fits_a_plan),
        cmocka_unit_test(test_what_a_plan_was_made_from),
        cmocka_unit_test(test_a_plan_is_kept_while_somebody_holds_it),
        cmocka_unit_test(test_types_of_what_is_not_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
