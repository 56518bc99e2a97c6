/* SPDX-License-Identifier: BSD-2-Clause */
/* What operators switch off, as texts and in a list. */
#include "config.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "cache/switch.h"

static void test_texts(void **state)
{
    static const struct {
        const char *name, *value;
        bool good;
        int64_t until_ms;
        const char *by;
    } cases[] = {
        {"refresh", "1795435200123 alice@db1", true, 1795435200123, "alice@db1"},
        {"route:users.id", "1 a b", true, 1, "a b"},
        {"route:users.id", "1", true, 1, ""},
        {"route:users.id", "1 ", true, 1, ""},
        {"refresh", "", false, 0, ""},
        {"refresh", "-1 a", false, 0, ""},
        {"refresh", "x a", false, 0, ""},
        {"refresh", "99999999999999999999 a", false, 0, ""},
        {"refresh", "1 a\x1b", false, 0, ""},
        {"refresh", "1 \xc3\xa4", false, 0, ""},
        {"route:", "1 a", false, 0, ""},
        {"memory", "1 a", false, 0, ""},
        {"", "1 a", false, 0, ""},
        {"route:a b", "1 a", false, 0, ""},
        {"refreshes", "1 a", false, 0, ""},
    };
    char value[SWITCH_VALUE_BYTES], again[SWITCH_VALUE_BYTES];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct cache_switch off, same;
        bool good = switch_parse(cases[i].name, cases[i].value, &off);
        check(good == cases[i].good, "case %zu", i);
        if (!good)
            continue;
        check(strcmp(off.name, cases[i].name) == 0 && strcmp(off.by, cases[i].by) == 0 &&
                  off.until_ms == cases[i].until_ms,
              "case %zu: %s %s", i, off.name, off.by);
        switch_write_value(&off, value);
        assert_true(switch_parse(off.name, value, &same));
        switch_write_value(&same, again);
        assert_string_equal(value, again);
    }
}

static void test_a_file(void **state)
{
    struct switch_list list;

    (void)state;
    assert_true(switch_list_parse("refresh 20 a\nroute:x 30 b c\nrefresh 10 d\nroute:y 40 e\nend\n",
                                  &list));
    assert_int_equal(list.count, 3);
    assert_string_equal(switch_list_find(&list, "refresh", 9)->by, "d");
    assert_null(switch_list_find(&list, "refresh", 10));
    assert_string_equal(switch_list_find(&list, "route:x", 0)->by, "b c");
    assert_string_equal(switch_list_find(&list, "route:y", 39)->by, "e");
    assert_null(switch_list_find(&list, "route:z", 0));
    switch_list_prune(&list, 30);
    assert_int_equal(list.count, 1);
    assert_true(switch_list_remove(&list, "route:y"));
    assert_false(switch_list_remove(&list, "route:y"));
    assert_true(switch_list_parse("end\n", &list));
    assert_int_equal(list.count, 0);
}

static void test_a_file_that_is_not_whole(void **state)
{
    static const char whole[] = "refresh 20 a\nroute:x 30 b c\nend\n";
    static const char *const others[] = {
        "refresh 20 a\nnonsense\nend\n",
        "refresh 20 a\n\nend\n",
        "refresh 20 a\nend\nend\n",
        "refresh x a\nend\n",
        "\nend\n",
        "end\nrefresh 20 a\n",
    };
    struct switch_list list;
    char cut[sizeof whole];

    (void)state;
    assert_true(switch_list_parse(whole, &list));
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        snprintf(cut, sizeof cut, "%.*s", (int)len, whole);
        check(!switch_list_parse(cut, &list), "the first %zu bytes", len);
    }
    for (size_t i = 0; i < COUNT_OF(others); i++)
        check(!switch_list_parse(others[i], &list), "case %zu", i);
}

static void test_a_full_list(void **state)
{
    struct cache_switch off = {.until_ms = 1};
    struct switch_list list = {.count = 0};

    (void)state;
    for (int i = 0; i < SWITCHES_MAX; i++) {
        snprintf(off.name, sizeof off.name, "route:r%d", i);
        assert_true(switch_list_set(&list, &off));
    }
    assert_true(switch_list_set(&list, &off));
    strcpy(off.name, "refresh");
    assert_false(switch_list_set(&list, &off));
    assert_int_equal(list.count, SWITCHES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_a_file),
        cmocka_unit_test(test_a_file_that_is_not_whole),
        cmocka_unit_test(test_a_full_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
