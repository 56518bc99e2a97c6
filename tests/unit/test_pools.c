/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory that is used again. */
#include "config.h"

#include <string.h>

#include "unit.h"

#include "base/mem.h"
#include "base/pools.h"

enum { BYTES = 1024, MAX_SPARE = 2 };

static void test_used_again_from_its_beginning(void **state)
{
    struct pools *pools = pools_new(NULL, BYTES, MAX_SPARE);
    TALLOC_CTX *pool = pools_take(pools);
    const char *first = mem_check(talloc_strdup(pool, "first"));

    (void)state;
    mem_check(talloc_strdup(first, "second"));
    pools_give_back(pools, pool);
    /* for long enough that it would overflow if it were not emptied */
    for (int i = 0; i < BYTES; i++) {
        assert_ptr_equal(pools_take(pools), pool);
        assert_ptr_equal(mem_check(talloc_strdup(pool, "again")), first);
        pools_give_back(pools, pool);
    }
    talloc_free(pools);
}

static void test_those_in_use_are_apart(void **state)
{
    struct pools *pools = pools_new(NULL, BYTES, MAX_SPARE);
    TALLOC_CTX *first = pools_take(pools);
    TALLOC_CTX *second = pools_take(pools);
    const char *text = mem_check(talloc_strdup(first, "of the first"));

    (void)state;
    assert_ptr_not_equal(first, second);
    pools_give_back(pools, second);
    assert_string_equal(text, "of the first");
    assert_ptr_equal(pools_take(pools), second);
    talloc_free(pools);
}

static void test_no_more_are_kept_than_asked_for(void **state)
{
    struct pools *pools = pools_new(NULL, BYTES, MAX_SPARE);
    TALLOC_CTX *taken[MAX_SPARE + 3];

    (void)state;
    for (size_t i = 0; i < MAX_SPARE + 3; i++)
        taken[i] = pools_take(pools);
    size_t blocks = talloc_total_blocks(pools);
    for (size_t i = 0; i < MAX_SPARE + 3; i++)
        pools_give_back(pools, taken[i]);
    assert_int_equal(talloc_total_blocks(pools), blocks - 3);
    talloc_free(pools);
}

static void test_more_than_a_pool_holds(void **state)
{
    struct pools *pools = pools_new(NULL, BYTES, MAX_SPARE);
    TALLOC_CTX *pool = pools_take(pools);

    (void)state;
    memset(mem_check(talloc_size(pool, 10 * BYTES)), 'x', 10 * BYTES);
    size_t size = talloc_total_size(pools);
    pools_give_back(pools, pool);
    assert_true(talloc_total_size(pools) <= size - 10 * BYTES);
    talloc_free(pools);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_used_again_from_its_beginning),
        cmocka_unit_test(test_those_in_use_are_apart),
        cmocka_unit_test(test_no_more_are_kept_than_asked_for),
        cmocka_unit_test(test_more_than_a_pool_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
