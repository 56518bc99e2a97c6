/* SPDX-License-Identifier: BSD-2-Clause */
/* Every boundary of an entry's life, and what Redis is told of it. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>

#include "cache/freshness.h"

enum { SECOND = 1000000 };

static const int64_t snapshot = INT64_C(1700000000000000);

/* B 60 s, S 54 s, 30 s more on error, 404s for 6 s */
static const struct freshness_policy usual = {60 * SECOND, 54 * SECOND, 30 * SECOND, 6 * SECOND};
static const struct freshness_policy no_error_budget = {60 * SECOND, 54 * SECOND, 0, 0};
static const struct freshness_policy no_budget = {0, 0, 0, 0};
static const struct freshness_policy error_budget_alone = {0, 0, 30 * SECOND, 0};
static const struct freshness_policy always_stale = {60 * SECOND, 0, 0, 0};
static const struct freshness_policy never_stale = {60 * SECOND, 60 * SECOND, 0, 0};

static void test_judgement(void **state)
{
    static const struct {
        const struct freshness_policy *policy;
        int status;
        int64_t age;
        enum freshness expected;
    } cases[] = {
        {&usual, 200, 0, FRESHNESS_FRESH},
        {&usual, 200, 54 * SECOND - 1, FRESHNESS_FRESH},
        {&usual, 200, 54 * SECOND, FRESHNESS_STALE},
        {&usual, 200, 60 * SECOND - 1, FRESHNESS_STALE},
        {&usual, 200, 60 * SECOND, FRESHNESS_ON_ERROR},
        {&usual, 200, 90 * SECOND - 1, FRESHNESS_ON_ERROR},
        {&usual, 200, 90 * SECOND, FRESHNESS_EXPIRED},
        {&usual, 200, INT64_C(1000000) * SECOND, FRESHNESS_EXPIRED},
        {&usual, 200, -5 * SECOND, FRESHNESS_EXPIRED},
        {&usual, 404, 0, FRESHNESS_FRESH},
        {&usual, 404, 6 * SECOND - 1, FRESHNESS_FRESH},
        {&usual, 404, 6 * SECOND, FRESHNESS_EXPIRED},
        {&usual, 404, 60 * SECOND, FRESHNESS_EXPIRED},
        {&usual, 410, 6 * SECOND - 1, FRESHNESS_FRESH},
        {&usual, 410, 6 * SECOND, FRESHNESS_EXPIRED},
        {&no_error_budget, 200, 60 * SECOND - 1, FRESHNESS_STALE},
        {&no_error_budget, 200, 60 * SECOND, FRESHNESS_EXPIRED},
        {&no_error_budget, 404, 0, FRESHNESS_EXPIRED},
        {&no_budget, 200, 0, FRESHNESS_EXPIRED},
        {&no_budget, 200, -SECOND, FRESHNESS_EXPIRED},
        {&no_budget, 404, 0, FRESHNESS_EXPIRED},
        {&error_budget_alone, 200, 0, FRESHNESS_EXPIRED},
        {&always_stale, 200, 0, FRESHNESS_STALE},
        {&never_stale, 200, 60 * SECOND - 1, FRESHNESS_FRESH},
        {&never_stale, 200, 60 * SECOND, FRESHNESS_EXPIRED},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t age = cases[i].age > 0 ? cases[i].age : 0;
        bool found = cases[i].status == 200;
        int64_t budget = found ? cases[i].policy->budget_us : cases[i].policy->negative_budget_us;
        int64_t fresh = found ? cases[i].policy->refresh_after_us : budget;
        struct freshness_verdict verdict =
            freshness_judge(cases[i].policy, cases[i].status, snapshot, snapshot + cases[i].age);

        check(verdict.state == cases[i].expected, "case %zu is %s", i,
              freshness_name(verdict.state));
        check(verdict.age_us == age, "case %zu: %" PRId64, i, verdict.age_us);
        check(verdict.ttl_us == budget - age, "case %zu: %" PRId64, i, verdict.ttl_us);
        check(verdict.fresh_us == fresh - age, "case %zu: %" PRId64, i, verdict.fresh_us);
    }
}

static bool may_be_served(const struct freshness_policy *policy, int status, int64_t at,
                          int64_t now)
{
    return freshness_judge(policy, status, at, now).state != FRESHNESS_EXPIRED;
}

/* Redis must neither drop what may still be served, but for one millisecond, nor keep
   what may not. */
static void test_expiry(void **state)
{
    static const struct {
        const struct freshness_policy *policy;
        int status;
        int64_t snapshot;
        int64_t expiry_ms;
    } cases[] = {
        {&usual, 200, INT64_C(1700000000000000), INT64_C(1700000089999)},
        {&usual, 200, INT64_C(1700000000000001), INT64_C(1700000090000)},
        {&usual, 200, INT64_C(1700000000000999), INT64_C(1700000090000)},
        {&usual, 404, INT64_C(1700000000000500), INT64_C(1700000006000)},
        {&usual, 410, INT64_C(1700000000000500), INT64_C(1700000006000)},
        {&no_error_budget, 200, INT64_C(1700000000000500), INT64_C(1700000060000)},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t expiry_ms =
            freshness_expiry_ms(cases[i].policy, cases[i].status, cases[i].snapshot);

        check(expiry_ms == cases[i].expiry_ms, "case %zu: %" PRId64, i, expiry_ms);
        check(may_be_served(cases[i].policy, cases[i].status, cases[i].snapshot, expiry_ms * 1000),
              "case %zu is kept too long", i);
        check(!may_be_served(cases[i].policy, cases[i].status, cases[i].snapshot,
                             (expiry_ms + 1) * 1000),
              "case %zu is dropped too early", i);
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(freshness_name(FRESHNESS_FRESH), "fresh");
    assert_string_equal(freshness_name(FRESHNESS_STALE), "stale");
    assert_string_equal(freshness_name(FRESHNESS_ON_ERROR), "on-error");
    assert_string_equal(freshness_name(FRESHNESS_EXPIRED), "expired");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judgement),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
