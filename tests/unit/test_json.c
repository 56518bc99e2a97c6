/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows to JSON: every kind of column, every shape, and the bounds. */
#include "config.h"

#include "unit.h"

#include <string.h>
#include <xxhash.h>

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

/* `step`: of how many bytes each step is. */
static enum json_status write_rows(struct json_writer *writer, const struct json_case *c,
                                   size_t step, struct json_text *json)
{
    struct json_cell cells[MAX_CELLS];

    for (size_t row = 0; row < c->n_rows; row++) {
        for (size_t i = 0; i < c->n_cells; i++) {
            const char *text = c->rows[row][i];
            cells[i] = (struct json_cell){text, text != NULL ? strlen(text) : 0};
        }
        enum json_status status = JSON_MORE;
        json_writer_begin_row(writer, c->columns, cells, c->n_cells);
        while (status == JSON_MORE)
            status = json_writer_go_on(writer, step);
        if (status != JSON_OK)
            return status;
    }
    return json_writer_finish(writer, json);
}

static void check_hash(const struct json_text *json)
{
    XXH128_hash_t hash = XXH3_128bits(json->bytes, json->len);

    assert_true(json->hash_high == hash.high64 && json->hash_low == hash.low64);
    assert_ptr_equal(json->chunk + JSON_ROOM_BEFORE, json->bytes);
}

static void check_cases(const struct json_case *cases, size_t count)
{
    static const size_t steps[] = {SIZE_MAX, 1, 2, 3};

    for (size_t i = 0; i < count * COUNT_OF(steps); i++) {
        const struct json_case *c = &cases[i / COUNT_OF(steps)];
        TALLOC_CTX *ctx = talloc_new(NULL);
        struct json_writer *writer = json_writer_new(ctx, c->shape, c->whole_rows, c->limit);
        struct json_text json = {.len = 0};
        enum json_status status = write_rows(writer, c, steps[i % COUNT_OF(steps)], &json);
        check(status == c->status, "case %zu gave status %d", i / COUNT_OF(steps), (int)status);
        if (status == JSON_OK) {
            check(json.len == strlen(c->json) && memcmp(json.bytes, c->json, json.len) == 0,
                  "case %zu gave %.*s", i / COUNT_OF(steps), (int)json.len, json.bytes);
            check_hash(&json);
        }
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

static void count_words(void *data, const struct route *route)
{
    int *words = data;

    (void)route;
    (*words)++;
}

enum { LONG = 2 * 1024 * 1024 };

/* The longest that a string becomes, and an array with as many tokens as it can have. */
static void make_long(TALLOC_CTX *ctx, struct json_cell cells[2])
{
    char *quotes = talloc_zero_size(ctx, LONG + 1), *raw = talloc_zero_size(ctx, LONG + 1);

    memset(quotes, '\x01', LONG);
    for (int i = 0; i < LONG; i++)
        raw[i] = i == 0 ? '[' : i == LONG - 1 ? ']' : i % 2 == 0 ? ',' : '1';
    raw[LONG - 2] = '1'; /* an even length: the last number has two digits */
    cells[0] = (struct json_cell){quotes, LONG};
    cells[1] = (struct json_cell){raw, LONG};
}

static void test_a_long_result_says_that_it_is_worked_at(void **state)
{
    static const struct json_column columns[] = {{"s", JSON_STRING}, {"r", JSON_RAW}};
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct json_writer *writer = json_writer_new(ctx, SHAPE_OBJECT, false, 8 * LONG);
    struct json_cell cells[2];
    int words = 0;

    (void)state;
    make_long(ctx, cells);
    json_writer_tell(writer, &(struct json_work){.fn = count_words, .data = &words});
    json_writer_begin_row(writer, columns, cells, 2);
    assert_int_equal(json_writer_go_on(writer, LONG), JSON_MORE);
    assert_true(words > 0);
    words = 0;
    assert_int_equal(json_writer_go_on(writer, SIZE_MAX), JSON_OK);
    assert_true(words > 0);
    talloc_free(ctx);
}

/* No step writes more than comes of its part of the values. */
static void test_a_long_result_in_steps(void **state)
{
    enum { STEP = 4096, MOST = 6 * STEP + 16 };
    static const struct json_column columns[] = {{"s", JSON_STRING}, {"r", JSON_RAW}};
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct json_writer *writer = json_writer_new(ctx, SHAPE_OBJECT, false, 8 * LONG);
    enum json_status status = JSON_MORE;
    struct json_cell cells[2];
    struct json_text json;
    size_t steps = 0;

    (void)state;
    make_long(ctx, cells);
    json_writer_begin_row(writer, columns, cells, 2);
    for (; status == JSON_MORE; steps++) {
        size_t before = json_writer_length(writer);
        status = json_writer_go_on(writer, STEP);
        check(json_writer_length(writer) - before <= MOST, "%zu bytes",
              json_writer_length(writer) - before);
    }
    assert_int_equal(status, JSON_OK);
    assert_true(steps >= 2 * LONG / STEP);
    assert_int_equal(json_writer_finish(writer, &json), JSON_OK);
    assert_int_equal(json.len, 7L * LONG + (long)strlen("{'s':'','r':}"));
    check_hash(&json);
    talloc_free(ctx);
}

/* A character that goes over the end of a step is one, and what is none is found wherever it is. */
static void test_characters_in_steps(void **state)
{
    static const struct json_case cases[] = {
        {SHAPE_VALUE,
         false,
         1000,
         {{"v", JSON_STRING}},
         {{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80plain, and longer than eight\xc3\xa9\n\xc3\xa9"}},
         1,
         1,
         JSON_OK,
         "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80plain, and longer than "
         "eight\xc3\xa9\\n\xc3\xa9\""},
        {SHAPE_VALUE,
         false,
         1000,
         {{"v", JSON_RAW}},
         {{"\"\xc3\xa9\xe2\x82\xac\\u00e9\xf0\x9f\x98\x80\""}},
         1,
         1,
         JSON_OK,
         "\"\xc3\xa9\xe2\x82\xac\\u00e9\xf0\x9f\x98\x80\""},
        {SHAPE_VALUE,
         false,
         1000,
         {{"v", JSON_STRING}},
         {{"longer than eight\xc3"}},
         1,
         1,
         JSON_NOT_WRITABLE,
         NULL},
        {SHAPE_VALUE,
         false,
         1000,
         {{"v", JSON_STRING}},
         {{"\xed\xa0\x80"}},
         1,
         1,
         JSON_NOT_WRITABLE,
         NULL},
        /* values that are none by themselves do not make one together */
        {SHAPE_ARRAY, true, 1000, {{"", JSON_RAW}}, {{"[1"}, {"2]"}}, 2, 1, JSON_NOT_WHOLE, NULL},
    };

    (void)state;
    check_cases(cases, COUNT_OF(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_what_is_no_json_is_never_handed_on),
        cmocka_unit_test(test_a_long_result_says_that_it_is_worked_at),
        cmocka_unit_test(test_a_long_result_in_steps),
        cmocka_unit_test(test_characters_in_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
