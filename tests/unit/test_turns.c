/* SPDX-License-Identifier: BSD-2-Clause */
/* Whose turn it is: in a process by cases, and over processes by two that share a file. */
#include "config.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source/claims.h"
#include "source/turns.h"

enum { ROUTES = 3, WAITERS = 8 };

/* Words: "aN" somebody waits for route a to c, who came at N; "-" the first is served, at a time of
   its own; "+" likewise, and has to wait again; "!aN" route a was served elsewhere at N; "=TEXT" is
   the order of those that come next, by their times. */
static const struct {
    const char *name;
    const char *steps;
} cases[] = {
    {"one route", "a1 a2 a3 =1 - =2 - =3"},
    {"another is not behind all of them", "a1 a2 a3 - b4 =42 - =2 - =3"},
    {"in turn", "a1 a2 a3 b4 b5 b6 =14 - =42 - =25 - =53 - =36"},
    {"three", "a1 a2 b3 b4 c5 c6 =135 - - - =246"},
    {"never served, by who came first", "c3 b2 a1 =123"},
    {"who comes back does not jump the queue", "a1 b2 - - a3 b4 =34 - a5 =45"},
    {"served elsewhere", "a1 b2 !a7 =21"},
    {"served elsewhere earlier", "!a9 a1 !a7 !b8 b2 =21"},
    {"again, before all others", "a1 b2 + =12 - =2"},
    {"two again", "a1 b2 c3 + - =23"},
    {"nobody", "="},
};

struct queue {
    struct turns *turns;
    struct turn waiters[WAITERS];
    size_t n_waiters;
    int64_t now_us;
};

static void serve(struct queue *queue, bool again)
{
    struct turn *turn = turns_next(queue->turns, NULL);

    assert_non_null(turn);
    turns_remove(queue->turns, turn);
    turns_note_served(queue->turns, turn->group, ++queue->now_us);
    if (again)
        turns_add_again(queue->turns, turn);
}

static void compare(const struct queue *queue, const char *name, const char *wanted)
{
    char seen[WAITERS + 1] = "";
    struct turn *turn;

    for (turn = turns_next(queue->turns, NULL); turn != NULL; turn = turns_next(queue->turns, turn))
        seen[strlen(seen)] = (char)('0' + turn->since_us);
    check(strcmp(seen, wanted) == 0, "%s: %s and not %s", name, seen, wanted);
}

static void run(const char *name, char *steps)
{
    struct queue queue = {.turns = turns_new(NULL, ROUTES), .now_us = 100};
    char *rest = steps, *word;

    while ((word = strtok_r(rest, " ", &rest)) != NULL) {
        if (word[0] == '=')
            compare(&queue, name, word + 1);
        else if (word[0] == '!')
            turns_note_served(queue.turns, (size_t)(word[1] - 'a'), word[2] - '0');
        else if (word[0] == '-' || word[0] == '+')
            serve(&queue, word[0] == '+');
        else
            turns_add(queue.turns, &queue.waiters[queue.n_waiters++], (size_t)(word[0] - 'a'),
                      word[1] - '0');
    }
    talloc_free(queue.turns);
}

static void test_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *steps = strdup(cases[i].steps);
        run(cases[i].name, steps);
        free(steps);
    }
}

static void test_each(void **state)
{
    struct turns *turns = turns_new(NULL, ROUTES);
    struct turn waiters[WAITERS], *turn = NULL;
    unsigned seen = 0;

    (void)state;
    assert_true(turns_are_empty(turns));
    assert_null(turns_each(turns, NULL));
    for (int i = 0; i < WAITERS; i++)
        turns_add(turns, &waiters[i], (size_t)i % ROUTES, i);
    for (int i = 0; i < WAITERS; i += 3) {
        turns_remove(turns, &waiters[i]);
        turns_add_again(turns, &waiters[i]);
    }
    while ((turn = turns_each(turns, turn)) != NULL) {
        check((seen & 1U << turn->since_us) == 0, "%d: twice", (int)turn->since_us);
        seen |= 1U << turn->since_us;
    }
    assert_int_equal(seen, (1U << WAITERS) - 1);
    for (int i = 0; i < WAITERS; i++)
        turns_remove(turns, &waiters[i]);
    assert_true(turns_are_empty(turns));
    talloc_free(turns);
}

/* ---- Over processes */

enum { MS = 1000, NOW_US = 100000 * MS };

struct pair {
    char path[64];
    int fds[2];
    struct claims *ours, *others;
};

static int set_up(void **state)
{
    struct pair *pair = talloc_zero(NULL, struct pair);

    snprintf(pair->path, sizeof pair->path, "/tmp/leeway-claims-XXXXXX");
    pair->fds[0] = mkstemp(pair->path);
    assert_int_not_equal(pair->fds[0], -1);
    pair->fds[1] = open(pair->path, O_RDWR); /* as another process does */
    assert_int_not_equal(pair->fds[1], -1);
    pair->ours = claims_new(pair);
    pair->others = claims_new(pair);
    claims_attach(pair->ours, pair->fds[0]);
    claims_attach(pair->others, pair->fds[1]);
    claims_read(pair->ours, NOW_US);
    claims_read(pair->others, NOW_US);
    *state = pair;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *pair = *state;

    close(pair->fds[0]);
    close(pair->fds[1]);
    unlink(pair->path);
    talloc_free(pair);
    return 0;
}

static bool must_wait(const struct pair *pair, uint64_t key, int64_t since_us, int64_t now_us)
{
    claims_read(pair->ours, now_us);
    return claims_are_before(pair->ours, key, since_us);
}

static void test_another_route(void **state)
{
    const struct pair *pair = *state;

    assert_false(must_wait(pair, 1, NOW_US, NOW_US));
    claims_note_served(pair->ours, 1, NOW_US - 5 * MS);
    assert_false(must_wait(pair, 1, NOW_US, NOW_US));
    claims_make(pair->others, 2, NOW_US, NOW_US);
    assert_true(must_wait(pair, 1, NOW_US - 500 * MS, NOW_US));
    assert_false(must_wait(pair, 3, NOW_US, NOW_US));
    claims_note_served(pair->others, 2, NOW_US);
    assert_false(must_wait(pair, 1, NOW_US, NOW_US));
    claims_read(pair->others, NOW_US);
    assert_int_equal(claims_served_us(pair->others, 1), NOW_US - 5 * MS);
    assert_false(claims_are_before(pair->others, 2, NOW_US));
}

/* However their hashes are, up to a number. */
static void test_routes_are_told_apart(void **state)
{
    const struct pair *pair = *state;

    for (uint64_t i = 1; i <= 4; i++) {
        assert_int_equal(claims_served_us(pair->ours, i << 32), 0);
        claims_note_served(pair->ours, i << 32, NOW_US + (int64_t)i);
    }
    claims_read(pair->others, NOW_US + MS);
    for (uint64_t i = 1; i <= 4; i++)
        assert_int_equal(claims_served_us(pair->others, i << 32), NOW_US + (int64_t)i);
    claims_note_served(pair->others, 5ULL << 32, NOW_US + MS);
    assert_int_equal(claims_served_us(pair->others, 1ULL << 32), 0); /* served longest ago */
    assert_int_equal(claims_served_us(pair->others, 2ULL << 32), NOW_US + 2);
    claims_note_served(pair->others, 2ULL << 32, NOW_US + MS);
    assert_int_equal(claims_served_us(pair->others, 3ULL << 32), NOW_US + 3);
}

static void test_one_route(void **state)
{
    const struct pair *pair = *state;

    claims_make(pair->others, 1, NOW_US - 50 * MS, NOW_US);
    assert_false(must_wait(pair, 1, NOW_US, NOW_US));
    claims_make(pair->others, 1, NOW_US - 500 * MS, NOW_US);
    assert_true(must_wait(pair, 1, NOW_US, NOW_US));
    assert_false(must_wait(pair, 1, NOW_US - 450 * MS, NOW_US));
}

static void test_claims_end(void **state)
{
    const struct pair *pair = *state;

    claims_make(pair->others, 1, NOW_US - 500 * MS, NOW_US);
    assert_true(must_wait(pair, 1, NOW_US, NOW_US + 199 * MS));
    assert_false(must_wait(pair, 1, NOW_US, NOW_US + 200 * MS));
    assert_false(must_wait(pair, 1, NOW_US, NOW_US - MS)); /* of another life of the machine */
    assert_true(must_wait(pair, 1, NOW_US, NOW_US));
    claims_withdraw(pair->others);
    assert_false(must_wait(pair, 1, NOW_US, NOW_US));
    claims_make(pair->ours, 1, NOW_US - 500 * MS, NOW_US); /* one's own */
    assert_false(must_wait(pair, 1, NOW_US, NOW_US));
}

/* What a process has left behind is nobody's claim. */
static void test_a_place_is_taken_anew(void **state)
{
    struct pair *pair = *state;

    claims_make(pair->others, 1, NOW_US - 500 * MS, NOW_US);
    assert_true(must_wait(pair, 1, NOW_US, NOW_US));
    close(pair->fds[1]);
    pair->fds[1] = open(pair->path, O_RDWR);
    assert_int_not_equal(pair->fds[1], -1);
    claims_attach(pair->others, pair->fds[1]);
    assert_false(must_wait(pair, 1, NOW_US, NOW_US));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_each),
        cmocka_unit_test_setup_teardown(test_another_route, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_routes_are_told_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_route, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_claims_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_place_is_taken_anew, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
