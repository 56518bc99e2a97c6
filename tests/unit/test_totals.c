/* SPDX-License-Identifier: BSD-2-Clause */
/* Percentiles out of buckets. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>

#include "metrics/totals.h"

static void test_percentiles(void **state)
{
    static const int64_t bounds[] = {100, 200, 1000};
    static const struct {
        uint64_t buckets[4];
        double share;
        int64_t us;
    } cases[] = {
        {{0, 0, 0, 0}, 0.5, -1},    {{10, 0, 0, 0}, 0.5, 50}, /* half of the way into the first
                                                                 bucket */
        {{10, 0, 0, 0}, 1.0, 100},  {{5, 5, 0, 0}, 0.5, 100},  {{5, 5, 0, 0}, 0.9, 180},
        {{0, 0, 4, 0}, 0.25, 400},  {{1, 0, 1, 0}, 0.75, 600}, /* past an empty bucket */
        {{1, 0, 0, 9}, 0.99, 1000}, /* no more is known beyond the last bound */
        {{0, 0, 0, 1}, 0.01, 1000}, {{100, 0, 0, 1}, 0.5, 50},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t us =
            totals_percentile_us(bounds, COUNT_OF(bounds), cases[i].buckets, cases[i].share);
        check(us >= cases[i].us - 1 && us <= cases[i].us, "case %zu: %" PRId64, i, us);
    }
}

static void test_a_directory_without_slots(void **state)
{
    struct totals *totals = totals_read(NULL, "/nonexistent");

    (void)state;
    assert_int_equal(totals->n_routes, 0);
    assert_false(totals->any_alive);
    assert_null(totals_find(totals, "/x"));
    talloc_free(totals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_a_directory_without_slots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
