/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows to JSON: every kind of column, every shape, and the bounds. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "source/json.h"

enum { MAX_ROWS = 3, MAX_CELLS = 4 };

struct json_case {
    enum route_shape shape;
    bool whole_rows;
    size_t limit;
    struct json_column columns[MAX_CELLS];
    const char *rows[MAX_ROWS][MAX_CELLS];
    size_t n_rows;
    size_t n_cells;
    enum json_status status;
    const char *json;
};

static enum json_status write_rows(struct json_writer *writer, const struct json_case *c,
                                   const struct buf **json)
{
    struct json_cell cells[MAX_CELLS];

    for (size_t row = 0; row < c->n_rows; row++) {
        for (size_t i = 0; i < c->n_cells; i++) {
            const char *text = c->rows[row][i];
            cells[i] = (struct json_cell){text, text != NULL ? strlen(text) : 0};
        }
        enum json_status status = json_writer_row(writer, c->columns, cells, c->n_cells);
        if (status != JSON_OK)
            return status;
    }
    return json_writer_finish(writer, json);
}

static void check_cases(const struct json_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        struct json_writer *writer =
            json_writer_new(ctx, cases[i].shape, cases[i].whole_rows, cases[i].limit);
        const struct buf *json = NULL;
        enum json_status status = write_rows(writer, &cases[i], &json);
        check(status == cases[i].status, "case %zu gave status %d", i, (int)status);
        if (status == JSON_OK)
            assert_string_equal(json->data, cases[i].json);
        talloc_free(ctx);
    }
}

static void test_kinds(void **state)
{
    static const struct json_case cases[] = {
        {SHAPE_OBJECT,
         false,
         1000,
         {{"n", JSON_NUMBER}},
         {{"9223372036854775807"}},
         1,
         1,
         JSON_OK,
         "{\"n\":9223372036854775807}"},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"n", JSON_NUMBER}},
         {{"-0.1000"}},
         1,
         1,
         JSON_OK,
         "{\"n\":-0.1000}"},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"n", JSON_NUMBER}},
         {{"1e+300"}},
         1,
         1,
         JSON_OK,
         "{\"n\":1e+300}"},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"n", JSON_NUMBER}},
         {{"NaN"}},
         1,
         1,
         JSON_OK,
         "{\"n\":\"NaN\"}"},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"n", JSON_NUMBER}},
         {{"-Infinity"}},
         1,
         1,
         JSON_OK,
         "{\"n\":\"-Infinity\"}"},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"a", JSON_BOOL}, {"b", JSON_BOOL}},
         {{"t", "f"}},
         1,
         2,
         JSON_OK,
         "{\"a\":true,\"b\":false}"},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"a", JSON_STRING}, {"b", JSON_NUMBER}, {"c", JSON_RAW}},
         {{NULL, NULL, NULL}},
         1,
         3,
         JSON_OK,
         "{\"a\":null,\"b\":null,\"c\":null}"},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"j", JSON_RAW}},
         {{"{\"x\": [1, 2]}"}},
         1,
         1,
         JSON_OK,
         "{\"j\":{\"x\": [1, 2]}}"},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"a \"b\"\n", JSON_STRING}},
         {{"q\"\\/\t\x01\x7f\xc3\xa9"}},
         1,
         1,
         JSON_OK,
         "{\"a \\\"b\\\"\\n\":\"q\\\"\\\\/\\t\\u0001\x7f\xc3\xa9\"}"},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"a", JSON_STRING}},
         {{"\xff"}},
         1,
         1,
         JSON_NOT_WRITABLE,
         NULL},
    };

    (void)state;
    check_cases(cases, COUNT_OF(cases));
}

static void test_shapes(void **state)
{
    static const struct json_case cases[] = {
        {SHAPE_ARRAY, false, 1000, {{"n", JSON_NUMBER}}, {{NULL}}, 0, 1, JSON_OK, "[]"},
        {SHAPE_ARRAY,
         false,
         1000,
         {{"n", JSON_NUMBER}},
         {{"1"}, {"2"}, {"3"}},
         3,
         1,
         JSON_OK,
         "[{\"n\":1},{\"n\":2},{\"n\":3}]"},
        {SHAPE_ARRAY,
         true,
         1000,
         {{"", JSON_RAW}},
         {{"{\"n\":1}"}, {"{\"n\":2}"}},
         2,
         1,
         JSON_OK,
         "[{\"n\":1},{\"n\":2}]"},
        {SHAPE_OBJECT, true, 1000, {{"", JSON_RAW}}, {{"{\"n\":1}"}}, 1, 1, JSON_OK, "{\"n\":1}"},
        {SHAPE_OBJECT, false, 1000, {{"n", JSON_NUMBER}}, {{NULL}}, 0, 1, JSON_NO_ROW, NULL},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"n", JSON_NUMBER}},
         {{"1"}, {"2"}},
         2,
         1,
         JSON_TOO_MANY,
         NULL},
        {SHAPE_OBJECT, false, 1000, {{NULL, JSON_STRING}}, {{NULL}}, 1, 0, JSON_OK, "{}"},
        {SHAPE_VALUE, false, 1000, {{"v", JSON_STRING}}, {{"text"}}, 1, 1, JSON_OK, "\"text\""},
        {SHAPE_VALUE, false, 1000, {{"v", JSON_NUMBER}}, {{NULL}}, 1, 1, JSON_OK, "null"},
        {SHAPE_VALUE, false, 1000, {{"v", JSON_NUMBER}}, {{NULL}}, 0, 1, JSON_NO_ROW, NULL},
        {SHAPE_VALUE, false, 1000, {{"v", JSON_NUMBER}}, {{"1"}, {"2"}}, 2, 1, JSON_TOO_MANY, NULL},
    };

    (void)state;
    check_cases(cases, COUNT_OF(cases));
}

static void test_limit(void **state)
{
    static const struct json_case cases[] = {
        {SHAPE_VALUE, false, 6, {{"v", JSON_STRING}}, {{"abcd"}}, 1, 1, JSON_OK, "\"abcd\""},
        {SHAPE_VALUE, false, 5, {{"v", JSON_STRING}}, {{"abcd"}}, 1, 1, JSON_TOO_LONG, NULL},
        {SHAPE_ARRAY, false, 9, {{"n", JSON_NUMBER}}, {{"1"}}, 1, 1, JSON_OK, "[{\"n\":1}]"},
        {SHAPE_ARRAY, false, 8, {{"n", JSON_NUMBER}}, {{"1"}}, 1, 1, JSON_TOO_LONG, NULL},
        {SHAPE_ARRAY, false, 9, {{"n", JSON_NUMBER}}, {{"1"}, {"2"}}, 2, 1, JSON_TOO_LONG, NULL},
    };

    (void)state;
    check_cases(cases, COUNT_OF(cases));
}

static void test_what_is_no_json_is_never_handed_on(void **state)
{
    static const struct json_case cases[] = {
        {SHAPE_OBJECT, true, 1000, {{"", JSON_RAW}}, {{"word"}}, 1, 1, JSON_NOT_WHOLE, NULL},
        {SHAPE_OBJECT, true, 1000, {{"", JSON_RAW}}, {{""}}, 1, 1, JSON_NOT_WHOLE, NULL},
        {SHAPE_OBJECT, true, 1000, {{"", JSON_RAW}}, {{"{\"a\":1"}}, 1, 1, JSON_NOT_WHOLE, NULL},
        {SHAPE_OBJECT, true, 1000, {{"", JSON_RAW}}, {{"{} {}"}}, 1, 1, JSON_NOT_WHOLE, NULL},
        {SHAPE_OBJECT,
         true,
         1000,
         {{"", JSON_RAW}},
         {{"2026-01-01 00:00:00+00"}},
         1,
         1,
         JSON_NOT_WHOLE,
         NULL},
        {SHAPE_ARRAY,
         true,
         1000,
         {{"", JSON_RAW}},
         {{"{\"a\":1}"}, {"{\"a\":}"}},
         2,
         1,
         JSON_NOT_WHOLE,
         NULL},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"a", JSON_NUMBER}},
         {{"1 day"}},
         1,
         1,
         JSON_NOT_WRITABLE,
         NULL},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"a", JSON_NUMBER}},
         {{"2026-01-01 00:00:00"}},
         1,
         1,
         JSON_NOT_WRITABLE,
         NULL},
        {SHAPE_OBJECT,
         false,
         1000,
         {{"a", JSON_NUMBER}},
         {{"-1.5e-300"}},
         1,
         1,
         JSON_OK,
         "{\"a\":-1.5e-300}"},
    };

    (void)state;
    check_cases(cases, COUNT_OF(cases));
}

static void test_whole_values(void **state)
{
    static const struct {
        const char *text;
        bool whole;
    } cases[] = {
        {"1", true},         {"null", true},        {"\"\"", true}, {" [1, {\"a\": []}]\n", true},
        {"1e400", true},     {"\"\\ud800\"", true}, {"", false},    {" ", false},
        {"[1", false},       {"[1]]", false},       {"1 2", false}, {"{'a':1}", false},
        {"[1,]", false},     {"nul", false},        {"01", false},  {"\"a\nb\"", false},
        {"[1] // x", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(json_is_whole(cases[i].text, strlen(cases[i].text)) == cases[i].whole, "case %zu: %s",
              i, cases[i].text);
}

static void count_words(void *data, const struct route *route)
{
    int *words = data;

    (void)route;
    (*words)++;
}

static void test_a_long_result_says_that_it_is_worked_at(void **state)
{
    enum { LONG = 2 * 1024 * 1024 };
    static const struct json_column columns[] = {{"s", JSON_STRING}, {"r", JSON_RAW}};
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct json_writer *writer = json_writer_new(ctx, SHAPE_OBJECT, false, 8 * LONG);
    char *quotes = talloc_zero_size(ctx, LONG + 1), *raw = talloc_zero_size(ctx, LONG + 1);
    const struct buf *json;
    int words = 0;

    (void)state;
    memset(quotes, '"', LONG);
    for (int i = 0; i < LONG; i++)
        raw[i] = i == 0 ? '[' : i == LONG - 1 ? ']' : i % 2 == 0 ? ',' : '1';
    raw[LONG - 2] = '1'; /* an even length: the last number has two digits */
    json_writer_tell(writer, &(struct json_work){.fn = count_words, .data = &words});
    struct json_cell cells[] = {{quotes, LONG}, {raw, LONG}};
    assert_int_equal(json_writer_row(writer, columns, cells, 2), JSON_OK);
    assert_true(words > 0);
    words = 0;
    assert_int_equal(json_writer_finish(writer, &json), JSON_OK);
    assert_true(words > 0);
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_what_is_no_json_is_never_handed_on),
        cmocka_unit_test(test_whole_values),
        cmocka_unit_test(test_a_long_result_says_that_it_is_worked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
