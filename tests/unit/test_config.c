/* SPDX-License-Identifier: BSD-2-Clause */
/* Configuration files: every mistake with its line, every value of good ones,
   and that the sample file and the manual page know every setting. */
#include "config.h"

#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/file.h"
#include "config/keys.h"
#include "config/load.h"
#include "config/sql.h"

static char dir[] = "/tmp/leeway-config-XXXXXX";

static char *path_of(TALLOC_CTX *ctx, const char *name)
{
    return talloc_asprintf(ctx, "%s/%s", dir, name);
}

static void write_bytes(const char *name, const char *bytes, size_t len)
{
    char *path = path_of(NULL, name);
    FILE *stream = fopen(path, "w");

    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, len, stream), len);
    assert_int_equal(fclose(stream), 0);
    talloc_free(path);
}

static void write_file(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

static int make_dir(void **state)
{
    char *sql;

    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    sql = path_of(NULL, "sql");
    if (mkdir(sql, 0700) == -1)
        return -1;
    talloc_free(sql);
    write_file("sql/products.sql", "select * from products -- $9\n where q = $1 limit $2;\n; \n");
    return setenv("LEEWAY_TEST_VALUE", "from \"the\" environment", 1) |
           setenv("LEEWAY_TEST_EMPTY", "", 1) | unsetenv("LEEWAY_TEST_ABSENT");
}

static int remove_dir(void **state)
{
    char *command = talloc_asprintf(NULL, "rm -r '%s'", dir);
    int rc = system(command);

    (void)state;
    talloc_free(command);
    return rc;
}

static const struct config *load_good(TALLOC_CTX *ctx, const char *text)
{
    const struct config *config = NULL;
    struct config_error error;

    write_file("good.conf", text);
    if (config_load(ctx, path_of(ctx, "good.conf"), &config, &error) == -1) {
        print_error("%s:%d: %s\n%s\n", error.file, error.line, error.text, text);
        fail();
    }
    return config;
}

/* One mistake each. */
struct broken {
    const char *text;
    int line;
    const char *word; /* in the sentence */
};

static void check_broken(const struct broken *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        char *file = path_of(ctx, "broken.conf");
        const struct config *config = NULL;
        struct config_error error;

        write_file("broken.conf", cases[i].text);
        int rc = config_load(ctx, file, &config, &error);
        check(rc == -1, "accepted:\n%s", cases[i].text);
        check(config == NULL, "set in spite of the error:\n%s", cases[i].text);
        check(strcmp(error.file, file) == 0 && error.line == cases[i].line &&
                  strstr(error.text, cases[i].word) != NULL,
              "not line %d, %s, but %s:%d: %s\nof:\n%s", cases[i].line, cases[i].word, error.file,
              error.line, error.text, cases[i].text);
        check(error.text[strlen(error.text) - 1] != '.', "%s", error.text);

        /* the lexer keeps nothing of the failed parse */
        config = load_good(ctx, "workers = 3\nroute \"/a\" { sql = \"select 1\" }\n");
        check(config->settings.workers == 3 && config->n_routes == 1, "after:\n%s", cases[i].text);
        talloc_free(ctx);
    }
}

static void test_broken_syntax(void **state)
{
    static const struct broken cases[] = {
        {"workers = 2\nwrokers = 3\n", 2, "unknown key 'wrokers'"},
        {"# one\n/* two\n three */ // four\n\nslots = 3\n", 5, "unknown key 'slots'"},
        {"redis {\n  /* a */ /* b */\n  slots = 3\n}\n", 3, "address, tls_ca"},
        {"context \"a\" {\n budget = 1s\n max = 2s\n}\n", 3, "unknown key 'max'"},
        {"route \"/a\" {\n sql = \"select\n\n 1\"\n cache = 3\n}\n", 5, "unknown key 'cache'"},
        {"route \"/a\" { sql = \"select 1\" }\n\"route|shape\" = value\n", 2, "inside"},
        {"workers = 2\n\"\" = 3\n", 2, "empty"},
        {"workers = 2\n\"${LEEWAY_TEST_EMPTY}\" = 3\n", 2, "a name is empty"},
        {"workers = 2\n\"${LEEWAY_TEST_ABSENT}\" = 3\n", 2, "LEEWAY_TEST_ABSENT is not set"},
        {"redis {\n password = ${LEEWAY_TEST_ABSENT}\n}\n", 2, "LEEWAY_TEST_ABSENT is not set"},
        {"redis {\n password =\n \"x\n${LEEWAY_TEST_ABSENT}\"\n}\n", 4, "not set"},
        {"log = \"std${LEEWAY_TEST_VALUE:-${LEEWAY_TEST_ABSENT}\"\n\n", 1, "must be stderr"},
        {"metrics_allow = {\"::1\",\n\"${LEEWAY_TEST_ABSENT}\"}\n", 2, "not set"},
        {"\ninclude(\"${LEEWAY_TEST_ABSENT}\")\n", 2, "not set"},
        {"log = \"${LEEWAY_TEST_VALUE-stderr}\"\n", 1, "LEEWAY_TEST_VALUE-stderr is not set"},
        {"log = \"${LEEWAY_TEST_VALUE:stderr}\"\n", 1, "\":-\""},
        {"log = \"${}\"\n", 1, "name of a variable"},
        {"log = \"${:-stderr}\"\n", 1, "name of a variable"},
        {"redis { prefix = a }\n\"redis|address\" = \"unix:/x\"\n", 2, "inside"},
        {"workers = 2\n\nworkers\n= 2\n", 3, "twice"},
        {"redis {\n database = 1\n}\nredis {\n database = 1\n}\n", 5, "twice"},
        {"metrics_allow = {\"::1\"}\nmetrics_allow = {\"::1\"}\n", 2, "twice"},
        {"context \"a\" { budget = 1s\n budget = 2s }\n", 2, "twice"},
        {"route \"/a\" {\n sql = \"select 1\"\n sql =\n \"select\n 2\"\n}\n", 3, "twice"},
        {"workers = 1\nroute \"/a\" {\n sql = \"select 1\"\n\n", 2, "not closed"},
        {"context\n\"a\"\n{\n budget = 1s\n", 1, "not closed"},
        {"route \"/a\" {\n sql = \"select 1\"\n\nroute \"/b\" { sql = \"select 2\" }\n}\n", 1,
         "not closed before the \"route\" of line 4"},
        {"redis {\n prefix = x\ninclude(\"none/*\")\n}\n", 1, "not closed before the \"include\""},
        {"workers = 1\n}\n", 2, "'}'"},
        {"redis {\n}}\n", 2, "'}'"},
        {"a = 1\n\nroute \"/a\" {\n sql = \"select 1\n}\n", 4, "string is not closed"},
        {"log = 'stderr\n\n", 1, "string is not closed"},
        {"log = \"stderr\\\"\n\n", 1, "string is not closed"},
        {"workers = 1\n/* two\nthree\n", 2, "comment is not closed"},
        {"metrics_allow = {\"::1\",\n\"127.0.0.1\"\n", 1, "list is not closed"},
        {"\nmetrics_allow = {}\n", 2, "at least one"},
        {"metrics_allow += {\"::2\"}\n", 1, "+="},
        {"workers\n", 1, "needs"},
        {"workers 3\n", 1, "needs"},
        {"workers =\n\n", 1, "no value"},
        {"workers = }\n", 1, "value"},
        {"workers = {3}\n", 1, "'{'"},
        {"max_object = 10 mb\n", 1, "needs"},
        {"workers = 1 *\n", 1, "'*'"},
        {"workers = 1\n= 3\n", 2, "'='"},
        {"workers = 1\n{ }\n", 2, "'{'"},
        {"redis = { }\n", 1, "at least one"},
        {"redis { redis { prefix = x } }\n", 1, "not closed"},
        {"route { sql = \"select 1\" }\n", 1, "title"},
        {"redis \"x\" { }\n", 1, "redis"},
        {"log = \"${LEEWAY\n}\"\n", 1, "${"},
        {"log = \"\n${LEEWAY_TEST\"\n", 2, "${"},
        {"log = a${LEEWAY_TEST}\n", 1, "double quotes"},
        {"log = \"\\400\"\n", 1, "255"},
        {"log = \"\n\\9\"\n", 2, "octal"},
        {"log = \"\\1234\"\n", 1, "octal"},
        {"log = \"a\\x00b\"\n", 1, "1 to 255"},
        {"log = std\001err\n", 1, "control character"},
        {"redis {\n username = \"\\xff\"\n}\n", 2, "UTF-8"},
        {"context \"\\xc3\" {\n budget = 1s }\n", 1, "UTF-8"},
        {"metrics_allow = {\"::1\", \"\\xff\"}\n", 1, "UTF-8"},
        {"include\n", 1, "needs"},
        {"include(\"a\" \"b\")\n", 1, "one file name"},
        {"include()\n", 1, "one file name"},
        {"\ninclude(\"\")\n", 2, "one file name"},
        {"include(\"a\"\n", 1, "')'"},
        {"\nworkers = 010\n", 2, "begins with a zero"},
        {"\n\nslow_query = 010s\n", 3, "begins with a zero"},
        {"max_object = 01mb\n", 1, "begins with a zero"},
        {"workers = 1\n\ninclude(\n\"missing.conf\")\n", 3,
         "missing.conf cannot be opened: No such"},
        {"\ninclude(\"sql\")\n", 2, "directory"},
        {"\n\ninclude(\"broken.conf\")\n", 3, "nested"},
    };

    (void)state;
    check_broken(cases, COUNT_OF(cases));
}

static void test_broken_settings(void **state)
{
    static const struct broken cases[] = {
        {"workers = 0\n", 1, "from 1 to 1024"},
        {"workers = many\n", 1, "auto"},
        {"workers = -1\n", 1, "out of range"},
        {"refreshers = 0\n", 1, "out of range"},
        {"refreshers = auto\n", 1, "whole number"},
        {"mount = api\n", 1, "begin with '/'"},
        {"mount = \"\"\n", 1, "begin with '/'"},
        {"mount = \"/a//b\"\n", 1, "empty segment"},
        {"mount = \"/{a}\"\n", 1, "{name}"},
        {"runtime_dir = \"run\"\n", 1, "absolute"},
        {"max_object = 1gb\n", 1, "size"},
        {"max_object = 1000mb\n", 1, "out of range"},
        {"max_object = 0\n", 1, "out of range"},
        {"max_waiting = 0\n", 1, "out of range"},
        {"client_misses = \"20\"\n", 1, "is not a rate like 20/s burst 100"},
        {"client_misses = \"20/s\"\n", 1, "is not a rate"},
        {"client_misses = \"20/s burst 5x\"\n", 1, "is not a rate"},
        {"client_misses = \"-1/s burst 5\"\n", 1, "is not a rate"},
        {"client_misses = \"20/m burst 5\"\n", 1, "is not a rate"},
        {"client_misses = \"0/s burst 5\"\n", 1, "out of range"},
        {"client_misses = \"1/s burst 1000001\"\n", 1, "out of range"},
        {"client_misses = \"99999999999999999999/s burst 1\"\n", 1, "is not a rate"},
        {"client_misses_by = \"a b\"\n", 1, "FastCGI variable"},
        {"client_timeout = 10\n", 1, "duration"},
        {"client_timeout = 1ms\n", 1, "out of range"},
        {"drain_timeout = 1d\n", 1, "out of range"},
        {"\ndrain_timeout = 4999ms\n", 2, "statement_timeout"},
        {"postgres {\n statement_timeout = 11s\n}\n", 2, "drain_timeout"},
        {"postgres {\n statement_timeout = 9s\n}\ndrain_timeout = 8s\n", 4, "at least"},
        {"socket_mode = 0668\n", 1, "octal"},
        {"socket_mode = 1777\n", 1, "out of range"},
        {"\nsocket_group = no-such-group\n", 2, "not the name of a group"},
        {"socket_group = -1\n", 1, "not the number of a group"},
        {"socket_group = 4294967295\n", 1, "not the number of a group"},
        {"log = file\n", 1, "syslog"},
        {"slow_query = often\n", 1, "duration"},
        {"metrics_path = metrics\n", 1, "begin with '/'"},
        {"health_path = \"/a/../b\"\n", 1, "\"..\""},
        {"metrics_path = \"/x\"\nhealth_path = \"/x\"\n", 2, "the same"},
        {"metrics_path = \"/health\"\n", 1, "the same"},
        {"workers = 1\nmetrics_allow = {\"::1\",\n \"10.0.0.0/33\"}\n", 2, "from 0 to 32"},
        {"workers = 1\nmetrics_allow = {\"10.1.0.0/8\"}\n", 2, "behind its prefix"},
        {"\n\nmetrics_allow = {\"2001:db8::/129\"}\n", 3, "from 0 to 128"},
        {"metrics_allow = {\"localhost\"}\n", 1, "not an IPv4 or IPv6 address or network"},
        {"metrics_allow = {\"::1\", \"0::1\"}\n", 1, "twice"},
        {"metrics_allow = {\"10.0.0.1\", \"::ffff:10.0.0.1\"}\n", 1, "twice"},
        {"redis {\n address = \"127.0.0.1:6379\" }\n", 2, "unix:PATH, tcp:"},
        {"redis { address = \"unix:run/x\" }\n", 1, "absolute"},
        {"redis { address = \"tcp:localhost\" }\n", 1, "PORT"},
        {"redis { address = \"tcp::6379\" }\n", 1, "HOST"},
        {"redis { address = \"tcp:a:65536\" }\n", 1, "65535"},
        {"redis { address = \"tcp:::1:6379\" }\n", 1, "brackets"},
        {"redis { address = \"tcp:[::1:6379\" }\n", 1, "brackets"},
        {"redis { address = \"tcp:[a:6379\" }\n", 1, "malformed host"},
        {"redis { address = \"tcp:a]:6379\" }\n", 1, "malformed host"},
        {"redis { address = \"tcp:[[::1]]:6379\" }\n", 1, "malformed host"},
        {"redis { address = \"tls:localhost\" }\n", 1, "PORT"},
        {"redis {\n tls_ca = \"/a.pem\" }\n", 2, "tls_ca needs an address of tls:"},
        {"redis {\n address = \"tcp:a:1\"\n tls_name = \"a\" }\n", 3, "tls_name needs"},
        {"redis {\n address = \"tls:a:1\"\n tls_cert = \"/a\" }\n", 3, "needs a tls_key"},
        {"redis {\n address = \"tls:a:1\"\n tls_key = \"/a\" }\n", 3, "needs a tls_cert"},
        {"redis {\n address = \"tls:a:1\"\n tls_ca = \"/nowhere\" }\n", 3,
         "tls_ca \"/nowhere\": No such file"},
        {"redis {\n address = \"tls:a:1\"\n tls_cert = \"/nowhere\"\n tls_key = \"/b\" }\n", 3,
         "tls_cert \"/nowhere\": No such file"},
        {"redis {\n address = \"tls:a:1\"\n tls_cert = \"broken.conf\"\n tls_key = \"/b\" }\n", 4,
         "tls_key \"/b\": No such file"},
        {"redis {\n address = \"tls:a:1\"\n tls_ca = \"broken.conf\" }\n", 3,
         "no certificate in PEM form"},
        {"redis { address = \"unix:/"
         "1234567890123456789012345678901234567890123456789012345678901234567890"
         "1234567890123456789012345678901234567890\" }\n",
         1, "too long"},
        {"redis { database = -1 }\n", 1, "out of range"},
        {"redis { prefix = \"{x}\" }\n", 1, "letters"},
        {"redis { prefix = \"\" }\n", 1, "letters"},
        {"redis { connect_timeout = 0 }\n", 1, "out of range"},
        {"redis { command_timeout = 2m }\n", 1, "from 1ms to 1m"},
        {"redis { queue_limit = 0 }\n", 1, "out of range"},
        {"postgres { connect_timeout = 1ms }\n", 1, "out of range"},
        {"postgres { statement_timeout = 0 }\n", 1, "out of range"},
        {"postgres {\n session_lifetime = 999ms }\n", 2, "from 1s"},
        {"postgres { session_lifetime = 31d }\n", 1, "out of range"},
        {"postgres {\n prepared = maybe }\n", 2, "true or false"},
        {"postgres { slots = 0 }\n", 1, "out of range"},
        {"postgres { slot_timeout = 2h }\n", 1, "out of range"},
    };

    (void)state;
    check_broken(cases, COUNT_OF(cases));
}

static void test_broken_contexts(void **state)
{
    static const struct broken cases[] = {
        {"context \"a\" { budget = 1s }\ncontext \"a\" { budget = 1s }\n", 2, "twice"},
        {"context \"default\" { }\n\ncontext \"default\" { }\n", 3, "twice"},
        {"\ncontext \"\" { budget = 1s }\n", 2, "empty"},
        {"context \"a\\n\" { budget = 1s }\n", 1, "control"},
        {"\ncontext \"a\" {\n}\n", 2, "no budget"},
        {"context \"a\" {\n budget = 999ms }\n", 2, "from 1s to 30d"},
        {"context \"a\" {\n budget = 31d }\n", 2, "out of range"},
        {"context \"a\" {\n budget = 60 }\n", 2, "duration"},
        {"context \"a\" { budget = 1s\n refresh_at = 0 }\n", 2, "above 0"},
        {"context \"a\" { budget = 1s\n refresh_at = 1.000000001 }\n", 2, "at most 1"},
        {"context \"a\" { budget = 1s\n refresh_at = 0.0000000001 }\n", 2, "nine digits"},
        {"context \"a\" { budget = 1s\n refresh_at = 90% }\n", 2, "decimal"},
        {"context \"a\" { budget = 1s\n refresh_at = -0.5 }\n", 2, "decimal"},
        {"context \"a\" { budget = 1s\n refresh_at = . }\n", 2, "decimal"},
        {"context \"a\" { budget = 0s\n stale_if_error = 1s }\n", 2, "budget of 0s"},
        {"context \"a\" {\n stale_if_error = 31d\n budget = 1s }\n", 2, "out of range"},
        {"context \"a\" {\n negative_budget = 3s\n budget = 2s }\n", 2, "longer than the budget"},
        {"context \"a\" {\n budget = 0s\n negative_budget = 1s }\n", 3, "longer than the budget"},
        {"context \"a\" {\n budget = 1s\n edge = 2 }\n", 3, "true or false"},
    };

    (void)state;
    check_broken(cases, COUNT_OF(cases));
}

#define SQL " sql = \"select 1\" "

static void test_broken_routes(void **state)
{
    static const struct broken cases[] = {
        {"route \"/a\" {" SQL "}\nroute \"/a\" { name = b" SQL "}\n", 2, "twice"},
        {"route \"/a\" {" SQL "}\nroute \"/b\" {" SQL "\n name = a }\n", 3, "already"},
        {"route \"/a/b\" {" SQL "}\n\nroute \"/a.b\" {" SQL "}\n", 3, "generated name \"a.b\""},
        {"route \"/a\" {" SQL "\n context = \"nowhere\" }\n", 2, "no context \"nowhere\""},
        {"route \"/a\" {" SQL "\n name = \"a b\" }\n", 2, "letters"},
        {"route \"/a\" {" SQL "\n name = \"\" }\n", 2, "letters"},
        {"route \"/a\" {" SQL "\n shape = list }\n", 2, "object, array or value"},
        {"route \"/a\" {" SQL "\n private = 1 }\n", 2, "true or false"},
        {"route \"/a\" {" SQL "\n unknown_params = drop }\n", 2, "ignore or reject"},
        {"route \"/a\" {" SQL "\n slots = 0 }\n", 2, "slots"},
        {"route \"/a\" {" SQL "\n slots = 1025 }\n", 2, "slots"},
        {"\nroute \"/a\" {\n}\n", 2, "no query"},
        {"route \"/a\" {" SQL "\n sql_file = \"sql/products.sql\" }\n", 2, "both"},
        {"route \"/a\" {\n sql_file = \"sql/none.sql\" }\n", 2, "sql/none.sql cannot be opened"},
        {"route \"/a\" {\n sql_file = \"sql\" }\n", 2, "directory"},
        {"route \"/a\" {\n sql_file = \"sql/products.sql\" }\n", 2, "$2"},
        {"route \"/a\" {\n sql = \" ;\n; \" }\n", 2, "empty"},
        {"route \"/a\" {\n sql = \"select\n\n $1\" }\n", 2, "only 0 param blocks"},
        {"route \"/a\" {\n param \"x\" { }\n sql = 'select $1, $3' }\n", 3, "$3"},
        {"route \"/a\" {\n sql = \"select $0\" }\n", 2, "$0"},
        {"route \"/a\" {\n sql = \"select 'a\" }\n", 2, "string in it is not closed"},
        {"route \"/a\" {\n sql = \"select 1; select 2\" }\n", 2, "more than one"},
        {"\nroute \"a\" {" SQL "}\n", 2, "begin with '/'"},
        {"route \"\" {" SQL "}\n", 1, "begin with '/'"},
        {"route \"/a//b\" {" SQL "}\n", 1, "empty segment"},
        {"route \"//\" {" SQL "}\n", 1, "empty segment"},
        {"route \"/./b\" {" SQL "}\n", 1, "\".\""},
        {"route \"/a/..\" {" SQL "}\n", 1, "\"..\""},
        {"route \"/a?b\" {" SQL "}\n", 1, "'?'"},
        {"route \"/a#b\" {" SQL "}\n", 1, "'#'"},
        {"route \"/a%20b\" {" SQL "}\n", 1, "'%'"},
        {"route \"/a\\nb\" {" SQL "}\n", 1, "control"},
        {"route \"/a{id}\" { param \"id\" { }" SQL "}\n", 1, "whole segment"},
        {"route \"/{id\" {" SQL "}\n", 1, "whole segment"},
        {"route \"/{}\" {" SQL "}\n", 1, "name in {}"},
        {"route \"/{1a}\" {" SQL "}\n", 1, "digit"},
        {"route \"/{a-b}\" {" SQL "}\n", 1, "letters"},
        {"route \"/{a}/{a}\" {" SQL "}\n", 1, "{a} twice"},
        {"route \"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/27/28"
         "/29/30/31/32/33\" {" SQL "}\n",
         1, "more than 32 segments"},
        {"\nroute \"/{id}\" {\n param \"ID\" { }" SQL "}\n", 2, "no param \"id\""},
    };

    (void)state;
    check_broken(cases, COUNT_OF(cases));
}

#define ROUTE(pattern, param) "route \"" pattern "\" {" SQL "\n" param "\n}\n"

static void test_broken_params(void **state)
{
    static const struct broken cases[] = {
        {ROUTE("/a", "param \"x\" { }\nparam \"x\" { }"), 3, "twice"},
        {ROUTE("/a", "param \"\" { }"), 2, "1 to 64"},
        {ROUTE("/a", "param \"a b\" { }"), 2, "letters"},
        {ROUTE("/a", "param \"x\" {\n type = integer }"), 3, "int, number"},
        {ROUTE("/{x}", "param \"x\" {\n from = REMOTE_USER }"), 3, "from the path"},
        {ROUTE("/{x}", "param \"x\" {\n default = a }"), 3, "from the path"},
        {ROUTE("/{x}", "param \"x\" {\n required = false }"), 3, "from the path"},
        {ROUTE("/a", "param \"x\" { from = REMOTE_USER\n default = a }"), 3, "remove default"},
        {ROUTE("/a", "param \"x\" { from = REMOTE_USER\n required = no }"), 3, "remove required"},
        {ROUTE("/a", "param \"x\" {\n from = \"REMOTE USER\" }"), 3, "FastCGI variable"},
        {ROUTE("/a", "param \"x\" { default = a\n required = false }"), 3, "exclude"},
        {ROUTE("/a", "param \"x\" { required = 0 }"), 2, "true or false"},
        {ROUTE("/a", "param \"x\" { type = text\n min = 1 }"), 3, "int and number"},
        {ROUTE("/a", "param \"x\" { type = date\n max = 1 }"), 3, "int and number"},
        {ROUTE("/a", "param \"x\" { type = int\n max_length = 1 }"), 3, "type text"},
        {ROUTE("/a", "param \"x\" {\n max_length = 0 }"), 3, "out of range"},
        {ROUTE("/a", "param \"x\" {\n slashes = true }"), 3, "from the path"},
        {ROUTE("/a", "param \"x\" {\n from = X\n slashes = true }"), 4, "from the path"},
        {ROUTE("/{x}", "param \"x\" { type = int\n slashes = true }"), 3, "text and enum"},
        {ROUTE("/{x}", "param \"x\" {\n slashes = maybe }"), 3, "true or false"},
        {ROUTE("/a", "param \"x\" { type = uuid\n values = {a} }"), 3, "type enum"},
        {ROUTE("/a", "param \"x\" { type = enum }"), 2, "values = "},
        {ROUTE("/a", "param \"x\" { type = enum\n values = {a, b, a} }"), 3, "twice"},
        {ROUTE("/a", "param \"x\" { type = enum\n values = {a, \"\"} }"), 3, "empty"},
        {ROUTE("/a", "param \"x\" { type = int\n min = 1.5 }"), 3, "whole number"},
        {ROUTE("/a", "param \"x\" { type = int\n max = 9223372036854775808 }"), 3, "whole"},
        {ROUTE("/a", "param \"x\" { type = number\n min = 1e3 }"), 3, "decimal"},
        {ROUTE("/a", "param \"x\" { type = number\n min = 1. }"), 3, "decimal"},
        {ROUTE("/a", "param \"x\" { type = int min = 2\n max = 1 }"), 3, "below min"},
        {ROUTE("/a", "param \"x\" { type = int min = -1\n max = -2 }"), 3, "below min"},
        {ROUTE("/a", "param \"x\" { type = int min = 0\n max = -2 }"), 3, "below min"},
        {ROUTE("/a", "param \"x\" { type = number min = 10.01\n max = 9.5 }"), 3, "below min"},
        {ROUTE("/a", "param \"x\" { type = number min = 1.01\n max = 1.0 }"), 3, "below min"},
        {ROUTE("/a", "param \"x\" {\n type = int\n sql = x }"), 4, "unknown key 'sql'"},
        {ROUTE("/a", "param \"x\" { type = int\n" SQL), 1, "not closed"},
    };
    char *many = talloc_strdup(NULL, "route \"/a\" {" SQL "\n");

    (void)state;
    check_broken(cases, COUNT_OF(cases));
    for (int i = 0; i < 33; i++)
        many = talloc_asprintf_append(many, "param \"p%d\" { }\n", i);
    many = talloc_strdup_append(many, "}\n");
    check_broken(&(struct broken){many, 34, "32 params"}, 1);
    talloc_free(many);
}

static void test_broken_files(void **state)
{
    static const char nul[] = "workers = 1\nlog = \"std\0err\"\n";
    static const struct {
        const char *file;
        const char *named; /* the file that is reported */
        int line;
        const char *word;
    } cases[] = {
        {"missing.conf", "missing.conf", 0, "No such file"},
        {"sql", "sql", 0, "directory"},
        {"nul.conf", "nul.conf", 2, "NUL"},
        {"fifo", "fifo", 0, "regular"},
        {"outer.conf", "d/inner.conf", 2, "unknown key"},
        {"second.conf", "second.conf", 4, "first in"},
        {"route.conf", "d/b.conf", 1, "d/a.conf:2"},
        {"latin1.conf", "latin1.conf", 3, "latin1.sql is not UTF-8"},
    };
    char *sub = path_of(NULL, "d"), *fifo = path_of(NULL, "fifo");

    (void)state;
    assert_int_equal(mkdir(sub, 0700), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    talloc_free(sub);
    talloc_free(fifo);
    write_bytes("nul.conf", nul, sizeof(nul) - 1);
    write_file("outer.conf", "workers = 1\ninclude(\"d/inner.conf\")\n");
    write_file("d/inner.conf", "refreshers = 3\nwrokers = 2\n");
    write_file("second.conf",
               "redis { database = 1 }\ninclude(\"d/redis.conf\")\n\nlog = stderr\n");
    write_file("d/redis.conf", "log = syslog\nredis { prefix = x }\n");
    write_file("route.conf", "include(\"d/[ab].conf\")");
    write_file("d/b.conf", "route \"/a\" { sql = \"select 1\" }");
    write_file("d/a.conf", "\nroute \"/a\" { sql = \"select 1\" }");
    write_file("latin1.conf", "route \"/a\"\n{\n sql_file = \"sql/latin1.sql\" }\n");
    write_file("sql/latin1.sql", "select '\xe9'");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        const struct config *config;
        struct config_error error;

        int rc = config_load(ctx, path_of(ctx, cases[i].file), &config, &error);
        check(rc == -1, "%s", cases[i].file);
        check(strcmp(error.file, path_of(ctx, cases[i].named)) == 0 &&
                  error.line == cases[i].line && strstr(error.text, cases[i].word) != NULL,
              "%s: %s:%d: %s", cases[i].file, error.file, error.line, error.text);
        talloc_free(ctx);
    }
}

static void test_defaults(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct config *config = load_good(ctx, "");
    const struct settings *s = &config->settings;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    (void)state;
    assert_int_equal(s->workers, processors > 1024 ? 1024 : processors);
    assert_int_equal(s->refreshers, 2);
    assert_string_equal(s->mount, "");
    assert_string_equal(s->runtime_dir, "/run/leeway");
    assert_int_equal(s->max_object_bytes, 1048576);
    assert_int_equal(s->max_waiting, 1024);
    assert_int_equal(s->client_timeout_ms, 10000);
    assert_int_equal(s->drain_timeout_ms, 10000);
    assert_int_equal(s->socket_mode, 0660);
    assert_int_equal(s->socket_group, -1);
    assert_string_equal(s->log, "stderr");
    assert_int_equal(s->slow_query_ms, 1000);
    assert_string_equal(s->metrics_path, "/metrics");
    assert_string_equal(s->health_path, "/health");
    assert_string_equal(s->ready_path, "/ready");
    assert_int_equal(s->metrics_allow->count, 2);
    assert_true(networks_contain(s->metrics_allow, "127.0.0.1"));
    assert_true(networks_contain(s->metrics_allow, "::1"));
    assert_false(networks_contain(s->metrics_allow, "127.0.0.2"));
    assert_string_equal(s->redis.address, "unix:/run/redis/redis-server.sock");
    assert_int_equal(s->redis.database, 0);
    assert_string_equal(s->redis.username, "");
    assert_string_equal(s->redis.password, "");
    assert_null(s->postgres.password);
    assert_string_equal(s->redis.prefix, "leeway");
    assert_string_equal(s->redis.namespace, "");
    assert_int_equal(s->redis.connect_timeout_ms, 500);
    assert_int_equal(s->redis.command_timeout_ms, 250);
    assert_int_equal(s->redis.queue_limit, 10000);
    assert_string_equal(s->postgres.conninfo, "");
    assert_int_equal(s->postgres.connect_timeout_ms, 2000);
    assert_int_equal(s->postgres.statement_timeout_ms, 5000);
    assert_int_equal(s->postgres.session_lifetime_ms, 600000);
    assert_true(s->postgres.prepared);
    assert_int_equal(s->postgres.slots, 8);
    assert_int_equal(s->postgres.slot_timeout_ms, 1000);
    assert_int_equal(config->n_contexts, 1);
    assert_string_equal(config->contexts[0].name, "default");
    assert_int_equal(config->contexts[0].budget_ms, 60000);
    assert_int_equal(config->contexts[0].refresh_after_ms, 54000);
    assert_int_equal(config->contexts[0].negative_budget_ms, 6000);
    assert_int_equal(config->n_routes, 0);
    talloc_free(ctx);
}

static void test_settings(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct config *config =
        load_good(ctx, "# ${LEEWAY_TEST_ABSENT}\n"
                       "workers = 10 refreshers = 3 mount = '/api/v1/' max_object=64kb\n"
                       "runtime_dir = /run/x // no comment inside: \n"
                       "socket_mode = 666 socket_group = 4294967294 log = syslog slow_query = 0s "
                       "metrics_path = \"${LEEWAY_TEST_EMPTY}\"\n"
                       "metrics_allow = {\"0:0::0001\", \"10.1.0.0/16\", \"unix:\",}\n"
                       "drain_timeout = 1h\r\n"
                       "redis { address = \"tcp:[::1]:6379\" }\n"
                       "redis { password = \"${LEEWAY_TEST_ABSENT:-a}\\\"\\x41\\n\" username = "
                       "${LEEWAY_TEST_VALUE} }\n"
                       "postgres { statement_timeout = 1h session_lifetime = 0 prepared = "
                       "${LEEWAY_TEST_ABSENT:-no}\n"
                       "  conninfo = \"${LEEWAY_TEST_VALUE} \\${x}\" }");
    const struct settings *s = &config->settings;

    (void)state;
    assert_int_equal(s->workers, 10);
    assert_int_equal(s->refreshers, 3);
    assert_string_equal(s->mount, "/api/v1");
    assert_int_equal(s->max_object_bytes, 65536);
    assert_string_equal(s->runtime_dir, "/run/x");
    assert_int_equal(s->socket_mode, 0666);
    assert_int_equal(s->socket_group, 4294967294);
    assert_string_equal(s->log, "syslog");
    assert_int_equal(s->slow_query_ms, 0);
    assert_string_equal(s->metrics_path, "");
    assert_int_equal(s->metrics_allow->count, 3);
    assert_true(networks_contain(s->metrics_allow, "::1"));
    assert_true(networks_contain(s->metrics_allow, "::ffff:10.1.2.3"));
    assert_true(networks_contain(s->metrics_allow, "unix:"));
    assert_false(networks_contain(s->metrics_allow, "10.2.0.0"));
    assert_string_equal(s->redis.address, "tcp:[::1]:6379");
    assert_string_equal(s->redis.password, "a\"A\n");
    assert_string_equal(s->redis.username, "from \"the\" environment");
    assert_int_equal(s->postgres.statement_timeout_ms, 3600000);
    assert_int_equal(s->postgres.session_lifetime_ms, 0);
    assert_false(s->postgres.prepared);
    assert_string_equal(s->postgres.conninfo, "from \"the\" environment ${x}");
    talloc_free(ctx);
}

static void write_password(const char *name, const char *text, mode_t mode)
{
    char *path = path_of(NULL, name);

    write_file(name, text);
    assert_int_equal(chmod(path, mode), 0);
    talloc_free(path);
}

static void test_password_files(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    write_password("redis.pw", "it's \"a\" horse \r\nuser: x\n", 0600);
    write_password("sql/postgres.pw", "p\303\251", 0440);
    write_file("sql/postgres.conf", "postgres { password_file = \"postgres.pw\" }\n");
    const struct config *config =
        load_good(ctx, "redis { password_file = \"redis.pw\" password = \"\" }\n"
                       "include(\"sql/postgres.conf\")\n");
    assert_string_equal(config->settings.redis.password, "it's \"a\" horse ");
    assert_string_equal(config->settings.postgres.password, "p\303\251");
    assert_int_equal(config->n_warnings, 0);

    write_password("redis.pw", "horse\n", 0604);
    config = load_good(ctx, talloc_asprintf(ctx, "\nredis {\n password_file = \"%s\"\n}\n",
                                            path_of(ctx, "redis.pw")));
    assert_string_equal(config->settings.redis.password, "horse");
    assert_null(config->settings.postgres.password);
    assert_int_equal(config->n_warnings, 1);
    assert_int_equal(config->warnings[0].place.line, 3);
    assert_string_equal(config->warnings[0].place.file, config->file);
    assert_non_null(strstr(config->warnings[0].text, "can be read by everybody"));
    assert_null(strstr(config->warnings[0].text, "horse"));
    talloc_free(ctx);
}

/* In each, "horse" is a piece of a password. */
static void test_errors_do_not_quote_passwords(void **state)
{
    static const struct broken cases[] = {
        {"redis {\n password = my horse\n}\n", 2, "a key needs"},
        {"redis {\n password = my horse = x\n}\n", 2, "behind the value of password"},
        {"redis {\n prefix = a password = \"my\"horse=x\n}\n", 2, "behind the value of password"},
        {"redis {\n password = my=horse\n}\n", 2, "a '='"},
        {"redis {\n password = {horse}\n}\n", 2, "'{'"},
        {"redis {\n password = horse*\n}\n", 2, "a '*'"},
        {"redis {\n password = my${horse}\n}\n", 2, "double quotes"},
        {"redis {\n password = \"my${horse\"\n}\n", 2, "\"${\" needs"},
        {"redis {\n password = \"horse\\400\"\n}\n", 2, "255"},
        {"redis {\n password = \"horse\\xff\"\n}\n", 2, "not UTF-8"},
        {"redis {\n password = \"horse\n}\n", 2, "not closed"},
        {"redis {\n password = horse\n password = horse\n}\n", 3, "twice"},
        {"redis {\n address = \"redis://:horse@db:6379\"\n}\n", 2, "keys of their own"},
        {"redis {\n address = \"tcp:u:horse@db:6379\"\n}\n", 2, "keys of their own"},
        {"postgres {\n conninfo = host=db password=horse\n}\n", 2, "a '='"},
        {"postgres {\n conninfo = postgres://u:a horse=b\n}\n", 2, "behind the value of conninfo"},
    };

    (void)state;
    check_broken(cases, COUNT_OF(cases));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        const struct config *config;
        struct config_error error;

        write_file("broken.conf", cases[i].text);
        assert_int_equal(config_load(ctx, path_of(ctx, "broken.conf"), &config, &error), -1);
        check(strstr(error.text, "horse") == NULL, "%s", error.text);
        talloc_free(ctx);
    }
}

static void test_broken_password_files(void **state)
{
    static const struct broken cases[] = {
        {"redis {\n password_file = \"none.pw\" }\n", 2, "none.pw cannot be opened: No such"},
        {"postgres {\n password_file = \"none.pw\" }\n", 2, "none.pw cannot be opened: No such"},
        {"redis {\n password_file = \"sql\" }\n", 2, "directory"},
        {"redis {\n password_file = \"empty.pw\" }\n", 2, "empty.pw is empty"},
        {"redis {\n password_file = \"line.pw\" }\n", 2, "line.pw is empty"},
        {"redis {\n password_file = \"crlf.pw\" }\n", 2, "crlf.pw is empty"},
        {"redis {\n password_file = \"nul.pw\" }\n", 2, "not UTF-8 text"},
        {"redis {\n password_file = \"latin1.pw\" }\n", 2, "not UTF-8 text"},
        {"postgres {\n password_file = \"long.pw\" }\n", 2, "larger than"},
        {"redis {\n password = x\n password_file = \"good.pw\" }\n", 3, "exclude each other"},
        {"redis {\n password_file = \"good.pw\"\n}\nredis {\n password_file = \"good.pw\" }\n", 5,
         "twice"},
    };
    char *large = talloc_zero_size(NULL, 65 * 1024);

    (void)state;
    write_password("empty.pw", "", 0600);
    write_password("line.pw", "\nhorse\n", 0600);
    write_password("crlf.pw", "\r\n", 0600);
    write_bytes("nul.pw", "ho\0rse\n", 7);
    write_password("latin1.pw", "horse\351\n", 0600);
    write_password("good.pw", "horse", 0600);
    write_bytes("long.pw", memset(large, 'x', 65 * 1024), 65 * 1024);
    talloc_free(large);
    check_broken(cases, COUNT_OF(cases));
}

static void test_contexts(void **state)
{
    static const struct context expected[] = {
        {.name = "default",
         .place = {NULL, 2},
         .budget_ms = 60000,
         .refresh_after_ms = 30000,
         .negative_budget_ms = 6000},
        {.name = "user:profile",
         .place = {NULL, 3},
         .budget_ms = 30000,
         .refresh_after_ms = 27000,
         .negative_budget_ms = 3000},
        {.name = "analytics",
         .place = {NULL, 4},
         .budget_ms = 600000,
         .refresh_after_ms = 600000,
         .stale_if_error_ms = 3600000,
         .negative_budget_ms = 600000,
         .edge = true},
        {.name = "ledger", .place = {NULL, 6}, .budget_ms = 0},
        {.name = "month",
         .place = {NULL, 7},
         .budget_ms = INT64_C(2592000000),
         .refresh_after_ms = INT64_C(2591999997),
         .negative_budget_ms = 0},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct config *config = load_good(
        ctx, "\ncontext \"default\" { refresh_at = .5 }\n"
             "context user:profile { budget = 30s }\n"
             "context \"analytics\" { budget = 10m stale_if_error = 1h refresh_at = 1\n"
             "  negative_budget = 10m edge = true }\n"
             "context \"ledger\" { budget = 0 }\n"
             "context \"month\" { budget = 30d refresh_at = 0.999999999 negative_budget = 0s }\n");

    (void)state;
    assert_int_equal(config->n_contexts, COUNT_OF(expected));
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        const struct context *got = &config->contexts[i], *want = &expected[i];
        check(strcmp(got->name, want->name) == 0 && got->place.line == want->place.line &&
                  strcmp(got->place.file, config->file) == 0,
              "%s is %s, %s:%d", want->name, got->name, got->place.file, got->place.line);
        check(got->budget_ms == want->budget_ms, "%s", want->name);
        check(got->refresh_after_ms == want->refresh_after_ms, "%s", want->name);
        check(got->stale_if_error_ms == want->stale_if_error_ms, "%s", want->name);
        check(got->negative_budget_ms == want->negative_budget_ms, "%s", want->name);
        check(got->edge == want->edge, "%s", want->name);
    }
    talloc_free(ctx);
}

static void test_routes(void **state)
{
    static const char text[] =
        "route \"/users/{id}/profile\" {\n"
        "  context = \"later\"\n"
        "  param \"id\" { type = int min = 1 }\n"
        "  sql = \"select id\n from users where id = $1 ;\n\"\n"
        "  shape = object unknown_params = reject slots = 3\n}\n"
        "context \"later\" { budget = 1s }\n"
        "route \"/products\" { param \"q\" { default = \"\" max_length = 64 }\n"
        "  param \"limit\" { type = int max = 100 required = false }\n"
        "  sql_file = \"sql/products.sql\" }\n"
        "route \"/me/\"\n{ param \"u\" { from = REMOTE_USER } shape = value\n"
        "  sql = 'select $1' name = \"me\" }\n"
        "route \"/\" { private = yes sql = \"select 1\" }\n"
        "route \"/caf\xc3\xa9\" { sql = \"select 1\" }\n";
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct config *config = load_good(ctx, text);
    const struct route *r = config->routes;

    (void)state;
    assert_int_equal(config->n_routes, 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(r[i].index, i);
    assert_string_equal(r[0].name, "users.id.profile");
    assert_string_equal(r[0].pattern, "/users/{id}/profile");
    assert_int_equal(r[0].place.line, 1);
    assert_ptr_equal(r[0].context, &config->contexts[0]);
    assert_string_equal(r[0].context->name, "later");
    assert_string_equal(r[0].sql, "select id\n from users where id = $1");
    assert_int_equal(r[0].shape, SHAPE_OBJECT);
    assert_true(r[0].reject_unknown_params);
    assert_int_equal(r[0].slots, 3);
    assert_int_equal(r[1].slots, 0);
    assert_false(r[0].private);
    assert_int_equal(r[1].place.line, 10);
    assert_string_equal(r[1].context->name, "default");
    assert_string_equal(r[1].sql, "select * from products -- $9\n where q = $1 limit $2");
    assert_int_equal(r[1].shape, SHAPE_ARRAY);
    assert_false(r[1].reject_unknown_params);
    assert_string_equal(r[2].name, "me");
    assert_int_equal(r[2].place.line, 13);
    assert_true(r[2].private);
    assert_int_equal(r[2].shape, SHAPE_VALUE);
    assert_string_equal(r[3].name, "root");
    assert_true(r[3].private);
    assert_string_equal(r[4].name, "caf__");
    talloc_free(ctx);
}

/* A header has a second spelling, and the first is anybody's. */
static void test_warnings(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct config *config =
        load_good(ctx, "route \"/a\" {\n param \"a\" { from = REMOTE_USER }\n"
                       " param \"b\" {\n  from = \"HTTP_X_USER\" }\n sql = 'select $1, $2' }\n"
                       "route \"/b\" { param \"c\" { from = HTTPS } sql = 'select $1' }\n"
                       "route \"/c\" { param \"d\" { from = HTTP_X } sql = 'select $1' }\n");
    const struct config_warning *warnings = config->warnings;

    (void)state;
    assert_int_equal(config->n_warnings, 2);
    assert_string_equal(warnings[0].place.file, config->file);
    assert_int_equal(warnings[0].place.line, 4);
    assert_non_null(strstr(warnings[0].text, "param \"b\": HTTP_X_USER is a request header"));
    assert_int_equal(warnings[1].place.line, 7);
    assert_non_null(strstr(warnings[1].text, "param \"d\": HTTP_X "));
    assert_int_equal(load_good(ctx, "workers = 1\n")->n_warnings, 0);
    talloc_free(ctx);
}

static void test_params(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct config *config = load_good(
        ctx, "route \"/a/{id}\" {\n"
             " param \"q\" { default = \"\"\n max_length = 64 }\n"
             " param \"id\" { type = uuid }\n"
             " param \"user\" { from = \"REMOTE_USER\" }\n"
             " param \"n\" { type = number min = -1.50 max = -1.5 required = false }\n"
             " param \"page[size]\" { type = enum values = {\"a\", b}\n default\n =\n b }\n"
             " sql = \"select 1\" }\n");
    const struct param_spec *p = config->routes[0].params;

    (void)state;
    assert_int_equal(config->routes[0].n_params, 5);
    assert_string_equal(p[0].name, "q");
    assert_int_equal(p[0].type, PARAM_TEXT);
    assert_int_equal(p[0].source, PARAM_FROM_QUERY);
    assert_int_equal(p[0].place.line, 2);
    assert_string_equal(p[0].default_text, "");
    assert_int_equal(p[0].default_place.line, 2);
    assert_false(p[0].required);
    assert_int_equal(p[0].max_length, 64);
    assert_int_equal(p[1].source, PARAM_FROM_PATH);
    assert_int_equal(p[1].type, PARAM_UUID);
    assert_true(p[1].required);
    assert_null(p[1].default_text);
    assert_int_equal(p[2].source, PARAM_FROM_VARIABLE);
    assert_string_equal(p[2].variable, "REMOTE_USER");
    assert_int_equal(p[2].max_length, 256);
    assert_true(config->routes[0].private);
    assert_int_equal(p[3].type, PARAM_NUMBER);
    assert_string_equal(p[3].min, "-1.50");
    assert_string_equal(p[3].max, "-1.5");
    assert_false(p[3].required);
    assert_int_equal(p[4].type, PARAM_ENUM);
    assert_string_equal(p[4].values[0], "a");
    assert_string_equal(p[4].values[1], "b");
    assert_null(p[4].values[2]);
    assert_string_equal(p[4].default_text, "b");
    assert_int_equal(p[4].default_place.line, 8);
    talloc_free(ctx);
}

static void test_includes(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    char *sub = path_of(ctx, "in[c]l");
    const struct config *config;

    (void)state;
    assert_int_equal(mkdir(sub, 0700), 0);
    write_file("in[c]l/2.conf", "route \"/2\" { sql = \"select 2\" }");
    write_file("in[c]l/1.conf", "include(\"more.inc\")\nroute \"/1\" { sql_file = \"1.sql\" }");
    write_file("in[c]l/more.inc", "include(\"*.none\") include(\"[2].conf\")");
    write_file("in[c]l/1.sql", "select 1");
    config = load_good(ctx, "include(\"in[[]c]l/1.c*\") include(\"none/*.conf\") workers = 4\n"
                            "route \"/3\" { sql = \"select 3\" }");
    assert_int_equal(config->n_routes, 3);
    assert_int_equal(config->settings.workers, 4);
    assert_string_equal(config->routes[0].pattern, "/2");
    assert_string_equal(config->routes[1].sql, "select 1");
    assert_string_equal(config->routes[1].place.file, path_of(ctx, "in[c]l/1.conf"));
    assert_int_equal(config->routes[1].place.line, 2);
    assert_string_equal(config->routes[2].pattern, "/3");
    talloc_free(ctx);
}

static void test_sql(void **state)
{
    static const struct {
        const char *sql;
        int64_t highest; /* -1: a problem */
    } cases[] = {
        {"select 1", 0},
        {"select $1, $12, $2", 12},
        {"select $99999999999999999999", INT64_MAX},
        {"select '$3 '' $4', $1", 1},
        {"select 'a\\', $1", 1},
        {"select E'a\\'$3', e'$4', $1", 1},
        {"select name'$3', $1", 1},
        {"select \"a$3\"\"$4\", a$5, _a$6, \xc3\xa9$7, $1", 1},
        {"select $$ $3 $$, $a$ $$ $4 $b$ $a$, $1", 1},
        {"select $_1$ $2 $_1$", 0},
        {"select 1 -- $3\n, $1", 1},
        {"select 1 -- $3", 0},
        {"select /* $3 /* $4 */ $5 */ $1", 1},
        {"select 1-$1/$2*3", 2},
        {"select 1$1", 1},
        {"select 1; -- done\n /* yes */ ;", 0},
        {"select E'a' -- '\n'\\'$3', $1", 1},
        {"select E'a'\n \n --\n --'\n'\\'$3', $1", 1},
        {"select E'a' '\\', $2, ''", 2},
        {"select 'a'\n'\\', $2", 2},
        {"select ';'", 0},
        {"select 1; select 2", -1},
        {"select 1; 2", -1},
        {"select $0", -1},
        {"select E'a'\n'\\'", -1},
        {"select 'a", -1},
        {"select E'a\\'", -1},
        {"select \"a", -1},
        {"select $a$ $$", -1},
        {"select /* /* */", -1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sql_facts facts = sql_inspect(cases[i].sql);
        if (cases[i].highest == -1)
            check(facts.problem != NULL, "%s", cases[i].sql);
        else
            check(facts.problem == NULL && facts.highest_param == cases[i].highest, "%s: %s, %lld",
                  cases[i].sql, facts.problem != NULL ? facts.problem : "",
                  (long long)facts.highest_param);
    }
}

/* What needs no server to be seen: only a query can stand where rows are selected from. */
static void test_only_queries(void **state)
{
    static const struct {
        const char *sql;
        const char *kept;    /* NULL: refused */
        const char *refused; /* in the sentence */
    } cases[] = {
        {"select 1", "select 1", NULL},
        {"SELECT 1 ;", "SELECT 1", NULL},
        {"Select 1 ; \n;;\t", "Select 1", NULL},
        {"select 1; -- done\n", "select 1", NULL},
        {"select 1 -- done; or not\n;", "select 1 -- done; or not", NULL},
        {"select 1; /* a /* b; */ ; */ -- c", "select 1", NULL},
        {"select ';' as a, $$;$$ as b, \";\" from t", "select ';' as a, $$;$$ as b, \";\" from t",
         NULL},
        {"-- first\n /* second */ ((select 1) union (select 2))",
         "-- first\n /* second */ ((select 1) union (select 2))", NULL},
        {"(/* a */(select 1))", "(/* a */(select 1))", NULL},
        {"with a as (select 1) select * from a", "with a as (select 1) select * from a", NULL},
        {"values (1), (2)", "values (1), (2)", NULL},
        {"table t", "table t", NULL},
        {"select(1)", "select(1)", NULL},
        {"values(1)", "values(1)", NULL},
        {"select'a'", "select'a'", NULL},
        {"select/**/1", "select/**/1", NULL},

        {"", NULL, "empty"},
        {" ;\n; ", NULL, "empty"},
        {"-- nothing", NULL, "empty"},
        {"/* nothing */ -- at all\n;", NULL, "empty"},
        {"()", NULL, "SELECT, WITH"},
        {"1", NULL, "must begin with SELECT"},
        {"'select'", NULL, "must begin with SELECT"},
        {"\"select\" 1", NULL, "must begin with SELECT"},
        {"$1", NULL, "must begin with SELECT"},
        {"insert into t values (1) returning a", NULL, "\"insert\""},
        {"  UPDATE t set a = 1 returning a", NULL, "\"UPDATE\""},
        {"/* a */ delete from t returning a", NULL, "\"delete\""},
        {"merge into t using s on true when matched then do nothing", NULL, "\"merge\""},
        {"call p()", NULL, "\"call\""},
        {"do $$ begin end $$", NULL, "\"do\""},
        {"set work_mem = '1GB'", NULL, "\"set\""},
        {"reset all", NULL, "\"reset\""},
        {"listen a", NULL, "\"listen\""},
        {"notify a", NULL, "\"notify\""},
        {"copy t to stdout", NULL, "\"copy\""},
        {"begin isolation level repeatable read", NULL, "\"begin\""},
        {"start transaction", NULL, "\"start\""},
        {"commit", NULL, "\"commit\""},
        {"rollback", NULL, "\"rollback\""},
        {"savepoint a", NULL, "\"savepoint\""},
        {"prepare a as select 1", NULL, "\"prepare\""},
        {"execute a", NULL, "\"execute\""},
        {"deallocate all", NULL, "\"deallocate\""},
        {"declare c cursor with hold for select 1", NULL, "\"declare\""},
        {"fetch all from c", NULL, "\"fetch\""},
        {"lock table t", NULL, "\"lock\""},
        {"vacuum", NULL, "\"vacuum\""},
        {"explain select 1", NULL, "\"explain\""},
        {"show all", NULL, "\"show\""},
        {"create table t (a int)", NULL, "\"create\""},
        {"discard all", NULL, "\"discard\""},
        {"selection 1", NULL, "\"selection\""},
        {"select1", NULL, "\"select1\""},
        {"select$1", NULL, "\"select$1\""},
        {"(((insert into t values (1))))", NULL, "\"insert\""},
        {"\xc2\xa0select 1", NULL, "must be SELECT"},
        {"select 1; select 2", NULL, "more than one statement"},
        {"select 1; commit", NULL, "more than one statement"},
        {"; select 1; set a = 1", NULL, "more than one statement"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        const char *text = "\nroute \"/a\" {\n param \"a\" { }\n sql_file = \"sql/only.sql\" }\n";

        write_file("sql/only.sql", cases[i].sql);
        if (cases[i].kept != NULL)
            assert_string_equal(load_good(ctx, text)->routes[0].sql, cases[i].kept);
        else
            check_broken(&(struct broken){text, 4, cases[i].refused}, 1);
        talloc_free(ctx);
    }
}

static void test_which_params_the_sql_uses(void **state)
{
    static const struct {
        const char *sql;
        const char *used; /* by parameter */
    } cases[] = {
        {"select 1", "...."},
        {"select $1, $3, $3", "1.3."},
        {"select $2", ".2.."},
        {"select $4::text || $1", "1..4"},
        {"select '$1', E'\\'$1', \"$1\", $q$ $1 $q$, $2 -- $3\n/* $3 /* $3 */ */", ".2.."},
        {"select a$1, _$1, $3", "..3."},
        {"select 1$2", ".2.."},
        {"select $02", ".2.."},
        {"select $2 -- $4\r, $1", "12.."},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        write_file("sql/used.sql", cases[i].sql);
        const struct config *config = load_good(
            ctx,
            "route \"/{a}\" { param \"a\" { } param \"b\" { } param \"c\" { } param \"d\" { }\n"
            " sql_file = \"sql/used.sql\" }\n");
        for (size_t k = 0; k < CONFIG_MAX_PARAMS; k++)
            check(config->routes[0].uses_param[k] == (k < 4 && cases[i].used[k] != '.'), "%s: $%zu",
                  cases[i].sql, k + 1);
        talloc_free(ctx);
    }
}

/* A failed load leaves its sentence behind and nothing else. */
static void test_memory(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct config *config;
    struct config_error error;

    (void)state;
    write_file("memory.conf", "include(\"good.conf\")\nroute \"/b\" { sql = \"$1\" }\n");
    load_good(ctx, "redis { prefix = a password = \"${LEEWAY_TEST_EMPTY:-x}\" }\nroute \"/{a}\" { "
                   "param \"a\" { } " SQL "}\n");
    talloc_free_children(ctx);
    assert_int_equal(config_load(ctx, path_of(ctx, "memory.conf"), &config, &error), -1);
    assert_int_equal(error.line, 2);
    assert_int_equal(talloc_total_blocks(ctx), 4); /* itself, the path, the error's two texts */
    talloc_free(ctx);
}

static char *read_source(TALLOC_CTX *ctx, const char *name)
{
    const char *problem = NULL;
    size_t len;
    char *path = talloc_asprintf(ctx, "%s/%s", TOP_SRCDIR, name);
    char *text = config_file_read(ctx, path, 1 << 20, &len, &problem);

    check(text != NULL, "%s %s", path, problem);
    return text;
}

/* A default as the sample file writes it. */
static char *sample_line(TALLOC_CTX *ctx, const struct config_key *key)
{
    bool quoted = key->type == KEY_LOG || key->type == KEY_GROUP || key->type == KEY_RATE ||
                  key->type >= KEY_TEXT;

    if (config_key_is_list(key)) {
        char *list = talloc_asprintf(ctx, "#%s = {\"", key->name);
        for (const char *c = key->default_text; *c != '\0'; c++)
            list = *c == ',' ? talloc_strdup_append(list, "\", \"")
                             : talloc_strndup_append(list, c, 1);
        return talloc_strdup_append(list, "\"}\n");
    }
    return talloc_asprintf(ctx, quoted ? "#%s = \"%s\"\n" : "#%s = %s\n", key->name,
                           key->default_text);
}

static void test_sample_has_every_setting(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    const char *sample = read_source(ctx, "etc/leeway.conf");
    const char *const blocks[] = {"", "redis", "postgres"};
    size_t count;
    const struct config_key *keys = config_keys(&count);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        const char *start = sample;
        if (i > 0)
            start = strstr(sample, talloc_asprintf(ctx, "\n%s {\n", blocks[i]));
        check(start != NULL, "no block %s", blocks[i]);
        const char *end = strstr(start + 1, i > 0 ? "\n}\n" : "\nredis {\n");
        check(end != NULL, "no end of block %s", blocks[i]);
        const char *part = talloc_strndup(ctx, start, (size_t)(end - start) + 1);
        for (size_t k = 0; k < count; k++)
            if (strcmp(keys[k].block, blocks[i]) == 0)
                check(strstr(part, sample_line(ctx, &keys[k])) != NULL, "%s %s is not in it as %s",
                      blocks[i], keys[k].name, sample_line(ctx, &keys[k]));
    }
    for (size_t k = 0; k < count; k++)
        check(strstr(sample, talloc_asprintf(ctx, "%s = ", keys[k].name)) != NULL ||
                  strcmp(keys[k].block, "param") != 0,
              "%s %s", keys[k].block, keys[k].name);
    talloc_free(ctx);
}

/* The sample with all that is commented out but prose: "#key = ...", and
   "# route ..." to "# }". */
static char *uncomment(TALLOC_CTX *ctx, const char *sample)
{
    char *out = talloc_strdup(ctx, "");
    bool in_route = false;

    while (*sample != '\0') {
        size_t len = strcspn(sample, "\n") + 1, space = strspn(sample, " ");
        const char *line = sample + space;
        in_route = in_route || strncmp(line, "# route \"", 9) == 0;
        if (line[0] == '#' && (in_route || (line[1] >= 'a' && line[1] <= 'z')))
            out = talloc_strndup_append(out, line + 1, len - space - 1);
        else
            out = talloc_strndup_append(out, sample, len);
        in_route = in_route && strncmp(line, "# }", 3) != 0;
        sample += len;
    }
    return out;
}

static void test_sample_is_right(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    const char *sample = read_source(ctx, "etc/leeway.conf");
    const struct config *plain = load_good(ctx, sample);
    const struct config *full = load_good(ctx, uncomment(ctx, sample));
    size_t count;
    const struct config_key *keys = config_keys(&count);

    (void)state;
    assert_int_equal(plain->n_routes, 0);
    assert_int_equal(full->n_routes, 3);
    assert_int_equal(full->n_contexts, 5);
    assert_memory_equal(&plain->contexts[0].budget_ms, &full->contexts[0].budget_ms,
                        4 * sizeof(int64_t));
    for (size_t k = 0; k < count; k++) {
        const char *a = (const char *)&plain->settings + keys[k].offset;
        const char *b = (const char *)&full->settings + keys[k].offset;
        if (strcmp(keys[k].block, "context") == 0)
            break;
        if (keys[k].type <= KEY_SHARE)
            check(*(const int64_t *)a == *(const int64_t *)b, "%s", keys[k].name);
        else if (keys[k].type >= KEY_TEXT && !config_key_is_list(&keys[k]))
            check(strcmp(*(const char *const *)a, *(const char *const *)b) == 0, "%s",
                  keys[k].name);
    }
    talloc_free(ctx);
}

static void test_manual_has_every_key(void **state)
{
    static const struct {
        const char *block, *heading;
    } parts[] = {
        {"", ".Ss Settings"},
        {"redis", ".Ss The redis block"},
        {"postgres", ".Ss The postgres block"},
        {"context", ".Ss Context blocks"},
        {"route", ".Ss Route blocks"},
        {"param", ".Ss Param blocks"},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);
    const char *manual = read_source(ctx, "docs/leeway.conf.5");
    size_t count;
    const struct config_key *keys = config_keys(&count);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        const char *start = strstr(manual, parts[i].heading);
        check(start != NULL, "no %s", parts[i].heading);
        const char *part = talloc_strndup(ctx, start, (size_t)(strstr(start + 1, "\n.S") - start));
        for (size_t k = 0; k < count; k++) {
            if (strcmp(keys[k].block, parts[i].block) != 0)
                continue;
            const char *alone = talloc_asprintf(ctx, "\n.It Ic %s\n", keys[k].name);
            const char *first = talloc_asprintf(ctx, "\n.It Ic %s , ", keys[k].name);
            const char *second = talloc_asprintf(ctx, " , %s\n", keys[k].name);
            check(strstr(part, alone) != NULL || strstr(part, first) != NULL ||
                      strstr(part, second) != NULL,
                  "%s %s", keys[k].block, keys[k].name);
        }
    }
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_syntax),
        cmocka_unit_test(test_broken_settings),
        cmocka_unit_test(test_broken_contexts),
        cmocka_unit_test(test_broken_routes),
        cmocka_unit_test(test_broken_params),
        cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_password_files),
        cmocka_unit_test(test_broken_password_files),
        cmocka_unit_test(test_errors_do_not_quote_passwords),
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_includes),
        cmocka_unit_test(test_sql),
        cmocka_unit_test(test_only_queries),
        cmocka_unit_test(test_which_params_the_sql_uses),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_sample_has_every_setting),
        cmocka_unit_test(test_sample_is_right),
        cmocka_unit_test(test_manual_has_every_key),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
