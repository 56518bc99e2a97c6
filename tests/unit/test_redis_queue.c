/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue on Redis lists, against a client that says what the test says: what is sent, in which
   order, what each answer leads to, and what happens when a request is cancelled or the queue goes
   in the middle of it. */
#include "config.h"

#include "unit.h"

#include <ev.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cache/cache.h"
#include "fake_redis.h"
#include "refresh/queue.h"
#include "refresh/redis_queue.h"

#define BASE  "leeway:{r.0123456789abcdef:=1}"
#define JOB   "[1,1000,\"r\",\"0123456789abcdef\",[\"7\"]]"
#define LIST  "0011223344556677.8899aabbccddeeff"
#define NEVER (-99)

static size_t n_warnings;

void __wrap_log_fields(enum log_level level, const char *message, const struct log_field *fields);
void __wrap_log_fields(enum log_level level, const char *message, const struct log_field *fields)
{
    (void)message;
    (void)fields;
    n_warnings += level == LOG_LEVEL_WARN;
}

struct bench {
    struct ev_loop *loop;
    struct cache *cache;
    struct queue *queue;
    struct redis_queue *mine;
    size_t answers;
    int64_t last; /* what it was: an enum, a count, a bool */
    char text[128];
    struct queue_view *view; /* kept by the test */
    bool free_queue;         /* in the callback */
};

static const struct queue_job job = {.bytes = JOB, .len = sizeof JOB - 1};

static int set_up(void **state)
{
    static const struct redis_settings settings = {.prefix = "leeway", .queue_limit = 10};
    static const struct queue_list list = {.name = LIST, .window_ms = 5000};
    struct bench *bench = mem_check(talloc_zero(NULL, struct bench));
    const struct cache_options options = {.settings = &settings, .client_name = "test"};

    fake_redis_reset();
    n_warnings = 0;
    bench->loop = ev_loop_new(EVFLAG_AUTO);
    bench->cache = cache_open(NULL, bench->loop, &options);
    bench->queue = queue_open(NULL, bench->cache, &settings, &list);
    bench->mine = redis_queue_of(bench->queue);
    bench->last = NEVER;
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;

    talloc_free(bench->queue);
    talloc_free(bench->cache);
    ev_loop_destroy(bench->loop);
    talloc_free(bench);
    return 0;
}

static void told(struct bench *bench, int64_t what)
{
    bench->answers++;
    bench->last = what;
    if (bench->free_queue)
        TALLOC_FREE(bench->queue);
}

static void on_offer(void *data, enum queue_offer result)
{
    told(data, result);
}

static void on_take(void *data, int taken, const struct queue_job *taken_job)
{
    struct bench *bench = data;

    check((taken == 1) == (taken_job != NULL), "taken %d", taken);
    told(bench, taken);
    /* also where that has freed the queue */
    if (taken_job != NULL)
        snprintf(bench->text, sizeof bench->text, "%.*s", (int)taken_job->len, taken_job->bytes);
}

static void on_done(void *data, bool done)
{
    told(data, done);
}

static void on_count(void *data, int64_t count)
{
    told(data, count);
}

static void on_reaped(void *data, const struct queue_reaped *reaped)
{
    struct bench *bench = data;

    if (reaped != NULL && reaped->n_aside > 0)
        snprintf(bench->text, sizeof bench->text, "%s", reaped->aside[reaped->n_aside - 1]);
    told(bench, reaped != NULL ? reaped->put_back + 100 * (int64_t)reaped->n_aside : -1);
}

static void on_view(void *data, struct queue_view *view)
{
    struct bench *bench = data;

    talloc_free(bench->view);
    bench->view = talloc_steal(bench, view);
    told(bench, view != NULL);
}

/* The key of something of the queue's. Borrowed for as long as the test. */
static const char *key(struct bench *bench, const char *kind, const char *of)
{
    return mem_check(talloc_asprintf(bench, "{leeway:jobs}:" LIST ":%s%s%s", kind,
                                     of[0] != '\0' ? ":" : "", of));
}

/* ---- Offers and jobs */

enum act {
    OFFER,
    TAKE,
    SETTLE,
    COUNT_FAILURE,
    BACK_OFF,
    BEAT,
    REAP,
    SWEEP,
    LEAVE,
    LOOK,
    MARK,
    N_ACTS
};

static struct queue_request *start(struct bench *bench, enum act act)
{
    struct queue *queue = bench->queue;

    switch (act) {
    case OFFER:
        return queue_offer(queue, BASE, JOB, sizeof JOB - 1, 5000, on_offer, bench);
    case TAKE:
        return queue_take(queue, 500, on_take, bench);
    case SETTLE:
        return queue_settle(queue, &job, BASE, true, on_done, bench);
    case COUNT_FAILURE:
        return queue_count_failure(queue, &job, BASE, 3000, on_count, bench);
    case BACK_OFF:
        return queue_back_off(queue, BASE, 2000, on_done, bench);
    case BEAT:
        return queue_beat(queue, on_count, bench);
    case REAP:
        return queue_reap(queue, on_reaped, bench);
    case SWEEP:
        return queue_sweep(queue, on_count, bench);
    case LEAVE:
        return queue_leave(queue, on_done, bench);
    case LOOK:
        return queue_look(queue, true, on_view, bench);
    case MARK:
    case N_ACTS:
        break;
    }
    return queue_look_at_mark(queue, BASE, on_count, bench);
}

/* Requests by their answers, the last of which ends them. */
static void test_what_answers_lead_to(void **state)
{
    static const struct {
        enum act act;
        const char *answers; /* separated by '|' */
        int64_t result;
    } cases[] = {
        {OFFER, ":0", QUEUE_QUEUED},
        {OFFER, ":1", QUEUE_MARKED},
        {OFFER, ":2", QUEUE_FULL},
        {OFFER, ":3", QUEUE_AWAY},
        {OFFER, ":-1", QUEUE_AWAY},
        {OFFER, "nil", QUEUE_AWAY},
        {OFFER, "-OOM", QUEUE_AWAY},
        {OFFER, "!", QUEUE_AWAY},
        {OFFER, "?", QUEUE_AWAY},
        {TAKE, "=job", 1},
        {TAKE, "=", 1},
        {TAKE, "nil", 0},
        {TAKE, "-NOPERM", -1},
        {TAKE, "!", -1},
        {TAKE, "?", -1},
        {SETTLE, ":1", true},
        {SETTLE, ":0", true}, /* put back by another meanwhile */
        {SETTLE, "-READONLY", false},
        {SETTLE, "?", false},
        {COUNT_FAILURE, ":4", 4},
        {COUNT_FAILURE, "-WRONGTYPE", -1},
        {COUNT_FAILURE, "?", -1},
        {BACK_OFF, "=OK", true},
        {BACK_OFF, "-OOM", false},
        {BEAT, ":1", 1},
        {BEAT, ":0", 0},
        {BEAT, "-OOM", -1},
        {BEAT, "?", -1},
        {REAP, "nil", 0},
        {REAP, "!", -1},
        {REAP, "=OK|?", -1},
        {REAP, "=OK|nil", -1},
        {REAP, "=OK|[]|[=0 =]", -1},
        {REAP, "=OK|[=a =b]|:0|-BUSY", -1},
        {REAP, "=OK|[]|?", -1},
        {REAP, "=OK|[]|-LOADING", -1},
        {REAP, "=OK|[=a]|=job|-NOPERM", -1},
        {REAP, "=OK|[=a =b =c]|:0|=job|:1|=job|:1|:0|=job|:1|:0|-NOPERM", 3},
        {REAP, "=OK|[=a =b]|=job|:0|=job|:2|:0|-NOPERM",
         100}, /* a was not dead; b's is set aside */
        {REAP, "=OK|[]|-ERR", 0},
        {SWEEP, "[]", 0},
        {SWEEP, "?", -1},
        {SWEEP, "-NOPERM", -1},
        {SWEEP, "nil", 0},
        {SWEEP, "[=a]|:3|[=b]|:0|[]", 3},
        {SWEEP, "[=a]|-NOPERM", -1},
        {LEAVE, ":1|:0", true},
        {LEAVE, ":0|=job|:1|=job|:1|:0", true},
        {LEAVE, ":0|=job|?", false},
        {LEAVE, "?", false},
        {LEAVE, ":1|-NOPERM", false},
        {LOOK, "-NOPERM", false},
        {LOOK, ":3|?", false},
        {LOOK, ":3|nil|-NOPERM|-NOPERM", false},
        {LOOK, ":3|nil|?", false},
        {LOOK, ":3|nil|nil|[=a]|?", false},
        {LOOK, ":3|nil|nil|[=a]|:1|-WRONGTYPE", false},
        {LOOK, ":3|nil|nil|[=a]|:1|nil|-NOPERM", false},
        {LOOK, ":3|nil|nil|[=a]|:1|nil|[]|?", false},
        {LOOK, ":3|nil|nil|[=a]|:1|nil|[]|[=x]|?", false},
        {LOOK, ":3|nil|-NOPERM|[=a]|:1|nil|[]|[=x]|:4", true},
        {MARK, ":1500", 1500},
        {MARK, ":-2", 0},
        {MARK, ":-1", 0},
        {MARK, "-NOPERM", -1},
        {MARK, "?", -1},
    };

    tear_down(state);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        set_up(state);
        struct bench *bench = *state;
        char *answers = mem_check(talloc_strdup(bench, cases[i].answers)), *rest = answers;
        start(bench, cases[i].act);
        for (char *each; (each = strsep(&rest, "|")) != NULL;) {
            check(bench->answers == 0, "case %zu ends before %s", i, each);
            check(fake_redis_waiting() == 1, "case %zu before %s", i, each);
            fake_redis_answer_as(each);
        }
        check(bench->answers == 1, "case %zu: %zu answers", i, bench->answers);
        check(bench->last == cases[i].result, "case %zu: %ld", i, (long)bench->last);
        /* what was taken is not kept for ever */
        size_t more = cases[i].act == TAKE && cases[i].result == 1;
        check(fake_redis_waiting() == more, "case %zu goes on: %s", i, fake_redis_text(0));
        if (more)
            fake_redis_answer_as(":1");
        tear_down(state);
    }
    set_up(state);
}

static void expect(struct bench *bench, const char *text)
{
    check(fake_redis_waiting() == 1, "%zu commands", fake_redis_waiting());
    check(strcmp(fake_redis_text(0), text) == 0, "%s, not %s", fake_redis_text(0), text);
    (void)bench;
}

static void test_an_offer_is_one_script(void **state)
{
    struct bench *bench = *state;

    start(bench, OFFER);
    check(strcmp(fake_redis_part(0, 2), "3") == 0, "keys");
    assert_string_equal(fake_redis_part(0, 3), bench->mine->jobs);
    assert_string_equal(fake_redis_part(0, 4), key(bench, "mark", BASE));
    assert_string_equal(fake_redis_part(0, 5), "{leeway:jobs}:lists");
    assert_string_equal(fake_redis_part(0, 6), JOB);
    assert_string_equal(fake_redis_part(0, 7), "5000");
    assert_string_equal(fake_redis_part(0, 8), "10");
    assert_string_equal(fake_redis_part(0, 9), LIST);
    assert_string_equal(fake_redis_part(0, 10), "5000");
    assert_string_equal(fake_redis_key(0), bench->mine->jobs);
    assert_int_equal(fake_redis_block_ms(0), 0);
    assert_int_equal(bench->answers, 0);
    /* others of the same turn go out behind it, before it is answered */
    start(bench, OFFER);
    assert_int_equal(fake_redis_waiting(), 2);
}

static void test_what_nobody_wants_to_know(void **state)
{
    struct bench *bench = *state;

    assert_null(queue_offer(bench->queue, BASE, JOB, sizeof JOB - 1, 0, NULL, NULL));
    assert_string_equal(fake_redis_part(0, 7), "1"); /* a mark lasts for something */
    assert_null(queue_beat(bench->queue, NULL, NULL));
    assert_null(queue_reap(bench->queue, NULL, NULL));
    assert_null(queue_leave(bench->queue, NULL, NULL));
    assert_null(queue_sweep(bench->queue, NULL, NULL));
    fake_redis_answer_as(":0");
    fake_redis_answer_as(":0");
    fake_redis_answer_as("nil");
    fake_redis_answer_as(":1"); /* leaving: reaps */
    fake_redis_answer_as("[]");
    fake_redis_answer_as(":0");
    assert_int_equal(fake_redis_waiting(), 0);
    assert_int_equal(bench->answers, 0);
}

static void test_a_job_is_waited_for_where_nothing_waits_behind_it(void **state)
{
    struct bench *bench = *state;

    queue_take(bench->queue, 1500, on_take, bench);
    assert_int_equal(fake_redis_block_ms(0), 1500);
    expect(bench, talloc_asprintf(bench, "BLMOVE %s %s RIGHT LEFT 1.500", bench->mine->jobs,
                                  bench->mine->processing));
    bench->free_queue = true; /* the job outlives it */
    fake_redis_answer_as("=" JOB);
    assert_int_equal(bench->last, 1);
    assert_string_equal(bench->text, JOB);
}

/* An entry that is of use for long does not keep its key marked for as long. */
static void test_a_mark_is_bounded(void **state)
{
    struct bench *bench = *state;

    queue_offer(bench->queue, BASE, JOB, sizeof JOB - 1, 600000, on_offer, bench);
    assert_string_equal(fake_redis_part(0, 7), "60000");
    assert_string_equal(fake_redis_part(0, 10), "600000");
}

/* Nobody else may be there to look for it. */
static void test_what_is_in_hand_expires(void **state)
{
    struct bench *bench = *state;

    start(bench, TAKE);
    fake_redis_answer_as("=" JOB);
    expect(bench, talloc_asprintf(bench, "PEXPIRE %s 65000", bench->mine->processing));
}

/* 0 would be for ever. */
static void test_no_wait_is_a_short_one(void **state)
{
    struct bench *bench = *state;

    queue_take(bench->queue, 0, on_take, bench);
    assert_int_equal(fake_redis_block_ms(0), 1);
    assert_string_equal(fake_redis_part(0, 5), "0.001");
}

static void test_what_settles(void **state)
{
    struct bench *bench = *state;

    start(bench, SETTLE);
    assert_string_equal(fake_redis_part(0, 3), bench->mine->processing);
    assert_string_equal(fake_redis_part(0, 6), bench->mine->deaths);
    assert_string_equal(fake_redis_part(0, 7), JOB);
    fake_redis_answer_as(":1");
    queue_settle(bench->queue, &job, NULL, false, on_done, bench);
    expect(bench, talloc_asprintf(bench, "LREM %s 1 %s", bench->mine->processing, JOB));
    fake_redis_answer_as(":1");
    start(bench, COUNT_FAILURE);
    assert_string_equal(fake_redis_part(0, 3), bench->mine->processing);
    assert_string_equal(fake_redis_part(0, 6), JOB);
    assert_string_equal(fake_redis_part(0, 7), "3000");
    fake_redis_answer_as(":1");
    start(bench, BACK_OFF);
    assert_string_equal(fake_redis_part(0, 3), "PX");
    assert_string_equal(fake_redis_part(0, 4), "2000");
    assert_int_equal(bench->answers, 3);
}

/* ---- Heartbeats, reaping, leaving */

static void test_a_heartbeat_is_one_script(void **state)
{
    struct bench *bench = *state;

    start(bench, BEAT);
    expect(bench,
           talloc_asprintf(bench, "EVAL 3 %s %s %s %s 3000 65000", bench->mine->alive,
                           bench->mine->registry, bench->mine->processing, bench->mine->name));
}

static void test_a_round_reaps_the_enrolled_and_the_unlisted(void **state)
{
    struct bench *bench = *state;
    const char *found = key(bench, "processing", "lost");
    const char *foreign = "{leeway:jobs}:ffffffffffffffff:processing:other";

    start(bench, REAP);
    expect(bench,
           talloc_asprintf(bench, "SET %s %s NX PX 900", bench->mine->turn, bench->mine->name));
    fake_redis_answer_as("=OK");
    expect(bench, talloc_asprintf(bench, "SMEMBERS %s", bench->mine->registry));
    fake_redis_answer_as("[=dead nil :4]");
    const char *look = talloc_asprintf(bench, "EVAL 3 %s %s %s dead", key(bench, "alive", "dead"),
                                       key(bench, "processing", "dead"), bench->mine->registry);
    expect(bench, look);
    fake_redis_answer_as("=" JOB);
    expect(bench, talloc_asprintf(
                      bench, "EVAL 7 %s %s %s %s %s %s %s " JOB " " LIST " 65000 3 600000 100",
                      key(bench, "alive", "dead"), key(bench, "processing", "dead"),
                      bench->mine->jobs, bench->mine->lists, bench->mine->deaths,
                      bench->mine->aside, key(bench, "mark", "leeway:{r.0123456789abcdef:=7}")));
    fake_redis_answer_as(":1");
    expect(bench, look);
    fake_redis_answer_as(":0");
    expect(bench,
           talloc_asprintf(bench, "SCAN 0 MATCH %s COUNT 1000 TYPE list", bench->mine->hands));
    /* a key too short to have a name is nobody's; one of another configuration is to end */
    fake_redis_reply(fake_array(
        fake_text("17"),
        fake_array(fake_text("leeway"), fake_text(found), fake_text(foreign), NULL), NULL));
    assert_int_equal(fake_redis_waiting(), 2);
    assert_string_equal(fake_redis_text(0), talloc_asprintf(bench, "EVAL 1 %s 65000", foreign));
    fake_redis_answer_as("nil");
    assert_string_equal(fake_redis_part(0, 4), found);
    assert_string_equal(fake_redis_part(0, 6), "lost");
    fake_redis_answer_as("=nonsense");
    assert_string_equal(fake_redis_part(0, 9), key(bench, "mark", "unknown"));
    fake_redis_answer_as(":1");
    fake_redis_answer_as(":0");
    assert_string_equal(fake_redis_part(0, 1), "17");
    fake_redis_reply(fake_array(fake_text("0"), fake_array(NULL), NULL));
    assert_int_equal(bench->last, 2);
    assert_int_equal(fake_redis_waiting(), 0);
}

static void test_what_is_set_aside_is_told_by_route(void **state)
{
    struct bench *bench = *state;

    start(bench, REAP);
    fake_redis_answer_as("=OK");
    fake_redis_answer_as("[=dead]");
    fake_redis_answer_as("=" JOB);
    fake_redis_answer_as(":2");
    fake_redis_answer_as(":0");
    bench->free_queue = true;
    fake_redis_answer_as("-NOPERM");
    assert_int_equal(bench->last, 100);
    assert_string_equal(bench->text, "r");
}

static void test_a_list_whose_time_is_over(void **state)
{
    struct bench *bench = *state;

    start(bench, SWEEP);
    expect(bench, "EVAL 1 {leeway:jobs}:lists");
    fake_redis_answer_as("[=other]");
    expect(bench, "EVAL 3 {leeway:jobs}:other:list {leeway:jobs}:lists {leeway:jobs}:abandoned "
                  "other");
    fake_redis_answer_as(":2");
    assert_int_equal(n_warnings, 1);
    for (int i = 1; i < 10; i++) {
        fake_redis_answer_as("[=other]");
        fake_redis_answer_as(":0");
    }
    assert_int_equal(bench->last, 2); /* so many at once, and no more */
    assert_int_equal(n_warnings, 1);
}

/* Among many keys the search goes on in the next turn. */
static void test_a_search_is_bounded(void **state)
{
    struct bench *bench = *state;

    start(bench, REAP);
    fake_redis_answer_as("=OK");
    fake_redis_answer_as("[]");
    for (int i = 1; i <= 4; i++) {
        char cursor[16];
        check(bench->answers == 0, "step %d", i);
        snprintf(cursor, sizeof cursor, "%d", i);
        fake_redis_reply(fake_array(fake_text(cursor), fake_array(NULL), NULL));
    }
    assert_int_equal(bench->answers, 1);
    start(bench, REAP);
    fake_redis_answer_as("=OK");
    fake_redis_answer_as("[]");
    assert_string_equal(fake_redis_part(0, 1), "4");
}

static void test_a_search_that_is_refused_is_left_out(void **state)
{
    struct bench *bench = *state;

    start(bench, REAP);
    fake_redis_answer_as("=OK");
    fake_redis_answer_as("[=dead]");
    fake_redis_answer_as("=job");
    fake_redis_answer_as(":1");
    fake_redis_answer_as(":0");
    fake_redis_answer_as("-NOPERM");
    assert_int_equal(bench->last, 1);
    assert_int_equal(n_warnings, 1);
    start(bench, REAP);
    fake_redis_answer_as("=OK");
    fake_redis_answer_as("[=dead]");
    fake_redis_answer_as(":0");
    assert_int_equal(bench->last, 0);
    assert_int_equal(fake_redis_waiting(), 0);
    assert_int_equal(n_warnings, 1);
}

static void test_who_leaves_puts_back(void **state)
{
    struct bench *bench = *state;

    start(bench, LEAVE);
    expect(bench, talloc_asprintf(bench, "DEL %s", bench->mine->alive));
    fake_redis_answer_as(":1");
    expect(bench,
           talloc_asprintf(bench, "EVAL 3 %s %s %s %s", bench->mine->alive, bench->mine->processing,
                           bench->mine->registry, bench->mine->name));
    fake_redis_answer_as("=" JOB);
    assert_string_equal(fake_redis_part(0, 13), "0"); /* nobody has died of it */
}

/* ---- The view */

static void test_a_view(void **state)
{
    struct bench *bench = *state;

    start(bench, LOOK);
    expect(bench, talloc_asprintf(bench, "LLEN %s", bench->mine->jobs));
    fake_redis_answer_as(":3");
    expect(bench, talloc_asprintf(bench, "LINDEX %s -1", bench->mine->jobs));
    fake_redis_answer_as("=" JOB);
    expect(bench, "GET {leeway:jobs}:abandoned");
    fake_redis_answer_as("=12");
    fake_redis_answer_as("[=a =b =c]");
    expect(bench, talloc_asprintf(bench, "EXISTS %s", key(bench, "alive", "a")));
    fake_redis_answer_as(":1");
    expect(bench, talloc_asprintf(bench, "LINDEX %s -1", key(bench, "processing", "a")));
    fake_redis_answer_as("=" JOB);
    fake_redis_answer_as(":0");
    fake_redis_answer_as("=nonsense");
    fake_redis_answer_as(":1");
    fake_redis_answer_as("nil");
    expect(bench, talloc_asprintf(bench, "ZRANGE %s 0 -1 WITHSCORES", bench->mine->aside));
    fake_redis_reply(fake_array(fake_text(JOB), fake_text("9e15"), fake_text("old"), fake_text("1"),
                                fake_text("nonsense"), fake_text("9e15"), fake_text(JOB), NULL));
    expect(bench, "ZRANGE {leeway:jobs}:lists 0 -1");
    fake_redis_answer_as("[=x =" LIST " :1 =y =z]");
    expect(bench, "LLEN {leeway:jobs}:x:list");
    fake_redis_answer_as(":3");
    fake_redis_answer_as(":0");
    expect(bench, "LLEN {leeway:jobs}:z:list");
    bench->free_queue = true;
    fake_redis_answer_as(":4");
    const struct queue_view *view = bench->view;
    assert_int_equal(view->abandoned, 12);
    assert_int_equal(view->n_aside, 2);
    assert_true(view->aside[0].known && !view->aside[1].known);
    assert_string_equal(view->aside[0].job.route, "r");
    assert_true(view->aside[0].left_ms > 0);
    assert_int_equal(view->n_others, 2);
    assert_int_equal(view->others_length, 7);
    assert_int_equal(view->length, 3);
    assert_true(view->oldest_ms >= 0);
    assert_int_equal(view->n_refreshers, 3);
    const struct queue_refresher *a = &view->refreshers[0], *b = &view->refreshers[1],
                                 *c = &view->refreshers[2];
    assert_true(a->alive && a->in_hand && a->known);
    assert_string_equal(a->job.route, "r");
    assert_string_equal(a->job.values.texts[0], "7");
    assert_true(!b->alive && b->in_hand && !b->known);
    assert_true(c->alive && !c->in_hand && !c->known);
}

static void test_the_list_alone(void **state)
{
    struct bench *bench = *state;

    queue_look(bench->queue, false, on_view, bench);
    fake_redis_answer_as(":0");
    fake_redis_answer_as("nil");
    fake_redis_answer_as("nil");
    assert_int_equal(bench->answers, 1);
    assert_int_equal(bench->view->oldest_ms, -1);
    assert_int_equal(bench->view->abandoned, 0);
    assert_int_equal(fake_redis_waiting(), 0);
}

/* ---- Cancelling, and the queue's end, before each of the answers */

/* What leads through all of a request. */
static const char *const ways[N_ACTS] = {
    [OFFER] = ":0",
    [TAKE] = "=job",
    [SETTLE] = ":1",
    [COUNT_FAILURE] = ":1",
    [BACK_OFF] = "=OK",
    [BEAT] = ":1",
    [REAP] = "=OK|[=a =b]|:0|=job|:2|:0|-NOPERM",
    [SWEEP] = "[=a]|:1|[]",
    [LEAVE] = ":1|=job|:1|:0",
    [LOOK] = ":1|=job|nil|[=a]|:1|=job|[=job =9e15]|[=x]|:1",
    [MARK] = ":1",
};

/* false: there are not as many answers. */
static bool go_to(struct bench *bench, enum act act, size_t answers, struct queue_request **request)
{
    char *way = mem_check(talloc_strdup(bench, ways[act]));

    *request = start(bench, act);
    for (size_t i = 0; i < answers; i++)
        fake_redis_answer_as(strsep(&way, "|"));
    return way != NULL;
}

static void test_cancelled_anywhere(void **state)
{
    tear_down(state);
    for (enum act act = 0; act < N_ACTS; act++) {
        for (size_t at = 0;; at++) {
            struct queue_request *request;
            set_up(state);
            struct bench *bench = *state;
            bool more = go_to(bench, act, at, &request);
            if (more) {
                queue_cancel(request);
                check(fake_redis_is_cancelled(0), "act %d at %zu", (int)act, at);
                fake_redis_answer_as("?");
                check(bench->answers == 0, "act %d at %zu", (int)act, at);
                check(fake_redis_waiting() == 0, "act %d at %zu goes on", (int)act, at);
            } else {
                check(bench->answers == 1, "act %d", (int)act);
            }
            tear_down(state);
            if (!more)
                break;
        }
    }
    set_up(state);
    queue_cancel(NULL);
}

static void test_the_queue_goes_anywhere(void **state)
{
    tear_down(state);
    for (enum act act = 0; act < N_ACTS; act++) {
        for (size_t at = 0;; at++) {
            struct queue_request *request;
            set_up(state);
            struct bench *bench = *state;
            bench->free_queue = true; /* also by its callback */
            bool more = go_to(bench, act, at, &request);
            TALLOC_FREE(bench->queue);
            if (more)
                fake_redis_answer_as("=OK");
            check(bench->answers == !more, "act %d at %zu", (int)act, at);
            /* the expiry of what was taken is on its way */
            check(fake_redis_waiting() == (!more && act == TAKE), "act %d at %zu goes on", (int)act,
                  at);
            tear_down(state);
            if (!more)
                break;
        }
    }
    set_up(state);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_what_answers_lead_to),
        CASE(test_an_offer_is_one_script),
        CASE(test_what_nobody_wants_to_know),
        CASE(test_a_job_is_waited_for_where_nothing_waits_behind_it),
        CASE(test_no_wait_is_a_short_one),
        CASE(test_a_mark_is_bounded),
        CASE(test_what_is_in_hand_expires),
        CASE(test_what_settles),
        CASE(test_a_heartbeat_is_one_script),
        CASE(test_a_round_reaps_the_enrolled_and_the_unlisted),
        CASE(test_what_is_set_aside_is_told_by_route),
        CASE(test_a_list_whose_time_is_over),
        CASE(test_a_search_is_bounded),
        CASE(test_a_search_that_is_refused_is_left_out),
        CASE(test_who_leaves_puts_back),
        CASE(test_a_view),
        CASE(test_the_list_alone),
        CASE(test_cancelled_anywhere),
        CASE(test_the_queue_goes_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
