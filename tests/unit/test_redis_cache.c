/* SPDX-License-Identifier: BSD-2-Clause */
/* The cache in Redis but for taking leases: look-ups and the clock in front of them, what ends a
   lease, watches, notes, purges, and what happens when any of it is cancelled or the cache goes. */
#include "config.h"

#include "sample_entry.h"
#include "unit.h"

#include <ev.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/cache.h"
#include "fake_redis.h"

#define BASE    "leeway:{r.0123456789abcdef:=1}"
#define CHANNEL BASE ":done"
#define TOKEN   "00112233445566778899aabbccddeeff"

static int64_t now_us;
static size_t n_warnings;

int64_t __wrap_clock_monotonic_us(void);
int64_t __wrap_clock_monotonic_us(void)
{
    return now_us;
}

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
    size_t answers;
    int last; /* what it was: an enum, a count, an int */
    int64_t asked_us;
    struct cache_entry entry;
    bool has_bytes;
    bool free_cache; /* in the callback */
    void *keep;      /* the parent of what is stolen, or NULL */
    struct identity_note noted;
    char text[256];
    size_t changes[3];
};

static void on_change(void *data, enum cache_change change)
{
    struct bench *bench = data;

    bench->changes[change]++;
}

static void open_cache(struct bench *bench)
{
    static const struct redis_settings settings = {.prefix = "leeway"};
    const struct cache_options options = {
        .settings = &settings, .client_name = "test", .on_change = on_change, .data = bench};

    bench->cache = cache_open(NULL, bench->loop, &options);
}

static int set_up(void **state)
{
    struct bench *bench = mem_check(talloc_zero(NULL, struct bench));

    fake_redis_reset();
    now_us = 1000 * 1000 * 1000;
    n_warnings = 0;
    bench->loop = ev_loop_new(EVFLAG_AUTO);
    open_cache(bench);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;

    talloc_free(bench->cache);
    ev_loop_destroy(bench->loop);
    talloc_free(bench);
    return 0;
}

static void told(struct bench *bench, int what)
{
    bench->answers++;
    bench->last = what;
    if (bench->free_cache)
        TALLOC_FREE(bench->cache);
}

/* ---- Look-ups */

static struct redis_reply *entry_reply(int status)
{
    struct buf out;

    buf_init(&out, NULL, 256);
    sample_entry(&out, BASE, 1795435200123456, status, "{\"id\":1}");
    struct redis_reply *reply = fake_bytes(out.data, out.len);
    talloc_free(out.data);
    return reply;
}

static void on_found(void *data, enum cache_found found, struct stored *stored)
{
    struct bench *bench = data;

    bench->has_bytes = stored->bytes != NULL;
    bench->entry = stored->entry;
    if (bench->keep != NULL && stored->bytes != NULL)
        talloc_steal(bench->keep, stored->bytes);
    told(bench, (int)found);
}

static void test_look_ups(void **state)
{
    static const struct {
        const char *reply; /* "@": an entry */
        enum cache_found found;
    } cases[] = {
        {"@", CACHE_FOUND},
        {"nil", CACHE_NOTHING},
        {"=", CACHE_NOTHING},
        {"=lw2 damaged", CACHE_NOTHING},
        {":1", CACHE_NOTHING},
        {"[=a]", CACHE_NOTHING},
        {"-WRONGTYPE x", CACHE_NOTHING},
        {"-NOPERM x", CACHE_AWAY},
        {"-LOADING x", CACHE_AWAY},
        {"-ERR x", CACHE_AWAY},
        {"?", CACHE_AWAY},
        {"!", CACHE_AWAY},
    };
    struct bench *bench = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_non_null(cache_look_up(bench->cache, BASE, on_found, bench));
        assert_int_equal(bench->answers, i);
        assert_int_equal(fake_redis_waiting(), 1);
        assert_string_equal(fake_redis_text(0), "GET " BASE ":entry");
        assert_string_equal(fake_redis_key(0), BASE ":entry");
        assert_false(fake_redis_writes(0));
        if (strcmp(cases[i].reply, "@") == 0)
            fake_redis_reply(entry_reply(200));
        else
            fake_redis_answer_as(cases[i].reply);
        check(bench->answers == i + 1, "%s", cases[i].reply);
        check(bench->last == (int)cases[i].found, "%s: %d", cases[i].reply, bench->last);
        check(bench->has_bytes == (cases[i].found == CACHE_FOUND), "%s", cases[i].reply);
    }
}

/* The slices point into what is kept, and nothing was copied. */
static void test_kept_entry(void **state)
{
    struct bench *bench = *state;
    struct redis_reply *reply = entry_reply(404);

    bench->keep = talloc_new(NULL);
    bench->free_cache = true;
    cache_look_up(bench->cache, BASE, on_found, bench);
    fake_redis_reply(reply);
    assert_int_equal(bench->last, CACHE_FOUND);
    assert_int_equal(bench->entry.status, 404);
    assert_ptr_equal(bench->entry.head, reply->text + ENTRY_PREFIX_BYTES);
    assert_memory_equal(bench->entry.body, "{\"id\":1}", 8);
    talloc_free(bench->keep);
}

/* The key of a base of any length. */
static void test_long_key(void **state)
{
    struct bench *bench = *state;

    for (size_t len = 490; len < 530; len++) {
        char *base = mem_check(talloc_zero_size(NULL, len + 1));
        memset(base, 'k', len);
        cache_look_up(bench->cache, base, on_found, bench);
        char *expected = talloc_asprintf(base, "%s:entry", base);
        check(strcmp(fake_redis_part(0, 1), expected) == 0, "%zu", len);
        talloc_free(base);
        fake_redis_answer_as("nil");
    }
}

static void test_clock_in_front(void **state)
{
    struct bench *bench = *state;

    fake_redis.clock_will_do = false;
    cache_look_up(bench->cache, BASE, on_found, bench);
    cache_look_up(bench->cache, BASE, on_found, bench);
    assert_int_equal(fake_redis_waiting(), 3);
    assert_string_equal(fake_redis_text(0), "TIME");
    assert_string_equal(fake_redis_part(1, 0), "GET");
    assert_string_equal(fake_redis_part(2, 0), "GET");
    /* not answered yet; but the machine may have stood still since */
    ev_run(bench->loop, EVRUN_NOWAIT);
    now_us += 5;
    cache_look_up(bench->cache, BASE, on_found, bench);
    assert_int_equal(fake_redis_waiting(), 5);
    assert_string_equal(fake_redis_text(3), "TIME");
    fake_redis_answer_as("[=1795435200 =1]");
    assert_int_equal(fake_redis.taken_sent_us, now_us - 5);
    fake_redis_answer_as("nil");
    fake_redis_answer_as("nil");
    fake_redis_answer_as("?");
    fake_redis_answer_as("nil");
    assert_int_equal(fake_redis.n_taken_times, 1);
    assert_int_equal(bench->answers, 3);
    fake_redis.clock_will_do = true;
    ev_run(bench->loop, EVRUN_NOWAIT);
    cache_look_up(bench->cache, BASE, on_found, bench);
    assert_int_equal(fake_redis_waiting(), 1);
}

static void test_withdrawn_look_up(void **state)
{
    struct bench *bench = *state;

    fake_redis.clock_will_do = false;
    cache_cancel(cache_look_up(bench->cache, BASE, on_found, bench));
    assert_true(fake_redis_is_cancelled(1));
    fake_redis_answer_as("[=1795435200 =1]");
    fake_redis_reply(entry_reply(200));
    assert_int_equal(bench->answers, 0);
    assert_int_equal(fake_redis.n_taken_times, 1);
    cache_cancel(NULL);
}

/* ---- What ends a lease */

static const struct lease lease = {.base = BASE, .token = TOKEN};

static void on_end(void *data, enum lease_end end, int64_t asked_us)
{
    struct bench *bench = data;

    bench->asked_us = asked_us;
    told(bench, (int)end);
}

enum lease_act { RENEW, STORE, END };

static struct cache_request *act(struct bench *bench, enum lease_act act)
{
    static const struct lease_mark none = {.kind = LEASE_MARK_NONE};

    switch (act) {
    case RENEW:
        return cache_renew(bench->cache, &lease, on_end, bench);
    case STORE:
        return cache_store(bench->cache, &lease, "entry", 5, 1795435260123, on_end, bench);
    default:
        return cache_end(bench->cache, &lease, &none, on_end, bench);
    }
}

static void test_lease_ends(void **state)
{
    static const struct {
        const char *reply;
        enum lease_end end;
        bool time;
    } cases[] = {
        {"[:1 :1 =1795435200 =1]", LEASE_LOST, true},
        {"[:2 :1 =1795435200 =1]", LEASE_KEPT, true},
        {"[:3 :1 =1795435200 =1]", LEASE_STORED, true},
        {"[:3 :0 =1795435200 =1]", LEASE_STORED, true},
        {"[:0 :1 =1795435200 =1]", LEASE_UNKNOWN, true},
        {"[:4 :1 =1795435200 =1]", LEASE_UNKNOWN, true},
        {"[=3 :1 =1795435200 =1]", LEASE_UNKNOWN, true},
        {"[]", LEASE_UNKNOWN, false},
        {"nil", LEASE_UNKNOWN, false},
        {"=OK", LEASE_UNKNOWN, false},
        {"-OOM x", LEASE_UNKNOWN, false},
        {"-NOPERM x", LEASE_UNKNOWN, false},
        {"?", LEASE_UNKNOWN, false},
        {"!", LEASE_UNKNOWN, false},
    };
    struct bench *bench = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (int each = RENEW; each <= END; each++) {
            bench->answers = fake_redis.n_taken_times = 0;
            act(bench, (enum lease_act)each);
            assert_int_equal(bench->answers, 0);
            assert_string_equal(fake_redis_key(0), BASE ":lease");
            assert_true(fake_redis_writes(0));
            now_us += 7;
            fake_redis_answer_as(cases[i].reply);
            check(bench->answers == 1, "%s, %d", cases[i].reply, each);
            check(bench->last == (int)cases[i].end, "%s, %d: %d", cases[i].reply, each,
                  bench->last);
            check(bench->asked_us == now_us - 7, "%s, %d", cases[i].reply, each);
            check(fake_redis.n_taken_times == (cases[i].time ? 1u : 0u), "%s, %d", cases[i].reply,
                  each);
            check(!cases[i].time || fake_redis.taken_sent_us == now_us - 7, "%s", cases[i].reply);
        }
}

static void test_lease_commands(void **state)
{
    static const struct {
        struct lease_mark mark;
        const char *text;
    } cases[] = {
        {{LEASE_MARK_NONE, 0, 0}, "EVAL 1 " BASE ":lease " TOKEN " " CHANNEL},
        {{LEASE_MARK_FAILED, 503, 0}, "EVAL 1 " BASE ":lease " TOKEN " " CHANNEL " !503 1000"},
        {{LEASE_MARK_FAILED, 504, 5000}, "EVAL 1 " BASE ":lease " TOKEN " " CHANNEL " !504 5000"},
        {{LEASE_MARK_TOO_LARGE, 0, 0},
         "EVAL 1 " BASE ":lease " TOKEN " " CHANNEL " !too-large 10000"},
    };
    struct bench *bench = *state;

    act(bench, RENEW);
    assert_string_equal(fake_redis_text(0), "EVAL 1 " BASE ":lease " TOKEN " 2000");
    fake_redis_answer_as("?");
    act(bench, STORE);
    assert_string_equal(fake_redis_text(0), "EVAL 2 " BASE ":lease " BASE ":entry " TOKEN
                                            " entry 1795435260123 " CHANNEL " 4 20");
    fake_redis_answer_as("?");
    bench->answers = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_null(cache_end(bench->cache, &lease, &cases[i].mark, NULL, NULL));
        check(strcmp(fake_redis_text(0), cases[i].text) == 0, "%s", fake_redis_text(0));
        fake_redis_answer_as("[:2 :1 =1795435200 =1]");
    }
    assert_int_equal(bench->answers, 0);
}

/* Nobody waits for it, and it is renewed only if it is what it was. */
static void test_shortened_mark(void **state)
{
    static const char *const replies[] = {"[:2 :1 =1795435200 =1]", "[:1 :1 =1795435200 =1]", "?",
                                          "!", "-NOPERM x"};
    struct bench *bench = *state;

    for (size_t i = 0; i < COUNT_OF(replies); i++) {
        cache_shorten_mark(bench->cache, BASE, 504, 700);
        assert_string_equal(fake_redis_text(0), "EVAL 1 " BASE ":lease !504 700");
        fake_redis_answer_as(replies[i]);
    }
    assert_int_equal(bench->answers, 0);
}

static void test_withdrawn_lease_commands(void **state)
{
    struct bench *bench = *state;

    for (int each = RENEW; each <= END; each++) {
        cache_cancel(act(bench, (enum lease_act)each));
        assert_true(fake_redis_is_cancelled(0));
        fake_redis_answer_as("[:2 :1 =1795435200 =1]");
    }
    assert_int_equal(bench->answers, 0);
}

/* Said once a minute, and never which channel. */
static void test_unheard(void **state)
{
    struct bench *bench = *state;

    for (int i = 0; i < 3; i++) {
        act(bench, STORE);
        fake_redis_answer_as("[:3 :0 =1795435200 =1]");
        act(bench, END);
        fake_redis_answer_as("[:2 :0 =1795435200 =1]");
        assert_int_equal(n_warnings, 1);
        now_us += 19 * 1000 * 1000;
    }
    now_us += 4 * 1000 * 1000;
    act(bench, END);
    fake_redis_answer_as("[:2 :0 =1795435200 =1]");
    assert_int_equal(n_warnings, 2);
    act(bench, STORE);
    fake_redis_answer_as("[:1 :1 =1795435200 =1]");
    assert_int_equal(n_warnings, 2);
}

/* ---- Watches */

struct witness {
    size_t news[2];
    struct cache_watch *end; /* NULL, or what it ends */
};

static void on_watch(void *data, enum cache_news news)
{
    struct witness *witness = data;

    witness->news[news]++;
    if (witness->end != NULL)
        TALLOC_FREE(witness->end);
}

static void test_watches(void **state)
{
    struct bench *bench = *state;
    struct witness first = {.end = NULL}, second = {.end = NULL};
    TALLOC_CTX *ctx = talloc_new(NULL);

    struct cache_watch *one = cache_watch(NULL, bench->cache, BASE, on_watch, &first);
    cache_watch(ctx, bench->cache, BASE, on_watch, &second);
    assert_int_equal(fake_redis_news(CHANNEL, REDIS_SUBSCRIBED, ""), 2);
    assert_int_equal(first.news[CACHE_LOOK_NOW], 1);
    assert_int_equal(second.news[CACHE_LOOK_NOW], 1);
    fake_redis.up = false;
    fake_redis_news(CHANNEL, REDIS_SUBSCRIPTION_LOST, "");
    assert_int_equal(first.news[CACHE_LOOK_NOW] + first.news[CACHE_NOT_TOLD], 1);
    fake_redis.up = true;
    fake_redis_news(CHANNEL, REDIS_SUBSCRIPTION_LOST, "");
    assert_int_equal(first.news[CACHE_NOT_TOLD], 1);
    fake_redis_news(CHANNEL, REDIS_MESSAGE, "stored");
    assert_int_equal(first.news[CACHE_LOOK_NOW], 2);
    fake_redis_news(CHANNEL, REDIS_SUBSCRIPTION_REFUSED, "");
    assert_int_equal(first.news[CACHE_NOT_TOLD], 2);
    assert_int_equal(second.news[CACHE_NOT_TOLD], 2);
    first.end = one;
    assert_int_equal(fake_redis_news(CHANNEL, REDIS_MESSAGE, "ended"), 2);
    assert_int_equal(second.news[CACHE_LOOK_NOW], 3);
    assert_int_equal(fake_redis.n_subscriptions, 1);
    talloc_free(ctx);
    assert_int_equal(fake_redis.n_subscriptions, 0);
}

/* Watches of the middle, the end and the front go in any order, also after the cache. */
static void test_watches_outlive_the_cache(void **state)
{
    struct bench *bench = *state;
    struct witness witness = {.end = NULL};
    struct cache_watch *watches[4];

    for (size_t i = 0; i < COUNT_OF(watches); i++)
        watches[i] = cache_watch(NULL, bench->cache, BASE, on_watch, &witness);
    talloc_free(watches[1]);
    talloc_free(watches[3]);
    fake_redis_news(CHANNEL, REDIS_MESSAGE, "stored");
    assert_int_equal(witness.news[CACHE_LOOK_NOW], 2);
    TALLOC_FREE(bench->cache);
    talloc_free(watches[0]);
    talloc_free(watches[2]);
    assert_int_equal(witness.news[CACHE_LOOK_NOW], 2);
}

/* ---- The clock, purges, notes, INFO, keys */

static void on_measured(void *data, bool up)
{
    told(data, up);
}

static void on_number(void *data, int number)
{
    told(data, number);
}

static void on_count(void *data, int64_t count)
{
    told(data, (int)count);
}

static void on_note(void *data, int found, const struct identity_note *noted)
{
    struct bench *bench = data;

    bench->noted = *noted;
    told(bench, found);
}

static void on_info(void *data, const char *info)
{
    struct bench *bench = data;

    strcpy(bench->text, info != NULL ? info : "");
    told(bench, info != NULL);
}

static void on_page(void *data, const struct cache_page *page)
{
    struct bench *bench = data;

    bench->text[0] = '\0';
    for (size_t i = 0; page != NULL && i < page->n_bases; i++)
        strcat(strcat(bench->text, page->bases[i]), " ");
    if (page != NULL)
        strcat(strcat(bench->text, "next "), page->next != NULL ? page->next : "none");
    told(bench, page != NULL ? (int)page->looked_at : -1);
}

enum question {
    MEASURE,
    PURGE,
    READ_NOTE,
    CLAIM_NOTE,
    ACCEPT_NOTE,
    INFO,
    COUNT,
    LIST,
    LIST_ON,
    QUESTIONS,
};

static struct cache_request *put(struct bench *bench, enum question question)
{
    static const struct identity_note mine = {.system = "77", .database = "5", .accepts = 3};
    struct cache *cache = bench->cache;

    switch (question) {
    case MEASURE:
        return cache_measure(cache, on_measured, bench);
    case PURGE:
        return cache_purge(cache, BASE, on_number, bench);
    case READ_NOTE:
        return cache_read_note(cache, "0011", on_note, bench);
    case CLAIM_NOTE:
        return cache_claim_note(cache, "0011", &mine, on_note, bench);
    case ACCEPT_NOTE:
        return cache_accept_note(cache, "0011", &mine, on_note, bench);
    case INFO:
        return cache_ask_info(cache, on_info, bench);
    case COUNT:
        return cache_count(cache, on_count, bench);
    case LIST:
        return cache_list(cache, "leeway:{r.*", NULL, on_page, bench);
    default:
        return cache_list(cache, "leeway:{r.*", "17", on_page, bench);
    }
}

static const char *const questions[QUESTIONS] = {
    [MEASURE] = "TIME",
    [PURGE] = "DEL " BASE ":entry " BASE ":lease",
    [READ_NOTE] = "HMGET leeway:identity:0011 system database accepts",
    [CLAIM_NOTE] = "EVAL 1 leeway:identity:0011 77 5 3",
    [ACCEPT_NOTE] = "EVAL 1 leeway:identity:0011 77 5 3",
    [INFO] = "INFO",
    [COUNT] = "DBSIZE",
    [LIST] = "SCAN 0 MATCH leeway:{r.*:* COUNT 500",
    [LIST_ON] = "SCAN 17 MATCH leeway:{r.*:* COUNT 500",
};

/* What is told of a reply; `bad` of one that is none. */
static const struct {
    enum question question;
    const char *reply;
    int told;
} answers[] = {
    {MEASURE, "[=1795435200 =1]", true},
    {PURGE, ":2", 1},
    {PURGE, ":1", 1},
    {PURGE, ":0", 0},
    {PURGE, "=OK", -1},
    {READ_NOTE, "[=77 =5 =3]", 1},
    {READ_NOTE, "[= =5 =3]", 1},
    {READ_NOTE, "[nil nil nil]", 0},
    {READ_NOTE, "[=77 nil =3]", 0},
    {READ_NOTE, "[nil =5 =3]", -1},
    {READ_NOTE, "[=77 =5]", -1},
    {READ_NOTE, "[=x =5 =3]", -1},
    {READ_NOTE, "[=77 =5 =-3]", -1},
    {READ_NOTE, "[=77 =5 :3]", -1},
    {READ_NOTE, "[=77 = =3]", -1},
    {READ_NOTE, "nil", -1},
    {READ_NOTE, "-WRONGTYPE x", -1},
    {CLAIM_NOTE, "[=77 =5 =3]", 1},
    {CLAIM_NOTE, "[nil nil nil]", -1},
    {ACCEPT_NOTE, "[=77 =5 =3]", 1},
    {ACCEPT_NOTE, "[nil nil nil]", -1},
    {INFO, "=redis_version:7.0.15", 1},
    {INFO, "nil", 0},
    {COUNT, ":12", 12},
    {COUNT, "=12", -1},
    {LIST, "nil", -1},
    {LIST, "[=0 =x]", -1},
    {LIST_ON, "[:0 :0]", -1},
};

static void test_questions(void **state)
{
    struct bench *bench = *state;

    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        bench->answers = 0;
        put(bench, answers[i].question);
        assert_string_equal(fake_redis_text(0), questions[answers[i].question]);
        check(fake_redis_writes(0) == (strncmp(fake_redis_text(0), "EVAL", 4) == 0 ||
                                       strncmp(fake_redis_text(0), "DEL", 3) == 0),
              "%s", fake_redis_text(0));
        fake_redis_answer_as(answers[i].reply);
        check(bench->answers == 1, "%s", answers[i].reply);
        check(bench->last == answers[i].told, "%s to %s: %d", answers[i].reply,
              questions[answers[i].question], bench->last);
    }
    put(bench, READ_NOTE);
    fake_redis_answer_as("[=77 =5 =3]");
    assert_string_equal(bench->noted.system, "77");
    assert_string_equal(bench->noted.database, "5");
    assert_int_equal(bench->noted.accepts, 3);
    put(bench, INFO);
    fake_redis_answer_as("=role:master");
    assert_string_equal(bench->text, "role:master");
}

static void test_pages(void **state)
{
    struct bench *bench = *state;

    put(bench, LIST);
    fake_redis_reply(fake_array(
        fake_text("17"),
        fake_array(fake_text("leeway:{r.1:}:entry"), fake_text("leeway:{r.1:}:lease"),
                   fake_text("leeway:{r.1:}:done"), fake_text(":entry"), fake_text("x"), NULL),
        NULL));
    assert_string_equal(bench->text, "leeway:{r.1:} leeway:{r.1:} next 17");
    assert_int_equal(bench->last, 500);
    put(bench, LIST_ON);
    fake_redis_reply(fake_array(fake_text("0"), fake_array(NULL), NULL));
    assert_string_equal(bench->text, "next none");
}

/* Nothing is known where it cannot be asked, may not be asked, or does not say in time. */
static void test_questions_unanswered(void **state)
{
    static const char *const replies[] = {"?", "!", "-NOPERM x", "-LOADING x"};
    struct bench *bench = *state;

    for (size_t i = 0; i < COUNT_OF(replies); i++)
        for (int each = 0; each < QUESTIONS; each++) {
            bench->answers = 0;
            put(bench, (enum question)each);
            fake_redis_answer_as(replies[i]);
            check(bench->answers == 1, "%s to %s", replies[i], questions[each]);
            check(bench->last == (each == MEASURE || each == INFO ? 0 : -1), "%s to %s: %d",
                  replies[i], questions[each], bench->last);
        }
    assert_int_equal(fake_redis.n_taken_times, 0);
}

static void test_questions_withdrawn(void **state)
{
    struct bench *bench = *state;

    for (int each = 0; each < QUESTIONS; each++) {
        cache_cancel(put(bench, (enum question)each));
        assert_true(fake_redis_is_cancelled(0));
        fake_redis_answer_as(":1");
    }
    assert_int_equal(bench->answers, 0);
}

/* With all that can be under way at once; and by each callback. */
static void test_freed(void **state)
{
    struct bench *bench = *state;

    fake_redis.clock_will_do = false;
    for (int each = 0; each < QUESTIONS; each++)
        put(bench, (enum question)each);
    for (int each = RENEW; each <= END; each++)
        act(bench, (enum lease_act)each);
    cache_look_up(bench->cache, BASE, on_found, bench);
    TALLOC_FREE(bench->cache);
    assert_int_equal(bench->answers, 0);
    bench->free_cache = true;
    for (int each = 0; each < QUESTIONS; each++) {
        open_cache(bench);
        put(bench, (enum question)each);
        cache_look_up(bench->cache, BASE, on_found, bench);
        fake_redis_answer_as("?");
        assert_null(bench->cache);
    }
    for (int each = RENEW; each <= END; each++) {
        open_cache(bench);
        act(bench, (enum lease_act)each);
        fake_redis_answer_as("[:3 :1 =1795435200 =1]");
        assert_null(bench->cache);
    }
}

static void test_state(void **state)
{
    struct bench *bench = *state;

    assert_true(cache_is_up(bench->cache));
    assert_null(cache_problem(bench->cache));
    assert_ptr_equal(cache_clock(bench->cache), &fake_redis.clock);
    fake_redis.problem = "refused";
    fake_redis_change(REDIS_WENT_DOWN);
    assert_false(cache_is_up(bench->cache));
    assert_string_equal(cache_problem(bench->cache), "refused");
    assert_int_equal(bench->changes[CACHE_DOWN], 1);
    fake_redis_change(REDIS_CAME_UP);
    assert_int_equal(bench->changes[CACHE_UP], 1);
    fake_redis_change(REDIS_CAME_UP_NEW);
    assert_int_equal(bench->changes[CACHE_UP_NEW], 1);
    assert_int_equal(bench->changes[CACHE_UP] + bench->changes[CACHE_DOWN], 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_look_ups),
        TEST(test_kept_entry),
        TEST(test_long_key),
        TEST(test_clock_in_front),
        TEST(test_withdrawn_look_up),
        TEST(test_lease_ends),
        TEST(test_lease_commands),
        TEST(test_shortened_mark),
        TEST(test_withdrawn_lease_commands),
        TEST(test_unheard),
        TEST(test_watches),
        TEST(test_watches_outlive_the_cache),
        TEST(test_questions),
        TEST(test_pages),
        TEST(test_questions_unanswered),
        TEST(test_questions_withdrawn),
        TEST(test_freed),
        TEST(test_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
