/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of a request's variables are taken, and which requests contradict themselves. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "base/mem.h"
#include "http/variables.h"

enum { MAX_ENTRIES = 6 };

static const char long_name[] =
    "HTTP_X_A_NAME_THAT_IS_LONGER_THAN_THE_BITS_OF_A_MASK_OF_ALL_THE_LENGTHS";

/* In the order of what a case expects. */
static struct variables *wanted(TALLOC_CTX *ctx)
{
    struct variables *variables = variables_new(ctx);

    variables_add(variables, "REMOTE_USER", false);
    variables_add(variables, "REMOTE_ADDR", false);
    variables_add(variables, "HTTP_IF_NONE_MATCH", true);
    variables_add(variables, long_name, false);
    return variables;
}

static const char *shown(const char *text)
{
    return text != NULL ? text : "(none)";
}

static void test_find(void **state)
{
    static const struct {
        const char *entries[MAX_ENTRIES];
        const char *user, *addr, *none_match;
    } cases[] = {
        {{NULL}, NULL, NULL, NULL},
        {{"REMOTE_USER=ann"}, "ann", NULL, NULL},
        {{"REMOTE_USER="}, "", NULL, NULL},
        {{"REMOTE_USER=a=b"}, "a=b", NULL, NULL},
        {{"REMOTE_ADDR=::1", "REMOTE_USER=ann"}, "ann", "::1", NULL},
        {{"REMOTE_USER", "=ann", "", "REMOTE_USERS=x", "REMOTE_USE=x"}, NULL, NULL, NULL},
        {{"remote_user=ann", "HTTP_REMOTE_USER=bob"}, NULL, NULL, NULL},
        /* said twice, and the same */
        {{"REMOTE_USER=ann", "REMOTE_USER=ann"}, "ann", NULL, NULL},
        {{"REMOTE_USER=", "X=1", "REMOTE_USER="}, "", NULL, NULL},
        {{"REMOTE_USER=a", "REMOTE_ADDR=::1", "REMOTE_USER=a", "REMOTE_USER=a"}, "a", "::1", NULL},
        /* what is not wanted may be anything */
        {{"HTTP_COOKIE=a", "HTTP_COOKIE=b", "REMOTE_HOST=a", "REMOTE_HOST=b"}, NULL, NULL, NULL},
        /* lines of a list are one list */
        {{"HTTP_IF_NONE_MATCH=\"a\"", "HTTP_IF_NONE_MATCH=\"b\""}, NULL, NULL, "\"a\", \"b\""},
        {{"HTTP_IF_NONE_MATCH=\"a\"", "HTTP_IF_NONE_MATCH=\"a\""}, NULL, NULL, "\"a\""},
    };
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    struct variables *variables = wanted(ctx);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *const expected[] = {cases[i].user, cases[i].addr, cases[i].none_match};
        char *entries[MAX_ENTRIES + 1] = {NULL};
        for (size_t k = 0; k < MAX_ENTRIES && cases[i].entries[k] != NULL; k++)
            entries[k] = mem_check(talloc_strdup(ctx, cases[i].entries[k]));
        const char *ambiguous = variables_find(variables, entries, ctx);
        check(ambiguous == NULL, "case %zu: %s is ambiguous", i, ambiguous);
        for (size_t k = 0; k < COUNT_OF(expected); k++) {
            const struct variable *variable = &variables->items[k];
            check((variable->value == NULL) == (expected[k] == NULL) &&
                      (expected[k] == NULL || (strcmp(variable->value, expected[k]) == 0 &&
                                               variable->value_len == strlen(expected[k]))),
                  "case %zu: %s is %s", i, variable->name, shown(variable->value));
        }
    }
    talloc_free(ctx);
}

static void test_contradictions(void **state)
{
    static const struct {
        const char *name;
        const char *entries[MAX_ENTRIES];
    } cases[] = {
        {"REMOTE_USER", {"REMOTE_USER=ann", "REMOTE_USER=bob"}},
        {"REMOTE_USER", {"REMOTE_USER=bob", "REMOTE_USER=ann"}},
        {"REMOTE_USER", {"REMOTE_USER=", "REMOTE_USER=ann"}},
        {"REMOTE_USER", {"REMOTE_USER=ann", "REMOTE_USER="}},
        {"REMOTE_USER", {"REMOTE_USER=ann", "REMOTE_USER=ann "}},
        {"REMOTE_USER", {"REMOTE_USER=ann", "REMOTE_USER=Ann"}},
        {"REMOTE_USER", {"REMOTE_USER=ann", "X=1", "REMOTE_USER=ann", "Y=2", "REMOTE_USER=bob"}},
        {"REMOTE_ADDR", {"REMOTE_ADDR=::1", "REMOTE_USER=ann", "REMOTE_ADDR=0::1"}},
    };
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    struct variables *variables = wanted(ctx);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *entries[MAX_ENTRIES + 1] = {NULL};
        for (size_t k = 0; k < MAX_ENTRIES && cases[i].entries[k] != NULL; k++)
            entries[k] = mem_check(talloc_strdup(ctx, cases[i].entries[k]));
        const char *ambiguous = variables_find(variables, entries, ctx);
        check(ambiguous != NULL && strcmp(ambiguous, cases[i].name) == 0, "case %zu: %s", i,
              shown(ambiguous));
    }
    talloc_free(ctx);
}

static void test_long_names(void **state)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    struct variables *variables = wanted(ctx);
    char *entries[] = {mem_check(talloc_asprintf(ctx, "%s_=2", long_name)),
                       mem_check(talloc_asprintf(ctx, "%s=1", long_name)), NULL};

    (void)state;
    assert_null(variables_find(variables, entries, ctx));
    assert_string_equal(variables->items[3].value, "1");
    talloc_free(ctx);
}

/* Two parameters may come from one variable, and leeway may want it besides. */
static void test_wanted_twice(void **state)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    struct variables *variables = wanted(ctx);
    char entry[] = "REMOTE_ADDR=::1";
    char *entries[] = {entry, NULL};

    (void)state;
    variables_add(variables, "REMOTE_ADDR", false);
    assert_null(variables_find(variables, entries, ctx));
    assert_string_equal(variables->items[1].value, "::1");
    assert_string_equal(variables->items[4].value, "::1");
    talloc_free(ctx);
}

/* What was joined on the way is not kept. */
static void test_thousands_of_lines(void **state)
{
    enum { LINES = 3000 };
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    TALLOC_CTX *request = mem_check(talloc_new(ctx));
    struct variables *variables = wanted(ctx);
    char **entries = mem_check(talloc_zero_array(ctx, char *, LINES + 1));

    (void)state;
    for (int i = 0; i < LINES; i++)
        entries[i] = mem_check(talloc_asprintf(ctx, "HTTP_IF_NONE_MATCH=\"%d\"", i));
    assert_null(variables_find(variables, entries, request));
    assert_true(talloc_total_size(request) < 64 * (size_t)1024);
    /* and once more, in another request */
    talloc_free(request);
    request = mem_check(talloc_new(ctx));
    entries[2] = NULL;
    assert_null(variables_find(variables, entries, request));
    assert_string_equal(variables->items[2].value, "\"0\", \"1\"");
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_wanted_twice),
        cmocka_unit_test(test_thousands_of_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
