/* SPDX-License-Identifier: BSD-2-Clause */
/* Problem bodies and reason phrases. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "http/problem.h"

#define HEAD_404 "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404"

static void test_bodies(void **state)
{
    static const struct {
        int status;
        const char *detail, *json;
    } cases[] = {
        {404, NULL, HEAD_404 "}"},
        {404, "", HEAD_404 ",\"detail\":\"\"}"},
        {404, "No \"x\" \\ here.", HEAD_404 ",\"detail\":\"No \\\"x\\\" \\\\ here.\"}"},
        {404, "a\nb\x01", HEAD_404 ",\"detail\":\"a\\nb\\u0001\"}"},
        {404, "caf\xc3\xa9", HEAD_404 ",\"detail\":\"caf\xc3\xa9\"}"},
        {503, NULL, "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503}"},
        {599, NULL, "{\"type\":\"about:blank\",\"title\":\"Unknown\",\"status\":599}"},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len = 0;
        char *body = problem_body(ctx, cases[i].status, cases[i].detail, &len);
        check(strcmp(body, cases[i].json) == 0 && len == strlen(body), "case %zu gave %s, %zu", i,
              body, len);
        assert_ptr_equal(talloc_parent(body), ctx);
    }
    talloc_free(ctx);
}

static void test_long_detail(void **state)
{
    enum { LENGTH = 100000 };
    TALLOC_CTX *ctx = talloc_new(NULL);
    char *detail = talloc_array(ctx, char, LENGTH + 1);
    size_t len = 0;

    (void)state;
    memset(detail, 'x', LENGTH);
    detail[LENGTH] = '\0';
    char *body = problem_body(ctx, 404, detail, &len);
    assert_int_equal(len, strlen(HEAD_404 ",\"detail\":\"\"}") + LENGTH);
    assert_string_equal(body + len - 3, "x\"}");
    talloc_free(ctx);
}

static void test_reasons(void **state)
{
    static const struct {
        int status;
        const char *reason;
    } cases[] = {
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {410, "Gone"},
        {422, "Unprocessable Content"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {504, "Gateway Timeout"},
        {0, "Unknown"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_string_equal(http_reason(cases[i].status), cases[i].reason);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_long_detail),
        cmocka_unit_test(test_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
