/* SPDX-License-Identifier: BSD-2-Clause */
/* Bounds of Redis's clock: that they hold for every clock that could have answered. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>
#include <string.h>

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
    struct redis_clock clock = {.known = false};
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

static const int64_t SECOND = 1000000;

/* Measured with no time lost between question and answer. */
static int64_t measure(struct redis_clock *clock, int64_t local, int64_t redis)
{
    return redis_clock_measure(clock, local, local, redis);
}

static void test_drift_is_no_step(void **state)
{
    struct redis_clock clock = {.known = false};

    (void)state;
    assert_int_equal(measure(&clock, 0, 1000 * SECOND), 0);
    assert_int_equal(measure(&clock, 10 * SECOND, 1010 * SECOND - 10000), 0);
    assert_int_equal(redis_clock_latest_for(&clock, 1, 10 * SECOND), 1010 * SECOND - 10000);
    assert_int_equal(measure(&clock, 20 * SECOND, 1020 * SECOND - 20001), 1);
}

/* What may be from before the step ages as if there had been none; what cannot be does not. */
static void test_a_clock_that_is_set_back(void **state)
{
    static const int64_t back = 30 * SECOND;
    struct redis_clock clock = {.known = false};

    (void)state;
    measure(&clock, 0, 1000 * SECOND);
    check(measure(&clock, 10 * SECOND, 1010 * SECOND - back) == back - 10000, "the step");
    for (int64_t local = 10 * SECOND; local < 100 * SECOND; local += SECOND) {
        int64_t without_step = 1000 * SECOND + local;
        /* or stored by somebody who had not noticed yet */
        check(redis_clock_latest_for(&clock, 1025 * SECOND, local) >= without_step,
              "from before, at %" PRId64, local);
        check(redis_clock_latest_for(&clock, 1026 * SECOND, local) <
                  without_step - back + SECOND / 10,
              "from after, at %" PRId64, local);
    }
}

/* Somebody who only ever saw the clock after the step judges as one who lived through it. */
static void test_a_step_is_told(void **state)
{
    static const int64_t back = 30 * SECOND;
    struct redis_clock old = {.known = false}, new = {.known = false};
    struct redis_clock_step heard;
    char text[REDIS_CLOCK_STEP_BYTES];

    (void)state;
    measure(&old, 0, 1000 * SECOND);
    measure(&old, 10 * SECOND, 1010 * SECOND - back);
    const struct redis_clock_step told = redis_clock_tell(&old);
    redis_clock_step_format(&told, text);
    assert_int_equal(redis_clock_step_parse(text, strlen(text), &heard), 0);
    /* another host, whose monotonic clock shows something else, and told twice */
    measure(&new, 500 * SECOND, 1012 * SECOND - back);
    redis_clock_learn(&new, &heard);
    measure(&new, 520 * SECOND, 1032 * SECOND - back);
    redis_clock_learn(&new, &heard);
    for (int64_t after = 0; after < 100 * SECOND; after += SECOND) {
        int64_t without_step = 1032 * SECOND + after, local = 520 * SECOND + after;
        check(redis_clock_latest_for(&new, 1010 * SECOND, local) >= without_step,
              "from before, %" PRId64 " later", after);
        check(redis_clock_latest_for(&new, 1010 * SECOND, local) < without_step + SECOND,
              "from before, %" PRId64 " later", after);
        check(redis_clock_latest_for(&new, 1026 * SECOND, local) < without_step - back + SECOND / 5,
              "from after, %" PRId64 " later", after);
    }
}

static void test_a_step_that_is_none(void **state)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "1",
                                        "1 ",
                                        " 1",
                                        "1 2 3",
                                        "0 1",
                                        "1 0",
                                        "-1 1",
                                        "1 -1",
                                        "a b",
                                        "1  1",
                                        "9223372036854775807 1",
                                        "1 9223372036854775807",
                                        "1 9223372036854775808"};
    struct redis_clock_step step;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        check(redis_clock_step_parse(texts[i], strlen(texts[i]), &step) == -1, "\"%s\"", texts[i]);
    assert_int_equal(redis_clock_step_parse("12 34x", 5, &step), 0);
    assert_true(step.until_us == 12 && step.ahead_us == 34);
}

static void test_a_clock_that_is_set_forward(void **state)
{
    struct redis_clock clock = {.known = false};

    (void)state;
    measure(&clock, 0, 1000 * SECOND);
    assert_int_equal(measure(&clock, 10 * SECOND, 5000 * SECOND), 0);
    assert_int_equal(redis_clock_latest_for(&clock, 1005 * SECOND, 10 * SECOND), 5000 * SECOND);
}

/* Forth and back, back twice: an age is never less than the true one. */
static void test_steps_in_a_row(void **state)
{
    static const int64_t steps[][3] = {{60, -60, 0}, {-5, -5, 0}, {-60, 90, -60}, {-90, 80, -1}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct redis_clock clock = {.known = false};
        int64_t offset = 100000 * SECOND, snapshots[4], taken[4];
        for (size_t j = 0; j < 4; j++) {
            int64_t local = (int64_t)(j + 1) * 10 * SECOND;
            measure(&clock, local, offset + local);
            taken[j] = local + SECOND;
            snapshots[j] = redis_clock_earliest(&clock, taken[j]);
            for (size_t k = 0; k <= j; k++)
                check(redis_clock_latest_for(&clock, snapshots[k], local + 2 * SECOND) -
                              snapshots[k] >=
                          local + 2 * SECOND - taken[k],
                      "row %zu, taken after %zu steps, seen after %zu", i, k, j);
            if (j < 3)
                offset += steps[i][j] * SECOND;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_drifting_clocks),
        cmocka_unit_test(test_newest_measurement_counts),
        cmocka_unit_test(test_drift_is_no_step),
        cmocka_unit_test(test_a_clock_that_is_set_back),
        cmocka_unit_test(test_a_clock_that_is_set_forward),
        cmocka_unit_test(test_a_step_is_told),
        cmocka_unit_test(test_a_step_that_is_none),
        cmocka_unit_test(test_steps_in_a_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
