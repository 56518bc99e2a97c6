/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of a request before a fill: look-ups that are under way, hits, offers to the queue,
   and clients that leave. */
#include "config.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "app/gauges.h"
#include "app/serve.h"
#include "base/mem.h"
#include "fake_worker.h"

enum { MAX_OFFERS = 256 };

/* ---- The queue and the gauges, which answer when the test says */

struct queue_request {
    queue_offer_fn *fn;
    void *data;
    int64_t ttl_ms;
    bool over;
    bool cancelled;
};

static struct queue_request offers[MAX_OFFERS];
static size_t n_offers;

struct queue_request *queue_offer(struct queue *queue, const char *base, const char *job,
                                  size_t len, int64_t ttl_ms, queue_offer_fn *fn, void *data)
{
    (void)queue;
    (void)base;
    (void)job;
    check(len > 0 && n_offers < MAX_OFFERS, "offer %zu of %zu bytes", n_offers, len);
    offers[n_offers] = (struct queue_request){.fn = fn, .data = data, .ttl_ms = ttl_ms};
    return &offers[n_offers++];
}

static size_t n_sweeps;

struct queue_request *queue_sweep(struct queue *queue, queue_count_fn *fn, void *data)
{
    (void)queue;
    (void)data;
    check(fn == NULL, "nobody wants to know");
    n_sweeps++;
    return NULL;
}

void queue_cancel(struct queue_request *request)
{
    if (request != NULL)
        request->cancelled = request->over = true;
}

static void answer_offer(size_t i, enum queue_offer result)
{
    check(i < n_offers && !offers[i].over, "offer %zu is not under way", i);
    offers[i].over = true;
    offers[i].fn(offers[i].data, result);
    check(!offers[i].cancelled, "offer %zu was cancelled after its answer", i);
}

struct gauges_request {
    gauges_fn *fn;
    void *data;
};

static struct gauges_request *asked_gauges;

static int gauges_destroy(struct gauges_request *request)
{
    assert_ptr_equal(request, asked_gauges);
    asked_gauges = NULL;
    return 0;
}

struct gauges_request *gauges_read(TALLOC_CTX *ctx, struct cache *cache, struct queue *queue,
                                   gauges_fn *fn, void *data)
{
    (void)cache;
    (void)queue;
    asked_gauges = mem_check(talloc_zero(ctx, struct gauges_request));
    *asked_gauges = (struct gauges_request){fn, data};
    talloc_set_destructor(asked_gauges, gauges_destroy);
    return asked_gauges;
}

static void answer_gauges(void)
{
    static const struct metrics_gauges gauges = {.jobs_queued = 5};
    struct gauges_request *request = asked_gauges;

    assert_non_null(request);
    talloc_set_destructor(request, NULL);
    asked_gauges = NULL;
    request->fn(request->data, &gauges);
}

/* ---- The fixture */

struct fixture {
    struct fake_worker *worker;
    struct fake_cache *cache;
    struct server *server;
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_check(talloc_zero(NULL, struct fixture));

    fixture->worker = fake_worker_new("metrics_allow = {\"127.0.0.1\"}\n");
    fixture->cache = fixture->worker->cache;
    fixture->server = server_new(fixture->worker, fixture->worker->backend);
    memset(offers, 0, sizeof offers);
    n_offers = 0;
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    talloc_free(fixture->worker);
    talloc_free(fixture);
    return 0;
}

static struct reader *ask_as(struct fixture *fixture, const char *method, const char *target)
{
    fake_time_pass(1000);
    struct reader *reader = fake_worker_request(fixture->worker, fixture->worker);
    reader->request->method = method;
    reader->request->target = target;
    reader->request->remote_addr = "127.0.0.1";
    fake_time_pass(10);
    serve_request(fixture->server, reader->request);
    return reader;
}

static struct reader *ask(struct fixture *fixture, const char *target)
{
    return ask_as(fixture, "GET", target);
}

static void leave(struct reader *reader)
{
    serve_gone(reader->request);
    talloc_free(reader->request);
    reader->request = NULL;
}

static void put(struct fixture *fixture, const char *base, int age_s, const char *body)
{
    int64_t now_us = fake_cache_now_us(fixture->cache);

    fake_cache_put(fixture->cache, base, now_us - (int64_t)age_s * 1000000, 200, body);
}

#define LONG_7 "leeway:{long.id.0000000000000001:=7}"
#define LONG_8 "leeway:{long.id.0000000000000001:=8}"

static void check_answer(const struct reader *reader, const char *wanted)
{
    check(reader->answers == 1 && strcmp(reader->answer, wanted) == 0,
          "\"%s\", %u times, not \"%s\"", reader->answer, reader->answers, wanted);
}

static void check_waits(const struct reader *reader)
{
    check(reader->answers == 0, "it was answered: \"%s\"", reader->answer);
}

static void answer_look_up(struct fixture *fixture, enum fake_way way)
{
    fake_time_pass(100);
    assert_int_equal(fake_cache_next(fixture->cache), FAKE_LOOK_UP);
    fake_cache_answer_next(fixture->cache, way);
}

/* ---- Look-ups */

static void test_hit(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, LONG_7, 10, "\"a\"");
    struct reader *reader = ask(fixture, "/long/7");
    check_waits(reader);
    answer_look_up(fixture, FAKE_DONE);
    check_answer(reader, "fresh:\"a\"");
    assert_true(reader->ttl_us < 50 * 1000000 && reader->ttl_us > 49 * 1000000);
    assert_int_equal(n_offers, 0);
    assert_int_equal(fake_cache_under_way(fixture->cache), 0);
}

static void test_hits_that_wait_together(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, LONG_7, 10, "\"a\"");
    put(fixture, LONG_8, 10, "\"b\"");
    struct reader *a = ask(fixture, "/long/7"), *b = ask(fixture, "/long/8");
    struct reader *missing = ask(fixture, "/long/9"), *again = ask(fixture, "/long/7");
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_LOOK_UP), 4);
    for (int i = 0; i < 4; i++)
        answer_look_up(fixture, FAKE_DONE);
    check_answer(a, "fresh:\"a\"");
    check_answer(b, "fresh:\"b\"");
    check_answer(again, "fresh:\"a\"");
    check_waits(missing);
}

static void test_misses(void **state)
{
    static const struct {
        int age_s; /* -1: there is none */
        enum fake_way looked, taken;
        const char *answer;
    } cases[] = {
        {-1, FAKE_DONE, FAKE_DONE, "miss*:1"},         {60, FAKE_DONE, FAKE_DONE, "expired*:1"},
        {-1, FAKE_AWAY, FAKE_DONE, "miss*:1"},         {-1, FAKE_AWAY, FAKE_AWAY, "no-redis:1"},
        {5, FAKE_AWAY, FAKE_DONE, "collapsed:9"},      {5, FAKE_UNCERTAIN, FAKE_AWAY, "no-redis:1"},
        {5, FAKE_REFUSED, FAKE_REFUSED, "no-redis:1"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fake_cache_purge(fixture->cache, LONG_7);
        if (cases[i].age_s >= 0)
            put(fixture, LONG_7, cases[i].age_s, "9");
        struct reader *reader = ask(fixture, "/long/7");
        answer_look_up(fixture, cases[i].looked);
        check(reader->answers == 0, "case %zu: it is not asked for the lease", i);
        assert_true(fake_cache_answer(fixture->cache, FAKE_TAKE, cases[i].taken));
        struct fake_query *query = fake_worker_query(fixture->worker);
        if (query != NULL)
            fake_worker_end(fixture->worker, query, QUERY_DONE);
        fake_cache_answer_all(fixture->cache);
        check(reader->answers == 1 && strcmp(reader->answer, cases[i].answer) == 0,
              "case %zu: \"%s\"", i, reader->answer);
    }
}

static void test_no_look_up_without_a_budget(void **state)
{
    struct fixture *fixture = *state;
    struct reader *reader = ask(fixture, "/none/7");

    assert_int_equal(fake_cache_count(fixture->cache, FAKE_LOOK_UP), 0);
    fake_worker_end(fixture->worker, fake_worker_query(fixture->worker), QUERY_DONE);
    check_answer(reader, "no-budget:1");
}

/* The client, the operator, or the database goes while the look-up is under way. */
static void test_leaves_while_it_is_looked_up(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, LONG_7, 10, "\"a\"");
    struct reader *first = ask(fixture, "/long/7"), *second = ask(fixture, "/long/7");
    leave(first);
    assert_true(fake_cache_record(fixture->cache, FAKE_LOOK_UP, 0)->cancelled);
    answer_look_up(fixture, FAKE_DONE);
    check_answer(second, "fresh:\"a\"");
    assert_int_equal(first->answers, 0);
}

static void test_leaves_while_it_is_filled(void **state)
{
    struct fixture *fixture = *state;
    struct reader *reader = ask(fixture, "/long/7");

    answer_look_up(fixture, FAKE_DONE);
    leave(reader);
    assert_true(fake_cache_record(fixture->cache, FAKE_TAKE, 0)->cancelled);
    assert_int_equal(fake_cache_under_way(fixture->cache), 0);
}

static void test_a_stop(void **state)
{
    struct fixture *fixture = *state;
    struct reader *filled = ask(fixture, "/long/8");

    answer_look_up(fixture, FAKE_DONE);
    struct reader *first = ask(fixture, "/long/7"), *second = ask(fixture, "/long/7");
    server_drain(fixture->server);
    server_abandon(fixture->server);
    check_answer(first, "503~");
    check_answer(second, "503~");
    check_answer(filled, "503~");
    assert_int_equal(fake_cache_under_way(fixture->cache), 0);
}

static void test_not_verified(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, LONG_7, 10, "\"a\"");
    struct reader *before = ask(fixture, "/long/7");
    fixture->worker->verified = false;
    struct reader *after = ask(fixture, "/long/7");
    check_answer(after, "503~");
    answer_look_up(fixture, FAKE_DONE);
    check_answer(before, "503~");
    assert_int_equal(fake_cache_under_way(fixture->cache), 0);
}

static void test_the_worker_ends_with_look_ups_under_way(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, LONG_7, 58, "\"a\"");
    ask(fixture, "/long/7");
    answer_look_up(fixture, FAKE_DONE);
    ask(fixture, "/long/7");
    ask(fixture, "/long/8");
    /* tear_down() frees it all */
}

/* ---- Offers */

static void test_a_stale_hit_is_offered_once(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, LONG_7, 57, "\"a\"");
    struct reader *first = ask(fixture, "/long/7"), *second = ask(fixture, "/long/7");
    answer_look_up(fixture, FAKE_DONE);
    answer_look_up(fixture, FAKE_DONE);
    check_answer(first, "stale:\"a\"");
    check_answer(second, "stale:\"a\"");
    assert_int_equal(n_offers, 1);
    assert_true(offers[0].ttl_ms < 3000 && offers[0].ttl_ms > 2000);
    answer_offer(0, QUEUE_QUEUED);
    assert_int_equal(fixture->worker->refreshes[REFRESH_DROPPED], 0);
    /* and again after a second */
    fake_time_pass(1000001);
    struct reader *third = ask(fixture, "/long/7");
    answer_look_up(fixture, FAKE_DONE);
    check_answer(third, "stale:\"a\"");
    assert_int_equal(n_offers, 2);
}

static void test_what_becomes_of_offers(void **state)
{
    static const struct {
        enum queue_offer result;
        unsigned dropped;
    } cases[] = {{QUEUE_QUEUED, 0}, {QUEUE_MARKED, 0}, {QUEUE_FULL, 1}, {QUEUE_AWAY, 1}};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        put(fixture, LONG_7, 57, "\"a\"");
        struct reader *reader = ask(fixture, "/long/7");
        answer_look_up(fixture, FAKE_DONE);
        check_answer(reader, "stale:\"a\"");
        assert_int_equal(n_offers, i + 1);
        answer_offer(i, cases[i].result);
        check(fixture->worker->refreshes[REFRESH_DROPPED] == cases[i].dropped, "case %zu", i);
        fake_time_pass(2000000);
    }
}

static void test_no_offer_for_a_key_of_the_past(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, LONG_7, 57, "\"a\"");
    struct reader *reader = ask(fixture, "/long/7");
    fixture->worker->generation = 2;
    answer_look_up(fixture, FAKE_DONE);
    check_answer(reader, "stale:\"a\"");
    assert_int_equal(n_offers, 0);
}

/* Entries that were stored together, each of another key. */
static void ask_of_many(struct fixture *fixture, int count)
{
    for (int i = 0; i < count; i++) {
        char target[32];
        char *base = mem_check(
            talloc_asprintf(fixture, "%.*s%d}", (int)sizeof LONG_7 - 3, LONG_7, 1000 + i));
        snprintf(target, sizeof target, "/long/%d", 1000 + i);
        put(fixture, base, 56, "\"a\"");
        struct reader *reader = ask(fixture, target);
        answer_look_up(fixture, FAKE_DONE);
        check_answer(reader, "stale:\"a\"");
    }
}

/* Headers are as ever; of the offers, those beyond 100 are made over the first half of the 6 s. */
static void test_many_offers_are_spread(void **state)
{
    struct fixture *fixture = *state;

    ask_of_many(fixture, 200);
    check(n_offers >= 100 && n_offers < 180, "%zu at once", n_offers);
    size_t at_once = n_offers;
    /* nobody asks twice */
    ask_of_many(fixture, 200);
    check(n_offers - at_once < 20, "%zu twice", n_offers - at_once);
    fake_time_advance(fixture->worker->loop, 3000);
    assert_int_equal(n_offers, 200);
    for (size_t i = 0; i < n_offers; i++)
        check(offers[i].ttl_ms > 0 && offers[i].ttl_ms <= 4000, "offer %zu", i);
    assert_true(offers[199].ttl_ms < offers[0].ttl_ms);
    for (size_t i = 0; i < n_offers; i++)
        answer_offer(i, QUEUE_QUEUED);
    /* none of them waits any more, nor is there */
    server_drain(fixture->server);
    assert_int_equal(n_offers, 200);
    assert_true(server_is_drained(fixture->server));
}

static void test_what_waits_is_offered_at_a_stop(void **state)
{
    struct fixture *fixture = *state;

    ask_of_many(fixture, 200);
    assert_true(n_offers < 200);
    server_drain(fixture->server);
    assert_int_equal(n_offers, 200);
    for (size_t i = 0; i < n_offers; i++) {
        assert_false(server_is_drained(fixture->server));
        answer_offer(i, QUEUE_QUEUED);
    }
    assert_true(server_is_drained(fixture->server));
}

static void test_what_waits_ends_with_its_server(void **state)
{
    struct fixture *fixture = *state;

    ask_of_many(fixture, 150);
    size_t at_once = n_offers;
    struct ev_loop *loop = fixture->worker->loop;
    TALLOC_FREE(fixture->server);
    fake_time_advance(loop, 5000);
    assert_int_equal(n_offers, at_once);
}

static void test_an_offer_ends_with_its_server(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, LONG_7, 57, "\"a\"");
    ask(fixture, "/long/7");
    answer_look_up(fixture, FAKE_DONE);
    talloc_free(fixture->server);
    assert_true(offers[0].cancelled);
}

/* ---- What is no route */

static void test_metrics(void **state)
{
    struct fixture *fixture = *state;
    struct reader *reader = ask(fixture, "/metrics");

    check_waits(reader);
    answer_gauges();
    for (unsigned i = 1; i < FAKE_SCRAPE_STEPS; i++) {
        ev_run(fixture->worker->loop, EVRUN_NOWAIT);
        check_waits(reader);
    }
    ev_run(fixture->worker->loop, EVRUN_NOWAIT);
    check_answer(reader, "200 jobs 5");
}

static void test_metrics_of_a_client_that_leaves_between_steps(void **state)
{
    struct fixture *fixture = *state;
    struct reader *reader = ask(fixture, "/metrics");

    answer_gauges();
    ev_run(fixture->worker->loop, EVRUN_NOWAIT);
    leave(reader);
    ev_run(fixture->worker->loop, EVRUN_NOWAIT);
    assert_int_equal(reader->answers, 0);
}

static void test_metrics_of_a_client_that_leaves(void **state)
{
    struct fixture *fixture = *state;
    struct reader *reader = ask(fixture, "/metrics");

    assert_non_null(asked_gauges);
    leave(reader);
    assert_null(asked_gauges);
}

static void test_metrics_are_not_for_everybody(void **state)
{
    struct fixture *fixture = *state;
    struct reader *reader = fake_worker_request(fixture->worker, fixture->worker);

    reader->request->target = "/metrics";
    reader->request->remote_addr = "192.0.2.1";
    serve_request(fixture->server, reader->request);
    check_answer(reader, "problem 403");
    assert_null(asked_gauges);
}

static void test_what_is_answered_at_once(void **state)
{
    static const struct {
        const char *method, *target, *answer;
    } cases[] = {
        {"OPTIONS", "/long/7", "problem 204"},
        {"POST", "/long/7", "problem 405"},
        {"GET", "/long/x", "problem 400"},
        {"GET", "/nowhere", "problem 404"},
        {"GET", "/health", "200 {\"status\":\"ok\"}\n"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_answer(ask_as(fixture, cases[i].method, cases[i].target), cases[i].answer);
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_LOOK_UP), 0);
}

/* Postgres is up all the while. */
static void test_health_without_the_cache(void **state)
{
    struct fixture *fixture = *state;

    fake_cache_set_up(fixture->cache, false);
    check_answer(ask(fixture, "/health"), "200 {\"status\":\"ok\"}\n");
}

static void test_ready(void **state)
{
    struct fixture *fixture = *state;

    check_answer(ask(fixture, "/ready"), "200 {\"status\":\"ready\"}\n");
    server_drain(fixture->server);
    struct reader *reader = ask(fixture, "/ready");
    check(strncmp(reader->answer, "503 ", 4) == 0, "\"%s\"", reader->answer);
}

#define serve_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        serve_test(test_hit),
        serve_test(test_hits_that_wait_together),
        serve_test(test_misses),
        serve_test(test_no_look_up_without_a_budget),
        serve_test(test_leaves_while_it_is_looked_up),
        serve_test(test_leaves_while_it_is_filled),
        serve_test(test_a_stop),
        serve_test(test_not_verified),
        serve_test(test_the_worker_ends_with_look_ups_under_way),
        serve_test(test_a_stale_hit_is_offered_once),
        serve_test(test_what_becomes_of_offers),
        serve_test(test_no_offer_for_a_key_of_the_past),
        serve_test(test_many_offers_are_spread),
        serve_test(test_what_waits_is_offered_at_a_stop),
        serve_test(test_what_waits_ends_with_its_server),
        serve_test(test_an_offer_ends_with_its_server),
        serve_test(test_metrics),
        serve_test(test_metrics_of_a_client_that_leaves),
        serve_test(test_metrics_of_a_client_that_leaves_between_steps),
        serve_test(test_metrics_are_not_for_everybody),
        serve_test(test_what_is_answered_at_once),
        serve_test(test_health_without_the_cache),
        serve_test(test_ready),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
