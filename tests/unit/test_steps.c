/* SPDX-License-Identifier: BSD-2-Clause */
/* Long work in steps: what comes meanwhile is served between any two of them. */
#include "config.h"

#include "unit.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/steps.h"

/* What happens, in order: a letter for each. */
static char course[64];

static void note(char letter)
{
    size_t len = strlen(course);

    assert_true(len + 1 < sizeof course);
    course[len] = letter;
}

struct work {
    struct steps *steps;
    struct step step;
    char letter;
    unsigned left;
    struct work *removes; /* NULL: nobody */
};

static void on_step(void *data)
{
    struct work *work = data;

    note(work->letter);
    if (work->removes != NULL)
        steps_remove(work->steps, &work->removes->step);
    if (--work->left > 0)
        steps_add(work->steps, &work->step);
}

static void begin(struct work *work, struct steps *steps, char letter, unsigned left)
{
    *work = (struct work){.steps = steps, .letter = letter, .left = left};
    work->step = (struct step){.fn = on_step, .data = work};
    steps_add(steps, &work->step);
}

/* A client that asks again as soon as it is answered. */
static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)io;
    (void)events;
    note('.');
}

struct bench {
    struct ev_loop *loop;
    struct steps *steps;
    int fds[2];
    ev_io io;
};

static int set_up(void **state)
{
    struct bench *bench = mem_check(talloc_zero(NULL, struct bench));

    bench->loop = mem_check(ev_loop_new(EVBACKEND_EPOLL));
    bench->steps = steps_new(bench, bench->loop);
    assert_int_equal(pipe(bench->fds), 0);
    assert_int_equal(write(bench->fds[1], "x", 1), 1);
    ev_io_init(&bench->io, on_readable, bench->fds[0], EV_READ);
    memset(course, 0, sizeof course);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    struct ev_loop *loop = bench->loop;

    ev_io_stop(loop, &bench->io);
    close(bench->fds[0]);
    close(bench->fds[1]);
    talloc_free(bench);
    ev_loop_destroy(loop);
    return 0;
}

static void run(const struct bench *bench, unsigned turns)
{
    while (turns-- > 0)
        ev_run(bench->loop, EVRUN_ONCE);
}

static void test_others_are_served_between(void **state)
{
    struct bench *bench = *state;
    struct work a, b;

    ev_io_start(bench->loop, &bench->io);
    begin(&a, bench->steps, 'a', 4);
    begin(&b, bench->steps, 'b', 2);
    run(bench, 7);
    assert_string_equal(course, ".a.b.a.b.a.a.");
}

/* The loop does not wait for anything while there is work, and works without end. */
static void test_with_nothing_else_to_do(void **state)
{
    struct bench *bench = *state;
    struct work a;

    begin(&a, bench->steps, 'a', 3);
    ev_run(bench->loop, 0);
    assert_string_equal(course, "aaa");
}

static void test_removed(void **state)
{
    struct bench *bench = *state;
    struct work a, b, c;

    begin(&a, bench->steps, 'a', 1);
    begin(&b, bench->steps, 'b', 9);
    begin(&c, bench->steps, 'c', 1);
    a.removes = &b;
    ev_run(bench->loop, 0);
    assert_string_equal(course, "ac");
    steps_remove(bench->steps, &b.step);
    begin(&b, bench->steps, 'b', 1);
    steps_remove(bench->steps, &b.step);
    ev_run(bench->loop, 0);
    assert_string_equal(course, "ac");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_others_are_served_between, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_with_nothing_else_to_do, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_removed, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
