/* SPDX-License-Identifier: BSD-2-Clause */
/* Bounds of Redis's clock: that they hold for every clock that could have answered. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>

#include "cache/redis_clock.h"

static void test_bounds(void **state)
{
    /* asked at 1 s, answered at 1.002 s: Redis's clock showed 500 s in between */
    static const int64_t sent = 1000000, received = 1002000, redis = 500000000;
    static const struct {
        int64_t local;
        int64_t earliest;
        int64_t latest;
    } cases[] = {
        {1000000, 499998000, 500000000},
        {1000001, 499998000, 500000002},
        {1002000, 499999998, 500002002},
        {2000000, 500997000, 501001000},
        {11000000, 509988000, 510010000},
        {0, 498997000, 499001000}, /* a query sent before the measurement */
    };
    struct redis_clock clock = {.known = false};

    (void)state;
    redis_clock_measure(&clock, sent, received, redis);
    assert_true(clock.known);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t earliest = redis_clock_earliest(&clock, cases[i].local);
        int64_t latest = redis_clock_latest(&clock, cases[i].local);
        check(earliest == cases[i].earliest, "case %zu: %" PRId64, i, earliest);
        check(latest == cases[i].latest, "case %zu: %" PRId64, i, latest);
    }
}

/* Redis's clock as it would be if it had been read `read` after the question, and ran
   `ppm` millionths too fast (or slow) by our own. */
static void check_possible_clock(int64_t read, int64_t ppm, int64_t local)
{
    static const int64_t sent = 777000000, round_trip = 3000;
    struct redis_clock clock;
    int64_t answered = 42000000;

    redis_clock_measure(&clock, sent, sent + round_trip, answered);
    int64_t since = local - (sent + read);
    int64_t truth = answered + since + since * ppm / 1000000;
    check(redis_clock_earliest(&clock, local) <= truth, "read %" PRId64 ", %" PRId64 " ppm", read,
          ppm);
    check(redis_clock_latest(&clock, local) >= truth, "read %" PRId64 ", %" PRId64 " ppm", read,
          ppm);
}

static void test_drifting_clocks(void **state)
{
    static const int64_t reads[] = {0, 1, 1500, 2999, 3000};
    static const int64_t rates[] = {-1000, -500, 0, 500, 1000};
    static const int64_t locals[] = {777003000, 777003001, 777500000, 787000000, 8777000000};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(reads); i++)
        for (size_t j = 0; j < COUNT_OF(rates); j++)
            for (size_t k = 0; k < COUNT_OF(locals); k++)
                check_possible_clock(reads[i], rates[j], locals[k]);
}

static void test_newest_measurement_counts(void **state)
{
    struct redis_clock clock = {.known = false};

    (void)state;
    redis_clock_measure(&clock, 1000, 1001, 900000000);
    redis_clock_measure(&clock, 2000, 9000, 100000000); /* set back, and less precise */
    assert_int_equal(redis_clock_earliest(&clock, 9000), 100000000 - 7);
    assert_int_equal(redis_clock_latest(&clock, 9000), 100007000 + 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_drifting_clocks),
        cmocka_unit_test(test_newest_measurement_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
