/* SPDX-License-Identifier: BSD-2-Clause */
/* Query slots: counted over processes, and freed when their holder dies. */
#include "config.h"

#include "unit.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "source/slots.h"

struct fixture {
    char directory[64];
    struct slots *slots;
};

/* A route of index 0 that may have all. */
static struct slots *open_slots(TALLOC_CTX *ctx, const char *directory)
{
    char error[256] = "";
    struct slots *slots = slots_open(ctx, directory, 2, error, sizeof error);

    check(slots != NULL, "%s", error);
    if (slots != NULL)
        slots_add_route(slots, "any", 0);
    return slots;
}

/* A slot's number; -1: there is none, and nobody waits. */
static int take(struct slots *slots)
{
    struct slots_place place;

    slots_look(slots);
    if (slots_take_place(slots, 0, 1, &place) != SLOTS_TAKEN)
        slots_stop_waiting(slots);
    return place.slot;
}

static void give_back(struct slots *slots, int slot)
{
    struct slots_place place = {.slot = slot, .share = -1};

    slots_give_place_back(slots, &place);
}

static int set_up(void **state)
{
    struct fixture *fixture = talloc_zero(NULL, struct fixture);

    snprintf(fixture->directory, sizeof fixture->directory, "/tmp/leeway-slots-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->slots = open_slots(fixture, fixture->directory);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char path[128];

    snprintf(path, sizeof path, "%s/slots", fixture->directory);
    unlink(path);
    rmdir(fixture->directory);
    talloc_free(fixture);
    return 0;
}

static void test_within_a_process(void **state)
{
    const struct fixture *fixture = *state;
    int first = take(fixture->slots), second = take(fixture->slots);

    assert_int_not_equal(first, -1);
    assert_int_not_equal(second, -1);
    assert_int_not_equal(first, second);
    assert_int_equal(take(fixture->slots), -1);
    give_back(fixture->slots, first);
    assert_int_equal(take(fixture->slots), first);
}

/* A child that takes both slots, says so, and never gives them back. */
static pid_t start_holder(const struct fixture *fixture)
{
    char byte;
    int ready[2];

    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct slots *own = open_slots(NULL, fixture->directory);
        bool both = own != NULL && take(own) != -1 && take(own) != -1;
        if (write(ready[1], both ? "y" : "n", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    close(ready[0]);
    return pid;
}

static void test_freed_by_the_kernel(void **state)
{
    const struct fixture *fixture = *state;
    pid_t holder = start_holder(fixture);

    assert_int_equal(take(fixture->slots), -1);
    kill(holder, SIGKILL);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    assert_int_not_equal(take(fixture->slots), -1);
}

static void remove_file(const struct fixture *fixture)
{
    char path[128];

    snprintf(path, sizeof path, "%s/slots", fixture->directory);
    assert_int_equal(unlink(path), 0);
}

static struct slots *open_another(struct fixture *fixture)
{
    return open_slots(fixture, fixture->directory);
}

/* What is held stays held, by whoever holds it, also for those who come later. */
static void test_a_removed_file(void **state)
{
    struct fixture *fixture = *state;
    struct slots *other = open_another(fixture);
    int first = take(fixture->slots);

    assert_int_not_equal(take(other), -1);
    remove_file(fixture);
    slots_tend(fixture->slots);
    slots_tend(other);
    struct slots *late = open_another(fixture);
    assert_int_equal(take(fixture->slots), -1);
    assert_int_equal(take(other), -1);
    assert_int_equal(take(late), -1);
    give_back(fixture->slots, first);
    assert_int_equal(take(late), first);
    assert_int_equal(take(fixture->slots), -1);
}

/* Whoever wants a slot sees it without being told to look. */
static void test_a_removed_file_is_seen_at_once(void **state)
{
    struct fixture *fixture = *state;

    remove_file(fixture);
    assert_int_not_equal(take(fixture->slots), -1);
    assert_int_not_equal(take(fixture->slots), -1);
    assert_int_equal(take(open_another(fixture)), -1);
}

static void test_a_removed_directory(void **state)
{
    struct fixture *fixture = *state;

    assert_int_not_equal(take(fixture->slots), -1);
    remove_file(fixture);
    assert_int_equal(rmdir(fixture->directory), 0);
    slots_tend(fixture->slots);
    struct slots *late = open_another(fixture);
    assert_int_not_equal(take(late), -1);
    assert_int_equal(take(late), -1);
}

/* A slot that somebody else has taken before it was noticed here is lost to neither. */
static void test_a_slot_that_is_held_twice(void **state)
{
    struct fixture *fixture = *state;
    int mine = take(fixture->slots);

    remove_file(fixture);
    struct slots *late = open_another(fixture);
    assert_int_equal(take(late), mine);
    slots_tend(fixture->slots);
    give_back(fixture->slots, mine);
    int other = take(fixture->slots);
    assert_int_not_equal(other, -1);
    assert_int_not_equal(other, mine);
    assert_int_equal(take(fixture->slots), -1);
}

/* A route's share holds over processes and whatever place the route has there; what has no slot
   holds no share. */
static void test_shares(void **state)
{
    struct fixture *fixture = *state;
    struct slots *other = open_another(fixture);
    struct slots_place first, second, third;

    slots_add_route(fixture->slots, "slow", 1);
    slots_add_route(fixture->slots, "quick", 0);
    slots_add_route(other, "quick", 0);
    slots_add_route(other, "slow", 1);
    slots_look(fixture->slots);
    assert_int_equal(slots_take_place(fixture->slots, 1, 1, &first), SLOTS_TAKEN);
    assert_int_equal(slots_take_place(fixture->slots, 1, 1, &second), SLOTS_NO_SHARE);
    slots_look(other);
    assert_int_equal(slots_take_place(other, 2, 1, &second), SLOTS_NO_SHARE);
    assert_int_equal(slots_take_place(other, 1, 1, &second), SLOTS_TAKEN);
    assert_int_equal(slots_take_place(other, 1, 1, &third), SLOTS_NONE);
    slots_give_place_back(fixture->slots, &first);
    slots_give_place_back(fixture->slots, &first);
    assert_int_not_equal(take(fixture->slots), -1);
    slots_stop_waiting(other);
    assert_int_equal(slots_take_place(other, 2, 1, &third), SLOTS_NONE);
    slots_stop_waiting(other);
    slots_give_place_back(other, &second);
    slots_look(fixture->slots);
    assert_int_equal(slots_take_place(fixture->slots, 1, 1, &first), SLOTS_TAKEN);
    assert_int_not_equal(slots_served_us(fixture->slots, 1), 0);
}

/* They are held in the file that takes the place of one that was removed. */
static void test_shares_of_a_removed_file(void **state)
{
    struct fixture *fixture = *state;
    struct slots *other = open_another(fixture);
    struct slots_place place;

    slots_add_route(fixture->slots, "slow", 1);
    slots_add_route(other, "slow", 1);
    slots_look(fixture->slots);
    assert_int_equal(slots_take_place(fixture->slots, 1, 1, &place), SLOTS_TAKEN);
    remove_file(fixture);
    slots_tend(fixture->slots);
    slots_look(other);
    assert_int_equal(slots_take_place(other, 1, 1, &place), SLOTS_NO_SHARE);
}

static void test_unusable_directory(void **state)
{
    char error[256] = "";

    (void)state;
    assert_null(slots_open(NULL, "/nonexistent/leeway", 2, error, sizeof error));
    assert_non_null(strstr(error, "/nonexistent/leeway/slots"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_within_a_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_freed_by_the_kernel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_removed_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_removed_file_is_seen_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_removed_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_slot_that_is_held_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shares, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shares_of_a_removed_file, set_up, tear_down),
        cmocka_unit_test(test_unusable_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
