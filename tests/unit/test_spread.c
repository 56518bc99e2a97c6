/* SPDX-License-Identifier: BSD-2-Clause */
/* Refreshes that fall due together are asked for over the first half of the stale time. */
#include "config.h"

#include "unit.h"

#include <stdio.h>

#include "refresh/spread.h"

enum { KEYS = 10000, PARTS = 10 };

static void test_evenly_over_the_first_half(void **state)
{
    static const int64_t windows_us[] = {6000000, 100000, 86400000000};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(windows_us); i++) {
        int counts[PARTS] = {0};
        for (int number = 0; number < KEYS; number++) {
            char base[64];
            snprintf(base, sizeof base, "leeway:{r.0123456789abcdef:=%d}", number);
            int64_t us = spread_us(base, 1795435200123456, windows_us[i]);
            check(us >= 0 && us < windows_us[i] / 2, "%d", number);
            counts[us * PARTS / (windows_us[i] / 2)]++;
        }
        for (int part = 0; part < PARTS; part++)
            check(counts[part] > KEYS / PARTS * 8 / 10 && counts[part] < KEYS / PARTS * 12 / 10,
                  "%d in part %d", counts[part], part);
    }
}

static void test_by_key_and_snapshot(void **state)
{
    (void)state;
    assert_int_equal(spread_us("a", 5, 1000000), spread_us("a", 5, 1000000));
    assert_int_not_equal(spread_us("a", 5, 1000000), spread_us("b", 5, 1000000));
    assert_int_not_equal(spread_us("a", 5, 1000000), spread_us("a", 6, 1000000));
}

static void test_no_window(void **state)
{
    (void)state;
    assert_int_equal(spread_us("a", 5, 0), 0);
    assert_int_equal(spread_us("a", 5, 1), 0);
    assert_int_equal(spread_us("a", 5, -1), 0);
    assert_int_equal(spread_us("a", 5, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evenly_over_the_first_half),
        cmocka_unit_test(test_by_key_and_snapshot),
        cmocka_unit_test(test_no_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
