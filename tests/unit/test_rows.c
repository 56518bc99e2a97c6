/* SPDX-License-Identifier: BSD-2-Clause */
/* Results of libpq to JSON, or to the reason why not. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "source/rows.h"

enum { INT4 = 23, TEXT = 25, JSON = 114, MAX_ROWS = 2 };

/* One column "a" of `type`; `texts` ends with NULL. */
static PGresult *make_result(Oid type, const char *const *texts)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    char name[] = "a";
    PGresAttDesc column = {.name = name, .typid = type, .typlen = -1};

    assert_int_equal(PQsetResultAttrs(result, 1, &column), 1);
    for (int i = 0; texts[i] != NULL; i++) {
        char text[64];
        strcpy(text, texts[i]);
        assert_int_equal(PQsetvalue(result, i, 0, text, (int)strlen(text)), 1);
    }
    return result;
}

static void test_rows(void **state)
{
    static const struct {
        enum route_shape shape;
        Oid described, arrived;
        const char *texts[MAX_ROWS + 1];
        enum rows_status taken;
        enum rows_status finished;
        const char *json;
    } cases[] = {
        {SHAPE_ARRAY, INT4, INT4, {"1", "2"}, ROWS_OK, ROWS_OK, "[{\"a\":1},{\"a\":2}]"},
        {SHAPE_ARRAY, INT4, INT4, {NULL}, ROWS_OK, ROWS_OK, "[]"},
        {SHAPE_OBJECT, TEXT, TEXT, {"x"}, ROWS_OK, ROWS_OK, "{\"a\":\"x\"}"},
        {SHAPE_OBJECT, TEXT, TEXT, {NULL}, ROWS_OK, ROWS_NONE, NULL},
        {SHAPE_OBJECT, TEXT, TEXT, {"x", "y"}, ROWS_BROKEN, ROWS_BROKEN, NULL},
        {SHAPE_VALUE, JSON, JSON, {"[1]"}, ROWS_OK, ROWS_OK, "[1]"},
        {SHAPE_VALUE, JSON, JSON, {"word"}, ROWS_BROKEN, ROWS_BROKEN, NULL},
        /* another type than described: nothing of it is read */
        {SHAPE_VALUE, JSON, TEXT, {"[1]"}, ROWS_OUTDATED, ROWS_OUTDATED, NULL},
        {SHAPE_OBJECT, INT4, TEXT, {"x", "y"}, ROWS_OUTDATED, ROWS_OUTDATED, NULL},
        {SHAPE_ARRAY, INT4, TEXT, {NULL}, ROWS_OUTDATED, ROWS_OUTDATED, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        const struct route route = {.shape = cases[i].shape, .sql = "select x"};
        PGresult *described = make_result(cases[i].described, (const char *[]){NULL});
        PGresult *result = make_result(cases[i].arrived, cases[i].texts);
        struct result_bound bound = {.limit = 1024};
        char error[64];
        struct plan *plan = plan_make(&route, described, error, sizeof error);
        struct rows *rows = rows_new(ctx, plan, &bound);
        struct json_text json;

        check(rows_take(rows, result) == cases[i].taken, "case %zu", i);
        check(rows_finish(rows, &json) == cases[i].finished, "case %zu", i);
        if (cases[i].json != NULL)
            assert_memory_equal(json.bytes, cases[i].json, strlen(cases[i].json));
        check((rows_problem(rows) != NULL) == (cases[i].finished == ROWS_BROKEN), "case %zu", i);
        plan_release(plan);
        PQclear(described);
        PQclear(result);
        talloc_free(ctx);
        assert_int_equal(bound.held, 0);
    }
}

static void test_bound_of_each_and_of_all(void **state)
{
    struct result_bound bound = {.limit = 100};
    struct result_share first = {.bound = &bound}, second = {.bound = &bound};

    (void)state;
    assert_null(result_share_set(&first, 60));
    assert_string_equal(result_share_set(&first, 101), "the response is over max_response");
    assert_non_null(result_share_set(&second, 41));
    assert_null(result_share_set(&second, 40));
    assert_null(result_share_set(&first, 60)); /* as before, and so does less */
    assert_null(result_share_set(&first, 10));
    assert_null(result_share_set(&second, 90));
    result_share_release(&first);
    result_share_release(&second);
    assert_int_equal(bound.held, 0);
}

/* A row that is refused is not written: what is held is what was. */
static void test_rows_beyond_the_bound(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct route route = {.shape = SHAPE_ARRAY, .sql = "select x"};
    PGresult *result = make_result(TEXT, (const char *[]){"0123456789", NULL});
    struct result_bound bound = {.limit = 60};
    struct json_text json;
    char error[64];
    struct plan *plan = plan_make(&route, result, error, sizeof error);
    struct rows *rows = rows_new(ctx, plan, &bound);
    struct rows *other = rows_new(ctx, plan, &bound);

    (void)state;
    assert_int_equal(rows_take(rows, result), ROWS_OK);
    assert_int_equal(rows_take(rows, result), ROWS_OK);
    assert_int_equal(rows_take(other, result), ROWS_OK);
    assert_int_equal(rows_take(other, result), ROWS_BROKEN);
    assert_string_equal(rows_problem(other),
                        "the responses under way are over max_response together");
    talloc_free(other);
    assert_int_equal(rows_finish(rows, &json), ROWS_OK);
    plan_release(plan);
    PQclear(result);
    talloc_free(ctx);
    assert_int_equal(bound.held, 0);
}

/* A long row in steps, and those behind it. */
static void test_a_long_row(void **state)
{
    enum { LONG = 10 * ROWS_STEP_BYTES };
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct route route = {.shape = SHAPE_ARRAY, .sql = "select x"};
    struct result_bound bound = {.limit = 2 * LONG};
    PGresult *result = make_result(TEXT, (const char *[]){"short", NULL});
    char error[64], *text = talloc_zero_size(ctx, LONG + 1);
    struct plan *plan = plan_make(&route, result, error, sizeof error);
    struct rows *rows = rows_new(ctx, plan, &bound);
    enum rows_status status;
    struct json_text json;
    int steps = 1;

    (void)state;
    memset(text, 'x', LONG);
    assert_int_equal(PQsetvalue(result, 1, 0, text, LONG), 1);
    assert_int_equal(PQsetvalue(result, 2, 0, text, 5), 1);
    for (status = rows_take(rows, result); status == ROWS_MORE; status = rows_go_on(rows))
        steps++;
    assert_int_equal(status, ROWS_OK);
    assert_int_equal(steps, 10);
    assert_int_equal(rows_finish(rows, &json), ROWS_OK);
    assert_int_equal(json.len, LONG + strlen("[{'a':'short'},{'a':''},{'a':'xxxxx'}]"));
    assert_int_equal(rows_held(rows), json.len - 1); /* but for the last bracket */
    plan_release(plan);
    PQclear(result);
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_bound_of_each_and_of_all),
        cmocka_unit_test(test_rows_beyond_the_bound),
        cmocka_unit_test(test_a_long_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
