/* SPDX-License-Identifier: BSD-2-Clause */
/* The client against a server that does what each case says. Nothing depends on how fast it goes:
   what is waited for has to come, if late. */
#include "config.h"

#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "redis/await.h"
#include "redis_script.h"

enum { LONGEST_S = 20 };

struct fixture {
    struct ev_loop *loop;
    struct script *script;
    struct redis_settings settings;
    struct redis *redis;
    char changes[128]; /* "N": up, new; "U": up; "D": down */
    bool frees_on_change;
    bool writes; /* what is asked from now on */
};

/* What became of a request. */
struct answer {
    struct fixture *fixture;
    int calls;
    enum redis_outcome outcome;
    char text[64];
    struct redis_request *cancels; /* in its call */
    bool frees;
    bool sends;
};

static void on_change(void *data, enum redis_change change)
{
    static const char letters[] = {
        [REDIS_CAME_UP] = 'U', [REDIS_CAME_UP_NEW] = 'N', [REDIS_WENT_DOWN] = 'D'};
    struct fixture *f = data;
    size_t len = strlen(f->changes);

    assert_true(len + 1 < sizeof f->changes);
    f->changes[len] = letters[change];
    if (f->frees_on_change)
        TALLOC_FREE(f->redis);
}

static int set_up(void **state)
{
    struct fixture *f = talloc_zero(NULL, struct fixture);

    signal(SIGPIPE, SIG_IGN);
    f->loop = ev_loop_new(EVFLAG_AUTO);
    f->script = script_new(f, f->loop);
    f->settings = (struct redis_settings){
        .address = script_address(f->script),
        .tls_ca = "",
        .tls_cert = "",
        .tls_key = "",
        .tls_name = "",
        .username = "",
        .password = "",
        .prefix = "p",
        .connect_timeout_ms = 5000,
        .command_timeout_ms = 5000,
    };
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct ev_loop *loop = f->loop;

    TALLOC_FREE(f->redis);
    talloc_free(f);
    ev_loop_destroy(loop);
    return 0;
}

static void open_redis(struct fixture *f)
{
    const struct redis_options options = {
        .settings = &f->settings,
        .client_name = "tester",
        .clock_key = "p:clock",
        .on_change = on_change,
        .data = f,
    };

    f->redis = redis_new(NULL, f->loop, &options);
    assert_false(redis_is_up(f->redis));
    assert_string_equal(f->changes, "");
}

static void on_limit(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    fail_msg("what was waited for has not come");
}

/* Runs the loop until the condition holds. */
#define WAIT_FOR(f, condition)                                                                     \
    do {                                                                                           \
        ev_timer limit;                                                                            \
        ev_now_update((f)->loop);                                                                  \
        ev_timer_init(&limit, on_limit, LONGEST_S, 0.0);                                           \
        ev_timer_start((f)->loop, &limit);                                                         \
        while (!(condition))                                                                       \
            ev_run((f)->loop, EVRUN_ONCE);                                                         \
        ev_timer_stop((f)->loop, &limit);                                                          \
    } while (0)

static void open_and_wait(struct fixture *f)
{
    open_redis(f);
    WAIT_FOR(f, f->changes[0] != '\0');
    assert_string_equal(f->changes, "N");
    assert_true(redis_is_up(f->redis));
    script_forget(f->script);
}

static struct redis_request *ask(struct fixture *f, struct answer *answer, const char *words,
                                 int64_t block_ms);

static void on_answer(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct answer *answer = data;

    answer->calls++;
    answer->outcome = outcome;
    assert_true((reply != NULL) == (outcome == REDIS_REPLIED || outcome == REDIS_REFUSED));
    if (reply != NULL)
        snprintf(answer->text, sizeof answer->text, "%s", reply->text);
    redis_cancel(answer->cancels);
    if (answer->sends) {
        answer->sends = false;
        ask(answer->fixture, answer, "GET again", 0);
        assert_int_equal(answer->calls, 1);
    }
    if (answer->frees)
        TALLOC_FREE(answer->fixture->redis);
}

static struct redis_request *ask(struct fixture *f, struct answer *answer, const char *words,
                                 int64_t block_ms)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct redis_part parts[8];
    size_t count = 0;
    char *rest = NULL;
    int calls = answer->calls;

    answer->fixture = f;
    for (char *word = strtok_r(talloc_strdup(ctx, words), " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest))
        parts[count++] = redis_text(word);
    const struct redis_command command = {
        .parts = parts, .count = count, .key = "k", .writes = f->writes, .block_ms = block_ms};
    struct redis_request *request = redis_send(f->redis, &command, on_answer, answer);
    assert_non_null(request);
    assert_int_equal(answer->calls, calls); /* never from within */
    talloc_free(ctx);
    return request;
}

static void check_answer(const struct answer *answer, enum redis_outcome outcome, const char *text)
{
    check(answer->calls == 1 && answer->outcome == outcome && strcmp(answer->text, text) == 0,
          "%d calls, outcome %d, \"%s\"", answer->calls, answer->outcome, answer->text);
}

/* --- greetings */

static void test_greeting(void **state)
{
    struct fixture *f = *state;

    f->settings.password = "secret";
    f->settings.database = 3;
    open_redis(f);
    WAIT_FOR(f, redis_is_up(f->redis));
    assert_string_equal(script_heard(f->script),
                        " [HELLO 2 AUTH default secret SETNAME tester] [SELECT 3]"
                        " [GETRANGE p:clock 0 47] [TIME] [INFO server]");
    const struct redis_server server = redis_server(f->redis);
    assert_string_equal(server.name, "redis");
    assert_string_equal(server.version, "7.0.15");
    assert_string_equal(server.mode, "standalone");
    assert_string_equal(server.role, "master");
    assert_true(redis_get_clock(f->redis)->known);
    assert_true(redis_clock_will_do(f->redis));
    assert_string_equal(f->changes, "N");
    assert_null(redis_problem(f->redis));
}

static void test_without_hello(void **state)
{
    struct fixture *f = *state;

    f->settings.username = "leeway";
    f->settings.password = "secret";
    script_answer(f->script, "HELLO", "-ERR unknown command 'HELLO', with args: 'secret'\r\n");
    script_answer(f->script, "CLIENT", "-NOPERM no\r\n");
    open_redis(f);
    WAIT_FOR(f, redis_is_up(f->redis));
    assert_non_null(strstr(script_heard(f->script), "[AUTH leeway secret] [CLIENT SETNAME tester]"
                                                    " [GETRANGE p:clock 0 47] [TIME]"));
}

/* Each error, where it ends the attempt and where not. */
static void test_greeting_errors(void **state)
{
    static const struct {
        const char *command;
        const char *reply;
        const char *problem; /* NULL: it comes up */
    } cases[] = {
        {"HELLO", "-WRONGPASS invalid username-password pair\r\n", "WRONGPASS"},
        {"HELLO", "-NOAUTH HELLO must be called\r\n", "NOAUTH"},
        {"HELLO", "-NOPROTO unsupported protocol version\r\n", NULL},
        {"HELLO", SCRIPT_CLOSES, "closed the connection"},
        {"HELLO", "-ERR max number of clients reached\r\n" SCRIPT_CLOSES, "max number of clients"},
        {"HELLO", "-WRONGPASS\r\n" SCRIPT_CLOSES, "WRONGPASS"},
        {"GETRANGE", "-LOADING Redis is loading\r\n", "LOADING"},
        {"GETRANGE", "-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN"},
        {"GETRANGE", "-NOPERM no\r\n", NULL},
        {"GETRANGE", "-MISCONF Redis is configured\r\n", NULL},
        {"GETRANGE", "-WRONGTYPE Operation\r\n", NULL},
        {"GETRANGE", "$7\r\nnothing\r\n", NULL},
        {"GETRANGE", SCRIPT_CLOSES, "closed the connection"},
        {"TIME", "-NOPERM no\r\n", "NOPERM"},
        {"TIME", "*0\r\n", "TIME was not understood"},
        {"TIME", "*2\r\n$1\r\na\r\n$1\r\n0\r\n", "TIME was not understood"},
        {"TIME", "$-1\r\n", "TIME was not understood"},
        {"TIME", SCRIPT_CLOSES, "closed the connection"},
        {"INFO", "-NOPERM no\r\n", NULL},
        {"INFO", "$-1\r\n", NULL},
        {"INFO", SCRIPT_CLOSES, "closed the connection"},
        {"INFO", "@\r\n", "Protocol error"},
        {"SELECT", "-ERR DB index is out of range\r\n", "out of range"},
    };
    struct fixture *f = *state;

    f->settings.database = 1;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        memset(f->changes, 0, sizeof f->changes);
        script_answer(f->script, cases[i].command, cases[i].reply);
        open_redis(f);
        WAIT_FOR(f, redis_is_up(f->redis) || redis_problem(f->redis) != NULL);
        const char *problem = redis_problem(f->redis);
        if (cases[i].problem == NULL)
            check(problem == NULL, "%s %s: %s", cases[i].command, cases[i].reply, problem);
        else
            check(problem != NULL && strstr(problem, cases[i].problem) != NULL, "%s %s: %s",
                  cases[i].command, cases[i].reply, problem);
        /* and it heals by itself */
        script_answer(f->script, cases[i].command, NULL);
        WAIT_FOR(f, redis_is_up(f->redis));
        check(strcmp(f->changes, "N") == 0, "%s", f->changes);
        TALLOC_FREE(f->redis);
        WAIT_FOR(f, script_connections(f->script) == 0);
    }
}

/* It is asked again: to take the next command's refusal for an answer would be to come up. */
static void test_no_room_is_not_an_unknown_hello(void **state)
{
    struct fixture *f = *state;

    script_answer(f->script, "HELLO", "-ERR max number of clients reached\r\n" SCRIPT_CLOSES);
    open_redis(f);
    WAIT_FOR(f, redis_problem(f->redis) != NULL);
    script_answer(f->script, "HELLO", NULL);
    WAIT_FOR(f, redis_is_up(f->redis));
    assert_null(strstr(script_heard(f->script), "[CLIENT SETNAME"));
}

static void test_mute_greeting(void **state)
{
    struct fixture *f = *state;

    f->settings.connect_timeout_ms = f->settings.command_timeout_ms = 20;
    script_answer(f->script, "INFO", SCRIPT_IS_MUTE);
    open_redis(f);
    WAIT_FOR(f, redis_problem(f->redis) != NULL);
    assert_string_equal(redis_problem(f->redis), "no answer in time");
    assert_string_equal(f->changes, "");
}

/* --- replies */

static void test_pipeline(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0}, c = {0};

    open_and_wait(f);
    script_answer(f->script, "A", "$1\r\na\r\n");
    script_answer(f->script, "B", "-ERR b\r\n");
    script_answer(f->script, "C", SCRIPT_IS_MUTE);
    ask(f, &a, "A 1", 0);
    ask(f, &b, "B", 0);
    ask(f, &c, "C", 0);
    WAIT_FOR(f, script_count(f->script, "C") == 1 && b.calls > 0);
    assert_string_equal(script_heard(f->script), " [A 1] [B] [C]");
    assert_int_equal(script_reads(f->script), 1); /* all in one write */
    check_answer(&a, REDIS_REPLIED, "a");
    check_answer(&b, REDIS_REFUSED, "ERR b");
    assert_int_equal(c.calls, 0);
    /* half, and then the rest */
    script_say(f->script, "C", "$5\r\nhel", 7);
    for (int i = 0; i < 3; i++)
        ev_run(f->loop, EVRUN_NOWAIT);
    assert_int_equal(c.calls, 0);
    script_say(f->script, "C", "lo\r\n", 4);
    WAIT_FOR(f, c.calls > 0);
    check_answer(&c, REDIS_REPLIED, "hello");
    assert_string_equal(f->changes, "N");
}

static void test_large_reply(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0};
    enum { BYTES = 3 * 1024 * 1024 };
    char *reply = talloc_zero_size(f, BYTES + 64);
    size_t len = (size_t)sprintf(reply, "$%d\r\n", BYTES);

    open_and_wait(f);
    script_answer(f->script, "A", SCRIPT_IS_MUTE);
    ask(f, &a, "A", 0);
    WAIT_FOR(f, script_count(f->script, "A") == 1);
    memset(reply + len, 'x', BYTES);
    memcpy(reply + len + BYTES, "\r\n", 2);
    for (size_t at = 0, n; at < len + BYTES + 2; at += n) {
        n = len + BYTES + 2 - at < 100000 ? len + BYTES + 2 - at : 100000;
        script_say(f->script, "A", reply + at, n);
        ev_run(f->loop, EVRUN_NOWAIT);
    }
    ask(f, &b, "B", 0);
    WAIT_FOR(f, b.calls > 0);
    assert_int_equal(a.outcome, REDIS_REPLIED);
    check_answer(&b, REDIS_REPLIED, "OK");
}

static void test_late_reply(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0};

    f->settings.connect_timeout_ms = 5000;
    f->settings.command_timeout_ms = 100;
    open_and_wait(f);
    script_answer(f->script, "A", SCRIPT_IS_MUTE);
    ask(f, &a, "A", 0);
    WAIT_FOR(f, a.calls > 0);
    check_answer(&a, REDIS_UNCERTAIN, "");
    assert_true(redis_is_up(f->redis));
    script_say(f->script, "A", "+late\r\n", 7);
    ask(f, &b, "B", 0);
    WAIT_FOR(f, b.calls > 0);
    check_answer(&b, REDIS_REPLIED, "OK"); /* and not the late one */
    check_answer(&a, REDIS_UNCERTAIN, "");
    assert_string_equal(f->changes, "N");
}

/* Nothing comes, or a little all the time: the connection goes, and another one is made. */
static void check_stuck(struct fixture *f, bool trickles)
{
    struct answer a = {0}, b = {0};

    f->settings.command_timeout_ms = 50;
    open_and_wait(f);
    script_answer(f->script, "A", SCRIPT_IS_MUTE);
    ask(f, &a, "A", 0);
    WAIT_FOR(f, script_count(f->script, "A") == 1);
    if (trickles)
        script_say(f->script, "A", "$100000000\r\n", 12);
    int64_t limit_us = clock_monotonic_us() + (int64_t)LONGEST_S * 1000000;
    while (strchr(f->changes, 'D') == NULL) {
        assert_true(clock_monotonic_us() < limit_us);
        if (trickles)
            script_say(f->script, "A", "x", 1);
        WAIT_FOR(f, ev_run(f->loop, EVRUN_ONCE) >= 0);
    }
    check_answer(&a, REDIS_UNCERTAIN, "");
    WAIT_FOR(f, redis_is_up(f->redis));
    assert_string_equal(f->changes, "NDU");
    ask(f, &b, "B", 0);
    WAIT_FOR(f, b.calls > 0);
    check_answer(&b, REDIS_REPLIED, "OK");
}

static void test_stuck(void **state)
{
    check_stuck(*state, false);
}

static void test_trickle(void **state)
{
    check_stuck(*state, true);
}

static void test_too_many_replies(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0};

    open_and_wait(f);
    script_answer(f->script, "A", "+a\r\n+b\r\n");
    ask(f, &a, "A", 0);
    WAIT_FOR(f, strcmp(f->changes, "NDU") == 0);
    check_answer(&a, REDIS_REPLIED, "a");
}

/* As after one that was lost on the way: whose are those that follow? */
static void test_reply_of_another(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0};

    open_and_wait(f);
    script_answer(f->script, "GET", ":1\r\n");
    ask(f, &a, "GET a", 0);
    ask(f, &b, "GET b", 0);
    WAIT_FOR(f, strcmp(f->changes, "NDU") == 0);
    check_answer(&a, REDIS_UNCERTAIN, "");
    check_answer(&b, REDIS_UNCERTAIN, "");
}

static void test_broken(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0}, c = {0};

    open_and_wait(f);
    script_answer(f->script, "A", SCRIPT_CLOSES);
    ask(f, &a, "A", 0);
    ask(f, &b, "B", 0);
    b.sends = true;
    script_stop_listening(f->script);
    WAIT_FOR(f, b.calls > 1);
    check_answer(&a, REDIS_UNCERTAIN, "");
    assert_int_equal(b.outcome, REDIS_NOT_SENT); /* of the second, while it was down */
    WAIT_FOR(f, strcmp(redis_problem(f->redis), "No such file or directory") == 0);
    ask(f, &c, "C", 0);
    WAIT_FOR(f, c.calls > 0);
    check_answer(&c, REDIS_NOT_SENT, "");
    assert_string_equal(f->changes, "ND");
    script_listen(f->script);
    WAIT_FOR(f, redis_is_up(f->redis));
    assert_string_equal(f->changes, "NDU");
}

/* What was not written whole has not been done. */
static void test_unwritten(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0}, c = {0};
    enum { BYTES = 8 * 1024 * 1024 };
    char *large = talloc_size(f, BYTES + 1);

    open_and_wait(f);
    script_pause(f->script, true);
    memset(large, 'x', BYTES);
    memcpy(large, "SET k ", 6);
    large[BYTES] = '\0';
    ask(f, &a, "A", 0);
    ev_run(f->loop, EVRUN_NOWAIT);
    ask(f, &b, large, 0);
    ask(f, &c, "C", 0);
    ev_run(f->loop, EVRUN_NOWAIT);
    script_close_all(f->script);
    WAIT_FOR(f, c.calls > 0);
    check_answer(&a, REDIS_UNCERTAIN, "");
    check_answer(&b, REDIS_NOT_SENT, "");
    check_answer(&c, REDIS_NOT_SENT, "");
}

static void test_too_many_requests(void **state)
{
    struct fixture *f = *state;
    static struct answer answers[65536 + 10];

    open_and_wait(f);
    script_pause(f->script, true);
    for (size_t i = 0; i < COUNT_OF(answers); i++)
        ask(f, &answers[i], "A", 0);
    WAIT_FOR(f, answers[COUNT_OF(answers) - 1].calls > 0);
    check_answer(&answers[COUNT_OF(answers) - 1], REDIS_NOT_SENT, "");
    assert_int_equal(answers[0].calls, 0);
    assert_int_equal(answers[65535].calls, 0);
    script_close_all(f->script);
    WAIT_FOR(f, answers[65535].calls > 0);
    assert_int_equal(answers[0].calls, 1);
}

/* --- owners that go */

static void test_cancel(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0}, c = {0}, d = {0};

    redis_cancel(NULL);
    open_redis(f);
    redis_cancel(ask(f, &a, "A", 0)); /* it is down: refused, but not told yet */
    ask(f, &b, "B", 0);
    WAIT_FOR(f, b.calls > 0);
    check_answer(&b, REDIS_NOT_SENT, "");
    WAIT_FOR(f, redis_is_up(f->redis));
    redis_cancel(ask(f, &a, "A", 0));
    ask(f, &c, "C", 0);
    c.cancels = ask(f, &d, "D", 0); /* its reply is there at the same time */
    ask(f, &b, "E", 0);
    WAIT_FOR(f, b.calls == 2);
    check_answer(&c, REDIS_REPLIED, "OK");
    assert_int_equal(a.calls, 0);
    assert_int_equal(d.calls, 0);
}

/* The client is freed in the middle of each of its calls. */
static void test_free_in_calls(void **state)
{
    static const struct {
        const char *reply;
        bool waits_up;
        enum redis_outcome outcome;
    } cases[] = {
        {NULL, true, REDIS_REPLIED},
        {"-ERR\r\n", true, REDIS_REFUSED},
        {SCRIPT_CLOSES, true, REDIS_UNCERTAIN},
        {SCRIPT_IS_MUTE, true, REDIS_UNCERTAIN},
        {NULL, false, REDIS_NOT_SENT},
    };
    struct fixture *f = *state;

    f->settings.command_timeout_ms = 200;
    script_answer(f->script, "B", SCRIPT_IS_MUTE);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct answer a = {.frees = true}, b = {0};
        memset(f->changes, 0, sizeof f->changes);
        script_answer(f->script, "A", cases[i].reply);
        if (cases[i].waits_up)
            open_and_wait(f);
        else
            open_redis(f);
        ask(f, &a, "A", 0);
        ask(f, &b, "B", 0);
        WAIT_FOR(f, a.calls > 0);
        check(a.outcome == cases[i].outcome, "case %zu: %d", i, a.outcome);
        WAIT_FOR(f, script_connections(f->script) == 0);
        assert_int_equal(b.calls, 0);
    }
}

static void test_free_on_change(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0};

    f->frees_on_change = true;
    open_redis(f);
    WAIT_FOR(f, f->redis == NULL);
    f->frees_on_change = false;
    memset(f->changes, 0, sizeof f->changes);
    open_and_wait(f);
    f->frees_on_change = true;
    script_answer(f->script, "A", SCRIPT_CLOSES);
    ask(f, &a, "A", 0);
    WAIT_FOR(f, f->redis == NULL);
    assert_string_equal(f->changes, "ND");
    check_answer(&a, REDIS_UNCERTAIN, "");
}

/* --- a server that closes what is idle */

static void test_idle_close(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0};

    open_and_wait(f);
    ask(f, &a, "A", 0);
    WAIT_FOR(f, a.calls > 0);
    int greetings = script_count(f->script, "HELLO");
    script_close_all(f->script);
    WAIT_FOR(f, script_count(f->script, "HELLO") > greetings);
    assert_true(redis_is_up(f->redis));
    ask(f, &b, "B", 0); /* the greeting is under way */
    WAIT_FOR(f, b.calls > 0);
    check_answer(&b, REDIS_REPLIED, "OK");
    assert_string_equal(f->changes, "N");
    assert_null(redis_problem(f->redis));
    /* it may be closed at the very moment when something is asked */
    memset(&a, 0, sizeof a);
    script_close_all(f->script);
    ask(f, &a, "A", 0);
    WAIT_FOR(f, a.calls > 0);
    check_answer(&a, REDIS_REPLIED, "OK");
    assert_string_equal(f->changes, "N");
}

static void test_idle_close_for_good(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0};

    open_and_wait(f);
    ask(f, &a, "A", 0);
    WAIT_FOR(f, a.calls > 0);
    script_stop_listening(f->script);
    script_close_all(f->script);
    ask(f, &b, "B", 0);
    WAIT_FOR(f, b.calls > 0);
    check_answer(&b, REDIS_NOT_SENT, "");
    WAIT_FOR(f, strcmp(f->changes, "ND") == 0);
    assert_false(redis_is_up(f->redis));
}

static void test_other_server(void **state)
{
    static const char other[] = "$15\r\nrun_id:second\r\n\r\n";
    struct fixture *f = *state;
    struct answer a = {0};

    open_and_wait(f);
    ask(f, &a, "A", 0);
    WAIT_FOR(f, a.calls > 0);
    script_answer(f->script, "INFO", other);
    script_close_all(f->script);
    WAIT_FOR(f, strcmp(f->changes, "NN") == 0);
    /* who does not tell may be anybody */
    memset(&a, 0, sizeof a);
    ask(f, &a, "A", 0);
    WAIT_FOR(f, a.calls > 0);
    script_answer(f->script, "INFO", "-NOPERM no\r\n");
    script_close_all(f->script);
    WAIT_FOR(f, strcmp(f->changes, "NNN") == 0);
}

/* --- commands that write */

/* What reads does not wait behind what is held back. */
static void test_writing(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0}, c = {0};

    f->settings.command_timeout_ms = 60000;
    open_and_wait(f);
    script_answer(f->script, "W", SCRIPT_IS_MUTE);
    script_answer(f->script, "V", SCRIPT_IS_MUTE);
    f->writes = true;
    ask(f, &a, "W 1", 0);
    WAIT_FOR(f, script_count(f->script, "W") == 1);
    ask(f, &c, "V", 0);
    f->writes = false;
    ask(f, &b, "B", 0);
    WAIT_FOR(f, b.calls > 0);
    check_answer(&b, REDIS_REPLIED, "OK");
    assert_int_equal(a.calls + c.calls, 0);
    assert_int_equal(script_connections(f->script), 2);
    script_say(f->script, "W", "+first\r\n+second\r\n", 17);
    WAIT_FOR(f, c.calls > 0);
    check_answer(&a, REDIS_REPLIED, "first");
    check_answer(&c, REDIS_REPLIED, "second");
    assert_int_equal(script_connections(f->script), 2);
    assert_string_equal(f->changes, "N");
}

/* While nothing can be reached it is not done, and afterwards over a new connection. */
static void test_writing_ends(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0};

    f->settings.command_timeout_ms = 60000;
    open_redis(f);
    f->writes = true;
    ask(f, &a, "W", 0);
    WAIT_FOR(f, a.calls > 0);
    check_answer(&a, REDIS_NOT_SENT, "");
    WAIT_FOR(f, redis_is_up(f->redis));
    memset(&a, 0, sizeof a);
    script_answer(f->script, "W", SCRIPT_CLOSES);
    ask(f, &a, "W", 0);
    WAIT_FOR(f, a.calls > 0);
    check_answer(&a, REDIS_UNCERTAIN, "");
    assert_true(redis_is_up(f->redis));
    script_answer(f->script, "W", "+again\r\n");
    do {
        memset(&b, 0, sizeof b);
        ask(f, &b, "W", 0);
        WAIT_FOR(f, b.calls > 0);
    } while (b.outcome == REDIS_NOT_SENT);
    check_answer(&b, REDIS_REPLIED, "again");
    assert_string_equal(f->changes, "N");
}

/* --- commands that block */

#define TIME_REPLY "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n"

static void test_blocking(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0}, c = {0};

    f->settings.command_timeout_ms = 300;
    open_and_wait(f);
    script_answer(f->script, "BLMOVE", SCRIPT_IS_MUTE);
    ask(f, &a, "BLMOVE 1", 60000);
    ask(f, &b, "B", 0);
    WAIT_FOR(f, script_count(f->script, "BLMOVE") == 1 && b.calls > 0);
    assert_int_equal(script_connections(f->script), 2);
    /* those that are told about a silence are not told of this one */
    ask(f, &c, "BLMOVE 2", 60000);
    for (int i = 0; i < 4; i++) {
        int times = script_count(f->script, "TIME");
        memset(&b, 0, sizeof b);
        script_answer(f->script, "B", SCRIPT_IS_MUTE);
        ask(f, &b, "B", 0);
        script_answer(f->script, "TIME", SCRIPT_IS_MUTE); /* replies come in order */
        WAIT_FOR(f, b.calls > 0);
        script_say(f->script, "B", "+late\r\n", 7);
        for (; times < script_count(f->script, "TIME"); times++)
            script_say(f->script, "TIME", TIME_REPLY, sizeof TIME_REPLY - 1);
        script_answer(f->script, "TIME", NULL);
    }
    assert_int_equal(a.calls, 0);
    script_say(f->script, "BLMOVE", "$3\r\njob\r\n", 9);
    WAIT_FOR(f, a.calls > 0);
    check_answer(&a, REDIS_REPLIED, "job");
    assert_int_equal(c.calls, 0);
    assert_string_equal(f->changes, "N");
}

static void test_blocking_ends(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0}, c = {0};

    f->settings.command_timeout_ms = 50;
    open_redis(f);
    ask(f, &a, "BLMOVE 1", 1000); /* while it is down */
    WAIT_FOR(f, a.calls > 0);
    check_answer(&a, REDIS_NOT_SENT, "");
    WAIT_FOR(f, redis_is_up(f->redis));
    script_answer(f->script, "BLMOVE", SCRIPT_IS_MUTE);
    ask(f, &b, "BLMOVE 1", 1);
    WAIT_FOR(f, b.calls > 0);
    check_answer(&b, REDIS_UNCERTAIN, "");
    script_say(f->script, "BLMOVE", "*-1\r\n", 5);
    script_answer(f->script, "BLMOVE", "*-1\r\n");
    ask(f, &c, "BLMOVE 1", 1);
    WAIT_FOR(f, c.calls > 0);
    check_answer(&c, REDIS_REPLIED, "");
    /* it breaks: who asks again at once has to wait for the next one only */
    memset(&b, 0, sizeof b);
    memset(&c, 0, sizeof c);
    script_answer(f->script, "BLMOVE", SCRIPT_CLOSES);
    ask(f, &b, "BLMOVE 1", 60000);
    WAIT_FOR(f, b.calls > 0);
    check_answer(&b, REDIS_UNCERTAIN, "");
    script_answer(f->script, "BLMOVE", "*-1\r\n");
    ask(f, &c, "BLMOVE 1", 1);
    WAIT_FOR(f, c.calls > 0);
    check_answer(&c, REDIS_REPLIED, "");
    assert_string_equal(f->changes, "N");
}

/* --- subscriptions */

struct listener {
    struct fixture *fixture;
    char news[64];                    /* "S", "R" or "L", and messages in brackets */
    struct redis_subscription **ends; /* with a message */
    bool frees;
};

static void on_news(void *data, enum redis_news news, struct redis_part message)
{
    struct listener *listener = data;
    size_t len = strlen(listener->news);
    static const char letters[] = {[REDIS_SUBSCRIBED] = 'S',
                                   [REDIS_SUBSCRIPTION_REFUSED] = 'R',
                                   [REDIS_SUBSCRIPTION_LOST] = 'L'};

    if (news == REDIS_MESSAGE)
        snprintf(listener->news + len, sizeof listener->news - len, "(%.*s)", (int)message.len,
                 message.data);
    else
        listener->news[len] = letters[news];
    if (news == REDIS_MESSAGE && listener->ends != NULL)
        TALLOC_FREE(*listener->ends);
    if (news == REDIS_MESSAGE && listener->frees)
        TALLOC_FREE(listener->fixture->redis);
}

static void publish(struct fixture *f, const char *channel, const char *text)
{
    char *bytes = talloc_asprintf(f, "*3\r\n$7\r\nmessage\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                                  strlen(channel), channel, strlen(text), text);

    script_say(f->script, "SUBSCRIBE", bytes, strlen(bytes));
    talloc_free(bytes);
}

#define SUBSCRIBED "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"

static void test_subscriptions(void **state)
{
    struct fixture *f = *state;
    struct listener a = {0}, b = {0}, c = {0};
    struct answer x = {0};

    open_and_wait(f);
    script_answer(f->script, "SUBSCRIBE", SUBSCRIBED);
    script_answer(f->script, "UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n");
    struct redis_subscription *first = redis_subscribe(f, f->redis, "a", on_news, &a);
    struct redis_subscription *second = redis_subscribe(f, f->redis, "a", on_news, &b);
    assert_string_equal(a.news, "");
    WAIT_FOR(f, strcmp(a.news, "S") == 0 && strcmp(b.news, "S") == 0);
    assert_int_equal(script_count(f->script, "SUBSCRIBE"), 1);
    /* one who comes later */
    struct redis_subscription *third = redis_subscribe(f, f->redis, "a", on_news, &c);
    assert_string_equal(c.news, "");
    WAIT_FOR(f, strcmp(c.news, "S") == 0);
    publish(f, "a", "1");
    publish(f, "other", "2");
    publish(f, "a", "");
    WAIT_FOR(f, strcmp(c.news, "S(1)()") == 0);
    assert_string_equal(a.news, "S(1)()");
    assert_string_equal(b.news, "S(1)()");
    talloc_free(first);
    talloc_free(second);
    assert_int_equal(script_count(f->script, "UNSUBSCRIBE"), 0);
    publish(f, "a", "3");
    WAIT_FOR(f, strcmp(c.news, "S(1)()(3)") == 0);
    assert_string_equal(a.news, "S(1)()");
    talloc_free(third);
    WAIT_FOR(f, script_count(f->script, "UNSUBSCRIBE") == 1);
    /* nothing is upset by the last having gone, nor by a message that was under way */
    publish(f, "a", "4");
    ask(f, &x, "X", 0);
    WAIT_FOR(f, x.calls > 0);
    memset(&c, 0, sizeof c);
    third = redis_subscribe(f, f->redis, "a", on_news, &c);
    WAIT_FOR(f, strcmp(c.news, "S") == 0);
    publish(f, "a", "5");
    WAIT_FOR(f, strcmp(c.news, "S(5)") == 0);
    assert_string_equal(f->changes, "N");
    assert_int_equal(script_connections(f->script), 2);
}

/* Before anything is up. */
static void test_subscribe_early(void **state)
{
    struct fixture *f = *state;
    struct listener a = {0};

    script_answer(f->script, "SUBSCRIBE", SUBSCRIBED);
    open_redis(f);
    redis_subscribe(f, f->redis, "a", on_news, &a);
    WAIT_FOR(f, redis_is_up(f->redis) && strcmp(a.news, "S") == 0);
    publish(f, "a", "1");
    WAIT_FOR(f, strcmp(a.news, "S(1)") == 0);
}

/* A subscription that is ended before it is answered, and begun again. */
static void test_subscribe_again(void **state)
{
    struct fixture *f = *state;
    struct listener a = {0};

    open_and_wait(f);
    script_answer(f->script, "SUBSCRIBE", SUBSCRIBED);
    script_answer(f->script, "UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n");
    talloc_free(redis_subscribe(f, f->redis, "a", on_news, &a));
    struct redis_subscription *kept = redis_subscribe(f, f->redis, "b", on_news, &a);
    WAIT_FOR(f, strcmp(a.news, "S") == 0);
    talloc_free(redis_subscribe(f, f->redis, "a", on_news, &a));
    talloc_free(kept);
    redis_subscribe(f, f->redis, "a", on_news, &a);
    WAIT_FOR(f, strcmp(a.news, "SS") == 0);
    publish(f, "a", "1");
    WAIT_FOR(f, strcmp(a.news, "SS(1)") == 0);
}

static void test_subscription_refused_and_lost(void **state)
{
    struct fixture *f = *state;
    struct listener a = {0};

    open_and_wait(f);
    script_answer(f->script, "SUBSCRIBE", "-NOPERM no channels\r\n");
    redis_subscribe(f, f->redis, "a", on_news, &a);
    WAIT_FOR(f, strcmp(a.news, "R") == 0);
    assert_true(redis_is_up(f->redis));
    script_answer(f->script, "SUBSCRIBE", SUBSCRIBED);
    script_close_all(f->script);
    WAIT_FOR(f, strcmp(a.news, "RLS") == 0);
    publish(f, "a", "1");
    WAIT_FOR(f, strcmp(a.news, "RLS(1)") == 0);
    script_stop_listening(f->script);
    script_close_all(f->script);
    WAIT_FOR(f, strcmp(a.news, "RLS(1)L") == 0 && !redis_is_up(f->redis));
    script_listen(f->script);
    WAIT_FOR(f, strcmp(a.news, "RLS(1)LS") == 0);
}

/* A message ends its subscription, the next one's, or the client. */
static void test_end_in_news(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 4; i++) {
        struct listener a = {.fixture = f}, b = {0};
        memset(f->changes, 0, sizeof f->changes);
        script_answer(f->script, "SUBSCRIBE", SUBSCRIBED);
        open_and_wait(f);
        struct redis_subscription *first = redis_subscribe(f, f->redis, "a", on_news, &a);
        struct redis_subscription *second = redis_subscribe(f, f->redis, "a", on_news, &b);
        WAIT_FOR(f, strcmp(b.news, "S") == 0);
        a.ends = i == 0 ? &first : i == 1 ? &second : NULL;
        a.frees = i >= 2;
        publish(f, "a", "1");
        WAIT_FOR(f, strcmp(a.news, "S(1)") == 0);
        assert_string_equal(b.news, i == 0 ? "S(1)" : "S");
        if (i == 3)
            talloc_free(first); /* after the client */
        TALLOC_FREE(f->redis);
        WAIT_FOR(f, script_connections(f->script) == 0);
    }
}

/* --- waiting in place, and the clock */

static void test_await(void **state)
{
    struct fixture *f = *state;
    const struct redis_part parts[] = {redis_text("GET"), redis_text("k")};
    const struct redis_command command = {.parts = parts, .count = 2};
    struct redis_reply *reply;

    open_redis(f);
    WAIT_FOR(f, redis_is_up(f->redis));
    script_answer(f->script, "GET", "$1\r\nv\r\n");
    assert_int_equal(redis_await(f, f->redis, &command, &reply), REDIS_REPLIED);
    assert_string_equal(reply->text, "v");
    script_answer(f->script, "GET", "-ERR\r\n");
    assert_int_equal(redis_await(f, f->redis, &command, &reply), REDIS_REFUSED);
    assert_int_equal(reply->kind, REDIS_ERROR);
    script_stop_listening(f->script);
    script_close_all(f->script);
    assert_int_equal(redis_await(f, f->redis, &command, &reply), REDIS_NOT_SENT);
    assert_null(reply);
    assert_false(redis_is_up(f->redis));
}

static void test_clock(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0};

    open_and_wait(f);
    int64_t measured_us = redis_get_clock(f->redis)->last.sent_us;
    ask(f, &a, "A", 0);
    /* by itself, while something is asked */
    WAIT_FOR(f, redis_get_clock(f->redis)->last.sent_us > measured_us);
    assert_true(redis_clock_will_do(f->redis));
    assert_true(script_count(f->script, "TIME") >= 2);
    redis_take_time(f->redis, clock_monotonic_us(), NULL); /* nothing is learnt */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_greeting),
        CASE(test_without_hello),
        CASE(test_greeting_errors),
        CASE(test_no_room_is_not_an_unknown_hello),
        CASE(test_mute_greeting),
        CASE(test_pipeline),
        CASE(test_large_reply),
        CASE(test_late_reply),
        CASE(test_stuck),
        CASE(test_trickle),
        CASE(test_too_many_replies),
        CASE(test_reply_of_another),
        CASE(test_broken),
        CASE(test_unwritten),
        CASE(test_too_many_requests),
        CASE(test_cancel),
        CASE(test_free_in_calls),
        CASE(test_free_on_change),
        CASE(test_idle_close),
        CASE(test_idle_close_for_good),
        CASE(test_other_server),
        CASE(test_writing),
        CASE(test_writing_ends),
        CASE(test_blocking),
        CASE(test_blocking_ends),
        CASE(test_subscriptions),
        CASE(test_subscribe_early),
        CASE(test_subscribe_again),
        CASE(test_subscription_refused_and_lost),
        CASE(test_end_in_news),
        CASE(test_await),
        CASE(test_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
