/* SPDX-License-Identifier: BSD-2-Clause */
/* Fields of INFO and what they mean for us. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "redis/info.h"

static void test_find(void **state)
{
    static const char info[] = "# Memory\r\nused_memory:12\r\nused_memory_human:12B\r\n"
                               "empty:\r\n\r\n# Server\r\nredis_version:7.0.15";
    static const struct {
        const char *name;
        const char *value; /* NULL: none */
    } cases[] = {
        {"used_memory", "12"}, {"used_memory_human", "12B"},
        {"empty", ""},         {"redis_version", "7.0.15"},
        {"used", NULL},        {"memory", NULL},
        {"# Memory", NULL},
    };
    char out[16];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool found = redis_info_find(info, cases[i].name, out, sizeof out);
        check(found == (cases[i].value != NULL), "%s", cases[i].name);
        check(strcmp(out, found ? cases[i].value : "") == 0, "%s: %s", cases[i].name, out);
    }
    assert_true(redis_info_find(info, "redis_version", out, 4));
    assert_string_equal(out, "7.0");
    assert_false(redis_info_find("", "redis_version", out, sizeof out));
}

static void test_problems(void **state)
{
    static const struct {
        const char *info;
        size_t problems;
    } cases[] = {
        {"redis_version:7.0.15\r\nrole:master\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n",
         0},
        {"redis_version:7.0.15\r\nrole:master\r\nmaxmemory:9\r\nmaxmemory_policy:volatile-lru\r\n",
         0},
        {"redis_version:7.0.15\r\nrole:master\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n",
         1},
        {"redis_version:7.0.15\r\nrole:master\r\nmaxmemory:9\r\nmaxmemory_policy:allkeys-lru\r\n",
         1},
        {"redis_version:10.1.0\r\nrole:slave\r\n", 1},
        {"redis_version:6.2.9\r\nrole:slave\r\nmaxmemory:9\r\nmaxmemory_policy:allkeys-random\r\n",
         3},
        {"", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t count = 0;
        while (redis_info_problem(cases[i].info, count) != NULL)
            count++;
        check(count == cases[i].problems, "case %zu: %zu", i, count);
    }
}

static void test_errors(void **state)
{
    static const struct {
        const char *reply, *said;
    } cases[] = {
        {"WRONGPASS invalid username-password pair or user is disabled.",
         "WRONGPASS invalid username-password pair or user is disabled."},
        {"ERR unknown command 'AUTH', with args beginning with: 'user' 'horse' ",
         "ERR unknown command 'AUTH'"},
        {"ERR unknown command `GET`, with args beginning with: `k`, `horse`, ",
         "ERR unknown command `GET`"},
        {", with args", "an error that says nothing"},
        {"", "an error that says nothing"},
    };
    char out[80], small[5];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        redis_info_error(cases[i].reply, out, sizeof out);
        check(strcmp(out, cases[i].said) == 0, "%s: %s", cases[i].reply, out);
    }
    redis_info_error("OOM command", small, sizeof small);
    assert_string_equal(small, "OOM ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_problems),
        cmocka_unit_test(test_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
