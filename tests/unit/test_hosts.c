/* SPDX-License-Identifier: BSD-2-Clause */
/* What of a connection string is looked up, and what libpq is given then. The resolver says what
   the test says. */
#include "config.h"

#include "unit.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/resolver.h"
#include "source/hosts.h"

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
    TALLOC_CTX *owner;
    size_t told;
    bool found;
    char names[256], addresses[256], ports[256], problem[256];
};

static char service_file[64];

static int set_up(void **state)
{
    static const char *const names[] = {"PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE", "PGUSER"};
    struct bench *bench = mem_check(talloc_zero(NULL, struct bench));

    for (size_t i = 0; i < COUNT_OF(names); i++)
        unsetenv(names[i]);
    strcpy(service_file, "/tmp/test_hosts.XXXXXX");
    int fd = mkstemp(service_file);
    assert_true(fd != -1);
    dprintf(fd, "[shop]\nhost=db7\nport=7\n");
    close(fd);
    setenv("PGSERVICEFILE", service_file, 1);
    n_resolvers = n_cancelled = 0;
    asked[0] = '\0';
    bench->owner = mem_check(talloc_new(bench));
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    unlink(service_file);
    talloc_free(*state);
    return 0;
}

/* The owner goes at once, as a session may. */
static void on_hosts(void *data, const struct hosts *hosts, const char *problem)
{
    struct bench *bench = data;

    TALLOC_FREE(bench->owner);
    bench->told++;
    bench->found = hosts != NULL;
    check((hosts == NULL) == (problem != NULL), "found %d", (int)bench->found);
    if (problem != NULL)
        snprintf(bench->problem, sizeof bench->problem, "%s", problem);
    if (hosts == NULL)
        return;
    snprintf(bench->names, sizeof bench->names, "%s", hosts->names);
    snprintf(bench->addresses, sizeof bench->addresses, "%s", hosts->addresses);
    snprintf(bench->ports, sizeof bench->ports, "%s", hosts->ports);
}

static bool start(struct bench *bench, const char *conninfo)
{
    return hosts_look_up(bench->owner, NULL, conninfo, TIMEOUT_MS, on_hosts, bench) != NULL;
}

/* ---- Cases */

static void test_what_is_looked_up(void **state)
{
    static const struct {
        const char *conninfo;
        const char *name, *value; /* of the environment; NULL: nothing */
        const char *asked;        /* "": nothing */
    } cases[] = {
        {"host=db user=u", NULL, NULL, "db"},
        {"postgresql://u@db:77/d", NULL, NULL, "db"},
        {"postgresql://u@a,b:77/d", NULL, NULL, "a b"},
        {"host=a,/run/pg,b,10.0.0.1 user=u", NULL, NULL, "a b"},
        {"service=shop", NULL, NULL, "db7"},
        {"service=shop host=other", NULL, NULL, "other"},
        {"user=u", "PGHOST", "db3", "db3"},
        {"user=u", "PGHOST", "/run/pg", ""},
        {"user=u", "PGSERVICE", "shop", "db7"},
        {"host=localhost user=u", NULL, NULL, "localhost"},
        {"user=u", NULL, NULL, ""},
        {"host=/run/pg user=u", NULL, NULL, ""},
        {"host=@abstract user=u", NULL, NULL, ""},
        {"host=10.0.0.1 user=u", NULL, NULL, ""},
        {"host=::1 user=u", NULL, NULL, ""},
        {"host=fe80::1%eth0 user=u", NULL, NULL, ""},
        {"host=10.0.0.1%eth0 user=u", NULL, NULL, "10.0.0.1%eth0"},
        {"postgresql://u@[2001:db8::1]/d", NULL, NULL, ""},
        {"hostaddr=10.0.0.1 user=u", NULL, NULL, ""},
        {"host=db hostaddr=10.0.0.1 user=u", NULL, NULL, ""},
        {"host=a,b hostaddr=10.0.0.1, user=u", NULL, NULL, "b"},
        {"host=db user=u", "PGHOSTADDR", "10.0.0.1", ""},
        {"host=a,b hostaddr=10.0.0.1 user=u", NULL, NULL, ""}, /* libpq refuses it */
        {"host=a,b port=1,2,3 user=u", NULL, NULL, ""},
        {"service=unknown", NULL, NULL, ""},
    };

    tear_down(state);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        set_up(state);
        struct bench *bench = *state;
        if (cases[i].name != NULL)
            setenv(cases[i].name, cases[i].value, 1);
        bool started = start(bench, cases[i].conninfo);
        check(strcmp(asked, cases[i].asked) == 0, "%s: %s", cases[i].conninfo, asked);
        check(started == (cases[i].asked[0] != '\0'), "%s", cases[i].conninfo);
        check(bench->told == 0, "%s", cases[i].conninfo);
        if (cases[i].name != NULL)
            unsetenv(cases[i].name);
        tear_down(state);
    }
    set_up(state);
}

static void check_given(const struct bench *bench, const char *names, const char *addresses,
                        const char *ports)
{
    check(bench->told == 1 && bench->found, "told %zu: %s", bench->told, bench->problem);
    assert_string_equal(bench->names, names);
    assert_string_equal(bench->addresses, addresses);
    assert_string_equal(bench->ports, ports);
}

static void test_one_name(void **state)
{
    struct bench *bench = *state;

    assert_true(start(bench, "host=db port=77 user=u"));
    assert_int_equal(resolvers[0].timeout_ms, TIMEOUT_MS);
    tell("db", "10.0.0.1");
    check_given(bench, "db", "10.0.0.1", "77");
}

static void test_a_name_of_several_addresses(void **state)
{
    struct bench *bench = *state;

    assert_true(start(bench, "host=db user=u"));
    tell("db", "2001:db8::1 10.0.0.1");
    check_given(bench, "db,db", "2001:db8::1,10.0.0.1", "5432,5432");
}

/* In libpq's order, whichever is found first; each with its port. */
static void test_a_list(void **state)
{
    struct bench *bench = *state;

    assert_true(start(bench, "host=a,/run/pg,b,10.0.0.9 port=1,2,3,4 user=u"));
    assert_int_equal(resolvers[0].timeout_ms, TIMEOUT_MS / 2);
    tell("b", "10.0.0.2");
    assert_int_equal(bench->told, 0);
    tell("a", "10.0.0.1 10.0.0.7");
    check_given(bench, "a,a,/run/pg,b,10.0.0.9", "10.0.0.1,10.0.0.7,,10.0.0.2,", "1,1,2,3,4");
}

static void test_given_addresses_stay(void **state)
{
    struct bench *bench = *state;

    assert_true(start(bench, "host=a,b hostaddr=10.0.0.1, port=5 user=u"));
    tell("b", "10.0.0.2");
    check_given(bench, "a,b", "10.0.0.1,10.0.0.2", "5,5");
}

static void test_a_name_that_is_not_found_is_left_out(void **state)
{
    struct bench *bench = *state;

    assert_true(start(bench, "host=a,b,c user=u"));
    tell("a", "");
    tell("b", "10.0.0.2");
    tell("c", "");
    check_given(bench, "b", "10.0.0.2", "5432");
}

static void test_nothing_is_found(void **state)
{
    struct bench *bench = *state;

    assert_true(start(bench, "host=a,b user=u"));
    tell("a", "");
    tell("b", "");
    assert_int_equal(bench->told, 1);
    assert_false(bench->found);
    assert_string_equal(bench->problem,
                        "could not translate host name \"b\" to address: no answer in time");
}

static void test_the_owner_goes_meanwhile(void **state)
{
    struct bench *bench = *state;

    assert_true(start(bench, "host=a,b user=u"));
    tell("a", "10.0.0.1");
    TALLOC_FREE(bench->owner);
    assert_int_equal(n_cancelled, 1);
    assert_int_equal(bench->told, 0);
}

/* libpq takes the lists for what they are, over all that the connection string says. */
static void test_libpq_agrees(void **state)
{
    static const char *const keywords[] = {"dbname", "host", "hostaddr", "port", "sslmode", NULL};
    struct bench *bench = *state;

    assert_true(start(bench, "service=shop host=a,/run/pg port=1,2 user=u"));
    tell("a", "10.0.0.1 10.0.0.2");
    check_given(bench, "a,a,/run/pg", "10.0.0.1,10.0.0.2,", "1,1,2");
    const char *const values[] = {"service=shop host=a,/run/pg port=1,2 user=u",
                                  bench->names,
                                  bench->addresses,
                                  bench->ports,
                                  "none such",
                                  NULL};
    PGconn *conn = PQconnectStartParams(keywords, values, 1);
    check(strstr(PQerrorMessage(conn), "none such") != NULL, "%s", PQerrorMessage(conn));
    assert_string_equal(PQhost(conn), "a");
    assert_string_equal(PQport(conn), "1");
    PQfinish(conn);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_what_is_looked_up),
        CASE(test_one_name),
        CASE(test_a_name_of_several_addresses),
        CASE(test_a_list),
        CASE(test_given_addresses_stay),
        CASE(test_a_name_that_is_not_found_is_left_out),
        CASE(test_nothing_is_found),
        CASE(test_the_owner_goes_meanwhile),
        CASE(test_libpq_agrees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
