/* SPDX-License-Identifier: BSD-2-Clause */
/* Doubling, its floor and its ceiling. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>

#include "refresh/backoff.h"

static void test_backoff(void **state)
{
    static const struct {
        int64_t failures;
        int64_t budget_ms;
        int64_t expected;
    } cases[] = {
        {1, 60000, 1000},
        {2, 60000, 2000},
        {3, 60000, 4000},
        {6, 60000, 32000},
        {7, 60000, 60000},
        {1000000, 60000, 60000},
        {INT64_MAX, INT64_C(2592000000), INT64_C(2592000000)},
        {5, 16000, 16000},
        {6, 16000, 16000},
        {1, 1000, 1000},
        {2, 1000, 1000},
        {2, 1500, 1500},
        {1, 0, 1000},
        {9, 0, 1000},
        {0, 60000, 1000},
        {-3, 60000, 1000},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t wait_ms = backoff_ms(cases[i].failures, cases[i].budget_ms);
        check(wait_ms == cases[i].expected, "case %zu: %" PRId64, i, wait_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_backoff)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
