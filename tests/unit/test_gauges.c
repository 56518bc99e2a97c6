/* SPDX-License-Identifier: BSD-2-Clause */
/* The gauges' two questions, answered in either order, not at all, or withdrawn. */
#include "config.h"

#include "unit.h"

#include <math.h>
#include <talloc.h>

#include "app/gauges.h"
#include "base/mem.h"
#include "cache/driver.h"

/* What was asked and neither answered nor withdrawn; `fn` NULL: nothing. */
static struct {
    queue_view_fn *fn;
    void *data;
    bool refreshers;
} queue_asked;
static struct {
    struct cache_request request;
    cache_info_fn *fn;
    void *data;
} info_asked;

struct queue_request *queue_look(struct queue *queue, bool refreshers, queue_view_fn *fn,
                                 void *data)
{
    (void)queue;
    queue_asked.fn = fn;
    queue_asked.data = data;
    queue_asked.refreshers = refreshers;
    return (struct queue_request *)&queue_asked;
}

void queue_cancel(struct queue_request *request)
{
    if (request != NULL)
        queue_asked.fn = NULL;
}

static void withdraw_info(struct cache_request *request)
{
    (void)request;
    info_asked.fn = NULL;
}

static struct cache_request *ask_info(struct cache *cache, cache_info_fn *fn, void *data)
{
    (void)cache;
    info_asked.request.cancel = withdraw_info;
    info_asked.fn = fn;
    info_asked.data = data;
    return &info_asked.request;
}

static const struct cache_driver driver = {.info = ask_info};
static struct cache cache = {&driver};

static struct metrics_gauges seen;
static size_t n_seen;

static void on_gauges(void *data, const struct metrics_gauges *gauges)
{
    (void)data;
    seen = *gauges;
    n_seen++;
}

static void answer_queue(struct queue_view *view)
{
    queue_view_fn *fn = queue_asked.fn;

    queue_asked.fn = NULL;
    fn(queue_asked.data, view);
}

static void answer_info(const char *info)
{
    cache_info_fn *fn = info_asked.fn;

    info_asked.fn = NULL;
    fn(info_asked.data, info);
}

static void test_answers(void **state)
{
    static const struct {
        bool away;
        struct queue_view view;
        const char *info;
        struct metrics_gauges gauges;
    } cases[] = {
        {false,
         {.length = 3, .oldest_ms = 1500, .abandoned = 7},
         "a:1\r\nmem_fragmentation_ratio:1.25\r\n",
         {3, 1500, 7, 1.25}},
        {false, {.length = 0, .oldest_ms = -1}, "a:1\r\n", {0, 0, 0, -1.0}},
        {false, {.length = 2, .oldest_ms = -1, .abandoned = -1}, NULL, {2, -1, -1, -1.0}},
        {true, {.length = 0}, NULL, {-1, -1, -1, -1.0}},
        {true, {.length = 0}, "mem_fragmentation_ratio:2.5", {-1, -1, -1, 2.5}},
    };

    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
        struct queue_view view = cases[i / 2].view;
        n_seen = 0;
        gauges_read(NULL, &cache, NULL, on_gauges, NULL);
        assert_false(queue_asked.refreshers);
        if (i % 2 == 1)
            answer_info(cases[i / 2].info);
        else
            answer_queue(cases[i / 2].away ? NULL : &view);
        check(n_seen == 0, "case %zu", i);
        if (i % 2 == 1)
            answer_queue(cases[i / 2].away ? NULL : &view);
        else
            answer_info(cases[i / 2].info);
        check(n_seen == 1, "case %zu", i);
        check(seen.jobs_queued == cases[i / 2].gauges.jobs_queued, "case %zu", i);
        check(seen.jobs_abandoned == cases[i / 2].gauges.jobs_abandoned, "case %zu", i);
        check(seen.job_oldest_ms == cases[i / 2].gauges.job_oldest_ms, "case %zu", i);
        check(fabs(seen.redis_fragmentation_ratio - cases[i / 2].gauges.redis_fragmentation_ratio) <
                  1e-9,
              "case %zu", i);
    }
}

/* With what it belongs to, before either is answered and between. */
static void test_withdrawn(void **state)
{
    struct queue_view view = {.length = 1};

    (void)state;
    n_seen = 0;
    for (int answered = 0; answered < 3; answered++) {
        TALLOC_CTX *request = mem_check(talloc_new(NULL));
        gauges_read(request, &cache, NULL, on_gauges, NULL);
        if (answered == 1)
            answer_queue(&view);
        if (answered == 2)
            answer_info(NULL);
        talloc_free(request);
        assert_null(queue_asked.fn);
        assert_null(info_asked.fn);
    }
    assert_int_equal(n_seen, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_withdrawn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
