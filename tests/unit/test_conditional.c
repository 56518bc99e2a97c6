/* SPDX-License-Identifier: BSD-2-Clause */
/* If-None-Match against one strong tag. */
#include "config.h"

#include "unit.h"

#include "http/conditional.h"

static void test_none_match(void **state)
{
    static const struct {
        const char *field;
        bool matches;
    } cases[] = {
        {NULL, false},
        {"", false},
        {"  ", false},
        {",,", false},
        {"\"abc\"", true},
        {"W/\"abc\"", true},
        {"w/\"abc\"", false},
        {"W\"abc\"", false},
        {"W/ \"abc\"", false},
        {" \t\"abc\"\t ", true},
        {"\"ABC\"", false},
        {"\"ab\"", false},
        {"\"abcd\"", false},
        {"\"\"", false},
        {"abc", false},
        {"'abc'", false},
        {"\"abc", false},
        {"\"", false},
        {"\"x\", \"abc\"", true},
        {"\"abc\",\"x\"", true},
        {"\"x\",W/\"y\"\t,\tW/\"abc\"", true},
        {",\"x\",, ,\"abc\",", true},
        {"\"x\",\"y\"", false},
        {"\"x,\\\",\"abc\"", true},
        {"\"x,abc\", \"y\"", false},
        {"\"x,\"abc\"", false},
        {"\"\",\"abc\"", true},
        {"\"\xc3\xa9\",\"abc\"", true},
        {"*", true},
        {" * ", true},
        {"**", false},
        {"*, \"abc\"", false},
        {"\"*\"", false},
        {"\"x\", *", false},
        /* what web servers make of it when they compress */
        {"\"abc-gzip\"", true},
        {"W/\"abc-gzip\"", true},
        {"\"abc;gzip\"", true},
        {"\"abc-br\", \"x\"", true},
        {"\"x\", \"abc-zstd\"", true},
        {"\"abc-deflate\"", true},
        {"\"abc-gzi\"", false},
        {"\"abc-gzipp\"", false},
        {"\"abcgzip\"", false},
        {"\"abc-\"", false},
        {"\"abc:gzip\"", false},
        {"\"abc-gzip-gzip\"", false},
        {"\"ab-gzip\"", false},
        {"\"-gzip\"", false},
        /* malformed: as far as it could be read */
        {"\"abc\" junk", true},
        {"\"x\" \"abc\"", false},
        {"\"x\"\"abc\"", false},
        {"x, \"abc\"", false},
        {"\"a b\", \"abc\"", false},
        {"\"x\x01\", \"abc\"", false},
        {"\"x\x7f\", \"abc\"", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(conditional_none_match(cases[i].field, "\"abc\"") == cases[i].matches, "\"%s\"",
              cases[i].field);
}

static void test_tag_with_comma(void **state)
{
    (void)state;
    assert_true(conditional_none_match("\"x\", \"a,b\"", "\"a,b\""));
    assert_false(conditional_none_match("\"a\", \"b\"", "\"a,b\""));
    assert_true(conditional_none_match("\"a\"", "W/\"a\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_match),
        cmocka_unit_test(test_tag_with_comma),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
