/* SPDX-License-Identifier: BSD-2-Clause */
/* What a refresher does with a job, by all that can become of it, and in between: against a queue
   and a cache that answer when the test says. Queries and sessions are a few variables. */
#include "config.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "app/fill.h"
#include "app/refresh.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fake_cache.h"
#include "fake_queue.h"
#include "fake_time.h"
#include "route/table.h"

#define FINGERPRINT "0123456789abcdef"
#define OTHERS      "fedcba9876543210"
#define JOB_OF(route, fingerprint, value)                                                          \
    "[1,1000,\"" route "\",\"" fingerprint "\",[\"" value "\"]]"
#define JOB  JOB_OF("r", FINGERPRINT, "7")
#define BASE "leeway:{r." FINGERPRINT ":=7}"

enum { BUDGET_MS = 10 * 1000, STOP_MS = 1500, AWAY_MS = 100, PAUSE_MS = 10 * 1000 };

/* ---- What the refresher works with beside */

static struct {
    bool verified;
    const char *fingerprint;
    bool renewable;
    identity_renewed_fn *renewed; /* NULL: no renewal is under way */
    void *data;
    size_t renewals;
} identity;

bool identity_is_verified(const struct identity *unused)
{
    (void)unused;
    return identity.verified;
}

uint64_t identity_generation(const struct identity *unused)
{
    (void)unused;
    return 42;
}

const char *identity_fingerprint(const struct identity *unused, const struct route *route)
{
    (void)unused;
    (void)route;
    return identity.fingerprint;
}

bool identity_renew(struct identity *unused, identity_renewed_fn *fn, void *data)
{
    (void)unused;
    if (!identity.renewable)
        return false;
    check(identity.renewed == NULL, "two renewals");
    identity.renewals++;
    identity.renewed = fn;
    identity.data = data;
    return true;
}

void identity_stop_renewing(struct identity *unused)
{
    (void)unused;
    identity.renewed = NULL;
}

static bool postgres_away;

bool postgres_can_run(const struct postgres *postgres)
{
    (void)postgres;
    return !postgres_away;
}

static struct {
    struct fill_request request;
    bool under_way;
    size_t count;
} fill;

struct fill *fill_start(struct backend *backend, const struct fill_request *request)
{
    (void)backend;
    check(!fill.under_way, "two fills");
    fill.request = *request;
    fill.under_way = true;
    fill.count++;
    return NULL;
}

static void end_fill_with(struct fill_result result)
{
    check(fill.under_way, "no fill");
    fill.under_way = false;
    fill.request.done(fill.request.data, &result);
}

static void end_fill(enum query_outcome outcome, enum fill_storing storing)
{
    end_fill_with((struct fill_result){.outcome = outcome, .storing = storing});
}

static size_t counted[4];

void metrics_refresh(struct metrics *metrics, const struct route *route, enum refresh_result result)
{
    (void)metrics;
    check(route != NULL, "no route");
    counted[result]++;
}

int64_t backend_now_us(const struct backend *backend, int64_t snapshot_us)
{
    (void)snapshot_us;
    return redis_clock_latest(cache_clock(backend->cache), clock_monotonic_us());
}

/* ---- The bench */

struct bench {
    struct fake_cache *cache;
    struct fake_queue *queue;
    struct context context;
    struct param_spec param;
    struct route route;
    struct config config;
    struct route_rules rules;
    struct application app;
    struct backend backend;
    struct refresh *refresh;
    size_t stopped;
    bool free_it; /* when it has stopped */
};

static void on_stopped(void *data)
{
    struct bench *bench = data;

    bench->stopped++;
    if (bench->free_it)
        TALLOC_FREE(bench->refresh);
}

static void make_app(struct bench *bench)
{
    struct config_error error;

    bench->context = (struct context){.name = "c", .budget_ms = BUDGET_MS};
    bench->param = (struct param_spec){
        .name = "id", .type = PARAM_INT, .source = PARAM_FROM_PATH, .max_length = 20};
    bench->route = (struct route){.name = "r",
                                  .pattern = "/{id}",
                                  .context = &bench->context,
                                  .params = &bench->param,
                                  .n_params = 1};
    bench->config = (struct config){.routes = &bench->route, .n_routes = 1};
    bench->config.settings.health_path = "/health";
    bench->config.settings.metrics_path = "/metrics";
    bench->config.settings.redis.prefix = "leeway";
    bench->rules.policy = (struct freshness_policy){.budget_us = BUDGET_MS * 1000,
                                                    .refresh_after_us = BUDGET_MS * 800};
    bench->app.config = &bench->config;
    bench->app.routes = route_table_new(bench, &bench->config, &error);
    bench->app.rules = &bench->rules;
    assert_non_null(bench->app.routes);
}

static void run(struct bench *bench)
{
    /* a timer is due when its time has passed */
    fake_time_advance(bench->backend.loop, 1);
}

static int set_up(void **state)
{
    struct bench *bench = mem_check(talloc_zero(NULL, struct bench));

    memset(&identity, 0, sizeof identity);
    memset(&fill, 0, sizeof fill);
    memset(counted, 0, sizeof counted);
    postgres_away = false;
    identity.verified = true;
    identity.fingerprint = FINGERPRINT;
    make_app(bench);
    bench->backend.loop = ev_loop_new(EVFLAG_AUTO);
    bench->backend.app = &bench->app;
    bench->cache = fake_cache_new(bench, bench->backend.loop);
    bench->queue = fake_queue_new(bench);
    bench->backend.cache = fake_cache_get(bench->cache);
    bench->backend.queue = fake_queue_get(bench->queue);
    bench->refresh = refresh_new(NULL, &bench->backend, on_stopped, bench);
    run(bench);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    struct ev_loop *loop = bench->backend.loop;

    talloc_free(bench->refresh);
    talloc_free(bench);
    ev_loop_destroy(loop);
    return 0;
}

static size_t under_way(const struct bench *bench, enum fake_queued kind)
{
    return fake_queue_under_way(bench->queue, kind);
}

static void answer(struct bench *bench, enum fake_queued kind, int64_t result)
{
    fake_queue_answer(bench->queue, kind, result);
    run(bench);
}

static void give(struct bench *bench, const char *job)
{
    fake_queue_give(bench->queue, job);
    run(bench);
}

/* An entry of that age, of which the tests' budget makes a stale one from 8 s. */
static void put(struct bench *bench, int64_t age_ms, int status)
{
    fake_cache_put(bench->cache, BASE, fake_cache_now_us(bench->cache) - age_ms * 1000, status,
                   "[1]");
}

static void take_lease(struct bench *bench)
{
    fake_cache_answer(bench->cache, FAKE_TAKE, FAKE_DONE);
    run(bench);
}

/* To where the query runs. */
static void begin_query(struct bench *bench)
{
    put(bench, 9000, 200);
    give(bench, JOB);
    take_lease(bench);
    check(fill.under_way, "no query");
}

/* It takes the next job, and has put nothing back for it. */
static void check_goes_on(struct bench *bench)
{
    check(under_way(bench, FAKE_Q_JOB) == 1, "it does not go on");
    check(fake_queue_count(bench->queue, FAKE_Q_LEAVE) == 0, "it puts back");
}

/* It puts back what it has in hand and shows itself anew before it takes another. */
static void check_puts_back_after(struct bench *bench, int64_t ms)
{
    fake_time_advance(bench->backend.loop, ms + 10);
    check(under_way(bench, FAKE_Q_JOB) == 0, "it goes on without putting back");
    answer(bench, FAKE_Q_LEAVE, true);
    check(under_way(bench, FAKE_Q_JOB) == 0, "it goes on before it is seen");
    answer(bench, FAKE_Q_BEAT, 0);
    check(under_way(bench, FAKE_Q_JOB) == 1, "it does not go on");
}

static void check_puts_back(struct bench *bench)
{
    check_puts_back_after(bench, AWAY_MS);
}

/* ---- A job */

static void test_a_job_that_is_done(void **state)
{
    struct bench *bench = *state;

    check(fake_queue_ms(bench->queue, FAKE_Q_JOB) == 500, "so long it waits");
    begin_query(bench);
    check(fill.request.route == &bench->route, "route");
    check(fill.request.generation == 42 && fill.request.origin == QUERY_REFRESH, "request");
    assert_string_equal(fill.request.values->texts[0], "7");
    assert_string_equal(fill.request.lease->base, BASE);
    assert_string_equal(fill.request.lease->token, fake_cache_lease(bench->cache, BASE));
    assert_int_equal(under_way(bench, FAKE_Q_JOB), 0);
    end_fill(QUERY_DONE, FILL_STORED);
    run(bench);
    assert_string_equal(fake_queue_base(bench->queue, FAKE_Q_SETTLE), BASE);
    assert_string_equal(fake_queue_job(bench->queue, FAKE_Q_SETTLE), JOB);
    assert_int_equal(under_way(bench, FAKE_Q_JOB), 0);
    answer(bench, FAKE_Q_SETTLE, true);
    assert_int_equal(counted[REFRESH_STORED], 1);
    check_goes_on(bench);
}

static void test_no_job(void **state)
{
    struct bench *bench = *state;

    answer(bench, FAKE_Q_JOB, 0);
    check_goes_on(bench);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_JOB), 2);
}

/* Jobs that are dropped without a query. */
static void test_what_is_dropped(void **state)
{
    static const struct {
        const char *job;
        int64_t age_ms; /* -1: no entry */
        int status;
        const char *lease; /* NULL: free */
        bool looks;        /* the lease is asked for */
        bool has_base;
        bool ends_lease;
    } cases[] = {
        {"nonsense", 9000, 200, NULL, false, false, false},
        {JOB_OF("unknown", FINGERPRINT, "7"), 9000, 200, NULL, false, false, false},
        {JOB_OF("r", OTHERS, "7"), 9000, 200, NULL, false, true, false},
        {JOB_OF("r", FINGERPRINT, "x"), 9000, 200, NULL, false, true, false},
        {JOB, -1, 0, NULL, true, true, true},
        {JOB, 1000, 200, NULL, true, true, true}, /* another has renewed it */
        {JOB, 9000, 404, NULL, true, true, true},
        {JOB, 9000, 200, "another's", true, true, false},
        {JOB, 9000, 200, "!503", true, true, false},
        {JOB, 9000, 200, "!too-large", true, true, false},
    };

    tear_down(state);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        set_up(state);
        struct bench *bench = *state;
        if (cases[i].age_ms != -1)
            put(bench, cases[i].age_ms, cases[i].status);
        if (cases[i].lease != NULL)
            fake_cache_put_lease(bench->cache, BASE, cases[i].lease, 5000);
        give(bench, cases[i].job);
        check(fake_cache_under_way(bench->cache) == cases[i].looks, "case %zu", i);
        if (cases[i].looks)
            take_lease(bench);
        check(fill.count == 0, "case %zu", i);
        check(fake_cache_count(bench->cache, FAKE_END) == cases[i].ends_lease, "case %zu", i);
        check(under_way(bench, FAKE_Q_SETTLE) == 1, "case %zu", i);
        check((fake_queue_base(bench->queue, FAKE_Q_SETTLE)[0] != '\0') == cases[i].has_base,
              "case %zu", i);
        check(counted[REFRESH_DROPPED] == cases[i].has_base, "case %zu", i);
        answer(bench, FAKE_Q_SETTLE, true);
        check_goes_on(bench);
        tear_down(state);
    }
    set_up(state);
}

static void test_what_a_query_comes_to(void **state)
{
    static const struct {
        enum query_outcome outcome;
        enum fill_storing storing;
        enum refresh_result result;
    } cases[] = {
        {QUERY_DONE, FILL_STORED, REFRESH_STORED},
        {QUERY_NO_ROW, FILL_STORED, REFRESH_STORED},
        {QUERY_DONE, FILL_NOT_STORED, REFRESH_DROPPED},
        {QUERY_DONE, FILL_NO_REDIS, REFRESH_DROPPED},
        {QUERY_DONE, FILL_TOO_LARGE, REFRESH_FAILED},
        {QUERY_BROKEN, FILL_NOT_STORED, REFRESH_FAILED},
        {QUERY_TIMED_OUT, FILL_NOT_STORED, REFRESH_FAILED},
        {QUERY_AWAY, FILL_NOT_STORED, REFRESH_FAILED},
        {QUERY_BAD_VALUE, FILL_NOT_STORED, REFRESH_FAILED},
        {QUERY_CHOSEN, FILL_NOT_STORED, REFRESH_FAILED},
    };

    tear_down(state);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool fails = cases[i].result == REFRESH_FAILED;
        set_up(state);
        struct bench *bench = *state;
        begin_query(bench);
        end_fill(cases[i].outcome, cases[i].storing);
        run(bench);
        check(counted[cases[i].result] == 1, "case %zu", i);
        check(under_way(bench, FAKE_Q_SETTLE) == !fails, "case %zu", i);
        check(under_way(bench, FAKE_Q_COUNT_FAILURE) == fails, "case %zu", i);
        if (fails) {
            assert_int_equal(fake_queue_ms(bench->queue, FAKE_Q_COUNT_FAILURE),
                             2 * BUDGET_MS + 1000);
            answer(bench, FAKE_Q_COUNT_FAILURE, 3);
            assert_int_equal(fake_queue_ms(bench->queue, FAKE_Q_BACK_OFF), 4000);
            assert_string_equal(fake_queue_base(bench->queue, FAKE_Q_BACK_OFF), BASE);
            check(under_way(bench, FAKE_Q_JOB) == 0, "case %zu", i);
            answer(bench, FAKE_Q_BACK_OFF, true);
        } else {
            answer(bench, FAKE_Q_SETTLE, true);
        }
        check_goes_on(bench);
        tear_down(state);
    }
    set_up(state);
}

/* Each step at which Redis may not do what it is asked. */
static void test_what_is_left_unsettled(void **state)
{
    enum step { LEASE, SETTLE, COUNT, BACK_OFF, DROP, TAKE, N_STEPS };

    tear_down(state);
    for (int step = LEASE; step < N_STEPS; step++) {
        set_up(state);
        struct bench *bench = *state;
        if (step == TAKE) {
            answer(bench, FAKE_Q_JOB, -1);
        } else if (step == DROP) {
            give(bench, "nonsense");
            answer(bench, FAKE_Q_SETTLE, false);
        } else if (step == LEASE) {
            give(bench, JOB);
            fake_cache_answer(bench->cache, FAKE_TAKE, FAKE_REFUSED);
        } else {
            begin_query(bench);
            end_fill(step == SETTLE ? QUERY_DONE : QUERY_AWAY, FILL_STORED);
            run(bench);
            if (step == SETTLE)
                answer(bench, FAKE_Q_SETTLE, false);
            else
                answer(bench, FAKE_Q_COUNT_FAILURE, step == COUNT ? -1 : 1);
            if (step == BACK_OFF)
                answer(bench, FAKE_Q_BACK_OFF, false);
        }
        check(under_way(bench, FAKE_Q_JOB) == 0, "step %d", step);
        check_puts_back(bench);
        tear_down(state);
    }
    set_up(state);
}

/* For as long as it lasts, and not at once each time. */
static void test_putting_back_is_tried_again(void **state)
{
    struct bench *bench = *state;

    answer(bench, FAKE_Q_JOB, -1);
    fake_cache_set_up(bench->cache, false);
    fake_time_advance(bench->backend.loop, 1000);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_LEAVE), 0);
    fake_cache_set_up(bench->cache, true);
    fake_time_advance(bench->backend.loop, AWAY_MS + 10);
    answer(bench, FAKE_Q_LEAVE, false);
    fake_time_advance(bench->backend.loop, AWAY_MS + 10);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_LEAVE), 1);
    fake_time_advance(bench->backend.loop, AWAY_MS + 10);
    answer(bench, FAKE_Q_LEAVE, true);
    answer(bench, FAKE_Q_BEAT, -1);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_LEAVE), 2);
    check_puts_back_after(bench, 4 * AWAY_MS);
}

/* Redis lets it take and not settle. */
static void test_what_is_refused_is_tried_ever_more_rarely(void **state)
{
    struct bench *bench = *state;
    int64_t pause_ms = AWAY_MS;

    for (int i = 0; i < 12; i++) {
        give(bench, "nonsense");
        answer(bench, FAKE_Q_SETTLE, false);
        fake_time_advance(bench->backend.loop, pause_ms - 10);
        check(fake_queue_count(bench->queue, FAKE_Q_LEAVE) == (size_t)i, "pause %d", i);
        check_puts_back_after(bench, 10);
        pause_ms = 2 * pause_ms < PAUSE_MS ? 2 * pause_ms : PAUSE_MS;
    }
    /* once it goes, at once */
    give(bench, "nonsense");
    answer(bench, FAKE_Q_SETTLE, true);
    assert_int_equal(under_way(bench, FAKE_Q_JOB), 1);
    give(bench, "nonsense");
    answer(bench, FAKE_Q_SETTLE, false);
    check_puts_back(bench);
}

static void beat(struct bench *bench, int64_t in_hand)
{
    refresh_beat(bench->refresh);
    answer(bench, FAKE_Q_BEAT, in_hand);
}

/* A job that it does not know of, however it came. */
static void test_a_job_unseen_is_put_back(void **state)
{
    struct bench *bench = *state;

    /* it may be on its way */
    beat(bench, 1);
    give(bench, "nonsense");
    beat(bench, 1);
    answer(bench, FAKE_Q_SETTLE, true);
    beat(bench, 0);
    beat(bench, 1);
    answer(bench, FAKE_Q_JOB, 0);
    check_goes_on(bench);
    /* a beat later it is not */
    beat(bench, 1);
    answer(bench, FAKE_Q_JOB, 0);
    check_puts_back_after(bench, 0);
    /* beside the one that is known */
    begin_query(bench);
    beat(bench, 2);
    end_fill(QUERY_DONE, FILL_STORED);
    run(bench);
    answer(bench, FAKE_Q_SETTLE, true);
    check_puts_back_after(bench, 0);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_LEAVE), 2);
}

static void test_a_query_that_lasts_is_no_job_unseen(void **state)
{
    struct bench *bench = *state;

    begin_query(bench);
    for (int i = 0; i < 3; i++)
        beat(bench, 1);
    end_fill(QUERY_DONE, FILL_STORED);
    run(bench);
    answer(bench, FAKE_Q_SETTLE, true);
    check_goes_on(bench);
}

static void test_what_was_set_aside_is_counted(void **state)
{
    struct bench *bench = *state;

    beat(bench, 0);
    answer(bench, FAKE_Q_REAP, FAKE_ASIDE);
    assert_int_equal(counted[REFRESH_SET_ASIDE], 1);
    /* and lists that nobody takes from are looked for */
    answer(bench, FAKE_Q_SWEEP, 3);
    beat(bench, 0);
    assert_int_equal(under_way(bench, FAKE_Q_REAP), 1);
    answer(bench, FAKE_Q_REAP, -1);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_SWEEP), 1);
}

/* What was not answered may yet move a job: when the next is answered, it has. */
static void test_a_job_that_comes_late_is_put_back(void **state)
{
    struct bench *bench = *state;

    answer(bench, FAKE_Q_JOB, -1);
    check_puts_back(bench);
    answer(bench, FAKE_Q_JOB, 0);
    check_puts_back_after(bench, 0);
    answer(bench, FAKE_Q_JOB, 0);
    assert_int_equal(under_way(bench, FAKE_Q_JOB), 1);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_LEAVE), 2);
}

static void test_nothing_is_taken_unverified(void **state)
{
    struct bench *bench = *state;

    identity.verified = false;
    answer(bench, FAKE_Q_JOB, 0);
    fake_time_advance(bench->backend.loop, 1000);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_JOB), 1);
    identity.verified = true;
    fake_time_advance(bench->backend.loop, AWAY_MS + 10);
    check_goes_on(bench);
}

static void test_nothing_is_taken_without_postgres(void **state)
{
    struct bench *bench = *state;

    postgres_away = true;
    answer(bench, FAKE_Q_JOB, 0);
    fake_time_advance(bench->backend.loop, 1000);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_JOB), 1);
    postgres_away = false;
    fake_time_advance(bench->backend.loop, AWAY_MS + 10);
    check_goes_on(bench);
}

/* Nobody has learnt anything of the job. */
static void test_a_job_that_could_not_be_run_goes_back(void **state)
{
    struct bench *bench = *state;

    for (int i = 0; i < 3; i++) {
        begin_query(bench);
        end_fill_with((struct fill_result){.outcome = QUERY_AWAY, .own = true});
        check(under_way(bench, FAKE_Q_COUNT_FAILURE) == 0, "%d: it counts as a failure", i);
        fake_cache_put_lease(bench->cache, BASE, NULL, 0);
        check_puts_back(bench);
    }
    assert_int_equal(counted[REFRESH_FAILED], 0);
}

/* It may be what ends the connections, and is not tried for ever. */
static void test_a_job_under_which_connections_are_lost(void **state)
{
    static const struct fill_result lost = {.outcome = QUERY_AWAY, .own = true, .lost = true};
    struct bench *bench = *state;

    begin_query(bench);
    end_fill_with(lost);
    check(under_way(bench, FAKE_Q_COUNT_FAILURE) == 0, "it counts as a failure at once");
    fake_cache_put_lease(bench->cache, BASE, NULL, 0);
    check_puts_back(bench);
    begin_query(bench);
    end_fill_with(lost);
    run(bench);
    assert_int_equal(under_way(bench, FAKE_Q_COUNT_FAILURE), 1);
}

/* ---- Another generation */

static void test_a_key_of_another_generation(void **state)
{
    for (int changes = 0; changes < 2; changes++) {
        struct bench *bench = *state;
        identity.renewable = true;
        identity.fingerprint = FINGERPRINT;
        put(bench, 9000, 200);
        give(bench, JOB_OF("r", OTHERS, "7"));
        check(identity.renewed != NULL, "changes %d", changes);
        check(under_way(bench, FAKE_Q_SETTLE) == 0, "changes %d", changes);
        /* it goes on meanwhile */
        refresh_beat(bench->refresh);
        answer(bench, FAKE_Q_BEAT, 1);
        answer(bench, FAKE_Q_REAP, 0);
        answer(bench, FAKE_Q_SWEEP, 0);
        if (changes)
            identity.fingerprint = OTHERS;
        identity_renewed_fn *renewed = identity.renewed;
        identity.renewed = NULL;
        renewed(identity.data);
        check(under_way(bench, FAKE_Q_SETTLE) == !changes, "changes %d", changes);
        check(fake_cache_under_way(bench->cache) == (size_t)changes, "changes %d", changes);
        if (changes == 0)
            answer(bench, FAKE_Q_SETTLE, true);
    }
    assert_int_equal(identity.renewals, 2);
}

/* ---- Heartbeats */

static void test_heartbeats_wait_for_nothing(void **state)
{
    struct bench *bench = *state;

    /* while it waits for a job, and while a query runs */
    for (int i = 0; i < 2; i++) {
        refresh_beat(bench->refresh);
        check(under_way(bench, FAKE_Q_BEAT) == 1, "%d", i);
        refresh_beat(bench->refresh);
        check(under_way(bench, FAKE_Q_BEAT) == 1, "two at once");
        answer(bench, FAKE_Q_BEAT, i);
        check(under_way(bench, FAKE_Q_REAP) == 1, "%d", i);
        /* the heart beats while others are reaped */
        refresh_beat(bench->refresh);
        answer(bench, FAKE_Q_BEAT, i);
        check(under_way(bench, FAKE_Q_REAP) == 1, "two at once");
        answer(bench, FAKE_Q_REAP, 2);
        answer(bench, FAKE_Q_SWEEP, 0);
        if (i == 0)
            begin_query(bench);
    }
    check(fill.under_way, "the query was not disturbed");
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_REAP), 2);
}

static void test_who_cannot_show_itself_reaps_nobody(void **state)
{
    struct bench *bench = *state;

    refresh_beat(bench->refresh);
    answer(bench, FAKE_Q_BEAT, -1);
    fake_cache_set_up(bench->cache, false);
    refresh_beat(bench->refresh);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_BEAT), 1);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_REAP), 0);
}

/* It would keep its own jobs from being put back. */
static void test_no_heartbeat_while_it_puts_back(void **state)
{
    struct bench *bench = *state;

    answer(bench, FAKE_Q_JOB, -1);
    fake_time_advance(bench->backend.loop, AWAY_MS + 10);
    assert_int_equal(under_way(bench, FAKE_Q_LEAVE), 1);
    refresh_beat(bench->refresh);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_BEAT), 0);
}

/* ---- A stop */

static void check_stops(struct bench *bench)
{
    check(bench->stopped == 0, "before it has left");
    answer(bench, FAKE_Q_LEAVE, true);
    check(bench->stopped == 1, "it does not stop");
    refresh_beat(bench->refresh);
    refresh_stop(bench->refresh);
    fake_time_advance(bench->backend.loop, 2 * STOP_MS);
    check(bench->stopped == 1, "again");
    for (int kind = 0; kind < FAKE_Q_KINDS; kind++)
        check(under_way(bench, (enum fake_queued)kind) == 0, "kind %d is under way", kind);
}

static void test_a_stop_while_it_waits_for_a_job(void **state)
{
    struct bench *bench = *state;

    refresh_stop(bench->refresh);
    run(bench);
    assert_int_equal(under_way(bench, FAKE_Q_JOB), 1);
    give(bench, JOB); /* it is put back */
    assert_int_equal(fake_cache_under_way(bench->cache), 0);
    check_stops(bench);
}

static void test_a_stop_finishes_the_job(void **state)
{
    enum step { CHECKS, FILLS, SETTLES, COUNTS, BACKS_OFF, N_STEPS };

    tear_down(state);
    for (int step = CHECKS; step < N_STEPS; step++) {
        set_up(state);
        struct bench *bench = *state;
        bool fails = step == COUNTS || step == BACKS_OFF;
        put(bench, 9000, 200);
        give(bench, JOB);
        if (step == CHECKS)
            refresh_stop(bench->refresh);
        take_lease(bench);
        if (step == FILLS)
            refresh_stop(bench->refresh);
        /* a query ends by its own limits */
        fake_time_advance(bench->backend.loop, 2 * STOP_MS);
        check(fill.under_way && bench->stopped == 0, "step %d", step);
        end_fill(fails ? QUERY_AWAY : QUERY_DONE, FILL_STORED);
        run(bench);
        if (step == SETTLES || step == COUNTS)
            refresh_stop(bench->refresh);
        if (fails) {
            answer(bench, FAKE_Q_COUNT_FAILURE, 1);
            if (step == BACKS_OFF)
                refresh_stop(bench->refresh);
            answer(bench, FAKE_Q_BACK_OFF, true);
        } else {
            answer(bench, FAKE_Q_SETTLE, true);
        }
        check(fake_queue_count(bench->queue, FAKE_Q_JOB) == 1, "step %d", step);
        check_stops(bench);
        tear_down(state);
    }
    set_up(state);
}

static void test_a_stop_that_waits_for_sessions(void **state)
{
    struct bench *bench = *state;

    identity.renewable = true;
    give(bench, JOB_OF("r", OTHERS, "7"));
    refresh_stop(bench->refresh);
    run(bench);
    assert_null(identity.renewed);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_SETTLE), 0); /* it is put back */
    check_stops(bench);
}

static void test_a_stop_while_it_beats(void **state)
{
    struct bench *bench = *state;

    refresh_beat(bench->refresh);
    refresh_stop(bench->refresh);
    answer(bench, FAKE_Q_JOB, 0);
    assert_int_equal(fake_queue_cancelled(bench->queue, FAKE_Q_BEAT), 1);
    check_stops(bench);
}

/* Where nothing is answered: at each step for so long, and then it leaves, and goes. */
static void test_a_stop_is_bounded(void **state)
{
    enum step { TAKES, CHECKS, SETTLES, COUNTS, BACKS_OFF, PUTS_BACK, BEATS, N_STEPS };

    tear_down(state);
    for (int step = TAKES; step < N_STEPS; step++) {
        set_up(state);
        struct bench *bench = *state;
        if (step == CHECKS) {
            give(bench, JOB);
        } else if (step == SETTLES || step == COUNTS || step == BACKS_OFF) {
            begin_query(bench);
            end_fill(step == SETTLES ? QUERY_DONE : QUERY_AWAY, FILL_STORED);
            run(bench);
            if (step == BACKS_OFF)
                answer(bench, FAKE_Q_COUNT_FAILURE, 1);
        } else if (step == PUTS_BACK || step == BEATS) {
            answer(bench, FAKE_Q_JOB, -1);
            fake_time_advance(bench->backend.loop, AWAY_MS + 10);
            if (step == BEATS)
                answer(bench, FAKE_Q_LEAVE, true);
        }
        bench->free_it = true;
        refresh_stop(bench->refresh);
        fake_time_advance(bench->backend.loop, STOP_MS + 10);
        check(under_way(bench, FAKE_Q_LEAVE) == 1, "step %d", step);
        check(bench->stopped == 0, "step %d", step);
        fake_time_advance(bench->backend.loop, STOP_MS + 10);
        check(bench->stopped == 1, "step %d", step);
        check(fake_cache_under_way(bench->cache) == 0, "step %d", step);
        tear_down(state);
    }
    set_up(state);
}

static void test_a_stop_without_redis(void **state)
{
    struct bench *bench = *state;

    fake_cache_set_up(bench->cache, false);
    bench->free_it = true;
    refresh_stop(bench->refresh);
    answer(bench, FAKE_Q_JOB, -1);
    assert_int_equal(bench->stopped, 1);
    assert_int_equal(fake_queue_count(bench->queue, FAKE_Q_LEAVE), 0);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_a_job_that_is_done),
        CASE(test_no_job),
        CASE(test_what_is_dropped),
        CASE(test_what_a_query_comes_to),
        CASE(test_what_is_left_unsettled),
        CASE(test_putting_back_is_tried_again),
        CASE(test_what_is_refused_is_tried_ever_more_rarely),
        CASE(test_a_job_that_comes_late_is_put_back),
        CASE(test_a_job_unseen_is_put_back),
        CASE(test_a_query_that_lasts_is_no_job_unseen),
        CASE(test_what_was_set_aside_is_counted),
        CASE(test_nothing_is_taken_unverified),
        CASE(test_nothing_is_taken_without_postgres),
        CASE(test_a_job_that_could_not_be_run_goes_back),
        CASE(test_a_job_under_which_connections_are_lost),
        CASE(test_a_key_of_another_generation),
        CASE(test_heartbeats_wait_for_nothing),
        CASE(test_who_cannot_show_itself_reaps_nobody),
        CASE(test_no_heartbeat_while_it_puts_back),
        CASE(test_a_stop_while_it_waits_for_a_job),
        CASE(test_a_stop_finishes_the_job),
        CASE(test_a_stop_that_waits_for_sessions),
        CASE(test_a_stop_while_it_beats),
        CASE(test_a_stop_is_bounded),
        CASE(test_a_stop_without_redis),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
