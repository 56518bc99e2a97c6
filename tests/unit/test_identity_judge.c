/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions that ask, a cache that answers when the test says, and what becomes of both; Postgres is
   a few counters. */
#include "config.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/identity.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fake_cache.h"
#include "fake_time.h"

#define IDENTITY "0123456789abcdef"

enum { LIMIT_MS = 500, CONNECT_MS = 2000 };

/* ---- Postgres, as far as it is asked */

static struct {
    bool up, busy;
    size_t connects;
    uint64_t generation;
} postgres;

void postgres_connect(struct postgres *unused)
{
    (void)unused;
    postgres.connects++;
}

bool postgres_is_busy(const struct postgres *unused)
{
    (void)unused;
    return postgres.busy;
}

bool postgres_is_up(const struct postgres *unused)
{
    (void)unused;
    return postgres.up;
}

void postgres_use_generation(struct postgres *unused, uint64_t generation)
{
    (void)unused;
    postgres.generation = generation;
}

/* ---- The bench */

struct asked {
    size_t told;
    enum place_verdict verdict;
    uint64_t generation;
    struct place_question *question;
};

struct bench {
    struct ev_loop *loop;
    struct fake_cache *fake;
    struct config config;
    struct application app;
    struct identity *identity;
    char directory[64];
    struct asked asked[3];
    size_t renewed;
};

static void open_identity(struct bench *bench)
{
    bench->identity =
        identity_new(NULL, bench->loop, &bench->app, fake_cache_get(bench->fake), true);
}

static int set_up(void **state)
{
    struct bench *bench = mem_check(talloc_zero(NULL, struct bench));

    strcpy(bench->directory, "/tmp/test_identity.XXXXXX");
    assert_non_null(mkdtemp(bench->directory));
    bench->loop = ev_loop_new(EVFLAG_AUTO);
    bench->fake = fake_cache_new(bench, bench->loop);
    bench->config.settings.runtime_dir = bench->directory;
    bench->config.settings.postgres.conninfo = "";
    bench->config.settings.postgres.connect_timeout_ms = CONNECT_MS;
    bench->config.settings.redis.prefix = "leeway";
    bench->config.settings.redis.namespace = "";
    bench->config.settings.redis.command_timeout_ms = LIMIT_MS / 2;
    bench->app.config = &bench->config;
    strcpy(bench->app.identity, IDENTITY);
    bench->app.destination = (struct destination){"h:1", "d", "u", ""};
    postgres.up = true;
    postgres.busy = false;
    postgres.connects = 0;
    open_identity(bench);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    char path[128];

    talloc_free(bench->identity);
    snprintf(path, sizeof path, "%s/identity." IDENTITY, bench->directory);
    unlink(path);
    rmdir(bench->directory);
    struct ev_loop *loop = bench->loop;
    talloc_free(bench);
    ev_loop_destroy(loop);
    return 0;
}

static void on_told(void *session, enum place_verdict verdict, uint64_t generation)
{
    struct asked *asked = session;

    asked->told++;
    asked->verdict = verdict;
    asked->generation = generation;
    asked->question = NULL;
}

static void ask_as(struct bench *bench, size_t n, const char *system, const char *database,
                   const char *user, bool recurring)
{
    const struct postgres_judge *judge = identity_judge(bench->identity);
    const struct postgres_place place = {system, database, user, "public", recurring};
    struct asked *asked = &bench->asked[n];
    const struct place_asker asker = {on_told, asked};

    *asked = (struct asked){.told = 0};
    asked->verdict =
        judge->judge(judge->data, &place, &asker, &asked->question, &asked->generation);
    assert_int_equal(asked->told, 0);
}

static void ask(struct bench *bench, size_t n, const char *system, const char *database)
{
    ask_as(bench, n, system, database, "u", false);
}

static void withdraw(struct bench *bench, size_t n)
{
    identity_judge(bench->identity)->withdraw(bench->asked[n].question);
}

/* A host that has been here before. */
static void verify(struct bench *bench)
{
    ask(bench, 0, "7", "5");
    fake_cache_answer_all(bench->fake);
    assert_int_equal(bench->asked[0].verdict, PLACE_RIGHT);
    assert_true(identity_is_verified(bench->identity));
    fake_cache_forget_records(bench->fake);
}

/* ---- Verdicts */

static void test_by_the_note(void **state)
{
    static const struct {
        struct identity_note noted;
        const char *system, *database;
        enum place_verdict verdict;
        size_t claims;
        struct identity_note then;
    } cases[] = {
        {{"", "", 0}, "7", "5", PLACE_RIGHT, 1, {"7", "5", 0}},
        {{"", "", 0}, "", "5", PLACE_RIGHT, 1, {"", "5", 0}},
        {{"7", "5", 0}, "7", "5", PLACE_RIGHT, 0, {"7", "5", 0}},
        {{"7", "5", 3}, "7", "5", PLACE_RIGHT, 0, {"7", "5", 3}},
        {{"8", "5", 0}, "7", "5", PLACE_WRONG, 0, {"8", "5", 0}},
        {{"7", "6", 0}, "7", "5", PLACE_WRONG, 0, {"7", "6", 0}},
        {{"", "6", 0}, "7", "5", PLACE_WRONG, 0, {"", "6", 0}},
        {{"7", "5", 0}, "", "5", PLACE_UNKNOWN, 0, {"7", "5", 0}}, /* no proof */
        {{"", "5", 2}, "7", "5", PLACE_RIGHT, 1, {"7", "5", 2}},   /* completed */
    };

    tear_down(state);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        set_up(state);
        struct bench *bench = *state;
        bool noted = cases[i].noted.database[0] != '\0';
        fake_cache_put_note(bench->fake, IDENTITY, noted ? &cases[i].noted : NULL);
        ask(bench, 0, cases[i].system, cases[i].database);
        check(bench->asked[0].verdict == PLACE_ASKED, "case %zu", i);
        check(!identity_is_verified(bench->identity), "case %zu", i);
        fake_cache_answer_all(bench->fake);
        check(bench->asked[0].told == 1, "case %zu", i);
        check(bench->asked[0].verdict == cases[i].verdict, "case %zu: %d", i,
              (int)bench->asked[0].verdict);
        bool right = cases[i].verdict == PLACE_RIGHT;
        check(identity_is_verified(bench->identity) == right, "case %zu", i);
        check((bench->asked[0].generation != 0) == right, "case %zu", i);
        check(fake_cache_count(bench->fake, FAKE_CLAIM_NOTE) == cases[i].claims, "case %zu", i);
        const struct identity_note *then = fake_cache_note(bench->fake, IDENTITY);
        check(strcmp(then->system, cases[i].then.system) == 0 &&
                  strcmp(then->database, cases[i].then.database) == 0 &&
                  then->accepts == cases[i].then.accepts,
              "case %zu: %s/%s/%d", i, then->system, then->database, (int)then->accepts);
        tear_down(state);
    }
    set_up(state);
}

static void test_no_database_is_no_question(void **state)
{
    struct bench *bench = *state;

    ask(bench, 0, "7", "");
    assert_int_equal(bench->asked[0].verdict, PLACE_UNKNOWN);
    assert_int_equal(fake_cache_under_way(bench->fake), 0);
}

/* Each way in which the cache may not say, and what this host knows. */
static void test_without_the_cache(void **state)
{
    enum way { DOWN, AWAY, REFUSED, SILENT, N_WAYS };

    tear_down(state);
    for (int way = DOWN; way < N_WAYS; way++) {
        for (int known = 0; known < 3; known++) { /* nothing, the place, another place */
            set_up(state);
            struct bench *bench = *state;
            if (known > 0)
                verify(bench);
            fake_cache_set_up(bench->fake, way != DOWN);
            ask(bench, 1, "7", known == 2 ? "6" : "5");
            if (way == SILENT) {
                fake_time_advance(bench->loop, LIMIT_MS - 10);
                check(bench->asked[1].told == 0, "too early");
                fake_time_advance(bench->loop, 20);
                check(fake_cache_under_way(bench->fake) == 0, "it is not withdrawn");
            } else if (way != DOWN) {
                fake_cache_answer_next(bench->fake, way == AWAY ? FAKE_AWAY : FAKE_REFUSED);
            }
            check(bench->asked[1].told == (way != DOWN), "way %d", way);
            static const enum place_verdict verdicts[] = {PLACE_UNKNOWN, PLACE_RIGHT, PLACE_WRONG};
            check(bench->asked[1].verdict == verdicts[known], "way %d, known %d: %d", way, known,
                  (int)bench->asked[1].verdict);
            check(identity_is_verified(bench->identity) == (known == 1), "way %d", way);
            tear_down(state);
        }
    }
    set_up(state);
}

/* A Redis that takes no writes will do where there is a note. */
static void test_a_note_that_cannot_be_completed(void **state)
{
    static const enum fake_way ways[] = {FAKE_REFUSED, FAKE_AWAY, FAKE_UNCERTAIN};
    const struct identity_note noted = {"", "5", 0};

    tear_down(state);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        set_up(state);
        struct bench *bench = *state;
        fake_cache_put_note(bench->fake, IDENTITY, &noted);
        ask(bench, 0, "7", "5");
        fake_cache_answer(bench->fake, FAKE_READ_NOTE, FAKE_DONE);
        assert_int_equal(bench->asked[0].told, 0);
        fake_cache_answer(bench->fake, FAKE_CLAIM_NOTE, ways[i]);
        check(bench->asked[0].verdict == PLACE_RIGHT, "way %zu", i);
        tear_down(state);
    }
    set_up(state);
    struct bench *bench = *state;
    fake_cache_put_note(bench->fake, IDENTITY, &noted);
    ask(bench, 0, "7", "5");
    fake_cache_answer(bench->fake, FAKE_READ_NOTE, FAKE_DONE);
    fake_time_advance(bench->loop, LIMIT_MS + 10);
    assert_int_equal(bench->asked[0].verdict, PLACE_RIGHT);
}

static void test_a_note_that_cannot_be_made(void **state)
{
    struct bench *bench = *state;

    ask(bench, 0, "7", "5");
    fake_cache_answer(bench->fake, FAKE_READ_NOTE, FAKE_DONE);
    fake_cache_answer(bench->fake, FAKE_CLAIM_NOTE, FAKE_REFUSED);
    assert_int_equal(bench->asked[0].verdict, PLACE_UNKNOWN);
    assert_false(identity_is_verified(bench->identity));
}

/* Both find nothing; the cache decides. */
static void test_two_at_once(void **state)
{
    struct bench *bench = *state;

    ask(bench, 0, "7", "5");
    ask(bench, 1, "7", "6");
    fake_cache_answer(bench->fake, FAKE_READ_NOTE, FAKE_DONE);
    fake_cache_answer(bench->fake, FAKE_READ_NOTE, FAKE_DONE);
    assert_int_equal(fake_cache_count(bench->fake, FAKE_CLAIM_NOTE), 2);
    fake_cache_answer_all(bench->fake);
    assert_int_equal(bench->asked[0].verdict, PLACE_RIGHT);
    assert_int_equal(bench->asked[1].verdict, PLACE_WRONG);
    assert_string_equal(fake_cache_note(bench->fake, IDENTITY)->database, "5");
}

/* A note that was lost is not made anew by who has seen something else. */
static void test_a_lost_note(void **state)
{
    struct bench *bench = *state;

    verify(bench);
    fake_cache_put_note(bench->fake, IDENTITY, NULL);
    ask(bench, 1, "7", "6");
    fake_cache_answer_all(bench->fake);
    assert_int_equal(bench->asked[1].verdict, PLACE_WRONG);
    assert_int_equal(fake_cache_count(bench->fake, FAKE_CLAIM_NOTE), 0);
    ask(bench, 1, "7", "5");
    fake_cache_answer_all(bench->fake);
    assert_int_equal(bench->asked[1].verdict, PLACE_RIGHT);
    assert_non_null(fake_cache_note(bench->fake, IDENTITY));
}

/* Behind a pooler transactions may go to and fro. */
static void test_who_passes_keeps_a_generation_of_its_own(void **state)
{
    struct bench *bench = *state;

    verify(bench);
    uint64_t first = identity_generation(bench->identity);
    ask_as(bench, 1, "7", "5", "v", true);
    fake_cache_answer_all(bench->fake);
    uint64_t second = identity_generation(bench->identity);
    assert_true(second != first && bench->asked[1].generation == second);
    ask_as(bench, 1, "7", "5", "u", true);
    fake_cache_answer_all(bench->fake);
    assert_int_equal(bench->asked[1].verdict, PLACE_RIGHT);
    assert_true(bench->asked[1].generation == first);
    assert_true(identity_generation(bench->identity) == second);
}

/* ---- Ends */

static void test_withdrawn(void **state)
{
    for (int answers = 0; answers < 2; answers++) {
        struct bench *bench = *state;
        ask(bench, 0, "7", "5");
        if (answers > 0)
            fake_cache_answer_next(bench->fake, FAKE_DONE);
        withdraw(bench, 0);
        assert_int_equal(fake_cache_under_way(bench->fake), 0);
        fake_time_advance(bench->loop, LIMIT_MS + 10);
        assert_int_equal(bench->asked[0].told, 0);
    }
}

static void test_the_identity_goes_first(void **state)
{
    struct bench *bench = *state;

    verify(bench);
    ask(bench, 0, "7", "5");
    identity_tick(bench->identity);
    assert_true(identity_renew(bench->identity, NULL, NULL));
    assert_int_equal(fake_cache_under_way(bench->fake), 2);
    TALLOC_FREE(bench->identity);
    assert_int_equal(fake_cache_under_way(bench->fake), 0);
    fake_time_advance(bench->loop, CONNECT_MS + LIMIT_MS);
    assert_int_equal(bench->asked[0].told, 0);
}

/* ---- Looks */

static void test_one_look_at_a_time(void **state)
{
    struct bench *bench = *state;
    const struct identity_note other = {"8", "5", 0};

    identity_tick(bench->identity);
    assert_int_equal(fake_cache_under_way(bench->fake), 0); /* it knows nothing to compare with */
    verify(bench);
    fake_cache_put_note(bench->fake, IDENTITY, &other);
    identity_tick(bench->identity);
    identity_tick(bench->identity);
    assert_int_equal(fake_cache_count(bench->fake, FAKE_READ_NOTE), 1);
    fake_cache_answer_all(bench->fake);
    assert_false(identity_is_verified(bench->identity));
    assert_non_null(strstr(identity_problem(bench->identity), "this host"));
    /* it is put right */
    const struct identity_note right = {"7", "5", 1};
    fake_cache_put_note(bench->fake, IDENTITY, &right);
    identity_tick(bench->identity);
    fake_cache_answer_all(bench->fake);
    assert_true(identity_is_verified(bench->identity));
    /* one that is never answered ends, and the next comes */
    identity_tick(bench->identity);
    fake_time_advance(bench->loop, LIMIT_MS + 10);
    assert_true(identity_is_verified(bench->identity));
    identity_tick(bench->identity);
    assert_int_equal(fake_cache_under_way(bench->fake), 1);
}

/* What was kept is not used before the note has been compared with it. */
static void test_what_was_kept(void **state)
{
    static const struct {
        bool up;
        enum fake_way way;
        struct identity_note noted;
        bool verified;
    } cases[] = {
        {true, FAKE_DONE, {"7", "5", 0}, true},  {true, FAKE_DONE, {"8", "5", 0}, false},
        {true, FAKE_AWAY, {"8", "5", 0}, true},  {true, FAKE_REFUSED, {"7", "5", 0}, true},
        {false, FAKE_DONE, {"8", "5", 0}, true},
    };
    struct bench *bench = *state;

    verify(bench);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        TALLOC_FREE(bench->identity); /* keeps it */
        fake_cache_put_note(bench->fake, IDENTITY, &cases[i].noted);
        fake_cache_set_up(bench->fake, cases[i].up);
        open_identity(bench);
        check(identity_is_verified(bench->identity) == !cases[i].up, "case %zu, too early", i);
        if (cases[i].up)
            fake_cache_answer_next(bench->fake, cases[i].way);
        check(identity_is_verified(bench->identity) == cases[i].verified, "case %zu", i);
        /* one that is refused would not be kept */
        const struct identity_note right = {"7", "5", 0};
        fake_cache_set_up(bench->fake, true);
        fake_cache_put_note(bench->fake, IDENTITY, &right);
        ask(bench, 0, "7", "5");
        fake_cache_answer_all(bench->fake);
        check(bench->asked[0].verdict == PLACE_RIGHT, "case %zu", i);
    }
}

/* ---- Renewal */

static void on_renewed(void *data)
{
    struct bench *bench = data;

    bench->renewed++;
}

static void test_a_renewal_waits_for_a_verdict(void **state)
{
    struct bench *bench = *state;

    assert_false(identity_renew(bench->identity, on_renewed, bench)); /* nothing is verified */
    verify(bench);
    assert_true(identity_renew(bench->identity, on_renewed, bench));
    assert_int_equal(bench->renewed, 0);
    fake_time_advance(bench->loop, 100);
    assert_true(postgres.connects > 0);
    assert_true(postgres.generation != identity_generation(bench->identity));
    assert_int_equal(bench->renewed, 0);
    postgres.busy = true; /* judged, and it sets up what it needs */
    ask(bench, 1, "7", "5");
    fake_cache_answer_all(bench->fake);
    fake_time_advance(bench->loop, 100);
    assert_int_equal(bench->renewed, 0);
    postgres.busy = false;
    fake_time_advance(bench->loop, 100);
    assert_int_equal(bench->renewed, 1);
    assert_true(postgres.generation == identity_generation(bench->identity));
    /* and not again so soon */
    assert_false(identity_renew(bench->identity, on_renewed, bench));
    fake_time_advance(bench->loop, 10 * 1000);
    assert_true(identity_renew(bench->identity, on_renewed, bench));
}

static void test_a_renewal_that_comes_to_nothing(void **state)
{
    struct bench *bench = *state;

    verify(bench);
    assert_true(identity_renew(bench->identity, on_renewed, bench));
    fake_time_advance(bench->loop, CONNECT_MS + 100);
    assert_int_equal(bench->renewed, 1);
    assert_true(postgres.generation == identity_generation(bench->identity));
    fake_time_advance(bench->loop, 20 * 1000);
    postgres.up = false;
    assert_true(identity_renew(bench->identity, on_renewed, bench));
    assert_int_equal(bench->renewed, 1);
    fake_time_advance(bench->loop, 100);
    assert_int_equal(bench->renewed, 2);
}

static void test_a_renewal_that_is_stopped(void **state)
{
    struct bench *bench = *state;

    verify(bench);
    assert_true(identity_renew(bench->identity, on_renewed, bench));
    identity_stop_renewing(bench->identity);
    fake_time_advance(bench->loop, CONNECT_MS + 100);
    assert_int_equal(bench->renewed, 0);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_by_the_note),
        CASE(test_no_database_is_no_question),
        CASE(test_without_the_cache),
        CASE(test_a_note_that_cannot_be_completed),
        CASE(test_a_note_that_cannot_be_made),
        CASE(test_two_at_once),
        CASE(test_a_lost_note),
        CASE(test_who_passes_keeps_a_generation_of_its_own),
        CASE(test_withdrawn),
        CASE(test_the_identity_goes_first),
        CASE(test_one_look_at_a_time),
        CASE(test_what_was_kept),
        CASE(test_a_renewal_waits_for_a_verdict),
        CASE(test_a_renewal_that_comes_to_nothing),
        CASE(test_a_renewal_that_is_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
