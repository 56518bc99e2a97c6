/* SPDX-License-Identifier: BSD-2-Clause */
/* The caching headers, byte by byte, with verdicts as freshness_judge gives them. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cache/answer.h"

enum { SECOND = 1000000 };

/* B 60 s, S 54 s, 1 h more on error, 404s for 6 s */
static const struct freshness_policy usual = {INT64_C(60) * SECOND, INT64_C(54) * SECOND,
                                              INT64_C(3600) * SECOND, INT64_C(6) * SECOND};

struct answer_case {
    struct answer answer; /* verdict left out */
    int status;
    int64_t age_ms;
    const char *cache_status;
    const char *cache_control;
};

static void check_headers(const struct answer_case *c, const struct freshness_policy *policy)
{
    struct answer answer = c->answer;
    char headers[ANSWER_MAX_BYTES], expected[512];

    answer.verdict = freshness_judge(policy, c->status, 0, c->age_ms * 1000);
    size_t len = answer_cache_headers(headers, sizeof headers, &answer);
    snprintf(expected, sizeof expected, "Cache-Status: leeway; %s\r\nCache-Control: %s\r\n",
             c->cache_status, c->cache_control);
    check(strcmp(headers, expected) == 0, "got\n%swanted\n%s", headers, expected);
    check(len == strlen(expected), "%zu", len);
}

static void test_hits(void **state)
{
    static const struct answer fresh = {.row = ANSWER_FRESH, .private = true};
    static const struct answer stale = {.row = ANSWER_STALE, .private = true};
    static const struct answer on_error = {.row = ANSWER_ON_ERROR, .private = true};
    static const struct answer edge = {.row = ANSWER_FRESH};
    static const struct answer edge_stale = {.row = ANSWER_STALE};
    static const struct answer edge_on_error = {.row = ANSWER_ON_ERROR};
    const struct answer_case cases[] = {
        {fresh, 200, 0, "hit; ttl=60",
         "private, max-age=54, stale-while-revalidate=6, stale-if-error=0"},
        {fresh, 200, 1, "hit; ttl=59",
         "private, max-age=53, stale-while-revalidate=6, stale-if-error=0"},
        {fresh, 200, 12500, "hit; ttl=47",
         "private, max-age=41, stale-while-revalidate=6, stale-if-error=0"},
        {fresh, 200, 53999, "hit; ttl=6",
         "private, max-age=0, stale-while-revalidate=6, stale-if-error=0"},
        {stale, 200, 54000, "hit; ttl=6; detail=stale",
         "private, max-age=0, stale-while-revalidate=6, stale-if-error=0"},
        {stale, 200, 59999, "hit; ttl=0; detail=stale",
         "private, max-age=0, stale-while-revalidate=0, stale-if-error=0"},
        {on_error, 200, 60000, "hit; ttl=0; detail=stale-if-error", "private, no-cache"},
        {on_error, 200, 60001, "hit; ttl=-1; detail=stale-if-error", "private, no-cache"},
        {on_error, 200, 61000, "hit; ttl=-1; detail=stale-if-error", "private, no-cache"},
        {on_error, 200, 61001, "hit; ttl=-2; detail=stale-if-error", "private, no-cache"},
        {on_error, 200, 3659999, "hit; ttl=-3600; detail=stale-if-error", "private, no-cache"},
        {edge, 200, 12500, "hit; ttl=47", "max-age=41, stale-while-revalidate=6, stale-if-error=0"},
        {edge_stale, 200, 55000, "hit; ttl=5; detail=stale",
         "max-age=0, stale-while-revalidate=5, stale-if-error=0"},
        {edge_on_error, 200, 70000, "hit; ttl=-10; detail=stale-if-error", "no-cache"},
        {fresh, 404, 0, "hit; ttl=6",
         "private, max-age=6, stale-while-revalidate=0, stale-if-error=0"},
        {fresh, 404, 2001, "hit; ttl=3",
         "private, max-age=3, stale-while-revalidate=0, stale-if-error=0"},
        {edge, 404, 5999, "hit; ttl=0", "max-age=0, stale-while-revalidate=0, stale-if-error=0"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_headers(&cases[i], &usual);
}

static void test_queries(void **state)
{
    static const struct answer miss = {
        .row = ANSWER_MISS, .fwd_status = 200, .stored = true, .private = true};
    static const struct answer not_stored = {
        .row = ANSWER_MISS, .fwd_status = 200, .private = true};
    static const struct answer missing = {
        .row = ANSWER_MISS, .fwd_status = 404, .stored = true, .private = true};
    static const struct answer expired = {
        .row = ANSWER_EXPIRED, .fwd_status = 200, .stored = true, .private = true};
    static const struct answer expired_missing = {.row = ANSWER_EXPIRED, .fwd_status = 404};
    static const struct answer collapsed = {.row = ANSWER_COLLAPSED, .private = true};
    const struct answer_case cases[] = {
        {miss, 200, 3, "fwd=uri-miss; fwd-status=200; stored",
         "private, max-age=53, stale-while-revalidate=6, stale-if-error=0"},
        {miss, 200, 55500, "fwd=uri-miss; fwd-status=200; stored",
         "private, max-age=0, stale-while-revalidate=4, stale-if-error=0"},
        {miss, 200, 60000, "fwd=uri-miss; fwd-status=200; stored", "private, no-cache"},
        {not_stored, 200, 0, "fwd=uri-miss; fwd-status=200",
         "private, max-age=54, stale-while-revalidate=6, stale-if-error=0"},
        {missing, 404, 0, "fwd=uri-miss; fwd-status=404; stored",
         "private, max-age=6, stale-while-revalidate=0, stale-if-error=0"},
        {missing, 404, 6000, "fwd=uri-miss; fwd-status=404; stored", "private, no-cache"},
        {expired, 200, 0, "fwd=stale; fwd-status=200; stored",
         "private, max-age=54, stale-while-revalidate=6, stale-if-error=0"},
        {expired_missing, 404, 1000, "fwd=stale; fwd-status=404",
         "max-age=5, stale-while-revalidate=0, stale-if-error=0"},
        {collapsed, 200, 1000, "fwd=uri-miss; collapsed",
         "private, max-age=53, stale-while-revalidate=6, stale-if-error=0"},
        {collapsed, 200, 54000, "fwd=uri-miss; collapsed",
         "private, max-age=0, stale-while-revalidate=6, stale-if-error=0"},
        {collapsed, 404, 500, "fwd=uri-miss; collapsed",
         "private, max-age=5, stale-while-revalidate=0, stale-if-error=0"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_headers(&cases[i], &usual);
}

static void test_bypasses(void **state)
{
    static const struct freshness_policy no_budget = {0, 0, 0, 0};
    const struct answer_case cases[] = {
        {{.row = ANSWER_NO_BUDGET, .private = true},
         200,
         0,
         "fwd=bypass; detail=no-budget",
         "no-store"},
        {{.row = ANSWER_NO_BUDGET}, 404, 0, "fwd=bypass; detail=no-budget", "no-store"},
        {{.row = ANSWER_DISABLED, .private = true},
         200,
         0,
         "fwd=bypass; detail=disabled",
         "no-store"},
        {{.row = ANSWER_TOO_LARGE, .private = true},
         200,
         0,
         "fwd=bypass; detail=too-large",
         "private, no-cache"},
        {{.row = ANSWER_TOO_LARGE}, 200, 0, "fwd=bypass; detail=too-large", "no-cache"},
        {{.row = ANSWER_NO_REDIS, .private = true},
         200,
         0,
         "fwd=bypass; detail=redis-unavailable",
         "private, no-cache"},
        {{.row = ANSWER_NO_REDIS}, 404, 0, "fwd=bypass; detail=redis-unavailable", "no-cache"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        check_headers(&cases[i], &usual);
        check_headers(&cases[i], &no_budget);
    }
}

/* Whatever budget, share and age: nobody is told to keep a response beyond its budget, in
   microseconds, though every number is rounded. */
static void test_lifetimes_keep_the_budget(void **state)
{
    static const int64_t budgets_us[] = {1 * SECOND, 1500000, 7333333, INT64_C(61) * SECOND};
    static const int64_t shares[] = {0, 1, 333, 500, 899, 900, 999, 1000};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(budgets_us); i++) {
        for (size_t j = 0; j < COUNT_OF(shares); j++) {
            struct freshness_policy policy = {.budget_us = budgets_us[i],
                                              .refresh_after_us = budgets_us[i] * shares[j] / 1000};
            for (int64_t age_us = 0; age_us < policy.budget_us; age_us += 99991) {
                struct answer answer = {.row = ANSWER_MISS, .fwd_status = 200};
                char headers[ANSWER_MAX_BYTES];
                int64_t max_age = -1, revalidate = -1;

                answer.verdict = freshness_judge(&policy, 200, 0, age_us);
                answer_cache_headers(headers, sizeof headers, &answer);
                const char *control = strstr(headers, "max-age=");
                check(control != NULL, "%s", headers);
                sscanf(control, "max-age=%" SCNd64 ", stale-while-revalidate=%" SCNd64, &max_age,
                       &revalidate);
                check(max_age >= 0 && revalidate >= 0, "%s", headers);
                check(age_us + (max_age + revalidate) * SECOND <= policy.budget_us,
                      "budget %" PRId64 ", age %" PRId64 ": %s", policy.budget_us, age_us, headers);
                check(max_age == 0 || age_us + max_age * SECOND <= policy.refresh_after_us,
                      "budget %" PRId64 ", age %" PRId64 ": %s", policy.budget_us, age_us, headers);
            }
        }
    }
}

/* The longest there can be fits; a smaller buffer is never written beyond its end. */
static void test_buffer_bounds(void **state)
{
    static const struct answer rows[] = {
        {.row = ANSWER_ON_ERROR, .private = true, .verdict = {.ttl_us = INT64_MIN}},
        {.row = ANSWER_STALE, .private = true, .verdict = {.ttl_us = INT64_MAX}},
        {.row = ANSWER_MISS,
         .private = true,
         .stored = true,
         .fwd_status = INT32_MIN,
         .verdict = {.fresh_us = INT64_MAX / 2, .ttl_us = INT64_MAX}},
    };
    char headers[ANSWER_MAX_BYTES + 1];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t len = answer_cache_headers(headers, ANSWER_MAX_BYTES, &rows[i]);
        check(len > 0, "row %zu", i);
        for (size_t size = 1; size <= ANSWER_MAX_BYTES; size++) {
            headers[size] = '#';
            size_t got = answer_cache_headers(headers, size, &rows[i]);
            check(got == (size > len ? len : 0), "row %zu, %zu bytes: %zu", i, size, got);
            check(headers[size] == '#', "row %zu, %zu bytes", i, size);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hits),          cmocka_unit_test(test_queries),
        cmocka_unit_test(test_bypasses),      cmocka_unit_test(test_lifetimes_keep_the_budget),
        cmocka_unit_test(test_buffer_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
