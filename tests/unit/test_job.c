/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs on the wire: exact bytes, what is taken and what is refused. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "refresh/job.h"

static void test_exact_bytes(void **state)
{
    static const char *const texts[] = {"7", NULL, "", "a \"b\"\n\\ \xc3\xa9/"};
    static const struct {
        size_t count;
        const char *json;
    } cases[] = {
        {0, "[1,1700000000123,\"users.profile\",\"0123456789abcdef\",[]]"},
        {1, "[1,1700000000123,\"users.profile\",\"0123456789abcdef\",[\"7\"]]"},
        {2, "[1,1700000000123,\"users.profile\",\"0123456789abcdef\",[\"7\",null]]"},
        {4, "[1,1700000000123,\"users.profile\",\"0123456789abcdef\","
            "[\"7\",null,\"\",\"a \\\"b\\\"\\n\\\\ \xc3\xa9/\"]]"},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *values[COUNT_OF(texts)];
        struct job job = {
            INT64_C(1700000000123), "users.profile", "0123456789abcdef", {values, cases[i].count}};
        size_t len;
        memcpy(values, texts, sizeof values);
        char *json = job_encode(ctx, &job, &len);
        check(strcmp(json, cases[i].json) == 0, "case %zu: %s", i, json);
        check(len == strlen(json), "case %zu: %zu", i, len);

        struct job back;
        check(job_decode(ctx, json, len, &back) == 0, "case %zu", i);
        assert_int_equal(back.queued_ms, job.queued_ms);
        assert_string_equal(back.route, job.route);
        assert_string_equal(back.fingerprint, job.fingerprint);
        assert_int_equal(back.values.count, cases[i].count);
        for (size_t k = 0; k < cases[i].count; k++) {
            if (texts[k] == NULL)
                assert_null(back.values.texts[k]);
            else
                assert_string_equal(back.values.texts[k], texts[k]);
        }
    }
    talloc_free(ctx);
}

static void test_spelled_otherwise(void **state)
{
    static const char json[] = " [ 1 , 0 ,\"a\",\n\"f\",[ \"\\u00e9\\ud83d\\ude00\\/\" ] ] \n";
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct job job;

    (void)state;
    assert_int_equal(job_decode(ctx, json, strlen(json), &job), 0);
    assert_int_equal(job.queued_ms, 0);
    assert_int_equal(job.values.count, 1);
    assert_string_equal(job.values.texts[0], "\xc3\xa9\xf0\x9f\x98\x80/");
    talloc_free(ctx);
}

static void test_refused(void **state)
{
    static const char *const cases[] = {
        "",
        " ",
        "null",
        "1",
        "\"text\"",
        "{}",
        "[]",
        "[1]",
        "[1,5,\"r\",\"f\"]",
        "[1,5,\"r\",\"f\",[]",
        "[1,5,\"r\",\"f\",[",
        "[1,5,\"r\",\"f\",[\"a\"",
        "[1,5,\"r\",\"f\",[]]]",
        "[1,5,\"r\",\"f\",[]] []",
        "[1,5,\"r\",\"f\",[]]x",
        "[1,5,\"r\",\"f\",[],1]",
        "[1,5,\"r\",\"f\",[],[]]",
        "[1,5,\"r\",\"f\",null]",
        "[1,5,\"r\",\"f\",\"a\"]",
        "[1,5,\"r\",\"f\",{}]",
        "[1,5,\"r\",\"f\",{\"a\":\"b\"}]",
        "[1,5,\"r\",\"f\",[1]]",
        "[1,5,\"r\",\"f\",[1.5]]",
        "[1,5,\"r\",\"f\",[true]]",
        "[1,5,\"r\",\"f\",[[]]]",
        "[1,5,\"r\",\"f\",[{}]]",
        "[1,5,\"r\",\"f\",[\"a\",]]",
        "[1,5,\"r\",\"f\",[\"a\\u0000b\"]]",
        "[1,5,\"r\",\"f\",[\"\xc0\xaf\"]]",     /* overlong */
        "[1,5,\"r\",\"f\",[\"\xed\xa0\x80\"]]", /* surrogate */
        "[1,5,\"r\",\"f\",[\"\xff\"]]",
        "[1,5,\"r\",null,[]]",
        "[1,5,null,\"f\",[]]",
        "[1,5,7,\"f\",[]]",
        "[1,\"5\",\"r\",\"f\",[]]",
        "[1,5.0,\"r\",\"f\",[]]",
        "[1,-5,\"r\",\"f\",[]]",
        "[1,9223372036854775808,\"r\",\"f\",[]]",
        "[1,null,\"r\",\"f\",[]]",
        "[0,5,\"r\",\"f\",[]]",
        "[2,5,\"r\",\"f\",[]]",
        "[\"1\",5,\"r\",\"f\",[]]",
        "[[1,5,\"r\",\"f\",[]]]",
        "/* a */[1,5,\"r\",\"f\",[]]",
    };
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct job job;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(job_decode(ctx, cases[i], strlen(cases[i]), &job) == -1, "case %zu: %s", i, cases[i]);
    talloc_free(ctx);
}

/* What may be queued can be read, and nothing longer is either queued or read. */
static void test_length_limit(void **state)
{
    static const char frame[] = "[1,5,\"r\",\"f\",[\"\"]]";
    enum { ROOM = JOB_MAX_BYTES - (sizeof frame - 1) };
    TALLOC_CTX *ctx = talloc_new(NULL);
    char *text = talloc_zero_array(ctx, char, ROOM + 2);
    const char *values[] = {text};
    const struct job job = {5, "r", "f", {values, 1}};
    struct job back;
    size_t len;

    (void)state;
    memset(text, 'x', ROOM);
    char *json = job_encode(ctx, &job, &len);
    assert_non_null(json);
    assert_int_equal(len, JOB_MAX_BYTES);
    assert_int_equal(job_decode(ctx, json, len, &back), 0);
    assert_string_equal(back.values.texts[0], text);

    text[ROOM] = 'x';
    assert_null(job_encode(ctx, &job, &len));
    json = talloc_asprintf(ctx, "[1,5,\"r\",\"f\",[\"%s\"]]", text);
    assert_int_equal(job_decode(ctx, json, strlen(json), &back), -1);
    talloc_free(ctx);
}

static void test_nesting_costs_nothing(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    char *json = talloc_array(ctx, char, JOB_MAX_BYTES);
    struct job job;

    (void)state;
    memset(json, '[', JOB_MAX_BYTES);
    assert_int_equal(job_decode(ctx, json, JOB_MAX_BYTES, &job), -1);
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_bytes),
        cmocka_unit_test(test_spelled_otherwise),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_length_limit),
        cmocka_unit_test(test_nesting_costs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
