/* SPDX-License-Identifier: BSD-2-Clause */
/* What a supervisor does next, and which child hangs. */
#include "config.h"

#include "unit.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "prefork/post.h"
#include "prefork/pulse.h"

static void test_next_action(void **state)
{
    static const struct {
        struct post post;
        struct post_step step;
    } cases[] = {
        /* nobody is there */
        {{.start_at_us = 0}, {POST_START, 0}},
        {{.start_at_us = 7}, {POST_START, 7}},
        /* it has died, which need not wait for others */
        {{.start_at_us = 7, .other_starting = true}, {POST_START, 7}},
        /* it starts, or works */
        {{.current = true, .other_starting = true, .start_at_us = 7}, {POST_REST, INT64_MAX}},
        {{.current = true, .current_ready = true}, {POST_REST, INT64_MAX}},
        /* a reload: successors start one at a time */
        {{.former = true}, {POST_START, 0}},
        {{.former = true, .other_starting = true}, {POST_REST, INT64_MAX}},
        {{.former = true, .start_at_us = 7}, {POST_START, 7}},
        {{.former = true, .current = true, .other_starting = true}, {POST_REST, INT64_MAX}},
        {{.former = true, .current = true, .current_ready = true}, {POST_DRAIN_FORMER, 0}},
        {{.former = true, .current = true, .current_ready = true, .other_starting = true},
         {POST_DRAIN_FORMER, 0}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct post_step step = next_action(&cases[i].post);
        if (step.action != cases[i].step.action || step.at_us != cases[i].step.at_us)
            fail_msg("case %zu: %d at %lld", i, (int)step.action, (long long)step.at_us);
    }
}

/* So many looks, of which the last one says that it hangs. */
static int looks_until_it_hangs(struct pulse_watch *watch, uint32_t turns)
{
    int looks = 1;

    while (!pulse_look(watch, turns, false))
        looks++;
    return looks;
}

static void test_a_child_hangs_that_does_not_turn(void **state)
{
    struct pulse_watch watch = {.turns = 0};

    (void)state;
    /* one that never turned */
    assert_int_equal(looks_until_it_hangs(&watch, 0), PULSE_LOOKS);
    /* each turn counts from then on; a wrap is a turn too */
    assert_false(pulse_look(&watch, UINT32_MAX, false));
    for (int i = 0; i < PULSE_LOOKS - 1; i++)
        assert_false(pulse_look(&watch, UINT32_MAX, false));
    assert_false(pulse_look(&watch, 0, false));
    assert_int_equal(looks_until_it_hangs(&watch, 0), PULSE_LOOKS);
}

static void test_a_debugger_s_child_does_not_hang(void **state)
{
    struct pulse_watch watch = {.turns = 0};

    (void)state;
    for (int i = 0; i < 3 * PULSE_LOOKS; i++)
        assert_false(pulse_look(&watch, 0, true));
    assert_int_equal(looks_until_it_hangs(&watch, 0), PULSE_LOOKS);
}

static void test_the_parent_sees_what_the_child_shows(void **state)
{
    struct pulse *pulse = pulse_new(NULL);
    char long_route[1000], route[512];
    int status;

    (void)state;
    assert_non_null(pulse);
    pulse_route(pulse, route, sizeof route);
    assert_string_equal(route, "");
    memset(long_route, 'x', sizeof long_route - 1);
    long_route[sizeof long_route - 1] = '\0';
    pid_t pid = fork();
    if (pid == 0) {
        pulse_at(pulse, long_route);
        pulse_at(pulse, "/items/{id}");
        pulse_turn(pulse);
        pulse_turn(pulse);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(pulse_turns(pulse), 2);
    pulse_route(pulse, route, sizeof route);
    assert_string_equal(route, "/items/{id}");
    pulse_route(pulse, route, 4);
    assert_string_equal(route, "/it");
    pulse_at(pulse, long_route);
    pulse_route(pulse, route, sizeof route);
    assert_int_equal(strlen(route), 255);
    talloc_free(pulse);
    /* without a parent */
    pulse_turn(NULL);
    pulse_at(NULL, "/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_action),
        cmocka_unit_test(test_a_child_hangs_that_does_not_turn),
        cmocka_unit_test(test_a_debugger_s_child_does_not_hang),
        cmocka_unit_test(test_the_parent_sees_what_the_child_shows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
