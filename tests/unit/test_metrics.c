/* SPDX-License-Identifier: BSD-2-Clause */
/* Counts in shared memory: added up over processes, kept over deaths, never trusted blindly. */
#include "config.h"

#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "metrics/metrics.h"
#include "metrics/slot.h"

static const struct route routes[] = {
    {.pattern = "/a \"quoted\"", .index = 0},
    {.pattern = "/b", .index = 1},
};
static const struct config config = {.routes = routes, .n_routes = COUNT_OF(routes)};

struct fixture {
    char directory[64];
};

static int set_up(void **state)
{
    struct fixture *fixture = talloc_zero(NULL, struct fixture);

    snprintf(fixture->directory, sizeof fixture->directory, "/tmp/leeway-metrics-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char path[128];

    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/metrics.%d", fixture->directory, i);
        unlink(path);
    }
    rmdir(fixture->directory);
    talloc_free(fixture);
    return 0;
}

static struct metrics *open_metrics(struct fixture *fixture)
{
    char error[256] = "";
    struct metrics *metrics =
        metrics_open(fixture, fixture->directory, METRICS_WORKER, &config, error, sizeof error);

    check(metrics != NULL, "%s", error);
    return metrics;
}

static char *whole_text(struct fixture *fixture)
{
    static const struct metrics_gauges unknown = {-1, -1, -1, -1.0};

    return metrics_scrape_whole(metrics_scrape_new(fixture, fixture->directory, &unknown), fixture);
}

static bool says(struct fixture *fixture, const char *line)
{
    return strstr(whole_text(fixture), line) != NULL;
}

/* A process that counts `count` queries of route "/b" and is killed. */
static void count_and_die(struct fixture *fixture, int count)
{
    char byte;
    int ready[2];

    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct metrics *metrics = open_metrics(fixture);
        for (int i = 0; i < count; i++)
            metrics_query(metrics, &routes[1], QUERY_MISS);
        if (write(ready[1], "y", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_added_up_and_kept(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *mine = open_metrics(fixture);

    metrics_query(mine, &routes[1], QUERY_MISS);
    count_and_die(fixture, 10);
    count_and_die(fixture, 100);
    assert_true(says(fixture, "leeway_database_queries_total{route=\"/b\",origin=\"miss\"} 111\n"));
    /* the second one has taken over the first one's slot */
    char path[128];
    snprintf(path, sizeof path, "%s/metrics.2", fixture->directory);
    assert_int_equal(access(path, F_OK), -1);
    assert_true(says(fixture, "leeway_workers{state=\"starting\"} 1\n"));
}

static void test_histograms(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *metrics = open_metrics(fixture);

    metrics_response(metrics, &routes[0], true, false, 50);
    metrics_response(metrics, &routes[0], true, false, 51);
    metrics_response(metrics, &routes[0], true, true, 99999999);
    metrics_served_age(metrics, &routes[0], 1500000);
    assert_true(says(fixture, "leeway_response_seconds_bucket{route=\"/a \\\"quoted\\\"\","
                              "cached=\"true\",stale=\"false\",le=\"5e-05\"} 1\n"));
    assert_true(says(fixture, "stale=\"false\",le=\"0.0001\"} 2\n"));
    assert_true(says(fixture, "stale=\"true\",le=\"10\"} 0\n"));
    assert_true(says(fixture, "stale=\"true\",le=\"+Inf\"} 1\n"));
    assert_true(says(fixture, "leeway_response_seconds_sum{route=\"/a \\\"quoted\\\"\","
                              "cached=\"true\",stale=\"false\"} 0.000101\n"));
    assert_true(says(fixture, "leeway_served_age_seconds_sum{route=\"/a \\\"quoted\\\"\"} 1.5"));
    assert_false(says(fixture, "NaN"));
}

/* "/xxx..." with a character of three bytes where the room for a pattern ends. */
static void test_a_long_pattern_is_cut_between_characters(void **state)
{
    struct fixture *fixture = *state;
    char pattern[SLOT_PATTERN_BYTES + 64], line[SLOT_PATTERN_BYTES + 64];
    struct metrics *metrics = open_metrics(fixture);

    for (size_t fit = 0; fit < 3; fit++) {
        size_t whole = SLOT_PATTERN_BYTES - 1 - fit;
        memset(pattern, 'x', sizeof pattern);
        pattern[0] = '/';
        snprintf(pattern + whole, sizeof pattern - whole, "\u20ac/and/on");
        const struct route route = {.pattern = pattern, .index = 0};
        metrics_query(metrics, &route, QUERY_MISS);
        snprintf(line, sizeof line, "route=\"%.*s\",origin=\"miss\"} 1\n", (int)whole, pattern);
        assert_true(says(fixture, line));
        /* the same series again after a restart */
        talloc_free(metrics);
        metrics = open_metrics(fixture);
        metrics_query(metrics, &route, QUERY_MISS);
        line[strlen(line) - 2] = '2';
        assert_true(says(fixture, line));
        talloc_free(metrics);
        unlink(mem_check(talloc_asprintf(fixture, "%s/metrics.0", fixture->directory)));
        metrics = open_metrics(fixture);
    }
}

/* What a slot takes of the file system, and so of memory where runtime_dir is a tmpfs. */
static size_t bytes_taken(const struct fixture *fixture)
{
    char path[128];
    struct stat found;

    snprintf(path, sizeof path, "%s/metrics.0", fixture->directory);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_size, sizeof(struct slot_memory));
    return (size_t)found.st_blocks * 512;
}

/* However many routes there are, memory is taken for those that were asked for. */
static void test_memory_is_taken_on_first_use(void **state)
{
    enum { MANY = 10000, USED = 100, FIXED_BYTES = 64 * 1024 };
    struct fixture *fixture = *state;
    struct route *many = mem_check(talloc_zero_array(fixture, struct route, MANY));
    const struct config large = {.routes = many, .n_routes = MANY};
    char error[256] = "";

    for (size_t i = 0; i < MANY; i++) {
        many[i].pattern = mem_check(talloc_asprintf(many, "/v%zu/{id}", i));
        many[i].index = i;
    }
    struct metrics *metrics =
        metrics_open(fixture, fixture->directory, METRICS_WORKER, &large, error, sizeof error);
    check(metrics != NULL, "%s", error);
    size_t at_first = bytes_taken(fixture);
    assert_true(at_first <= FIXED_BYTES);
    for (size_t i = 0; i < USED; i++)
        metrics_response(metrics, &many[i * (MANY / USED)], true, false, 300);
    size_t then = bytes_taken(fixture);
    assert_true(then - at_first <= USED * sizeof(struct series) + FIXED_BYTES);
    assert_true(
        says(fixture, "route=\"/v9900/{id}\",cached=\"true\",stale=\"false\",le=\"+Inf\"} 1\n"));
    assert_true(bytes_taken(fixture) == then);
    for (size_t i = 0; i < MANY; i++)
        metrics_response(metrics, &many[i], true, false, 300);
    assert_true(bytes_taken(fixture) <= MANY * sizeof(struct series) + FIXED_BYTES);
}

/* Fills the slot through its own interface, as ever new configurations would. */
static void test_the_slot_of_one_that_died_is_left_to_its_role(void **state)
{
    struct fixture *fixture = *state;
    struct slot dead, slot;
    char error[256];

    assert_int_equal(slot_claim(&dead, fixture->directory, METRICS_REFRESHER, error, sizeof error),
                     0);
    dead.memory->role = METRICS_REFRESHER;
    dead.memory->state = METRICS_SERVING;
    int number = dead.number;
    slot_close(&dead);
    assert_true(slot_role_died(fixture->directory, METRICS_REFRESHER));
    assert_int_equal(slot_claim(&slot, fixture->directory, METRICS_WORKER, error, sizeof error), 0);
    assert_int_not_equal(slot.number, number);
    slot_close(&slot);
    assert_true(slot_role_died(fixture->directory, METRICS_REFRESHER));
    assert_int_equal(slot_claim(&slot, fixture->directory, METRICS_REFRESHER, error, sizeof error),
                     0);
    assert_int_equal(slot.number, number);
    /* as of one that has stopped in good order */
    slot.memory->state = METRICS_DRAINING;
    slot_close(&slot);
    assert_int_equal(slot_claim(&slot, fixture->directory, METRICS_WORKER, error, sizeof error), 0);
    assert_int_equal(slot.number, number);
    slot_close(&slot);
}

static void test_more_routes_than_there_is_room_for(void **state)
{
    struct fixture *fixture = *state;
    struct slot slot;
    char error[256], pattern[32];

    assert_int_equal(slot_claim(&slot, fixture->directory, METRICS_WORKER, error, sizeof error), 0);
    /* only the number of series matters: it is set rather than reached */
    slot.memory->n_series = SLOT_OTHER - 1;
    struct series *last = slot_series(&slot, "/last");
    assert_string_equal(last->pattern, "/last");
    for (int i = 0; i < 3; i++) {
        snprintf(pattern, sizeof pattern, "/beyond/%d", i);
        struct series *other = slot_series(&slot, pattern);
        assert_string_equal(other->pattern, "(other)");
        other->counters[COUNTER_QUERY_MISS]++;
    }
    slot_close(&slot);
    assert_true(
        says(fixture, "leeway_database_queries_total{route=\"(other)\",origin=\"miss\"} 3"));
}

static void write_garbage(const struct fixture *fixture, const char *bytes, size_t len, off_t size)
{
    char path[128];

    snprintf(path, sizeof path, "%s/metrics.0", fixture->directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void test_garbage(void **state)
{
    struct fixture *fixture = *state;

    write_garbage(fixture, "short", 5, 5);
    assert_false(says(fixture, "/b"));
    write_garbage(fixture, "other version", 13, sizeof(struct slot_memory));
    assert_false(says(fixture, "/b"));
    struct metrics *metrics = open_metrics(fixture);
    metrics_query(metrics, &routes[1], QUERY_REFRESH);
    assert_true(says(fixture, "origin=\"refresh\"} 1\n"));
    talloc_free(metrics);
}

static void remove_slot(const struct fixture *fixture, int number)
{
    char path[128];

    snprintf(path, sizeof path, "%s/metrics.%d", fixture->directory, number);
    assert_int_equal(unlink(path), 0);
}

#define MISSES "leeway_database_queries_total{route=\"/b\",origin=\"miss\"} "

/* Its holder goes on where it was, and others are seen behind the hole. */
static void test_a_removed_slot(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *metrics = open_metrics(fixture);

    for (int i = 0; i < 5; i++)
        metrics_query(metrics, &routes[1], QUERY_MISS);
    metrics_response(metrics, &routes[0], true, true, 99999999);
    metrics_set_state(metrics, METRICS_SERVING);
    count_and_die(fixture, 10);
    remove_slot(fixture, 0);
    assert_true(says(fixture, MISSES "10\n"));
    metrics_tend(metrics);
    assert_true(says(fixture, MISSES "15\n"));
    assert_true(says(fixture, "stale=\"true\",le=\"+Inf\"} 1\n"));
    assert_true(says(fixture, "leeway_workers{state=\"serving\"} 1\n"));
    metrics_query(metrics, &routes[1], QUERY_MISS);
    assert_true(says(fixture, MISSES "16\n"));
    metrics_tend(metrics);
    assert_true(says(fixture, MISSES "16\n"));
}

/* What its holder had counted comes on top of what the free slot it finds has. */
static void test_a_removed_slot_when_another_is_free(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *first = open_metrics(fixture), *second = open_metrics(fixture);

    metrics_query(first, &routes[1], QUERY_MISS);
    metrics_query(second, &routes[1], QUERY_MISS);
    talloc_free(first);
    remove_slot(fixture, 1);
    metrics_tend(second);
    assert_true(says(fixture, MISSES "2\n"));
    metrics_query(second, &routes[1], QUERY_MISS);
    assert_true(says(fixture, MISSES "3\n"));
}

static void test_what_has_no_route(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *first = open_metrics(fixture), *second = open_metrics(fixture);

    assert_true(says(fixture, "\nleeway_log_dropped_total 0\n"));
    metrics_log_dropped(first, 3);
    metrics_log_dropped(second, 4);
    assert_true(says(fixture, "\nleeway_log_dropped_total 7\n"));
    remove_slot(fixture, 1);
    metrics_tend(second);
    assert_true(says(fixture, "\nleeway_log_dropped_total 7\n"));
}

/* Patterns as long as they may be, all of whose characters are escaped: the longest lines. */
static void use_many(struct fixture *fixture, size_t many)
{
    struct route *routes_used = talloc_zero_array(fixture, struct route, (unsigned)many);
    const struct config large = {.routes = routes_used, .n_routes = many};
    char error[256];

    for (size_t i = 0; i < many; i++) {
        char pattern[SLOT_PATTERN_BYTES + 100];
        memset(pattern, '"', sizeof pattern);
        snprintf(pattern, sizeof pattern, "/%zu", i);
        pattern[strlen(pattern)] = '"';
        pattern[sizeof pattern - 1] = '\0';
        routes_used[i].pattern = talloc_strdup(routes_used, pattern);
        routes_used[i].index = i;
    }
    struct metrics *metrics =
        metrics_open(fixture, fixture->directory, METRICS_WORKER, &large, error, sizeof error);
    for (size_t i = 0; i < many; i++) {
        metrics_response(metrics, &routes_used[i], true, false, 100);
        metrics_response(metrics, &routes_used[i], true, true, 100);
        metrics_response(metrics, &routes_used[i], false, false, 100);
        metrics_served_age(metrics, &routes_used[i], 100);
    }
}

/* The text is the same whoever makes it, and no step makes more of it than one route's part is
   longer than what a step is to make. */
static void test_a_scrape_in_steps(void **state)
{
    enum { MANY = 300, MOST = 96 * 1024 };
    static const struct metrics_gauges unknown = {-1, -1, -1, -1.0};
    struct fixture *fixture = *state;
    size_t before = 0, after;

    use_many(fixture, MANY);
    struct metrics_scrape *scrape = metrics_scrape_new(fixture, fixture->directory, &unknown);
    for (bool done = false; !done; before = after) {
        done = metrics_scrape_step(scrape);
        after = chunks_length(metrics_scrape_text(scrape));
        check(after - before <= MOST, "%zu bytes", after - before);
    }
    assert_true(after > MANY * 30000);
    assert_string_equal(chunks_join(fixture, metrics_scrape_text(scrape)), whole_text(fixture));
}

static void test_what_is_disabled(void **state)
{
    struct fixture *fixture = *state;
    static const struct metrics_gauges unknown = {-1, -1, -1, -1.0};
    struct metrics_scrape *scrape = metrics_scrape_new(fixture, fixture->directory, &unknown);

    metrics_scrape_disabled(scrape, "refresh", "host", false);
    metrics_scrape_disabled(scrape, "route:a\"b\\", "fleet", true);
    const char *text = metrics_scrape_whole(scrape, fixture);
    assert_non_null(strstr(text, "# TYPE leeway_disabled gauge\n"
                                 "leeway_disabled{what=\"refresh\",scope=\"host\"} 0\n"
                                 "leeway_disabled{what=\"route:a\\\"b\\\\\",scope=\"fleet\"} 1\n"));
    /* where nobody knows, nothing is said */
    assert_false(says(fixture, "leeway_disabled"));
}

static void test_a_removed_directory(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *metrics = open_metrics(fixture);

    metrics_query(metrics, &routes[1], QUERY_MISS);
    remove_slot(fixture, 0);
    assert_int_equal(rmdir(fixture->directory), 0);
    assert_false(says(fixture, MISSES "1\n"));
    metrics_tend(metrics);
    assert_true(says(fixture, MISSES "1\n"));
}

static void test_a_link_in_a_slot_s_place(void **state)
{
    struct fixture *fixture = *state;
    char path[128], victim[128], error[256] = "";
    struct stat found;

    snprintf(path, sizeof path, "%s/metrics.0", fixture->directory);
    snprintf(victim, sizeof victim, "%s/metrics.3", fixture->directory);
    close(open(victim, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(symlink(victim, path), 0);
    assert_null(
        metrics_open(fixture, fixture->directory, METRICS_WORKER, &config, error, sizeof error));
    check(strstr(error, path) != NULL && strstr(error, "link") != NULL, "%s", error);
    assert_int_equal(stat(victim, &found), 0);
    assert_int_equal(found.st_size, 0);
}

static void test_unusable_directory(void **state)
{
    char error[256] = "";

    (void)state;
    assert_null(metrics_open(NULL, "/dev/null/x", METRICS_WORKER, &config, error, sizeof error));
    assert_non_null(strstr(error, "/dev/null/x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_added_up_and_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_histograms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_long_pattern_is_cut_between_characters, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_memory_is_taken_on_first_use, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_slot_of_one_that_died_is_left_to_its_role, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_more_routes_than_there_is_room_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_garbage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_removed_slot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_removed_slot_when_another_is_free, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_has_no_route, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_scrape_in_steps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_disabled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_removed_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_link_in_a_slot_s_place, set_up, tear_down),
        cmocka_unit_test(test_unusable_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
