/* SPDX-License-Identifier: BSD-2-Clause */
/* What libpq would connect to, from connection strings, services, the environment and defaults. */
#include "config.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "source/destination.h"

#define MACHINE "m1"

static char service_file[64];

/* Nothing of whoever runs the test plays a part. */
static void clear_environment(void)
{
    static const char *const names[] = {"PGHOST",     "PGHOSTADDR", "PGPORT",
                                        "PGDATABASE", "PGUSER",     "PGOPTIONS",
                                        "PGSERVICE",  "PGSSLMODE",  "PGSYSCONFDIR"};

    for (size_t i = 0; i < COUNT_OF(names); i++)
        unsetenv(names[i]);
    setenv("PGSERVICEFILE", service_file, 1);
}

static int make_service_file(void **state)
{
    int fd;

    (void)state;
    strcpy(service_file, "/tmp/test_destination.XXXXXX");
    fd = mkstemp(service_file);
    if (fd == -1)
        return -1;
    dprintf(fd, "[shop]\nhost=db7\nport=7\nuser=s\ndbname=d\noptions=-c search_path=x\n");
    return close(fd);
}

static int remove_service_file(void **state)
{
    (void)state;
    return unlink(service_file);
}

struct found_case {
    const char *conninfo;
    const char *name, *value; /* of the environment; NULL: nothing */
    struct destination expected;
};

static void check_case(const struct found_case *c)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct destination found;
    char error[256] = "";

    clear_environment();
    if (c->name != NULL)
        setenv(c->name, c->value, 1);
    int result = destination_resolve(ctx, c->conninfo, MACHINE, &found, error, sizeof error);
    check(result == 0, "%s: %s", c->conninfo, error);
    check(strcmp(found.hosts, c->expected.hosts) == 0, "%s: %s", c->conninfo, found.hosts);
    check(strcmp(found.database, c->expected.database) == 0, "%s: %s", c->conninfo, found.database);
    check(strcmp(found.user, c->expected.user) == 0, "%s: %s", c->conninfo, found.user);
    check(strcmp(found.options, c->expected.options) == 0, "%s: %s", c->conninfo, found.options);
    talloc_free(ctx);
}

static void test_resolves(void **state)
{
    static const struct found_case cases[] = {
        {"host=h user=u dbname=d", NULL, NULL, {"h:5432", "d", "u", ""}},
        {"host=h user=u", NULL, NULL, {"h:5432", "u", "u", ""}},
        {"host=h port=77 user=u dbname=d", NULL, NULL, {"h:77", "d", "u", ""}},
        {"postgresql://u@h:77/d", NULL, NULL, {"h:77", "d", "u", ""}},
        {"postgres://u@[2001:DB8::1]/d", NULL, NULL, {"[2001:db8::1]:5432", "d", "u", ""}},
        {"postgresql://u@H1:1,H2:2/d", NULL, NULL, {"h1:1,h2:2", "d", "u", ""}},
        {"postgresql:///d?host=h&user=u&options=-c%20a%3Db",
         NULL,
         NULL,
         {"h:5432", "d", "u", "-c a=b"}},
        {"host=h user=u options='-csearch_path=x'",
         NULL,
         NULL,
         {"h:5432", "u", "u", "-csearch_path=x"}},
        /* a name that holds a connection string is a name */
        {"host=h user=u dbname='host=q'", NULL, NULL, {"h:5432", "host=q", "u", ""}},
        /* an address counts and not the name beside it */
        {"host=h hostaddr=10.0.0.1 user=u", NULL, NULL, {"10.0.0.1:5432", "u", "u", ""}},
        {"host=a,b hostaddr=,10.0.0.2 user=u", NULL, NULL, {"10.0.0.2:5432,a:5432", "u", "u", ""}},
        {"host=a,b port=1,2 user=u", NULL, NULL, {"a:1,b:2", "u", "u", ""}},
        {"host=b,a port=2,1 user=u", NULL, NULL, {"a:1,b:2", "u", "u", ""}},
        {"host=a,b port=9 user=u", NULL, NULL, {"a:9,b:9", "u", "u", ""}},
        /* what means something on one machine only carries it */
        {"host=/run/pg user=u", NULL, NULL, {"/run/pg:5432@m1", "u", "u", ""}},
        {"host=@pg user=u", NULL, NULL, {"@pg:5432@m1", "u", "u", ""}},
        {"host=localhost user=u", NULL, NULL, {"localhost:5432@m1", "u", "u", ""}},
        {"host=LocalHost user=u", NULL, NULL, {"localhost:5432@m1", "u", "u", ""}},
        {"host=127.0.0.1 user=u", NULL, NULL, {"localhost:5432@m1", "u", "u", ""}},
        {"host=::1 user=u", NULL, NULL, {"localhost:5432@m1", "u", "u", ""}},
        {"host=127.1.2.3 user=u", NULL, NULL, {"127.1.2.3:5432@m1", "u", "u", ""}},
        {"host=::ffff:127.0.0.1 user=u", NULL, NULL, {"[::ffff:127.0.0.1]:5432@m1", "u", "u", ""}},
        {"host=pg.localhost user=u", NULL, NULL, {"pg.localhost:5432@m1", "u", "u", ""}},
        {"host=127.example.com user=u", NULL, NULL, {"127.example.com:5432", "u", "u", ""}},
        {"host=far,/run/pg user=u", NULL, NULL, {"/run/pg:5432@m1,far:5432", "u", "u", ""}},
        /* the environment */
        {"user=u", "PGHOST", "h", {"h:5432", "u", "u", ""}},
        {"user=u host=h", "PGHOSTADDR", "10.0.0.1", {"10.0.0.1:5432", "u", "u", ""}},
        {"user=u host=h", "PGHOST", "other", {"h:5432", "u", "u", ""}},
        {"user=u host=h", "PGPORT", "7", {"h:7", "u", "u", ""}},
        {"host=h", "PGUSER", "e", {"h:5432", "e", "e", ""}},
        {"host=h user=u", "PGDATABASE", "e", {"h:5432", "e", "u", ""}},
        {"host=h user=u", "PGOPTIONS", "-c a=b", {"h:5432", "u", "u", "-c a=b"}},
        {"", "PGSERVICE", "shop", {"db7:7", "d", "s", "-c search_path=x"}},
        {"service=shop", NULL, NULL, {"db7:7", "d", "s", "-c search_path=x"}},
        {"service=shop host=h", NULL, NULL, {"h:7", "d", "s", "-c search_path=x"}},
        {"service=shop", "PGUSER", "e", {"db7:7", "d", "s", "-c search_path=x"}},
        {"postgresql://?service=shop", NULL, NULL, {"db7:7", "d", "s", "-c search_path=x"}},
        {"host=h user=u sslmode=require password=p", NULL, NULL, {"h:5432", "u", "u", ""}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_case(&cases[i]);
}

/* Which directory it is, libpq's build has decided. */
static void test_default_host_is_a_socket_of_this_machine(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct destination found, written;
    char error[256], conninfo[256];

    (void)state;
    clear_environment();
    assert_int_equal(destination_resolve(ctx, "user=u", MACHINE, &found, error, sizeof error), 0);
    assert_int_equal(found.hosts[0], '/');
    assert_string_equal(found.hosts + strlen(found.hosts) - 8, ":5432@m1");
    snprintf(conninfo, sizeof conninfo, "user=u host=%.*s", (int)strcspn(found.hosts, ":"),
             found.hosts);
    assert_int_equal(destination_resolve(ctx, conninfo, MACHINE, &written, error, sizeof error), 0);
    assert_string_equal(written.hosts, found.hosts);
    talloc_free(ctx);
}

static void test_what_cannot_be_resolved(void **state)
{
    static const struct {
        const char *conninfo, *error;
    } cases[] = {
        {"service=none", "definition of service \"none\" not found"},
        {"host=a,b port=1,2,3", "could not match 3 port numbers to 2 hosts"},
        {"password=correct horse", "libpq cannot read it as a connection string or URI"},
        {"host=h sesame=s3cret", "libpq cannot read it as a connection string or URI"},
        {"postgresql://u:s3cret@h:77/d?nonsense=1",
         "libpq cannot read it as a connection string or URI"},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct destination found;
        char error[256] = "";
        clear_environment();
        assert_int_equal(
            destination_resolve(ctx, cases[i].conninfo, MACHINE, &found, error, sizeof error), -1);
        check(strcmp(error, cases[i].error) == 0, "%s: %s", cases[i].conninfo, error);
    }
    talloc_free(ctx);
}

static void test_who_names_the_user(void **state)
{
    (void)state;
    clear_environment();
    setenv("PGUSER", "u", 1);
    assert_true(destination_names_user("user=u"));
    assert_true(destination_names_user("postgresql://u@h/d"));
    assert_false(destination_names_user("host=h"));
    assert_false(destination_names_user("service=shop"));
    assert_false(destination_names_user(""));
    assert_false(destination_names_user("nonsense"));
}

static void test_hash_tells_all_apart(void **state)
{
    static const struct {
        struct destination destination;
        const char *name;
    } cases[] = {
        {{"h:1", "d", "u", "o"}, ""},  {{"h:2", "d", "u", "o"}, ""},  {{"h:1", "e", "u", "o"}, ""},
        {{"h:1", "d", "v", "o"}, ""},  {{"h:1", "d", "u", ""}, ""},   {{"h:1", "d", "", "uo"}, ""},
        {{"h:1d", "", "u", "o"}, ""},  {{"", "h:1", "d", "uo"}, ""},  {{"h:1", "d", "u", "o"}, "n"},
        {{"h:1", "e", "u", "o"}, "n"}, {{"h:1", "d", "u", "o"}, "m"}, {{"n", "d", "u", "o"}, ""},
    };
    char hashes[COUNT_OF(cases)][DESTINATION_HEX + 1];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        destination_hash(&cases[i].destination, cases[i].name, hashes[i]);
        assert_int_equal(strspn(hashes[i], "0123456789abcdef"), DESTINATION_HEX);
        for (size_t j = 0; j < i; j++)
            check(strcmp(hashes[i], hashes[j]) != 0, "%zu and %zu", i, j);
    }
}

static void test_a_name_stands_in_for_hosts(void **state)
{
    static const struct destination here = {"/run/pg:5432@m1", "d", "u", ""};
    static const struct destination there = {"db.example:6543", "d", "u", ""};
    char one[DESTINATION_HEX + 1], other[DESTINATION_HEX + 1];

    (void)state;
    destination_hash(&here, "shop", one);
    destination_hash(&there, "shop", other);
    assert_string_equal(one, other);
}

static void test_what_is_written(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"host=h dbname=d", "dbname=d password=x host=h connect_timeout=7 sslmode=require", true},
        {"host=h dbname=d", "postgresql://:x@h/d?application_name=y", true},
        {"host=h dbname=d", "host=h dbname=e", false},
        {"host=h dbname=d", "host=h user=d", false},
        {"host=h", "hostaddr=h", false},
        {"service=a", "service=b", false},
        {"port=1", "port=2", false},
        {"options=a", "options=b", false},
        {"", "user=u", false},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check((strcmp(destination_as_written(ctx, cases[i].a),
                      destination_as_written(ctx, cases[i].b)) == 0) == cases[i].same,
              "case %zu", i);
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolves),
        cmocka_unit_test(test_default_host_is_a_socket_of_this_machine),
        cmocka_unit_test(test_what_cannot_be_resolved),
        cmocka_unit_test(test_who_names_the_user),
        cmocka_unit_test(test_hash_tells_all_apart),
        cmocka_unit_test(test_a_name_stands_in_for_hosts),
        cmocka_unit_test(test_what_is_written),
    };

    return cmocka_run_group_tests(tests, make_service_file, remove_service_file);
}
