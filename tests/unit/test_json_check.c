/* SPDX-License-Identifier: BSD-2-Clause */
/* What is one JSON value and what is none, in parts that end anywhere. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "source/json_check.h"

static bool is_whole(const char *text, size_t step)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    size_t len = strlen(text);
    struct json_check check;
    bool good = true;

    json_check_init(&check, ctx);
    good = json_check_take(&check, "[", 1);
    json_check_begin(&check); /* what was before is forgotten */
    for (size_t at = 0; at < len && good; at += step)
        good = json_check_take(&check, text + at, len - at < step ? len - at : step);
    good = good && json_check_is_whole(&check);
    talloc_free(ctx);
    return good;
}

static void test_values(void **state)
{
    static const struct {
        const char *text;
        bool whole;
    } cases[] = {
        {"1", true},
        {"null", true},
        {"true", true},
        {"false", true},
        {"\"\"", true},
        {" [1, {\"a\": []}]\n", true},
        {"{ }", true},
        {"[ ]", true},
        {"{\"a\" : 1 , \"b\":{\"c\":[[]]}}", true},
        {"1e400", true},
        {"-0.5E+10", true},
        {"-0", true},
        {"[0,0.0,0e0,10]", true},
        {"\"\\ud800\"", true},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00Af\"", true},
        {"\"longer than eight bytes, and an \\u00e9 behind\"", true},
        {"\"\xc3\xa9\xe2\x82\xac\xed\x9f\xbf\xf0\x9f\x98\x80\x7f\"", true},
        {"", false},
        {" ", false},
        {"[1", false},
        {"[1]]", false},
        {"[1}", false},
        {"{\"a\":1]", false},
        {"1 2", false},
        {"1,2", false},
        {"{'a':1}", false},
        {"{\"a\"}", false},
        {"{\"a\":}", false},
        {"{\"a\":1,}", false},
        {"{,}", false},
        {"{1:2}", false},
        {"[1,]", false},
        {"[,1]", false},
        {"nul", false},
        {"nulll", false},
        {"True", false},
        {"01", false},
        {"-", false},
        {"+1", false},
        {"1.", false},
        {".5", false},
        {"1.e5", false},
        {"1e", false},
        {"1e+", false},
        {"1e5.5", false},
        {"--1", false},
        {"\"a\nb\"", false},
        {"\"longer than eight\x1f\"", false},
        {"\"", false},
        {"\"\\\"", false},
        {"\"\\x\"", false},
        {"\"\\u12g4\"", false},
        {"\"\xff\"", false},
        {"\"\xc3\"", false},
        {"\"\xc0\xaf\"", false},
        {"\"\xe0\x9f\xbf\"", false},
        {"\"\xed\xa0\x80\"", false},
        {"\"\xf4\x90\x80\x80\"", false},
        {"[1] // x", false},
        {"\xef\xbb\xbf[]", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t step = 1; step < 20; step++)
            check(is_whole(cases[i].text, step) == cases[i].whole, "case %zu: %s in steps of %zu",
                  i, cases[i].text, step);
}

/* A zero byte is no end. */
static void test_zero_bytes(void **state)
{
    static const char *const texts[] = {"1\0", "\"\0\"", "\"\\\0\"", "nul\0"};
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct json_check check;

    (void)state;
    json_check_init(&check, ctx);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        json_check_begin(&check);
        assert_false(json_check_take(&check, texts[i], strlen(texts[i]) + 1));
    }
    talloc_free(ctx);
}

static void test_depth(void **state)
{
    enum { DEEP = 100000 };
    TALLOC_CTX *ctx = talloc_new(NULL);
    char *text = talloc_array(ctx, char, 2 * DEEP);
    struct json_check check;

    (void)state;
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    json_check_init(&check, ctx);
    assert_true(json_check_take(&check, text, 2 * DEEP - 1));
    assert_false(json_check_is_whole(&check));
    assert_true(json_check_take(&check, text + DEEP, 1));
    assert_true(json_check_is_whole(&check));
    assert_false(json_check_take(&check, text + DEEP, 1));
    talloc_free(ctx);
}

/* By the byte, and so by eight at once at every offset. */
static void test_plain_bytes(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
        for (size_t at = 0; at < 20; at++) {
            char text[20];
            memset(text, 'x', sizeof text);
            text[at] = (char)byte;
            check(json_plain_bytes(text, sizeof text) == (plain ? sizeof text : at),
                  "byte %d at %zu", byte, at);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_zero_bytes),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_plain_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
