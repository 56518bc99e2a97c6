/* SPDX-License-Identifier: BSD-2-Clause */
/* Which columns are written here and which rows Postgres renders. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "source/statement.h"

enum { MAX_COLUMNS = 3, INT4 = 23, TEXT = 25, JSONB = 3802, DATE = 1082 };

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
        enum statement_plan plan; /* PLAN_UNKNOWN: refused */
        const char *sql;
    } cases[] = {
        {SHAPE_OBJECT, {"a", "b", "c"}, {INT4, TEXT, JSONB}, 3, PLAN_PLAIN, "select x -- y"},
        {SHAPE_OBJECT,
         {"a", "b"},
         {INT4, DATE},
         2,
         PLAN_RENDERED,
         "select row_to_json(\"leeway row\".*) from (select x -- y\n) as \"leeway row\""},
        {SHAPE_ARRAY,
         {"a"},
         {DATE},
         1,
         PLAN_RENDERED,
         "select row_to_json(\"leeway row\".*) from (select x -- y\n) as \"leeway row\""},
        {SHAPE_VALUE,
         {"a"},
         {DATE},
         1,
         PLAN_RENDERED,
         "select to_json(\"leeway value\") from (select x -- y\n) as "
         "\"leeway row\"(\"leeway value\")"},
        {SHAPE_VALUE, {"a"}, {TEXT}, 1, PLAN_PLAIN, "select x -- y"},
        {SHAPE_VALUE, {"a", "b"}, {TEXT, TEXT}, 2, PLAN_UNKNOWN, NULL},
        {SHAPE_VALUE, {NULL}, {0}, 0, PLAN_UNKNOWN, NULL},
        {SHAPE_OBJECT, {"a", "b", "a"}, {TEXT, TEXT, TEXT}, 3, PLAN_UNKNOWN, NULL},
        {SHAPE_OBJECT, {NULL}, {0}, 0, PLAN_PLAIN, "select x -- y"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        const struct route route = {.shape = cases[i].shape, .sql = "select x -- y"};
        struct statement statement = {.route = &route};
        PGresult *result = describe(cases[i].names, cases[i].types, cases[i].count);
        char error[256] = "";
        int chosen = statement_choose_plan(ctx, &statement, result, error, sizeof error);

        check(chosen == (cases[i].plan == PLAN_UNKNOWN ? -1 : 0), "case %zu: %s", i, error);
        check(statement.plan == cases[i].plan, "case %zu", i);
        if (chosen == 0)
            assert_string_equal(statement.sql, cases[i].sql);
        else
            assert_string_not_equal(error, "");
        PQclear(result);
        talloc_free(ctx);
    }
}

static void test_a_plan_is_kept_until_it_is_forgotten(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct route route = {.shape = SHAPE_OBJECT, .sql = "select x"};
    struct statement statement = {.route = &route};
    PGresult *plain = describe((const char *[]){"a"}, (Oid[]){INT4}, 1);
    PGresult *other = describe((const char *[]){"a"}, (Oid[]){DATE}, 1);
    struct json_column columns[MAX_COLUMNS];
    char error[64];

    (void)state;
    assert_int_equal(statement_choose_plan(ctx, &statement, plain, error, sizeof error), 0);
    unsigned generation = statement.generation;
    assert_int_equal(statement_choose_plan(ctx, &statement, other, error, sizeof error), 0);
    assert_int_equal(statement.plan, PLAN_PLAIN);
    assert_int_equal(statement.generation, generation);

    assert_true(statement_columns(&statement, plain, columns));
    assert_string_equal(columns[0].name, "a");
    assert_int_equal(columns[0].kind, JSON_NUMBER);
    assert_false(statement_columns(&statement, other, columns));

    statement_forget_plan(&statement);
    assert_int_equal(statement_choose_plan(ctx, &statement, other, error, sizeof error), 0);
    assert_int_equal(statement.plan, PLAN_RENDERED);
    assert_int_not_equal(statement.generation, generation);
    PQclear(plain);
    PQclear(other);
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans),
        cmocka_unit_test(test_a_plan_is_kept_until_it_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
