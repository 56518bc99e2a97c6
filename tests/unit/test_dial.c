/* SPDX-License-Identifier: BSD-2-Clause */
/* In which order servers are tried, what of a connection string is looked up for it, and what is
   told of them. The resolver says what the test says; nobody listens. */
#include "config.h"

#include "unit.h"

#include <arpa/inet.h>
#include <ev.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/resolver.h"
#include "source/dial.h"

enum { MOST = 8, TIMEOUT_MS = 2000 };

struct resolver {
    char host[64];
    int64_t timeout_ms;
    resolver_fn *fn; /* NULL: it is over */
    void *data;
};

static struct resolver resolvers[MOST];
static size_t n_resolvers, n_cancelled;
static char asked[512];

struct resolver *resolver_start(struct ev_loop *loop, const char *host, uint16_t port,
                                int64_t timeout_ms, resolver_fn *fn, void *data)
{
    struct resolver *resolver = &resolvers[n_resolvers++];

    (void)loop;
    (void)port;
    snprintf(resolver->host, sizeof resolver->host, "%s", host);
    resolver->timeout_ms = timeout_ms;
    resolver->fn = fn;
    resolver->data = data;
    snprintf(asked + strlen(asked), sizeof asked - strlen(asked), "%s%s",
             asked[0] != '\0' ? " " : "", host);
    return resolver;
}

void resolver_cancel(struct resolver *resolver)
{
    check(resolver->fn != NULL, "%s is cancelled after it was told", resolver->host);
    resolver->fn = NULL;
    n_cancelled++;
}

static struct resolver_address address_of(const char *text)
{
    struct resolver_address made = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in *four = (struct sockaddr_in *)&made.address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&made.address;

    if (strchr(text, ':') == NULL) {
        four->sin_family = AF_INET;
        check(inet_pton(AF_INET, text, &four->sin_addr) == 1, "%s", text);
    } else {
        six->sin6_family = AF_INET6;
        made.len = sizeof *six;
        check(inet_pton(AF_INET6, text, &six->sin6_addr) == 1, "%s", text);
    }
    return made;
}

/* `addresses`: separated by spaces; "": none. */
static void tell(const char *host, const char *addresses)
{
    struct resolver_address found[4];
    char text[128], *rest = text;
    size_t count = 0;

    snprintf(text, sizeof text, "%s", addresses);
    for (char *each; addresses[0] != '\0' && (each = strsep(&rest, " ")) != NULL;)
        found[count++] = address_of(each);
    for (size_t i = 0; i < n_resolvers; i++) {
        resolver_fn *fn = resolvers[i].fn;
        if (fn == NULL || strcmp(resolvers[i].host, host) != 0)
            continue;
        resolvers[i].fn = NULL;
        fn(resolvers[i].data, found, count, count == 0 ? "no answer in time" : NULL);
        return;
    }
    check(false, "nobody looks for %s", host);
}

/* ---- The bench */

struct bench {
    struct ev_loop *loop;
    struct postgres_settings settings;
    struct dial_memory memory;
    struct dial *dial;
    size_t told;
    char problem[1024];
};

static char service_file[64];

static int set_up(void **state)
{
    static const char *const names[] = {"PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE", "PGUSER"};
    struct bench *bench = mem_check(talloc_zero(NULL, struct bench));

    for (size_t i = 0; i < COUNT_OF(names); i++)
        unsetenv(names[i]);
    strcpy(service_file, "/tmp/test_dial.XXXXXX");
    int fd = mkstemp(service_file);
    assert_true(fd != -1);
    dprintf(fd, "[shop]\nhost=db7\nport=7\n");
    close(fd);
    setenv("PGSERVICEFILE", service_file, 1);
    n_resolvers = n_cancelled = 0;
    asked[0] = '\0';
    bench->loop = ev_loop_new(EVFLAG_AUTO);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;

    unlink(service_file);
    talloc_free(bench->dial);
    ev_loop_destroy(bench->loop);
    talloc_free(bench);
    return 0;
}

static void on_dialled(void *data, PGconn *conn)
{
    struct bench *bench = data;

    assert_null(conn);
    bench->told++;
    snprintf(bench->problem, sizeof bench->problem, "%s", dial_problem(bench->dial));
}

static void start(struct bench *bench, const char *conninfo)
{
    const struct dial_options options = {.loop = bench->loop,
                                         .settings = &bench->settings,
                                         .application = "test",
                                         .memory = &bench->memory};

    bench->settings = (struct postgres_settings){
        .conninfo = conninfo, .password = "", .connect_timeout_ms = TIMEOUT_MS};
    bench->dial = dial_new(NULL, &options, on_dialled, bench);
}

/* Until it is told, or waits for a name. Not for ever: without a watcher the loop does not wait. */
static void turn(struct bench *bench)
{
    size_t before = n_resolvers;

    for (int i = 0; i < 1000 && bench->told == 0 && n_resolvers == before; i++)
        ev_run(bench->loop, EVRUN_ONCE);
    check(bench->told > 0 || n_resolvers > before, "nothing comes of %s", asked);
}

/* ---- Cases */

/* Nothing is found, and the next is asked for. */
static void test_what_is_looked_up(void **state)
{
    static const struct {
        const char *conninfo;
        const char *name, *value; /* of the environment; NULL: nothing */
        const char *asked;        /* "": nothing */
    } cases[] = {
        {"host=db user=u", NULL, NULL, "db"},
        {"postgresql://u@db:1/d", NULL, NULL, "db"},
        {"postgresql://u@a,b:1/d", NULL, NULL, "a b"},
        {"host=a,/nowhere/pg,b,127.0.0.1 port=1 user=u", NULL, NULL, "a b"},
        {"service=shop", NULL, NULL, "db7"},
        {"service=shop host=other", NULL, NULL, "other"},
        {"user=u", "PGHOST", "db3", "db3"},
        {"user=u", "PGHOST", "/nowhere/pg", ""},
        {"user=u", "PGSERVICE", "shop", "db7"},
        {"host=localhost user=u", NULL, NULL, "localhost"},
        {"host=/nowhere/pg user=u", NULL, NULL, ""},
        {"host=@abstract user=u", NULL, NULL, ""},
        {"host=127.0.0.1 port=1 user=u", NULL, NULL, ""},
        {"host=::1 port=1 user=u", NULL, NULL, ""},
        {"hostaddr=127.0.0.1 port=1 user=u", NULL, NULL, ""},
        {"host=db hostaddr=127.0.0.1 port=1 user=u", NULL, NULL, ""},
        {"host=a,b hostaddr=127.0.0.1, port=1 user=u", NULL, NULL, "b"},
        {"host=a,b hostaddr=127.0.0.1 user=u", NULL, NULL, ""}, /* libpq refuses it */
        {"host=a,b port=1,2,3 user=u", NULL, NULL, ""},
        {"service=unknown", NULL, NULL, ""},
    };

    tear_down(state);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        set_up(state);
        struct bench *bench = *state;
        if (cases[i].name != NULL)
            setenv(cases[i].name, cases[i].value, 1);
        start(bench, cases[i].conninfo);
        assert_int_equal(bench->told, 0);
        for (size_t told = 0; bench->told == 0;) {
            if (told < n_resolvers)
                tell(resolvers[told++].host, "");
            else
                turn(bench);
        }
        check(strcmp(asked, cases[i].asked) == 0, "%s: %s", cases[i].conninfo, asked);
        check(bench->told == 1 && bench->problem[0] != '\0', "%s", cases[i].conninfo);
        if (cases[i].name != NULL)
            unsetenv(cases[i].name);
        tear_down(state);
    }
    set_up(state);
}

/* Each server is named, and each address of a name, with libpq's words. */
static void test_every_failure_is_told(void **state)
{
    struct bench *bench = *state;

    start(bench, "host=a,b,/nowhere/pg,127.0.0.1,127.0.0.1 port=1,1,1,1,2 user=u");
    assert_int_equal(resolvers[0].timeout_ms, TIMEOUT_MS);
    tell("a", "");
    tell("b", "127.0.0.2 127.0.0.3");
    turn(bench);
    check(bench->told == 1, "told %zu", bench->told);
    static const char *const pieces[] = {
        "a: could not translate host name \"a\" to address: no answer in time; b (127.0.0.2): ",
        "; b (127.0.0.3): ", "; /nowhere/pg: ", "; 127.0.0.1:1: ", "; 127.0.0.1:2: "};
    const char *at = bench->problem;
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        at = strstr(at, pieces[i]);
        check(at != NULL, "%s in %s", pieces[i], bench->problem);
    }
    assert_int_equal(dial_refusal(bench->dial), REFUSAL_OTHER);
}

static void test_one_that_is_alone_is_not_named(void **state)
{
    struct bench *bench = *state;

    start(bench, "host=db user=u");
    tell("db", "");
    turn(bench);
    assert_string_equal(bench->problem,
                        "could not translate host name \"db\" to address: no answer in time");
}

/* Then the others in their order, the first of them last. */
static void test_the_one_that_worked_is_first(void **state)
{
    struct bench *bench = *state;

    strcpy(bench->memory.server, "b,,5432");
    start(bench, "host=a,b,c user=u");
    tell("b", "");
    tell("c", "");
    tell("a", "");
    turn(bench);
    assert_string_equal(asked, "b c a");
}

static void test_so_is_its_address(void **state)
{
    struct bench *bench = *state;

    strcpy(bench->memory.server, "db,,1");
    strcpy(bench->memory.address, "127.0.0.3");
    start(bench, "host=db port=1 user=u");
    tell("db", "127.0.0.1 127.0.0.2 127.0.0.3");
    turn(bench);
    const char *third = strstr(bench->problem, "db (127.0.0.3)");
    check(third == bench->problem, "%s", bench->problem);
    check(strstr(bench->problem, "db (127.0.0.1)") < strstr(bench->problem, "db (127.0.0.2)"), "%s",
          bench->problem);
}

static void test_the_owner_goes_meanwhile(void **state)
{
    struct bench *bench = *state;

    start(bench, "host=a,b user=u");
    TALLOC_FREE(bench->dial);
    assert_int_equal(n_cancelled, 1);
    assert_int_equal(bench->told, 0);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_what_is_looked_up),
        CASE(test_every_failure_is_told),
        CASE(test_one_that_is_alone_is_not_named),
        CASE(test_the_one_that_worked_is_first),
        CASE(test_so_is_its_address),
        CASE(test_the_owner_goes_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
