/* SPDX-License-Identifier: BSD-2-Clause */
/* Look-ups, of which the C library's part is played by the test: it can hang. */
#include "config.h"

#include "unit.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#include "base/resolver.h"

enum { LONGEST_S = 20 };

int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static bool holds;           /* look-ups of names that begin with "hangs" */
static atomic_int n_begun;   /* of those */
static atomic_int n_ended;   /* of them */
static atomic_int n_signals; /* that a thread of a look-up would take */

int64_t __real_clock_monotonic_us(void);
int64_t __wrap_clock_monotonic_us(void);

static int64_t clock_ahead_us;

int64_t __wrap_clock_monotonic_us(void)
{
    return __real_clock_monotonic_us() + clock_ahead_us;
}

static void hang(void)
{
    sigset_t blocked;

    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    n_signals += !sigismember(&blocked, SIGTERM) || !sigismember(&blocked, SIGCHLD);
    n_begun++;
    pthread_mutex_lock(&lock);
    while (holds)
        pthread_cond_wait(&released, &lock);
    pthread_mutex_unlock(&lock);
    n_ended++;
}

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    struct addrinfo numeric = *hints;

    if ((hints->ai_flags & AI_NUMERICHOST) != 0)
        return __real_getaddrinfo(host, service, hints, found);
    numeric.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    if (strncmp(host, "hangs", 5) == 0) {
        hang();
        return __real_getaddrinfo("127.0.0.1", service, &numeric, found);
    }
    if (strcmp(host, "two") == 0) {
        struct addrinfo *second;
        int error = __real_getaddrinfo("::1", service, &numeric, found);
        error |= __real_getaddrinfo("127.0.0.2", service, &numeric, &second);
        (*found)->ai_next = second;
        return error;
    }
    return strcmp(host, "again") == 0 ? EAI_AGAIN : EAI_NONAME;
}

struct result {
    int calls;
    size_t count;
    struct resolver_address addresses[RESOLVER_MAX];
    char problem[64];
};

static void on_resolved(void *data, const struct resolver_address *addresses, size_t count,
                        const char *problem)
{
    struct result *result = data;

    result->calls++;
    result->count = count;
    if (count > 0)
        memcpy(result->addresses, addresses, count * sizeof addresses[0]);
    strncpy(result->problem, problem != NULL ? problem : "", sizeof result->problem - 1);
}

static void on_limit(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    fail_msg("what was waited for has not come");
}

#define WAIT_FOR(loop, condition)                                                                  \
    do {                                                                                           \
        ev_timer limit;                                                                            \
        ev_now_update(loop);                                                                       \
        ev_timer_init(&limit, on_limit, LONGEST_S, 0.0);                                           \
        ev_timer_start((loop), &limit);                                                            \
        while (!(condition))                                                                       \
            ev_run((loop), EVRUN_ONCE);                                                            \
        ev_timer_stop((loop), &limit);                                                             \
    } while (0)

/* The loop turns while a thread works. */
#define TURN_UNTIL(loop, condition)                                                                \
    do {                                                                                           \
        ev_timer tick;                                                                             \
        ev_timer_init(&tick, on_tick, 0.005, 0.005);                                               \
        ev_timer_start((loop), &tick);                                                             \
        WAIT_FOR((loop), condition);                                                               \
        ev_timer_stop((loop), &tick);                                                              \
    } while (0)

static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
}

static void hold(bool on)
{
    pthread_mutex_lock(&lock);
    holds = on;
    pthread_cond_broadcast(&released);
    pthread_mutex_unlock(&lock);
}

static struct result resolve(struct ev_loop *loop, const char *host)
{
    struct result result = {0};

    resolver_start(loop, host, 6379, 10000, on_resolved, &result);
    assert_int_equal(result.calls, 0);
    WAIT_FOR(loop, result.calls > 0);
    return result;
}

static void test_answers(void **state)
{
    static const struct {
        const char *host;
        size_t count;
        int family;
        const char *problem;
    } cases[] = {
        {"127.0.0.1", 1, AF_INET, ""},
        {"::1", 1, AF_INET6, ""},
        {"two", 2, AF_INET6, ""},
        {"nobody", 0, 0, "Name or service not known"},
        {"again", 0, 0, "Temporary failure in name resolution"},
        {"", 0, 0, "Name or service not known"},
    };
    struct ev_loop *loop = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct result result = resolve(loop, cases[i].host);
        check(result.calls == 1 && result.count == cases[i].count &&
                  strcmp(result.problem, cases[i].problem) == 0,
              "%s: %zu, %s", cases[i].host, result.count, result.problem);
        if (result.count == 0)
            continue;
        assert_int_equal(result.addresses[0].address.ss_family, cases[i].family);
        const struct sockaddr_in *in = (const void *)&result.addresses[0].address;
        assert_int_equal(ntohs(in->sin_port), 6379); /* at the same place in both families */
    }
}

static void test_too_long(void **state)
{
    char host[400] = "";

    memset(host, 'a', sizeof host - 1);
    struct result result = resolve(*state, host);
    assert_int_equal(result.count, 0);
    assert_string_equal(result.problem, "the name is too long");
}

/* The loop goes on; the thread ends by itself, much later. */
static void test_hangs(void **state)
{
    struct ev_loop *loop = *state;
    struct result late = {0}, cancelled = {0};
    int begun = n_begun, ended = n_ended;

    hold(true);
    resolver_start(loop, "hangs", 1, 20, on_resolved, &late);
    resolver_cancel(resolver_start(loop, "hangs", 1, 10000, on_resolved, &cancelled));
    WAIT_FOR(loop, late.calls > 0);
    assert_string_equal(late.problem, "no answer in time");
    assert_int_equal(late.count, 0);
    TURN_UNTIL(loop, n_begun == begun + 1);
    assert_int_equal(n_ended, ended);
    assert_int_equal(resolve(loop, "two").count, 2);
    hold(false);
    TURN_UNTIL(loop, n_ended == ended + 1);
    assert_int_equal(late.calls, 1);
    assert_int_equal(cancelled.calls, 0);
    assert_int_equal(n_signals, 0);
}

/* Beyond a number of threads that hang, look-ups fail; numeric ones do not. */
static void test_many_hang(void **state)
{
    struct ev_loop *loop = *state;
    struct result results[64] = {0};
    size_t refused = 0;
    int begun = n_begun, ended = n_ended;

    hold(true);
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        char name[16];
        snprintf(name, sizeof name, "hangs%zu", i);
        resolver_start(loop, name, 1, 50, on_resolved, &results[i]);
    }
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        WAIT_FOR(loop, results[i].calls > 0);
        refused += strcmp(results[i].problem, "too many look-ups hang") == 0;
    }
    assert_in_range(refused, 1, COUNT_OF(results) - 1);
    assert_int_equal(resolve(loop, "127.0.0.1").count, 1);
    int hanging = (int)(COUNT_OF(results) - refused);
    TURN_UNTIL(loop, n_begun == begun + hanging);
    hold(false);
    TURN_UNTIL(loop, n_ended == ended + hanging);
    /* their threads are counted out a little after that */
    struct result result = resolve(loop, "two");
    while (result.count == 0)
        result = resolve(loop, "two");
}

/* As when many sessions are opened at once. */
static void test_one_look_up_for_all(void **state)
{
    struct ev_loop *loop = *state;
    struct result results[64] = {0}, other = {0};
    int begun = n_begun, ended = n_ended;

    hold(true);
    for (size_t i = 0; i < COUNT_OF(results); i++)
        resolver_start(loop, "hangs", 5432, 10000, on_resolved, &results[i]);
    resolver_start(loop, "hangs", 5433, 10000, on_resolved, &other);
    TURN_UNTIL(loop, n_begun == begun + 2);
    hold(false);
    WAIT_FOR(loop, other.calls > 0);
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        WAIT_FOR(loop, results[i].calls > 0);
        assert_int_equal(results[i].count, 1);
    }
    assert_int_equal(n_begun, begun + 2);
    TURN_UNTIL(loop, n_ended == ended + 2);
}

/* One that may hang is tried anew, but not for ever: others are looked up all the same. */
static void test_a_name_that_hangs_leaves_room(void **state)
{
    struct ev_loop *loop = *state;
    struct result results[40] = {0};
    int begun = n_begun, ended = n_ended;

    hold(true);
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        resolver_start(loop, "hangs", 1, 1, on_resolved, &results[i]);
        WAIT_FOR(loop, results[i].calls > 0);
        assert_string_equal(results[i].problem, "no answer in time");
        clock_ahead_us += 1100 * 1000;
    }
    assert_int_equal(resolve(loop, "two").count, 2);
    TURN_UNTIL(loop, n_begun == begun + 4);
    hold(false);
    TURN_UNTIL(loop, n_ended == ended + 4);
}

static int set_up(void **state)
{
    *state = ev_loop_new(EVFLAG_AUTO);
    return 0;
}

static int tear_down(void **state)
{
    ev_loop_destroy(*state);
    return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_answers),
        CASE(test_too_long),
        CASE(test_hangs),
        CASE(test_many_hang),
        CASE(test_one_look_up_for_all),
        CASE(test_a_name_that_hangs_leaves_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
