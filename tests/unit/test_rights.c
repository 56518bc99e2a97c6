/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of rights: what its rows say, to Redis and to an operator. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "cache/rights.h"

static const struct redis_settings settings = {.prefix = "p", .database = 3};

/* The row whose form begins so. */
static const struct right *find(const char *form)
{
    const struct right *right;

    for (size_t i = 0; (right = rights_get(i)) != NULL; i++)
        if (strncmp(right->form, form, strlen(form)) == 0)
            return right;
    fail_msg("no row begins with %s", form);
    return NULL;
}

static void test_words(void **state)
{
    static const struct {
        const char *form, *description, *rules;
    } cases[] = {
        {"TIME", "TIME", "+time"},
        {"SELECT", "SELECT", "+select"},
        {"ACL DRYRUN", "ACL DRYRUN", "+acl|dryrun"},
        {"GETRANGE %R~clock", "GETRANGE of p:clock", "+getrange %R~p:clock"},
        {"GET %R~entry", "GET of p:{*}:entry", "+get %R~p:{*}:entry"},
        {"EVAL return(0) 2 %RW~lease", "EVAL of p:{*}:lease and p:{*}:entry",
         "+eval %RW~p:{*}:lease %RW~p:{*}:entry"},
        {"PUBLISH", "PUBLISH on p:{*}:done", "+publish &p:{*}:done"},
        {"HMGET", "HMGET of p:identity:*", "+hmget %R~p:identity:*"},
        {"BLMOVE", "BLMOVE of {p:jobs}:*:list and {p:jobs}:*:processing:*",
         "+blmove %RW~{p:jobs}:*:list %W~{p:jobs}:*:processing:*"},
        {"SADD", "SADD of {p:jobs}:*:refreshers", "+sadd %W~{p:jobs}:*:refreshers"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct right *right = find(cases[i].form);
        char *description = rights_describe(NULL, right, &settings);
        char *rules = rights_rules(NULL, right, &settings);
        check(strcmp(description, cases[i].description) == 0, "%s: %s", cases[i].form, description);
        check(strcmp(rules, cases[i].rules) == 0, "%s: %s", cases[i].form, rules);
        talloc_free(description);
        talloc_free(rules);
    }
}

static void test_parts(void **state)
{
    static const char *const wanted[] = {
        "BLMOVE", "{p:jobs}:check.1:list", "{p:jobs}:check.1:processing:check.1", "RIGHT", "LEFT",
        "-1"};
    size_t count;

    (void)state;
    const char **parts = rights_parts(NULL, find("BLMOVE"), &settings, "check.1", &count);
    assert_int_equal(count, COUNT_OF(wanted));
    for (size_t i = 0; i < count; i++)
        assert_string_equal(parts[i], wanted[i]);
    talloc_free(parts);
    parts = rights_parts(NULL, find("SELECT"), &settings, "check.1", &count);
    assert_int_equal(count, 2);
    assert_string_equal(parts[1], "3");
    talloc_free(parts);
}

/* Whatever is tried goes to keys of its own, but for those of which there is one. */
static void test_nothing_that_exists_is_named(void **state)
{
    const struct right *right;
    size_t count;

    (void)state;
    for (size_t i = 0; (right = rights_get(i)) != NULL; i++) {
        const char **parts = rights_parts(NULL, right, &settings, "check.1", &count);
        for (size_t j = 1; j < count; j++)
            check(strchr(parts[j], '*') == NULL, "%s: %s", right->form, parts[j]);
        talloc_free(parts);
    }
}

/* A row has a role, a purpose that goes on after a colon, and what serving needs is a daemon's. */
static void test_rows(void **state)
{
    const struct right *right;

    (void)state;
    for (size_t i = 0; (right = rights_get(i)) != NULL; i++) {
        check(right->roles != 0 && (right->roles & ~(unsigned)RIGHTS_ALL) == 0, "%s", right->form);
        check(strncmp(right->purpose, "to ", 3) == 0 || strncmp(right->purpose, "for ", 4) == 0,
              "%s: %s", right->form, right->purpose);
        check(!right->needed || right->roles != RIGHTS_OPERATOR, "%s", right->form);
    }
}

static void test_roles(void **state)
{
    (void)state;
    for (unsigned role = 1; role < RIGHTS_ALL; role *= 2)
        assert_int_equal(rights_role_named(rights_role_name(role)), role);
    assert_int_equal(rights_role_named("reader"), 0);
}

static void test_database(void **state)
{
    const struct redis_settings first = {.prefix = "p"};

    (void)state;
    assert_true(rights_matters(find("SELECT"), &settings));
    assert_false(rights_matters(find("SELECT"), &first));
    assert_true(rights_matters(find("GET"), &first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_nothing_that_exists_is_named),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_database),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
