/* SPDX-License-Identifier: BSD-2-Clause */
/* When a preparation is to blame for an error. */
#include "config.h"

#include "unit.h"

#include "source/statement.h"

enum { SECOND_US = 1000 * 1000 };

static void test_errors_that_may_come_from_a_preparation(void **state)
{
    static const struct {
        const char *sqlstate;
        const char *function;
        bool outdated;
    } cases[] = {
        {"0A000", "RevalidateCachedQuery", true}, /* cached plan must not change result type */
        {"0A000", "timestamp_trunc", true},
        {"26000", "FetchPreparedStatement", true},
        {"42883", "op_error", true},
        {"XX000", "typenameType", true},
        {"P0001", "exec_stmt_raise", true},
        {"42P01", NULL, true},
        {"08006", NULL, false},
        {"22012", "int4div", false},
        {"22P02", "uuid_in", false},
        {"40001", NULL, false},
        {"53300", NULL, false},
        {"57014", "ProcessInterrupts", false},
        {"PT404", "exec_stmt_raise", false},
        {"", NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct statement statement = {.route = NULL};
        check(statement_may_be_outdated(&statement, cases[i].sqlstate, cases[i].function,
                                        SECOND_US) == cases[i].outdated,
              "case %zu: %s", i, cases[i].sqlstate);
    }
}

static void test_one_that_failed_alike_is_left_alone_for_a_while(void **state)
{
    struct statement statement = {.route = NULL};
    int64_t now_us = 7 * SECOND_US;

    (void)state;
    statement_pause(&statement, "0A000", now_us);
    assert_false(statement_may_be_outdated(&statement, "0A000", "timestamp_trunc", now_us));
    assert_false(
        statement_may_be_outdated(&statement, "0A000", NULL, now_us + STATEMENT_PAUSE_US - 1));
    assert_true(statement_may_be_outdated(&statement, "0A000", NULL, now_us + STATEMENT_PAUSE_US));
    /* another error is another matter, and so is what can only be the preparation */
    assert_true(statement_may_be_outdated(&statement, "42883", NULL, now_us));
    assert_true(statement_may_be_outdated(&statement, "0A000", "RevalidateCachedQuery", now_us));
}

static void test_many_errors_in_turn_are_no_way_around_the_pause(void **state)
{
    static const char *const sqlstates[] = {"XX001", "XX002", "P0001", "42883"};
    struct statement statement = {.route = NULL};
    int64_t now_us = SECOND_US;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sqlstates); i++) {
        assert_true(statement_may_be_outdated(&statement, sqlstates[i], NULL, now_us));
        statement_pause(&statement, sqlstates[i], now_us + (int64_t)i);
    }
    for (size_t i = 0; i < COUNT_OF(sqlstates); i++)
        assert_false(statement_may_be_outdated(&statement, sqlstates[i], NULL, now_us));
    assert_false(statement_may_be_outdated(&statement, "XX003", NULL, now_us));
    assert_true(statement_may_be_outdated(&statement, "XX003", NULL, now_us + STATEMENT_PAUSE_US));
    assert_true(statement_may_be_outdated(&statement, "0A000", "RevalidateCachedQuery", now_us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_that_may_come_from_a_preparation),
        cmocka_unit_test(test_one_that_failed_alike_is_left_alone_for_a_while),
        cmocka_unit_test(test_many_errors_in_turn_are_no_way_around_the_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
