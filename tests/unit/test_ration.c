/* SPDX-License-Identifier: BSD-2-Clause */
/* Rations of queries: over processes, in a bounded table, after a change of clocks. */
#include "config.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/ration.h"
#include "base/network.h"

enum { SECOND = 1000 * 1000, START = 1000 * SECOND };

struct fixture {
    TALLOC_CTX *ctx;
    char directory[64];
};

static int set_up(void **state)
{
    struct fixture *fixture = talloc_zero(NULL, struct fixture);

    fixture->ctx = fixture;
    snprintf(fixture->directory, sizeof fixture->directory, "/tmp/leeway-ration-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char path[96];

    snprintf(path, sizeof path, "%s/clients.1", fixture->directory);
    unlink(path);
    rmdir(fixture->directory);
    talloc_free(fixture);
    return 0;
}

static struct ration *open_ration(struct fixture *fixture, int64_t a_second, int64_t burst)
{
    const struct rate rate = {.a_second = a_second, .burst = burst};
    char error[256];
    struct ration *ration =
        ration_open(fixture->ctx, fixture->directory, &rate, error, sizeof error);

    assert_non_null(ration);
    return ration;
}

static unsigned count_taken(struct ration *ration, const char *client, int64_t now_us,
                            unsigned tries)
{
    unsigned taken = 0;

    for (unsigned i = 0; i < tries; i++)
        taken += ration_take(ration, client, now_us);
    return taken;
}

static void test_burst_and_rate(void **state)
{
    struct ration *ration = open_ration(*state, 2, 5);

    assert_int_equal(count_taken(ration, "192.0.2.1", START, 10), 5);
    assert_in_range(ration_wait(ration, "192.0.2.1", START), SECOND / 2, SECOND / 2 + 1);
    assert_int_equal(count_taken(ration, "192.0.2.1", START + SECOND / 4, 10), 0);
    assert_int_equal(count_taken(ration, "192.0.2.1", START + SECOND / 2, 10), 1);
    assert_int_equal(count_taken(ration, "192.0.2.1", START + 2 * SECOND, 10), 3);
    assert_int_equal(count_taken(ration, "192.0.2.1", START + 3600LL * SECOND, 10), 5);
}

static void test_processes_share_what_they_count(void **state)
{
    struct ration *first = open_ration(*state, 1, 4), *second = open_ration(*state, 1, 4);

    assert_int_equal(count_taken(first, "192.0.2.1", START, 2), 2);
    assert_int_equal(count_taken(second, "192.0.2.1", START, 9), 2);
    assert_int_equal(count_taken(first, "192.0.2.1", START, 9), 0);
    assert_int_equal(count_taken(first, "192.0.2.2", START, 9), 4);
}

static void test_who_is_one_client(void **state)
{
    static const struct {
        const char *first, *second;
        bool one;
    } cases[] = {
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
        {"192.0.2.1", "192.0.2.1:80", true},
        {"192.0.2.1:80", "192.0.2.1:65535", true},
        {"192.0.2.1:80", "192.0.2.2:80", false},
        {"::ffff:192.0.2.1", "[::ffff:192.0.2.1]:80", true},
        {"2001:db8:1:2::1", "[2001:db8:1:2::1]", true},
        {"[2001:db8:1:2::1]:443", "[2001:db8:1:2::2]:444", true},
        {"[2001:db8:1:2::1]:443", "[2001:db8:1:3::1]:443", false},
        {"key-one", "key-two", false},
        {"key:1", "key:2", false},
        {NULL, "", true},
        {"192.0.2.1/24", "192.0.2.2/24", false},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct ration *ration = open_ration(*state, 1, 3);
        int64_t now_us = START + (int64_t)(i + 1) * 1000 * SECOND;
        check(count_taken(ration, cases[i].first, now_us, 9) == 3, "case %zu", i);
        check(count_taken(ration, cases[i].second, now_us, 9) == (cases[i].one ? 0 : 3), "case %zu",
              i);
        talloc_free(ration);
    }
}

/* Far more clients than there are places: each has a ration of its own, and one that has used its
   up is not forgotten for those who have not. */
static void test_flood_of_clients(void **state)
{
    struct ration *ration = open_ration(*state, 1, 3);
    unsigned granted = 0;
    char client[32];

    assert_int_equal(count_taken(ration, "198.51.100.1", START, 9), 3);
    for (unsigned i = 0; i < 200000; i++) {
        snprintf(client, sizeof client, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        granted += ration_take(ration, client, START);
    }
    assert_int_equal(granted, 200000);
    assert_int_equal(count_taken(ration, "198.51.100.1", START, 9), 0);
    assert_false(ration_has_one_client(ration));
}

static void test_one_client(void **state)
{
    struct ration *ration = open_ration(*state, 1, 3);

    count_taken(ration, "192.0.2.1", START, 19);
    assert_false(ration_has_one_client(ration));
    count_taken(ration, "192.0.2.1", START, 1);
    assert_true(ration_has_one_client(ration));
    count_taken(ration, "192.0.2.2", START, 1);
    assert_false(ration_has_one_client(ration));
}

/* The file outlives the machine's clock. */
static void test_a_clock_that_begins_anew(void **state)
{
    struct ration *ration = open_ration(*state, 1, 3);

    assert_int_equal(count_taken(ration, "192.0.2.1", START, 9), 3);
    assert_int_equal(count_taken(ration, "192.0.2.1", SECOND, 9), 3);
    assert_int_equal(count_taken(ration, "192.0.2.1", SECOND, 9), 0);
}

static void test_a_removed_file_is_made_anew(void **state)
{
    struct fixture *fixture = *state;
    struct ration *first = open_ration(fixture, 1, 3), *second = open_ration(fixture, 1, 3);
    char path[96];

    assert_int_equal(count_taken(first, "192.0.2.1", START, 9), 3);
    snprintf(path, sizeof path, "%s/clients.1", fixture->directory);
    assert_int_equal(unlink(path), 0);
    ration_tend(first);
    ration_tend(second);
    assert_int_equal(count_taken(first, "192.0.2.1", START, 2), 2);
    assert_int_equal(count_taken(second, "192.0.2.1", START, 9), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_burst_and_rate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_processes_share_what_they_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_is_one_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flood_of_clients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_clock_that_begins_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_removed_file_is_made_anew, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
