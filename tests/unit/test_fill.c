/* SPDX-License-Identifier: BSD-2-Clause */
/* One fill at a time: what it asks of the cache, what it tells its owner, and when. */
#include "config.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "app/fill.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fake_worker.h"

#define BASE "leeway:{long.0:=7}"

enum { LONG, ON_ERROR, NONE };
enum { PATIENCE_MS = 250 };

struct fixture {
    struct fake_worker *worker;
    struct fake_cache *cache;
    struct param_values values;
    struct lease lease;
    char body[16];
    struct fill_result result; /* as it was told, but for the stored response, */
    struct cache_entry entry;  /* which is gone: only its numbers are good */
    unsigned done, lost, settled;
};

static void on_taken(void *data, struct lease_answer *answer)
{
    struct fixture *fixture = data;

    assert_int_equal(answer->state, LEASE_WON);
    fixture->lease = answer->lease;
}

static int set_up(void **state)
{
    struct fixture *fixture = mem_check(talloc_zero(NULL, struct fixture));

    fixture->worker = fake_worker_new("max_object = 1kb\n");
    fixture->cache = fixture->worker->cache;
    cache_take(fixture->worker->backend->cache, BASE, on_taken, fixture);
    fake_time_pass(100);
    fake_cache_answer_all(fixture->cache);
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

static void on_lost(void *data)
{
    struct fixture *fixture = data;

    assert_int_equal(fixture->done, 0);
    fixture->lost++;
}

static void on_settled(void *data)
{
    struct fixture *fixture = data;

    assert_int_equal(fixture->done, 1);
    fixture->settled++;
}

static void on_done(void *data, const struct fill_result *result)
{
    struct fixture *fixture = data;

    fixture->done++;
    fixture->result = *result;
    if (result->stored != NULL) {
        fixture->entry = result->stored->entry;
        snprintf(fixture->body, sizeof fixture->body, "%.*s", 8, result->stored->entry.body);
    }
}

static void start(struct fixture *fixture, size_t route, bool leased)
{
    const struct fill_request request = {
        .route = &fixture->worker->backend->app->config->routes[route],
        .base = BASE,
        .values = &fixture->values,
        .lease = leased ? &fixture->lease : NULL,
        .generation = fixture->worker->generation,
        .origin = QUERY_MISS,
        .lost = on_lost,
        .done = on_done,
        .settled = on_settled,
        .data = fixture,
    };

    fill_start(fixture->worker->backend, &request);
    assert_int_equal(fixture->done, 0);
    /* nobody's but the fill's own from now on */
    fixture->lease = (struct lease){.base = NULL};
    fake_time_pass(100);
}

static void end_query(struct fixture *fixture, enum query_outcome outcome)
{
    fake_time_pass(100);
    fake_worker_end(fixture->worker, fake_worker_query(fixture->worker), outcome);
}

static bool is_gone(const struct fixture *fixture)
{
    return talloc_total_blocks(fixture->worker->backend) <= 1;
}

/* ---- How fills end */

enum before { BEFORE_SENT, BEFORE_HELD, BEFORE_ASKED, BEFORE_NOTHING };

struct fill_case {
    const char *name;
    size_t route;
    bool leased;
    enum query_outcome outcome;
    /* before the query ends */
    bool doubt, turn, large, purge;
    bool told; /* the server said so of the query */
    /* what is asked then, and what becomes of it */
    enum fake_asked asked;
    enum fake_way way;
    int mark;
    enum fill_storing storing;
    enum before before;
    unsigned ends; /* of the lease, in all */
};

static const struct fill_case cases[] = {
    {.name = "stored",
     .leased = true,
     .outcome = QUERY_DONE,
     .asked = FAKE_STORE,
     .storing = FILL_STORED,
     .before = BEFORE_ASKED},
    {.name = "a 404 is stored",
     .leased = true,
     .outcome = QUERY_NO_ROW,
     .asked = FAKE_STORE,
     .storing = FILL_STORED,
     .before = BEFORE_ASKED},
    {.name = "stored, with stale_if_error",
     .route = ON_ERROR,
     .leased = true,
     .outcome = QUERY_DONE,
     .asked = FAKE_STORE,
     .storing = FILL_STORED,
     .before = BEFORE_ASKED},
    {.name = "lost to a purge",
     .leased = true,
     .outcome = QUERY_DONE,
     .purge = true,
     .asked = FAKE_STORE,
     .storing = FILL_NOT_STORED,
     .before = BEFORE_HELD},
    {.name = "the cache is away",
     .leased = true,
     .outcome = QUERY_DONE,
     .asked = FAKE_STORE,
     .way = FAKE_AWAY,
     .storing = FILL_NO_REDIS,
     .before = BEFORE_HELD,
     .ends = 1},
    {.name = "a store is refused",
     .leased = true,
     .outcome = QUERY_DONE,
     .asked = FAKE_STORE,
     .way = FAKE_REFUSED,
     .storing = FILL_NO_REDIS,
     .before = BEFORE_HELD,
     .ends = 1},
    {.name = "a store is uncertain",
     .leased = true,
     .outcome = QUERY_DONE,
     .asked = FAKE_STORE,
     .way = FAKE_UNCERTAIN,
     .storing = FILL_NO_REDIS,
     .before = BEFORE_HELD,
     .ends = 1},
    {.name = "too large",
     .leased = true,
     .outcome = QUERY_DONE,
     .large = true,
     .asked = FAKE_END,
     .mark = LEASE_MARK_TOO_LARGE,
     .storing = FILL_TOO_LARGE,
     .before = BEFORE_ASKED,
     .ends = 1},
    {.name = "too large, and lost",
     .leased = true,
     .outcome = QUERY_DONE,
     .large = true,
     .purge = true,
     .asked = FAKE_END,
     .mark = LEASE_MARK_TOO_LARGE,
     .storing = FILL_TOO_LARGE,
     .before = BEFORE_HELD,
     .ends = 1},
    {.name = "too large, and the cache is away",
     .leased = true,
     .outcome = QUERY_DONE,
     .large = true,
     .asked = FAKE_END,
     .way = FAKE_AWAY,
     .mark = LEASE_MARK_TOO_LARGE,
     .storing = FILL_TOO_LARGE,
     .before = BEFORE_HELD,
     .ends = 1},
    {.name = "not verified",
     .leased = true,
     .outcome = QUERY_DONE,
     .doubt = true,
     .asked = FAKE_END,
     .mark = LEASE_MARK_NONE,
     .storing = FILL_NOT_STORED,
     .before = BEFORE_ASKED,
     .ends = 1},
    {.name = "another generation",
     .leased = true,
     .outcome = QUERY_DONE,
     .turn = true,
     .asked = FAKE_END,
     .mark = LEASE_MARK_NONE,
     .storing = FILL_NOT_STORED,
     .before = BEFORE_ASKED,
     .ends = 1},
    {.name = "without a lease",
     .outcome = QUERY_DONE,
     .asked = FAKE_MEASURE,
     .storing = FILL_NO_REDIS,
     .before = BEFORE_SENT},
    {.name = "without a lease, the cache is away",
     .outcome = QUERY_DONE,
     .asked = FAKE_MEASURE,
     .way = FAKE_AWAY,
     .storing = FILL_NO_REDIS,
     .before = BEFORE_SENT},
    {.name = "without a budget",
     .route = NONE,
     .outcome = QUERY_DONE,
     .storing = FILL_NO_REDIS,
     .before = BEFORE_SENT},
    {.name = "broken",
     .leased = true,
     .outcome = QUERY_BROKEN,
     .mark = LEASE_MARK_FAILED,
     .before = BEFORE_NOTHING,
     .ends = 1},
    {.name = "away",
     .leased = true,
     .outcome = QUERY_AWAY,
     .mark = LEASE_MARK_NONE,
     .before = BEFORE_NOTHING,
     .ends = 1},
    {.name = "the server says that it cannot",
     .leased = true,
     .outcome = QUERY_AWAY,
     .told = true,
     .mark = LEASE_MARK_FAILED,
     .before = BEFORE_NOTHING,
     .ends = 1},
    {.name = "timed out",
     .leased = true,
     .outcome = QUERY_TIMED_OUT,
     .mark = LEASE_MARK_FAILED,
     .before = BEFORE_NOTHING,
     .ends = 1},
    {.name = "no slot",
     .leased = true,
     .outcome = QUERY_NO_SLOT,
     .mark = LEASE_MARK_NONE,
     .before = BEFORE_NOTHING,
     .ends = 1},
    {.name = "no connection",
     .leased = true,
     .outcome = QUERY_FULL,
     .mark = LEASE_MARK_NONE,
     .before = BEFORE_NOTHING,
     .ends = 1},
    {.name = "no room beside others",
     .leased = true,
     .outcome = QUERY_NO_ROOM,
     .mark = LEASE_MARK_NONE,
     .before = BEFORE_NOTHING,
     .ends = 1},
    {.name = "failed, and not verified",
     .leased = true,
     .outcome = QUERY_AWAY,
     .doubt = true,
     .mark = LEASE_MARK_NONE,
     .before = BEFORE_NOTHING,
     .ends = 1},
    {.name = "failed without a lease", .outcome = QUERY_AWAY, .before = BEFORE_NOTHING},
};

static int64_t wanted_before(const struct fixture *fixture, const struct fill_case *each,
                             int64_t held_us)
{
    const struct fake_record *record = fake_cache_record(fixture->cache, each->asked, 0);

    switch (each->before) {
    case BEFORE_SENT:
        return fixture->worker->queries[0].sent_us;
    case BEFORE_HELD:
        return held_us;
    case BEFORE_ASKED:
        return record->asked_us;
    default:
        return 0;
    }
}

static void run_case(struct fixture *fixture, const struct fill_case *each)
{
    struct fake_worker *worker = fixture->worker;
    int64_t held_us = fixture->lease.held_at_us;

    start(fixture, each->route, each->leased);
    fake_worker_send(worker, fake_worker_query(worker));
    worker->verified = !each->doubt;
    worker->generation += each->turn;
    worker->padding = each->large ? 2000 : 0;
    if (each->purge)
        fake_cache_purge(fixture->cache, BASE);
    if (each->told)
        fake_worker_end_with(worker, fake_worker_query(worker),
                             (struct query_result){.outcome = each->outcome, .told = true});
    else
        end_query(fixture, each->outcome);
    if (each->asked != FAKE_NOTHING) {
        check(fixture->done == 0, "%s: it is told too early", each->name);
        fake_time_pass(100);
        check(fake_cache_answer(fixture->cache, each->asked, each->way), "%s: not asked",
              each->name);
    }
    check(fixture->done == 1, "%s: told %u times", each->name, fixture->done);
    check(is_gone(fixture), "%s: it is still there", each->name);
    check(fixture->lost == 0, "%s: told of a loss", each->name);
    check(fixture->result.outcome == each->outcome, "%s: its outcome", each->name);
    if (each->before != BEFORE_NOTHING)
        check(fixture->result.storing == each->storing, "%s: storing is %d", each->name,
              fixture->result.storing);
    check(fixture->result.for_before_us == wanted_before(fixture, each, held_us),
          "%s: for whom it is", each->name);
    check(fake_cache_count(fixture->cache, FAKE_END) == each->ends, "%s: ends", each->name);
    const struct fake_record *record = fake_cache_record(fixture->cache, FAKE_END, 0);
    check(record == NULL || (int)record->mark.kind == each->mark, "%s: its mark", each->name);
}

static void test_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        void *fixture;
        set_up(&fixture);
        run_case(fixture, &cases[i]);
        tear_down(&fixture);
    }
}

/* ---- Their course */

static void test_what_is_stored(void **state)
{
    struct fixture *fixture = *state;
    int64_t before_us = fake_cache_now_us(fixture->cache);

    start(fixture, ON_ERROR, true);
    end_query(fixture, QUERY_DONE);
    const struct fake_record *record = fake_cache_record(fixture->cache, FAKE_STORE, 0);
    fake_cache_answer_all(fixture->cache);
    assert_string_equal(fake_cache_body(fixture->cache, BASE), "1");
    assert_string_equal(fixture->body, "1");
    int64_t snapshot_us = fixture->entry.snapshot_us;
    assert_true(snapshot_us >= before_us && snapshot_us <= before_us + 200);
    assert_int_equal(record->expiry_ms, (snapshot_us + 3610000000 - 1) / 1000);
    assert_string_equal(record->base, BASE);
}

static void test_nothing_is_stored_for_a_moment_that_is_over(void **state)
{
    struct fixture *fixture = *state;

    /* its budget is nothing */
    start(fixture, NONE, true);
    end_query(fixture, QUERY_DONE);
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_STORE), 0);
    fake_cache_answer_all(fixture->cache);
    assert_int_equal(fixture->result.storing, FILL_NOT_STORED);
    assert_null(fake_cache_lease(fixture->cache, BASE));
}

/* It would not be there, and "stored" would be told of it. */
static void test_a_404_whose_time_is_over_when_it_comes(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, true);
    fake_worker_send(fixture->worker, fake_worker_query(fixture->worker));
    fake_time_pass(61 * 1000 * 1000);
    end_query(fixture, QUERY_NO_ROW);
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_STORE), 0);
    fake_cache_answer_all(fixture->cache);
    assert_int_equal(fixture->result.storing, FILL_NOT_STORED);
}

static void test_the_mark_holds_for_as_long_as_the_query_may_run(void **state)
{
    struct fixture *fixture = *state;
    struct fake_query *query;

    start(fixture, LONG, true);
    query = fake_worker_query(fixture->worker);
    fake_worker_send(fixture->worker, query);
    fake_worker_end_with(fixture->worker, query,
                         (struct query_result){.outcome = QUERY_TIMED_OUT, .hold_ms = 7000});
    assert_int_equal(fixture->done, 0);
    const struct fake_record *record = fake_cache_record(fixture->cache, FAKE_END, 0);
    assert_int_equal(record->mark.status, 504);
    assert_int_equal(record->mark.hold_ms, 7000);
    fake_cache_answer_all(fixture->cache);
    assert_int_equal(fixture->done, 1);
    assert_int_equal(fixture->result.status, 504);
    assert_false(fixture->result.unmarked);
    assert_false(is_gone(fixture));
    fake_time_pass(300 * 1000);
    assert_true(fake_worker_settle(fixture->worker));
    assert_true(is_gone(fixture));
    assert_int_equal(fixture->settled, 0);
    record = fake_cache_record(fixture->cache, FAKE_SHORTEN, 0);
    assert_int_equal(record->mark.status, 504);
    assert_int_equal(record->mark.hold_ms, 700);
}

/* Whether the owner hears that the query has ended, by what became of the mark. */
static void test_queries_that_run_on(void **state)
{
    static const struct {
        bool leased, own;
        int64_t hold_ms;
        enum fake_way way;
        bool unmarked, shortened;
    } runs[] = {
        {true, false, 7000, FAKE_DONE, false, true},
        {true, false, 7000, FAKE_AWAY, true, true},
        {true, false, 7000, FAKE_REFUSED, true, true},
        {true, false, 500, FAKE_DONE, false, false},
        {true, false, 500, FAKE_UNCERTAIN, true, false},
        {true, true, 7000, FAKE_DONE, true, false},
        {false, false, 7000, FAKE_DONE, true, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(runs); i++) {
        void *made;
        set_up(&made);
        struct fixture *fixture = made;
        start(fixture, LONG, runs[i].leased);
        struct fake_query *query = fake_worker_query(fixture->worker);
        fake_worker_send(fixture->worker, query);
        fixture->worker->verified = !runs[i].own;
        fake_worker_end_with(
            fixture->worker, query,
            (struct query_result){.outcome = QUERY_TIMED_OUT, .hold_ms = runs[i].hold_ms});
        fake_cache_answer(fixture->cache, FAKE_END, runs[i].way);
        check(fixture->done == 1 && fixture->result.unmarked == runs[i].unmarked, "case %zu", i);
        check(!is_gone(fixture) && fixture->settled == 0, "case %zu: too early", i);
        fake_worker_settle(fixture->worker);
        check(fixture->settled == (unsigned)runs[i].unmarked, "case %zu: settled", i);
        check(fake_cache_count(fixture->cache, FAKE_SHORTEN) == (size_t)runs[i].shortened,
              "case %zu: shortened", i);
        check(is_gone(fixture), "case %zu: it is still there", i);
        tear_down(&made);
    }
}

static void test_details_of_failures(void **state)
{
    struct fixture *fixture = *state;
    struct fake_query *query;

    start(fixture, LONG, true);
    query = fake_worker_query(fixture->worker);
    fake_worker_send(fixture->worker, query);
    fake_worker_end_with(
        fixture->worker, query,
        (struct query_result){.outcome = QUERY_CHOSEN, .status = 422, .message = "chosen"});
    assert_int_equal(fixture->result.status, 422);
    assert_int_equal(fake_cache_record(fixture->cache, FAKE_END, 0)->mark.status, 422);
}

static void test_a_lease_is_renewed_while_the_query_runs(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, true);
    fake_time_advance(fixture->worker->loop, LEASE_RENEW_MS - 5);
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_RENEW), 0);
    for (unsigned i = 1; i <= 5; i++) {
        fake_time_advance(fixture->worker->loop, i == 1 ? 10 : LEASE_RENEW_MS);
        assert_int_equal(fake_cache_count(fixture->cache, FAKE_RENEW), i);
        fake_cache_answer_all(fixture->cache);
    }
    assert_non_null(fake_cache_lease(fixture->cache, BASE));
    end_query(fixture, QUERY_DONE);
    fake_time_advance(fixture->worker->loop, PATIENCE_MS - 10);
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_RENEW), 5);
    fake_cache_answer_all(fixture->cache);
    fake_time_advance(fixture->worker->loop, 5000);
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_RENEW), 5);
    assert_int_equal(fixture->result.storing, FILL_STORED);
}

static void test_one_renewal_at_a_time(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, true);
    fake_time_advance(fixture->worker->loop, 5 * LEASE_RENEW_MS);
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_RENEW), 1);
    fake_cache_answer(fixture->cache, FAKE_RENEW, FAKE_AWAY);
    assert_int_equal(fixture->lost, 0);
    fake_time_advance(fixture->worker->loop, LEASE_RENEW_MS);
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_RENEW), 2);
}

static void test_a_loss_is_told_at_once(void **state)
{
    struct fixture *fixture = *state;
    int64_t held_us = fixture->lease.held_at_us;

    start(fixture, LONG, true);
    fake_time_advance(fixture->worker->loop, LEASE_RENEW_MS + 5);
    fake_cache_purge(fixture->cache, BASE);
    fake_cache_answer(fixture->cache, FAKE_RENEW, FAKE_DONE);
    assert_int_equal(fixture->lost, 1);
    fake_time_advance(fixture->worker->loop, 5 * LEASE_RENEW_MS);
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_RENEW), 1);
    end_query(fixture, QUERY_DONE);
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_STORE), 0);
    assert_int_equal(fake_cache_next(fixture->cache), FAKE_MEASURE);
    fake_cache_answer_all(fixture->cache);
    assert_int_equal(fixture->done, 1);
    assert_int_equal(fixture->lost, 1);
    assert_int_equal(fixture->result.storing, FILL_NOT_STORED);
    assert_int_equal(fixture->result.for_before_us, held_us);
}

static void test_who_is_served_after_a_renewal(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, true);
    fake_time_advance(fixture->worker->loop, LEASE_RENEW_MS + 5);
    int64_t renewed_us = fake_cache_record(fixture->cache, FAKE_RENEW, 0)->asked_us;
    fake_cache_answer(fixture->cache, FAKE_RENEW, FAKE_DONE);
    fake_cache_purge(fixture->cache, BASE);
    end_query(fixture, QUERY_DONE);
    fake_cache_answer_all(fixture->cache);
    assert_int_equal(fixture->result.storing, FILL_NOT_STORED);
    assert_int_equal(fixture->result.for_before_us, renewed_us);
}

/* The answer of a renewal that was under way comes before that of the store. */
static void test_a_renewal_under_way_when_the_query_ends(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, true);
    fake_time_advance(fixture->worker->loop, LEASE_RENEW_MS + 5);
    int64_t renewed_us = fake_cache_record(fixture->cache, FAKE_RENEW, 0)->asked_us;
    end_query(fixture, QUERY_DONE);
    fake_cache_answer(fixture->cache, FAKE_RENEW, FAKE_DONE);
    fake_cache_answer(fixture->cache, FAKE_STORE, FAKE_AWAY);
    assert_int_equal(fixture->result.for_before_us, renewed_us);
    assert_true(is_gone(fixture));
}

static void test_a_loss_told_while_it_is_stored(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, true);
    fake_time_advance(fixture->worker->loop, LEASE_RENEW_MS + 5);
    fake_cache_purge(fixture->cache, BASE);
    end_query(fixture, QUERY_DONE);
    fake_cache_answer(fixture->cache, FAKE_RENEW, FAKE_DONE);
    assert_int_equal(fixture->lost, 1);
    fake_cache_answer(fixture->cache, FAKE_STORE, FAKE_DONE);
    assert_int_equal(fixture->result.storing, FILL_NOT_STORED);
}

/* ---- A cache that does not answer */

static void check_patience(struct fixture *fixture, enum fake_asked asked, bool with_renewal)
{
    struct ev_loop *loop = fixture->worker->loop;

    if (with_renewal)
        fake_time_advance(loop, LEASE_RENEW_MS + 5);
    end_query(fixture, QUERY_DONE);
    assert_int_equal(fake_cache_count(fixture->cache, asked), 1);
    fake_time_advance(loop, PATIENCE_MS - 1);
    assert_int_equal(fixture->done, 0);
    fake_time_advance(loop, 2);
    assert_int_equal(fixture->done, 1);
    assert_false(is_gone(fixture));
    /* nobody asks for the renewal any more */
    assert_int_equal(fake_cache_under_way(fixture->cache), 1);
    fake_time_advance(loop, 5000);
    assert_int_equal(fixture->done, 1);
}

static void test_a_store_that_is_not_answered(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, true);
    check_patience(fixture, FAKE_STORE, true);
    assert_int_equal(fixture->result.storing, FILL_NO_REDIS);
    fake_cache_answer(fixture->cache, FAKE_STORE, FAKE_UNCERTAIN);
    assert_true(is_gone(fixture));
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_END), 1);
}

static void test_a_store_that_is_answered_late(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, true);
    check_patience(fixture, FAKE_STORE, false);
    fake_cache_answer(fixture->cache, FAKE_STORE, FAKE_DONE);
    assert_true(is_gone(fixture));
    assert_int_equal(fake_cache_count(fixture->cache, FAKE_END), 0);
    assert_int_equal(fixture->done, 1);
}

static void test_a_mark_that_is_not_answered(void **state)
{
    struct fixture *fixture = *state;

    fixture->worker->padding = 2000;
    start(fixture, LONG, true);
    check_patience(fixture, FAKE_END, false);
    assert_int_equal(fixture->result.storing, FILL_TOO_LARGE);
    fake_cache_answer(fixture->cache, FAKE_END, FAKE_DONE);
    assert_true(is_gone(fixture));
}

static void test_a_clock_that_is_not_told(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, false);
    check_patience(fixture, FAKE_MEASURE, false);
    assert_int_equal(fixture->result.storing, FILL_NO_REDIS);
    fake_cache_answer(fixture->cache, FAKE_MEASURE, FAKE_AWAY);
    assert_true(is_gone(fixture));
}

/* ---- The process stops: tear_down() frees all that is under way */

/* As where the cache is there for the first time while the query runs. */
static void test_a_clock_known_too_late(void **state)
{
    struct fixture *fixture = *state;
    const struct redis_clock *known = cache_clock(fixture->worker->backend->cache);
    struct redis_clock *clock = (struct redis_clock *)(uintptr_t)known;
    int64_t now_us;

    *clock = (struct redis_clock){.known = false};
    start(fixture, LONG, false);
    now_us = clock_monotonic_us();
    redis_clock_measure(clock, now_us, now_us, fake_cache_now_us(fixture->cache), 0);
    end_query(fixture, QUERY_DONE);
    fake_cache_answer_all(fixture->cache);
    assert_int_equal(fixture->done, 1);
    assert_int_equal(fixture->entry.snapshot_us, 0);
}

static void test_freed_while_it_queries(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, true);
    fake_time_advance(fixture->worker->loop, LEASE_RENEW_MS + 5);
    talloc_free(fixture->worker->backend);
    assert_true(fake_cache_record(fixture->cache, FAKE_RENEW, 0)->cancelled);
    fake_time_advance(fixture->worker->loop, 5000);
    assert_int_equal(fixture->done, 0);
}

static void test_freed_while_it_stores(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, true);
    end_query(fixture, QUERY_DONE);
    talloc_free(fixture->worker->backend);
    assert_int_equal(fake_cache_under_way(fixture->cache), 0);
    fake_time_advance(fixture->worker->loop, 5000);
    assert_int_equal(fixture->done, 0);
}

static void test_freed_after_it_was_told(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, LONG, true);
    check_patience(fixture, FAKE_STORE, false);
    talloc_free(fixture->worker->backend);
    assert_int_equal(fake_cache_under_way(fixture->cache), 0);
}

#define fill_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        fill_test(test_what_is_stored),
        fill_test(test_nothing_is_stored_for_a_moment_that_is_over),
        fill_test(test_a_404_whose_time_is_over_when_it_comes),
        fill_test(test_the_mark_holds_for_as_long_as_the_query_may_run),
        cmocka_unit_test(test_queries_that_run_on),
        fill_test(test_details_of_failures),
        fill_test(test_a_lease_is_renewed_while_the_query_runs),
        fill_test(test_one_renewal_at_a_time),
        fill_test(test_a_loss_is_told_at_once),
        fill_test(test_who_is_served_after_a_renewal),
        fill_test(test_a_renewal_under_way_when_the_query_ends),
        fill_test(test_a_loss_told_while_it_is_stored),
        fill_test(test_a_store_that_is_not_answered),
        fill_test(test_a_store_that_is_answered_late),
        fill_test(test_a_mark_that_is_not_answered),
        fill_test(test_a_clock_that_is_not_told),
        fill_test(test_a_clock_known_too_late),
        fill_test(test_freed_while_it_queries),
        fill_test(test_freed_while_it_stores),
        fill_test(test_freed_after_it_was_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
