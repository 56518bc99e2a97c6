/* SPDX-License-Identifier: BSD-2-Clause */
/* Whose fault an error is. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "source/verdict.h"

static void test_outcomes(void **state)
{
    static const struct {
        struct verdict_facts facts;
        struct verdict verdict;
    } cases[] = {
        {{"22012", true, true, 0, 1000}, {QUERY_BAD_VALUE, 0, false}},
        {{"22012", false, true, 0, 1000}, {QUERY_BROKEN, 0, false}},
        {{"55P03", true, true, 0, 1000}, {QUERY_TIMED_OUT, 0, false}},
        {{"55P03", true, false, 0, 1000}, {QUERY_TIMED_OUT, 0, false}},
        {{"25P04", true, true, 0, 1000}, {QUERY_TIMED_OUT, 0, false}},
        {{"57014", true, true, 1000, 1000}, {QUERY_TIMED_OUT, 0, false}},
        {{"57014", true, true, 880, 1000}, {QUERY_TIMED_OUT, 0, false}},
        {{"57014", true, true, 860, 1000}, {QUERY_AWAY, 0, true}},
        {{"57014", true, false, 0, 30000}, {QUERY_AWAY, 0, true}},
        {{"57014", true, true, 0, 10}, {QUERY_TIMED_OUT, 0, false}},
        {{"57P01", true, true, 0, 1000}, {QUERY_AWAY, 0, false}},
        {{"53200", true, true, 0, 1000}, {QUERY_AWAY, 0, false}},
        {{"08006", true, true, 0, 1000}, {QUERY_AWAY, 0, false}},
        {{"08P01", true, true, 0, 1000}, {QUERY_BROKEN, 0, false}},
        {{"42P01", true, true, 0, 1000}, {QUERY_BROKEN, 0, false}},
        {{"P0001", true, true, 0, 1000}, {QUERY_BROKEN, 0, false}},
        {{"PT404", false, true, 0, 1000}, {QUERY_NO_ROW, 404, false}},
        {{"PT410", false, true, 0, 1000}, {QUERY_NO_ROW, 410, false}},
        {{"PT400", false, true, 0, 1000}, {QUERY_CHOSEN, 400, false}},
        {{"PT403", false, true, 0, 1000}, {QUERY_CHOSEN, 403, false}},
        {{"PT409", false, true, 0, 1000}, {QUERY_CHOSEN, 409, false}},
        {{"PT422", false, true, 0, 1000}, {QUERY_CHOSEN, 422, false}},
        {{"PT404", false, false, 0, 1000}, {QUERY_BROKEN, 0, false}},
        {{"PT200", false, true, 0, 1000}, {QUERY_BROKEN, 0, false}},
        {{"PT401", false, true, 0, 1000}, {QUERY_BROKEN, 0, false}},
        {{"PT503", false, true, 0, 1000}, {QUERY_BROKEN, 0, false}},
        {{"PT4X4", false, true, 0, 1000}, {QUERY_BROKEN, 0, false}},
        {{"PT", false, true, 0, 1000}, {QUERY_BROKEN, 0, false}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct verdict verdict = verdict_of(&cases[i].facts);
        check(verdict.outcome == cases[i].verdict.outcome &&
                  verdict.status == cases[i].verdict.status &&
                  verdict.canceled == cases[i].verdict.canceled,
              "case %zu: %s gave %d, %d", i, cases[i].facts.sqlstate, (int)verdict.outcome,
              verdict.status);
    }
}

static void test_what_is_of_the_query(void **state)
{
    static const struct {
        const char *sqlstate;
        bool of_query;
    } cases[] = {
        {"57P01", false}, {"57P02", false}, {"57P03", false}, {"57P05", false},
        {"53300", false}, {"08006", false}, {"08P01", true},  {"53200", true},
        {"53100", true},  {"57014", true},  {"42P01", true},  {"22012", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(verdict_is_of_query(cases[i].sqlstate) == cases[i].of_query, "%s", cases[i].sqlstate);
}

static void test_parameters(void **state)
{
    static const struct {
        const char *context;
        unsigned number;
    } cases[] = {
        {"unnamed portal parameter $1", 1},
        {"unnamed portal parameter $12 = '...'", 12},
        {"unnamed portal parameter $2\nother", 2},
        {"unnamed portal parameter $0", 0},
        {"unnamed portal parameter $", 0},
        {"unnamed portal parameter $1x", 0},
        {"unnamed portal parameter $99999999999999999999", 0},
        {"unnamed portal with parameters: $1 = '4'", 0},
        {"portal \"a\" parameter $1", 0},
        {"SQL function \"unnamed portal parameter $1\" during startup", 0},
        {"PL/pgSQL function f() line 1 at RAISE\nunnamed portal parameter $1", 0},
        {"", 0},
        {NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(verdict_parameter(cases[i].context) == cases[i].number, "case %zu", i);
}

static void test_messages(void **state)
{
    char shown[VERDICT_MESSAGE_BYTES + 1];
    char text[2 * VERDICT_MESSAGE_BYTES + 1];

    (void)state;
    verdict_message(NULL, shown);
    assert_string_equal(shown, "");
    verdict_message("There is none.", shown);
    assert_string_equal(shown, "There is none.");
    verdict_message("caf\xe9", shown);
    assert_string_equal(shown, "");
    memset(text, 'x', sizeof text);
    text[VERDICT_MESSAGE_BYTES] = '\0';
    verdict_message(text, shown);
    assert_string_equal(shown, text);
    /* one byte of the character would still fit */
    memcpy(text + VERDICT_MESSAGE_BYTES - 1, "\xe2\x82\xac", 4);
    verdict_message(text, shown);
    assert_int_equal(strlen(shown), VERDICT_MESSAGE_BYTES - 1);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *message;
        enum verdict_refusal refusal;
        const char *left;
    } cases[] = {
        {"failed: FATAL:  53300: sorry, too many clients already\nLOCATION:  f, proc.c:1\n",
         REFUSAL_FULL, "failed: FATAL:  sorry, too many clients already\n"},
        {"FATAL:  53300: x\nLOCATION:  a\nb failed: FATAL:  57P03: y\nLOCATION:  c", REFUSAL_FULL,
         "FATAL:  x\nb failed: FATAL:  y"},
        {"FATAL:  08P01: no more connections allowed (max_client_conn)\n", REFUSAL_FULL,
         "FATAL:  no more connections allowed (max_client_conn)\n"},
        {"FATAL:  08P01: query_wait_timeout\n", REFUSAL_OTHER, "FATAL:  query_wait_timeout\n"},
        {"FATAL:  28P01: password authentication failed\n", REFUSAL_BARRED,
         "FATAL:  password authentication failed\n"},
        {"FATAL:  28000: role is not permitted to log in\n", REFUSAL_BARRED,
         "FATAL:  role is not permitted to log in\n"},
        {"FATAL:  3D000: no such database\n", REFUSAL_BARRED, "FATAL:  no such database\n"},
        {"FATAL:  55000: not accepting connections\n", REFUSAL_BARRED,
         "FATAL:  not accepting connections\n"},
        {"FATAL:  53300: x\nb failed: FATAL:  28P01: y\n", REFUSAL_FULL,
         "FATAL:  x\nb failed: FATAL:  y\n"},
        {"FATAL:  57P03: it is starting up\n", REFUSAL_OTHER, "FATAL:  it is starting up\n"},
        {"could not connect: Connection refused\n", REFUSAL_OTHER,
         "could not connect: Connection refused\n"},
        {"FATAL:  53300", REFUSAL_OTHER, "FATAL:  53300"},
        {"", REFUSAL_OTHER, ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[200];
        snprintf(text, sizeof text, "%s", cases[i].message);
        check(verdict_take_refusal(text) == cases[i].refusal, "case %zu", i);
        assert_string_equal(text, cases[i].left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),   cmocka_unit_test(test_what_is_of_the_query),
        cmocka_unit_test(test_parameters), cmocka_unit_test(test_messages),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
