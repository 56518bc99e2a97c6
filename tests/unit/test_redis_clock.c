/* SPDX-License-Identifier: BSD-2-Clause */
/* Bounds of Redis's clock: that they hold for every clock that could have answered. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>
#include <string.h>

#include "redis/clock.h"

static void test_bounds(void **state)
{
    /* asked at 1 s, answered at 1.002 s: Redis's clock showed 500 s in between */
    static const int64_t sent = 1000000, received = 1002000, redis = 500000000;
    static const struct {
        int64_t local;
        int64_t earliest;
        int64_t latest;
    } cases[] = {
        {1000000, 499997777, 500000223},
        {1000001, 499997778, 500000224},
        {1002000, 499999777, 500002223},
        {1900000, 500798000, 501000000},
        {10000000, 507998000, 510000000},
        {999000, 499996666, 499999334}, /* a query sent before the measurement */
        {0, 498886666, 499111334},
    };
    struct redis_clock clock = {.known = false};

    (void)state;
    redis_clock_measure(&clock, sent, received, redis, 0);
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

    redis_clock_measure(&clock, sent, sent + round_trip, answered, 0);
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
    static const int64_t rates[] = {-100500, -500, 0, 500, 100500};
    static const int64_t locals[] = {770000000, 776999999, 777000000, 777003000,
                                     777003001, 777500000, 787000000, 8777000000};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(reads); i++)
        for (size_t j = 0; j < COUNT_OF(rates); j++)
            for (size_t k = 0; k < COUNT_OF(locals); k++)
                check_possible_clock(reads[i], rates[j], locals[k]);
}

/* It would be wrong after a pause, or a step, that is shorter than the answer took. */
static void test_nothing_is_left_of_the_reading_before(void **state)
{
    struct redis_clock clock = {.known = false};

    (void)state;
    redis_clock_measure(&clock, 0, 100, 900000000, 0);
    redis_clock_measure(&clock, 500000, 700000, 900800000, 0);
    assert_int_equal(redis_clock_latest(&clock, 700000), 900800000 + 200000 + 22223);
    redis_clock_measure(&clock, 1000000, 1200000, 901100000, 0);
    assert_int_equal(redis_clock_earliest(&clock, 1000000), 901100000 - 200000 - 22223);
    /* nor where it was set back */
    redis_clock_measure(&clock, 1500000, 1507000, 100000000, 0);
    assert_int_equal(redis_clock_earliest(&clock, 1500000), 100000000 - 7000 - 778);
    assert_int_equal(redis_clock_latest(&clock, 1500000), 100000000 + 778);
}

static const int64_t SECOND = 1000000;

/* Measured with no time lost between question and answer. */
static int64_t measure(struct redis_clock *clock, int64_t local, int64_t redis)
{
    return redis_clock_measure(clock, local, local, redis, 0);
}

static void test_slewing_is_no_step(void **state)
{
    struct redis_clock clock = {.known = false};

    (void)state;
    assert_int_equal(measure(&clock, 0, 1000 * SECOND), 0);
    assert_int_equal(measure(&clock, 4500000, 1004 * SECOND), 0);
    assert_int_equal(measure(&clock, 9 * SECOND, 1008 * SECOND - 1), -1);
    /* nobody slews for long: after an outage it is a step sooner */
    assert_int_equal(measure(&clock, 309 * SECOND, 1308 * SECOND - 1 - 555556 - 147500), 0);
    assert_int_equal(measure(&clock, 609 * SECOND, 1608 * SECOND - 1 - 2 * (555556 + 147500) - 9),
                     -9);
}

/* What it lost since a snapshot counts, and no more; of what nobody has seen, 500 ppm. */
static void test_a_clock_that_loses(void **state)
{
    struct redis_clock clock = {.known = false};

    (void)state;
    for (int64_t i = 0; i <= 120; i++)
        measure(&clock, i * SECOND / 2, 1000 * SECOND + i * SECOND / 2 * 92 / 100);
    int64_t now = 60 * SECOND, shown = 1000 * SECOND + 60 * SECOND * 92 / 100;
    assert_int_equal(redis_clock_latest_for(&clock, shown, now), shown + SECOND * 4 / 100);
    assert_int_equal(redis_clock_latest_for(&clock, 1000 * SECOND + 1, now), 1060 * SECOND);
    assert_int_equal(redis_clock_latest_for(&clock, 800 * SECOND, now), 1060 * SECOND + 100000);
    for (int64_t taken = 0; taken < 60; taken++) {
        int64_t snapshot = 1000 * SECOND + taken * SECOND * 92 / 100;
        int64_t age = redis_clock_latest_for(&clock, snapshot, now) - snapshot;
        int64_t truth = now - taken * SECOND;
        check(age >= truth && age < truth + SECOND / 2, "%" PRId64 ": %" PRId64, truth, age);
    }
}

static void test_the_local_clocks_part(void **state)
{
    struct redis_clock clock = {.known = false};

    (void)state;
    assert_false(redis_clock_is_current(&clock, 0, 0));
    redis_clock_measure(&clock, 0, 1000, 1000 * SECOND, -3 * SECOND);
    assert_true(redis_clock_is_current(&clock, 1000, -3 * SECOND));
    assert_true(redis_clock_is_current(&clock, SECOND - 1, -3 * SECOND + SECOND / 12));
    assert_true(redis_clock_is_current(&clock, SECOND - 1, -3 * SECOND - SECOND / 12));
    assert_false(redis_clock_is_current(&clock, SECOND, -3 * SECOND));
    assert_false(redis_clock_is_current(&clock, 1000, -3 * SECOND + 6000));
    assert_false(redis_clock_is_current(&clock, 1000, 27 * SECOND));
    assert_false(redis_clock_is_current(&clock, 1000, -33 * SECOND));
}

/* A query that was sent long before the answer's clock was read. */
static void test_a_moment_between_two_readings(void **state)
{
    struct redis_clock clock = {.known = false};

    (void)state;
    measure(&clock, 0, 1000 * SECOND);
    const struct redis_clock_reading before = clock.last;
    for (int64_t i = 1; i <= 22; i++)
        measure(&clock, i * SECOND / 2, 1000 * SECOND + i * SECOND / 2);
    assert_true(redis_clock_earliest(&clock, SECOND / 10) < 1000 * SECOND - SECOND);
    assert_int_equal(redis_clock_earliest_after(&clock, &before, SECOND / 10),
                     1000 * SECOND + SECOND / 10 - 11112);
    /* this machine stood still for 5 s, or Redis's clock was set forward */
    measure(&clock, 11500000, 1016500000);
    assert_int_equal(redis_clock_earliest_after(&clock, &before, SECOND / 10),
                     1000 * SECOND + SECOND / 10 - 11112);
    measure(&clock, 12 * SECOND, 900 * SECOND);
    assert_int_equal(redis_clock_earliest_after(&clock, &before, SECOND / 10),
                     redis_clock_earliest(&clock, SECOND / 10));
}

/* A small generator of our own: the same course in every run. */
static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return *seed >> 33;
}

enum { SNAPSHOTS = 400 };

/* Redis's clock is slewed this way and that for some seconds each, as far as a kernel does it;
   another process's clock takes snapshots; answers take up to 20 ms. No age is less than the true
   one, and none is much more than the larger of both. */
static void check_slewed(uint64_t seed)
{
    struct redis_clock reader = {.known = false}, writer = {.known = false};
    int64_t snapshots[SNAPSHOTS], taken[SNAPSHOTS], shown[SNAPSHOTS];
    int64_t redis = 1000000 * SECOND, now = 5 * SECOND, rate = 0, until = 0;

    for (size_t i = 0; i < SNAPSHOTS; i++) {
        int64_t step = 350000 + (int64_t)(next_random(&seed) % 100000);
        int64_t trip = (int64_t)(next_random(&seed) % 20000), there = trip / 3;
        if (now >= until) {
            rate = (int64_t)(next_random(&seed) % 166667) - 83333;
            until = now + (5 + (int64_t)(next_random(&seed) % 20)) * SECOND;
        }
        now += step;
        redis += step + step * rate / 1000000;
        redis_clock_measure(i % 2 ? &reader : &writer, now - there, now + trip - there, redis, 0);
        taken[i] = now;
        shown[i] = redis;
        snapshots[i] = i == 0 ? redis : redis_clock_earliest(&writer, now);
        check(snapshots[i] <= redis, "snapshot %zu", i);
        for (size_t j = 1; i % 2 && i > 1 && j <= i; j++) {
            int64_t age = redis_clock_latest_for(&reader, snapshots[j], now) - snapshots[j];
            int64_t truth = now - taken[j], by_redis = redis - shown[j];
            /* where the rate changes between two readings, what it was in between is not seen */
            check(age >= truth - 67000, "%zu of %zu: %" PRId64 " instead of %" PRId64, j, i, age,
                  truth);
            check(age <= (truth > by_redis ? truth : by_redis) + SECOND / 2 + truth / 20,
                  "%zu of %zu: %" PRId64 " instead of %" PRId64, j, i, age, truth);
        }
    }
}

static void test_a_clock_that_is_slewed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++)
        check_slewed(seed);
}

/* Days of it: what is remembered stays bounded, and true. */
static void test_a_long_life(void **state)
{
    struct redis_clock clock = {.known = false};
    uint64_t seed = 7;
    int64_t redis = 1000 * SECOND, now;

    (void)state;
    for (now = 0; now < 40000 * SECOND; now += SECOND / 2) {
        measure(&clock, now, redis);
        redis += SECOND / 2 - 250 - (int64_t)(next_random(&seed) % 100);
        assert_true(clock.n_past <= REDIS_CLOCK_PAST);
    }
    /* 500 ppm slow by half a second and more */
    for (int64_t ago = 1; ago < 39000; ago += 17) {
        int64_t snapshot = redis - ago * SECOND + ago * 600;
        int64_t age = redis_clock_latest_for(&clock, snapshot, now) - snapshot;
        check(age >= ago * SECOND - ago * 10 && age < ago * SECOND + ago * SECOND / 100 + SECOND,
              "%" PRId64 " s: %" PRId64, ago, age);
    }
}

/* What may be from before the step ages as if there had been none; what cannot be does not. */
static void test_a_clock_that_is_set_back(void **state)
{
    static const int64_t back = 30 * SECOND;
    struct redis_clock clock = {.known = false};

    (void)state;
    measure(&clock, 0, 1000 * SECOND);
    check(measure(&clock, 10 * SECOND, 1010 * SECOND - back) == 558056 - back, "the step");
    for (int64_t local = 10 * SECOND; local < 100 * SECOND; local += SECOND) {
        int64_t without_step = 1000 * SECOND + local;
        /* or stored by somebody who had not noticed yet */
        check(redis_clock_latest_for(&clock, 1015 * SECOND, local) >= without_step,
              "from before, at %" PRId64, local);
        check(redis_clock_latest_for(&clock, 1016 * SECOND, local) <
                  without_step - back + (local - 9 * SECOND) / 8,
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
    /* another host, whose monotonic clock shows something else */
    measure(&new, 500 * SECOND, 1012 * SECOND - back);
    redis_clock_learn(&new, &heard);
    measure(&new, 520 * SECOND, 1032 * SECOND - back);
    for (int64_t after = 0; after < 100 * SECOND; after += SECOND) {
        int64_t without_step = 1032 * SECOND + after, local = 520 * SECOND + after;
        check(redis_clock_latest_for(&new, 1010 * SECOND, local) >= without_step,
              "from before, %" PRId64 " later", after);
        check(redis_clock_latest_for(&new, 1010 * SECOND, local) <
                  without_step + SECOND + after / 10,
              "from before, %" PRId64 " later", after);
        check(redis_clock_latest_for(&new, 1016 * SECOND, local) <
                  without_step - back + SECOND / 5 + after / 8,
              "from after, %" PRId64 " later", after);
    }
}

/* Put right again, nobody is told that it is ahead; and nobody believes what cannot be. */
static void test_what_is_told_ends(void **state)
{
    struct redis_clock clock = {.known = false};
    const struct redis_clock_step absurd = {INT64_MAX / 8, 1};

    (void)state;
    measure(&clock, 0, 1000 * SECOND);
    measure(&clock, SECOND, 971 * SECOND);
    assert_int_equal(redis_clock_tell(&clock).ahead_us, 30 * SECOND);
    assert_true(measure(&clock, 2 * SECOND, 1002 * SECOND) > 0);
    assert_int_equal(redis_clock_tell(&clock).ahead_us, 0);
    int64_t latest = redis_clock_latest_for(&clock, 2000 * SECOND, 2 * SECOND);
    redis_clock_learn(&clock, &absurd);
    assert_int_equal(redis_clock_latest_for(&clock, 2000 * SECOND, 2 * SECOND), latest);
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
    assert_true(measure(&clock, 10 * SECOND, 5000 * SECOND) > 3900 * SECOND);
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
        cmocka_unit_test(test_nothing_is_left_of_the_reading_before),
        cmocka_unit_test(test_slewing_is_no_step),
        cmocka_unit_test(test_a_clock_that_loses),
        cmocka_unit_test(test_a_clock_that_is_slewed),
        cmocka_unit_test(test_a_long_life),
        cmocka_unit_test(test_the_local_clocks_part),
        cmocka_unit_test(test_a_moment_between_two_readings),
        cmocka_unit_test(test_a_clock_that_is_set_back),
        cmocka_unit_test(test_a_clock_that_is_set_forward),
        cmocka_unit_test(test_a_step_is_told),
        cmocka_unit_test(test_what_is_told_ends),
        cmocka_unit_test(test_a_step_that_is_none),
        cmocka_unit_test(test_steps_in_a_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
