/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of keys whose refresh was just asked for. */
#include "config.h"

#include "unit.h"

#include "app/recent.h"

static void test_added_until_it_expires(void **state)
{
    struct recent *recent = recent_new(NULL);

    (void)state;
    assert_false(recent_check_and_add(recent, "a", 100, 200));
    assert_true(recent_check_and_add(recent, "a", 199, 900));
    assert_false(recent_check_and_add(recent, "b", 199, 300));
    assert_true(recent_check_and_add(recent, "b", 299, 900));
    /* being asked about does not prolong it */
    assert_false(recent_check_and_add(recent, "a", 200, 300));
    assert_true(recent_check_and_add(recent, "a", 201, 300));
    talloc_free(recent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_added_until_it_expires),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
