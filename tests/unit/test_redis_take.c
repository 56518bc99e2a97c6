/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking leases in Redis and looking at them: what becomes of each answer of the four commands, of
   what was left behind, of a request that is cancelled at any point, and of a server that takes no
   writes. */
#include "config.h"

#include "sample_entry.h"
#include "unit.h"

#include <ev.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/cache.h"
#include "fake_redis.h"

#define BASE    "leeway:{r.0123456789abcdef:=1}"
#define LEASE   BASE ":lease"
#define CHANNEL BASE ":done"
#define TOKEN   "00112233445566778899aabbccddeeff"
#define HELD    "=00112233445566778899aabbccddeeff"

static int64_t now_us;

int64_t __wrap_clock_monotonic_us(void);
int64_t __wrap_clock_monotonic_us(void)
{
    return now_us;
}

struct bench {
    struct ev_loop *loop;
    struct cache *cache;
    const char *base; /* the pointer that is passed */
    struct cache_request *request;
    size_t answers;
    struct lease_answer answer;
    struct stored stored; /* what was there during the call; bytes NULL: nothing */
    size_t stored_len;
    bool free_cache; /* in the callback */
};

static int set_up(void **state)
{
    static const struct redis_settings settings = {.prefix = "leeway"};
    struct bench *bench = mem_check(talloc_zero(NULL, struct bench));
    const struct cache_options options = {.settings = &settings, .client_name = "test"};

    fake_redis_reset();
    now_us = 1000 * 1000 * 1000;
    bench->loop = ev_loop_new(EVFLAG_AUTO);
    bench->cache = cache_open(NULL, bench->loop, &options);
    bench->base = mem_check(talloc_strdup(bench, BASE));
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

static void on_taken(void *data, struct lease_answer *answer)
{
    struct bench *bench = data;

    bench->request = NULL;
    bench->answers++;
    bench->answer = *answer;
    bench->stored = *answer->stored;
    bench->stored_len = answer->stored->bytes != NULL ? answer->stored->entry.body_len : 0;
    if (bench->free_cache)
        TALLOC_FREE(bench->cache);
}

static void ask(struct bench *bench, bool only_look)
{
    bench->request = only_look ? cache_look_at_lease(bench->cache, bench->base, on_taken, bench)
                               : cache_take(bench->cache, bench->base, on_taken, bench);
}

/* What an entry looks like; "@" stands for it. */
static struct redis_reply *entry_reply(void)
{
    struct buf out;

    buf_init(&out, NULL, 256);
    sample_entry(&out, BASE, 1795435200123456, 200, "{\"id\":1}");
    struct redis_reply *reply = fake_bytes(out.data, out.len);
    talloc_free(out.data);
    return reply;
}

static void answer_as(const char *line)
{
    if (strcmp(line, "@") == 0)
        fake_redis_reply(entry_reply());
    else
        fake_redis_answer_as(line);
}

static void run(struct bench *bench)
{
    ev_run(bench->loop, EVRUN_NOWAIT);
}

#define SET_LEASE_OF(token) "SET " LEASE " " token " NX GET PX 2000"

static void test_what_is_sent(void **state)
{
    struct bench *bench = *state;
    char token[LEASE_TOKEN_BYTES + 1];

    ask(bench, false);
    assert_int_equal(fake_redis_waiting(), 4);
    assert_int_equal(strlen(fake_redis_part(0, 2)), LEASE_TOKEN_BYTES);
    strcpy(token, fake_redis_part(0, 2));
    assert_int_equal(strspn(token, "0123456789abcdef"), LEASE_TOKEN_BYTES);
    char *expected = talloc_asprintf(bench, "SET %s %s NX GET PX 2000", LEASE, token);
    assert_string_equal(fake_redis_text(0), expected);
    assert_string_equal(fake_redis_text(1), "PTTL " LEASE);
    assert_string_equal(fake_redis_text(2), "GET " BASE ":entry");
    assert_string_equal(fake_redis_text(3), "TIME");
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(fake_redis_key(i), LEASE);
    ask(bench, false);
    assert_string_not_equal(fake_redis_part(4, 2), token);
    ask(bench, true);
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(fake_redis_writes(i), i < 8);
    assert_string_equal(fake_redis_text(8), "GET " LEASE);
    assert_string_equal(fake_redis_text(9), "PTTL " LEASE);
    assert_string_equal(fake_redis_text(10), "GET " BASE ":entry");
    assert_string_equal(fake_redis_text(11), "TIME");
}

enum follow { NOTHING, GIVE_UP, TAKE_OVER };

/* Of the four answers, what is told and what is sent behind them. */
struct answer_case {
    const char *name;
    const char *parts[4];
    enum lease_state state;
    int64_t left_ms;
    int failed_status;
    bool stored;
    enum follow follow;
};

#define TIME "[=1795435200 =123456]"

static const struct answer_case take_cases[] = {
    {"free", {"nil", ":2000", "nil", TIME}, LEASE_WON, 0, 0, false, NOTHING},
    {"free, an entry", {"nil", ":2000", "@", TIME}, LEASE_WON, 0, 0, true, NOTHING},
    {"free, no TTL said", {"nil", "?", "nil", TIME}, LEASE_WON, 0, 0, false, NOTHING},
    {"free, no time said", {"nil", ":2000", "nil", "?"}, LEASE_WON, 0, 0, false, NOTHING},
    {"free, another version", {"nil", ":2000", "=lw9", TIME}, LEASE_WON, 0, 0, false, NOTHING},
    {"free, entry of another type",
     {"nil", ":2000", "-WRONGTYPE x", TIME},
     LEASE_WON,
     0,
     0,
     false,
     NOTHING},
    {"free, entry refused", {"nil", ":2000", "-NOPERM x", TIME}, LEASE_AWAY, 0, 0, false, GIVE_UP},
    {"free, entry late", {"nil", ":2000", "?", "?"}, LEASE_AWAY, 0, 0, false, GIVE_UP},
    {"held", {HELD, ":1500", "nil", TIME}, LEASE_HELD, 1500, 0, false, NOTHING},
    {"held, an entry", {HELD, ":1500", "@", TIME}, LEASE_HELD, 1500, 0, true, NOTHING},
    {"held, at the limit", {HELD, ":2000", "nil", TIME}, LEASE_HELD, 2000, 0, false, NOTHING},
    {"held, over since", {HELD, ":-2", "nil", TIME}, LEASE_HELD, 0, 0, false, NOTHING},
    {"held, TTL late", {HELD, "?", "?", "?"}, LEASE_AWAY, 0, 0, false, NOTHING},
    {"held, TTL refused", {HELD, "-NOPERM x", "nil", TIME}, LEASE_AWAY, 0, 0, false, NOTHING},
    {"held for ever", {HELD, ":-1", "nil", TIME}, LEASE_AWAY, 0, 0, false, TAKE_OVER},
    {"held too long", {HELD, ":2001", "nil", TIME}, LEASE_AWAY, 0, 0, false, TAKE_OVER},
    {"something else", {"=x", ":1000", "nil", TIME}, LEASE_HELD, 1000, 0, false, NOTHING},
    {"something else, for ever", {"=", ":-1", "nil", TIME}, LEASE_AWAY, 0, 0, false, TAKE_OVER},
    {"of another type", {"-WRONGTYPE x", ":-1", "nil", TIME}, LEASE_AWAY, 0, 0, false, TAKE_OVER},
    {"of another type, expiring",
     {"-WRONGTYPE x", ":100", "nil", TIME},
     LEASE_AWAY,
     0,
     0,
     false,
     TAKE_OVER},
    {"failed", {"=!503", ":900", "@", TIME}, LEASE_FAILED, 900, 503, true, NOTHING},
    {"failed, held back",
     {"=!504", ":60000", "nil", TIME},
     LEASE_FAILED,
     60000,
     504,
     false,
     NOTHING},
    {"failed for ever", {"=!503", ":-1", "nil", TIME}, LEASE_AWAY, 0, 0, false, TAKE_OVER},
    {"failed for days", {"=!503", ":86400000", "nil", TIME}, LEASE_AWAY, 0, 0, false, TAKE_OVER},
    {"no status", {"=!999", ":900", "nil", TIME}, LEASE_HELD, 900, 0, false, NOTHING},
    {"too large", {"=!too-large", ":9000", "nil", TIME}, LEASE_TOO_LARGE, 9000, 0, false, NOTHING},
    {"too large for long",
     {"=!too-large", ":10001", "nil", TIME},
     LEASE_AWAY,
     0,
     0,
     false,
     TAKE_OVER},
    {"refused", {"-READONLY x", ":-2", "@", TIME}, LEASE_AWAY, 0, 0, true, NOTHING},
    {"loading", {"-LOADING x", "-LOADING x", "-LOADING x", TIME}, LEASE_AWAY, 0, 0, false, NOTHING},
    {"late", {"?", "?", "?", "?"}, LEASE_AWAY, 0, 0, false, GIVE_UP},
    {"late, and the rest in time", {"?", ":-2", "@", TIME}, LEASE_AWAY, 0, 0, true, GIVE_UP},
    {"away", {"!", "!", "!", "!"}, LEASE_AWAY, 0, 0, false, NOTHING},
    {"not what SET says", {":1", ":-2", "nil", TIME}, LEASE_HELD, 0, 0, false, NOTHING},
};

static const struct answer_case look_cases[] = {
    {"free", {"nil", ":-2", "nil", TIME}, LEASE_WON, 0, 0, false, NOTHING},
    {"free, an entry", {"nil", ":-2", "@", TIME}, LEASE_WON, 0, 0, true, NOTHING},
    {"held", {HELD, ":1500", "@", TIME}, LEASE_HELD, 1500, 0, true, NOTHING},
    {"left behind is free", {HELD, ":-1", "nil", TIME}, LEASE_WON, 0, 0, false, NOTHING},
    {"of another type is free",
     {"-WRONGTYPE x", ":-1", "nil", TIME},
     LEASE_WON,
     0,
     0,
     false,
     NOTHING},
    {"failed", {"=!503", ":900", "nil", TIME}, LEASE_FAILED, 900, 503, false, NOTHING},
    {"too large", {"=!too-large", ":9000", "nil", TIME}, LEASE_TOO_LARGE, 9000, 0, false, NOTHING},
    {"refused", {"-NOPERM x", ":-2", "nil", TIME}, LEASE_AWAY, 0, 0, false, NOTHING},
    {"entry late", {"nil", ":-2", "?", "?"}, LEASE_AWAY, 0, 0, false, NOTHING},
    {"late", {"?", "?", "?", "?"}, LEASE_AWAY, 0, 0, false, NOTHING},
    {"away", {"!", "!", "!", "!"}, LEASE_AWAY, 0, 0, false, NOTHING},
};

static void check_follow(const char *name, enum follow follow, const char *token)
{
    if (follow == NOTHING) {
        check(fake_redis_waiting() == 0, "%s: %s", name, fake_redis_text(0));
        return;
    }
    check(fake_redis_waiting() == 1, "%s: %zu", name, fake_redis_waiting());
    check(strcmp(fake_redis_part(0, 0), "EVAL") == 0, "%s", name);
    check(strcmp(fake_redis_part(0, 3), LEASE) == 0, "%s", name);
    if (follow == GIVE_UP) {
        char *expected = talloc_asprintf(NULL, "EVAL 1 %s %s %s", LEASE, token, CHANNEL);
        check(strcmp(fake_redis_text(0), expected) == 0, "%s: %s", name, fake_redis_text(0));
        talloc_free(expected);
    } else {
        check(strcmp(fake_redis_part(0, 5), token) == 0, "%s", name);
    }
}

static void check_case(struct bench *bench, const struct answer_case *each, bool only_look)
{
    char token[LEASE_TOKEN_BYTES + 1] = "";

    bench->answers = 0;
    fake_redis.n_taken_times = 0;
    ask(bench, only_look);
    if (!only_look)
        strcpy(token, fake_redis_part(0, 2));
    for (size_t i = 0; i < 4; i++) {
        check(bench->answers == 0, "%s: told before %zu", each->name, i);
        answer_as(each->parts[i]);
    }
    check_follow(each->name, each->follow, token);
    check((fake_redis.n_taken_times == 1) == (strcmp(each->parts[3], TIME) == 0), "%s", each->name);
    if (each->follow == TAKE_OVER) {
        check(bench->answers == 0, "%s: told before the take-over", each->name);
        fake_redis_answer_as("?");
        fake_redis_answer_as("?"); /* it was given up as well */
    } else if (each->follow == GIVE_UP) {
        fake_redis_answer_as("[:2 :1 =1795435200 =1]");
    }
    check(bench->answers == 1, "%s", each->name);
    check(bench->answer.state == each->state, "%s: %d", each->name, bench->answer.state);
    check((bench->stored.bytes != NULL) == each->stored, "%s", each->name);
    if (each->follow != TAKE_OVER && each->state != LEASE_WON)
        check(bench->answer.left_ms == each->left_ms, "%s: %d", each->name,
              (int)bench->answer.left_ms);
    check(bench->answer.failed_status == each->failed_status, "%s", each->name);
    if (each->state == LEASE_WON && !only_look) {
        check(strcmp(bench->answer.lease.token, token) == 0, "%s", each->name);
        check(bench->answer.lease.base == bench->base, "%s", each->name);
        check(bench->answer.lease.held_at_us == now_us, "%s", each->name);
    }
    fake_redis_change(REDIS_CAME_UP); /* a pause ends */
}

static void test_takes(void **state)
{
    for (size_t i = 0; i < COUNT_OF(take_cases); i++)
        check_case(*state, &take_cases[i], false);
}

static void test_looks(void **state)
{
    for (size_t i = 0; i < COUNT_OF(look_cases); i++)
        check_case(*state, &look_cases[i], true);
}

static void answer_all(const char *const parts[4])
{
    for (size_t i = 0; i < 4; i++)
        answer_as(parts[i]);
}

static const char *const forgotten[4] = {HELD, ":-1", "@", TIME};

static void test_taking_over(void **state)
{
    static const struct {
        const char *reply;
        enum lease_state state;
        int64_t left_ms;
        bool given_up;
    } cases[] = {
        {"[:2 =1795435200 =1]", LEASE_WON, 0, false},
        {"[:1 =1795435200 =1]", LEASE_HELD, LEASE_MS, false},
        {"-NOPERM x", LEASE_AWAY, 0, false},
        {"?", LEASE_AWAY, 0, true},
        {"!", LEASE_AWAY, 0, false},
        {"=odd", LEASE_AWAY, 0, false},
    };
    struct bench *bench = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        ask(bench, false);
        answer_all(forgotten);
        now_us += 1000;
        assert_true(fake_redis_writes(0));
        char *expected = talloc_asprintf(bench, "EVAL 1 %s %s %s 2000 2000", LEASE, TOKEN,
                                         fake_redis_part(0, 5));
        assert_string_equal(fake_redis_text(0), expected);
        fake_redis.n_taken_times = 0;
        answer_as(cases[i].reply);
        check(bench->answers == i + 1, "%s", cases[i].reply);
        check(bench->answer.state == cases[i].state, "%s", cases[i].reply);
        check(bench->stored.bytes != NULL, "%s", cases[i].reply);
        if (cases[i].state == LEASE_WON) {
            check(bench->answer.lease.held_at_us == now_us - 1000, "%s", cases[i].reply);
            check(bench->answer.lease.base == bench->base, "%s", cases[i].reply);
        }
        if (cases[i].state == LEASE_HELD)
            check(bench->answer.left_ms == cases[i].left_ms, "%s", cases[i].reply);
        check(fake_redis.n_taken_times == (cases[i].reply[0] == '[' ? 1u : 0u), "%s",
              cases[i].reply);
        check(fake_redis_waiting() == (cases[i].given_up ? 1u : 0u), "%s", cases[i].reply);
        if (cases[i].given_up)
            fake_redis_answer_as("?");
        fake_redis_change(REDIS_CAME_UP);
    }
}

/* Whatever is of another type has not been seen, and nothing that is seen equals it. */
static void test_taking_over_another_type(void **state)
{
    struct bench *bench = *state;

    ask(bench, false);
    answer_all((const char *const[4]){"-WRONGTYPE x", ":-1", "nil", TIME});
    assert_string_equal(fake_redis_part(0, 4), "");
    assert_string_equal(fake_redis_part(0, 7), "2000");
    fake_redis_answer_as("[:2 =1795435200 =1]");
    assert_int_equal(bench->answer.state, LEASE_WON);
    ask(bench, false);
    answer_all((const char *const[4]){"=!503", ":-1", "nil", TIME});
    assert_string_equal(fake_redis_part(0, 4), "!503");
    assert_true(strtoll(fake_redis_part(0, 7), NULL, 10) >= 3600 * 1000);
    fake_redis_answer_as("[:2 =1795435200 =1]");
    ask(bench, false);
    answer_all((const char *const[4]){"=!too-large", ":-1", "nil", TIME});
    assert_string_equal(fake_redis_part(0, 7), "10000");
}

/* Cancelled after so many of the four answers; it is told to nobody, and if it is taken given up.
 */
static void test_cancelled(void **state)
{
    static const struct {
        const char *parts[4];
        bool given_up;
    } cases[] = {
        {{"nil", ":2000", "@", TIME}, true},
        {{HELD, ":100", "@", TIME}, false},
        {{"?", "?", "?", "?"}, true},
        {{"!", "!", "!", "!"}, false},
        {{"-OOM x", ":-2", "nil", TIME}, false},
        {{HELD, ":-1", "nil", TIME}, false},
        {{"nil", ":2000", "?", "?"}, true},
    };
    struct bench *bench = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t answered = 0; answered < 4; answered++) {
            ask(bench, false);
            for (size_t part = 0; part < 4; part++) {
                if (part == answered)
                    cache_cancel(bench->request);
                answer_as(cases[i].parts[part]);
            }
            check(bench->answers == 0, "case %zu after %zu", i, answered);
            check(fake_redis_waiting() == (cases[i].given_up ? 1u : 0u), "case %zu after %zu", i,
                  answered);
            if (cases[i].given_up) {
                assert_string_equal(fake_redis_part(0, 3), LEASE);
                assert_int_equal(strlen(fake_redis_part(0, 4)), LEASE_TOKEN_BYTES);
                assert_string_equal(fake_redis_part(0, 5), CHANNEL);
                fake_redis_answer_as("[:2 :1 =1795435200 =1]");
            }
            fake_redis_change(REDIS_CAME_UP);
        }
    }
}

static void test_cancelled_taking_over(void **state)
{
    static const struct {
        const char *reply;
        bool given_up;
    } cases[] = {
        {"[:2 =1795435200 =1]", true}, {"[:1 =1795435200 =1]", false}, {"?", true}, {"!", false}};
    struct bench *bench = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        ask(bench, false);
        answer_all(forgotten);
        cache_cancel(bench->request);
        fake_redis_answer_as(cases[i].reply);
        check(bench->answers == 0, "%s", cases[i].reply);
        check(fake_redis_waiting() == (cases[i].given_up ? 1u : 0u), "%s", cases[i].reply);
        if (cases[i].given_up)
            fake_redis_answer_as("?");
        fake_redis_change(REDIS_CAME_UP);
    }
}

/* A look is simply withdrawn, whatever has been answered. */
static void test_cancelled_look(void **state)
{
    static const char *const parts[4] = {HELD, ":100", "@", TIME};
    struct bench *bench = *state;

    for (size_t answered = 0; answered < 4; answered++) {
        ask(bench, true);
        for (size_t part = 0; part < 4; part++) {
            if (part == answered)
                cache_cancel(bench->request);
            if (part >= answered)
                assert_true(fake_redis_is_cancelled(0));
            answer_as(parts[part]);
        }
        assert_int_equal(bench->answers, 0);
        assert_int_equal(fake_redis_waiting(), 0);
    }
}

/* The owner's texts are its own: it may have freed them when the give-up is sent. */
static void test_base_is_copied(void **state)
{
    struct bench *bench = *state;
    char *base = talloc_strdup(NULL, BASE);

    bench->request = cache_take(bench->cache, base, on_taken, bench);
    memset(base, 'x', strlen(base));
    talloc_free(base);
    cache_cancel(bench->request);
    answer_all((const char *const[4]){"nil", ":2000", "nil", TIME});
    assert_string_equal(fake_redis_part(0, 3), LEASE);
}

static void test_freed_under_way(void **state)
{
    struct bench *bench = *state;

    for (size_t answered = 0; answered <= 4; answered++) {
        ask(bench, false);
        ask(bench, true);
        cache_cancel(bench->request);
        for (size_t i = 0; i < answered; i++)
            answer_as(forgotten[i]);
        TALLOC_FREE(bench->cache);
        const struct redis_settings settings = {.prefix = "leeway"};
        const struct cache_options options = {.settings = &settings, .client_name = "test"};
        bench->cache = cache_open(NULL, bench->loop, &options);
    }
    assert_int_equal(bench->answers, 0);
}

static void test_freed_by_its_callback(void **state)
{
    struct bench *bench = *state;

    bench->free_cache = true;
    ask(bench, false);
    answer_all((const char *const[4]){"nil", ":2000", "@", TIME});
    assert_int_equal(bench->answers, 1);
    assert_null(bench->cache);
}

static void keep(void *data, struct lease_answer *answer)
{
    talloc_steal(data, answer->stored->bytes);
    *(struct cache_entry *)data = answer->stored->entry;
}

static void test_stolen_entry(void **state)
{
    struct bench *bench = *state;
    struct cache_entry *kept = talloc_zero(NULL, struct cache_entry);

    cache_take(bench->cache, bench->base, keep, kept);
    answer_all((const char *const[4]){HELD, ":100", "@", TIME});
    TALLOC_FREE(bench->cache);
    assert_int_equal(kept->body_len, 8);
    assert_memory_equal(kept->body, "{\"id\":1}", 8);
    talloc_free(kept);
}

/* ---- A server that takes no writes */

static void take_and_be_told(struct bench *bench, const char *holder)
{
    ask(bench, false);
    check(fake_redis_waiting() == 4, "%zu", fake_redis_waiting());
    answer_all((const char *const[4]){holder, ":-2", "nil", TIME});
    while (fake_redis_waiting() > 0)
        fake_redis_answer_as("[:1 :1 =1795435200 =1]");
}

/* Whether a take is answered without asking: not from within the call, and with LEASE_AWAY. */
static bool is_paused(struct bench *bench)
{
    size_t answers = bench->answers;

    ask(bench, false);
    assert_int_equal(bench->answers, answers);
    if (fake_redis_waiting() > 0) {
        answer_all((const char *const[4]){HELD, ":100", "nil", TIME});
        return false;
    }
    run(bench);
    run(bench);
    assert_int_equal(bench->answers, answers + 1);
    assert_int_equal(bench->answer.state, LEASE_AWAY);
    assert_null(bench->stored.bytes);
    return true;
}

static void test_pauses(void **state)
{
    static const struct {
        const char *holder;
        bool paused;
    } cases[] = {
        {"-NOPERM x", true},     {"-READONLY x", true}, {"-OOM x", true}, {"-MISCONF x", true},
        {"-NOREPLICAS x", true}, {"?", true},           {"!", false},     {"-LOADING x", false},
        {"-BUSY x", false},      {"-ERR x", false},     {"nil", false},   {HELD, false},
    };
    struct bench *bench = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        take_and_be_told(bench, cases[i].holder);
        check(is_paused(bench) == cases[i].paused, "%s", cases[i].holder);
        check(is_paused(bench) == cases[i].paused, "%s", cases[i].holder);
        fake_redis_change(REDIS_CAME_UP);
        check(!is_paused(bench), "%s", cases[i].holder);
    }
}

/* Looking goes on. */
static void test_pause_of_takes_alone(void **state)
{
    struct bench *bench = *state;

    take_and_be_told(bench, "-OOM x");
    assert_true(is_paused(bench));
    ask(bench, true);
    assert_int_equal(fake_redis_waiting(), 4);
    answer_all((const char *const[4]){"nil", ":-2", "@", TIME});
    assert_int_equal(bench->answer.state, LEASE_WON);
    assert_true(is_paused(bench));
}

static void test_one_tries_again(void **state)
{
    struct bench *bench = *state;

    take_and_be_told(bench, "-MISCONF x");
    now_us += 999 * 1000;
    assert_true(is_paused(bench));
    now_us += 2 * 1000;
    ask(bench, false); /* this one tries, and the next does not wait for it */
    assert_int_equal(fake_redis_waiting(), 4);
    size_t answers = bench->answers;
    cache_take(bench->cache, bench->base, on_taken, bench);
    run(bench);
    run(bench);
    assert_int_equal(bench->answers, answers + 1);
    assert_int_equal(bench->answer.state, LEASE_AWAY);
    answer_all((const char *const[4]){"-MISCONF x", ":-2", "nil", TIME});
    assert_true(is_paused(bench));
    now_us += 1001 * 1000;
    ask(bench, false);
    answer_all((const char *const[4]){"nil", ":2000", "nil", TIME});
    assert_int_equal(bench->answer.state, LEASE_WON);
    assert_false(is_paused(bench));
}

/* The one that tries is cancelled: what it finds counts all the same. */
static void test_cancelled_while_trying(void **state)
{
    struct bench *bench = *state;

    take_and_be_told(bench, "-MISCONF x");
    now_us += 1001 * 1000;
    ask(bench, false);
    cache_cancel(bench->request);
    answer_all((const char *const[4]){HELD, ":100", "nil", TIME});
    assert_false(is_paused(bench));
}

static void on_end(void *data, enum lease_end end, int64_t asked_us)
{
    (void)asked_us;
    *(enum lease_end *)data = end;
}

static void test_pause_after_store(void **state)
{
    static const struct {
        const char *reply;
        bool paused;
    } cases[] = {{"-OOM x", true},
                 {"-READONLY x", true},
                 {"?", true},
                 {"!", false},
                 {"[:3 :1 =1795435200 =1]", false},
                 {"-BUSY x", false}};
    struct bench *bench = *state;
    const struct lease lease = {.base = BASE, .token = TOKEN};
    enum lease_end end;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cache_store(bench->cache, &lease, "x", 1, 1, on_end, &end);
        answer_as(cases[i].reply);
        check(is_paused(bench) == cases[i].paused, "%s", cases[i].reply);
        fake_redis_change(REDIS_CAME_UP_NEW);
    }
    take_and_be_told(bench, "-OOM x");
    assert_true(is_paused(bench));
    cache_store(bench->cache, &lease, "x", 1, 1, on_end, &end);
    answer_as("[:3 :1 =1795435200 =1]");
    assert_false(is_paused(bench));
    take_and_be_told(bench, "-OOM x");
    fake_redis_change(REDIS_WENT_DOWN);
    assert_true(is_paused(bench));
}

static void test_cancelled_and_freed_while_paused(void **state)
{
    struct bench *bench = *state;

    take_and_be_told(bench, "-OOM x");
    bench->answers = 0;
    ask(bench, false);
    cache_cancel(bench->request);
    run(bench);
    ask(bench, false);
    TALLOC_FREE(bench->cache);
    run(bench);
    assert_int_equal(bench->answers, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_sent),
        TEST(test_takes),
        TEST(test_looks),
        TEST(test_taking_over),
        TEST(test_taking_over_another_type),
        TEST(test_cancelled),
        TEST(test_cancelled_taking_over),
        TEST(test_cancelled_look),
        TEST(test_base_is_copied),
        TEST(test_freed_under_way),
        TEST(test_freed_by_its_callback),
        TEST(test_stolen_entry),
        TEST(test_pauses),
        TEST(test_pause_of_takes_alone),
        TEST(test_one_tries_again),
        TEST(test_cancelled_while_trying),
        TEST(test_pause_after_store),
        TEST(test_cancelled_and_freed_while_paused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
