/* SPDX-License-Identifier: BSD-2-Clause */
/* A process that has loaded a configuration with a password, or one that leads to a password,
   leaves no core dump. Each case is a process of its own, for it does not go back. */
#include "config.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <talloc.h>
#include <unistd.h>

#include "app/application.h"

static char dir[] = "/tmp/leeway-core-dump-XXXXXX";

static char *write_file(const char *name, const char *text)
{
    char *path = talloc_asprintf(NULL, "%s/%s", dir, name);
    FILE *stream = fopen(path, "w");

    assert_non_null(stream);
    fputs(text, stream);
    assert_int_equal(fclose(stream), 0);
    return path;
}

static int make_dir(void **state)
{
    static const char *const variables[] = {"PGPASSWORD", "PGPASSFILE", "PGSERVICE"};

    (void)state;
    if (mkdtemp(dir) == NULL || setenv("HOME", dir, 1) == -1)
        return -1;
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        unsetenv(variables[i]);
    talloc_free(write_file("password", "horse\n"));
    return 0;
}

static int remove_dir(void **state)
{
    char *command = talloc_asprintf(NULL, "rm -r '%s'", dir);
    int rc = system(command);

    (void)state;
    talloc_free(command);
    return rc;
}

static int dumpable(void)
{
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
}

/* Loads the texts one after the other, and returns whether the process may be dumped then. */
static int load_each(const char *const *texts)
{
    TALLOC_CTX *ctx = talloc_new(NULL);

    for (size_t i = 0; texts[i] != NULL; i++) {
        char *path = write_file("leeway.conf", texts[i]);
        const struct application *app;
        struct config_error error;
        int rc = application_load(ctx, path, &app, &error);
        talloc_free(path);
        (void)rc;
    }
    talloc_free(ctx);
    return dumpable();
}

static int in_child(const char *variable, const char *const *texts)
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        if (strcmp(variable, ".pgpass") == 0)
            talloc_free(write_file(".pgpass", "*:*:*:*:horse\n"));
        else if (variable[0] != '\0')
            setenv(variable, "horse", 1);
        _exit(load_each(texts));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define NONE        "workers = 1\n"
#define IN_REDIS    "redis { password = horse }\n"
#define IN_CONNINFO "postgres { conninfo = \"dbname=a password=horse\" }\n"
#define MISTAKEN    "redis { password = horse }\npostgres { conninfo = \"dbname\" }\n"

static void test_core_dumps(void **state)
{
    static const struct {
        int dumpable;
        const char *variable; /* of the environment, or a file in HOME */
        const char *texts[4];
    } cases[] = {
        {1, "", {NONE}},
        {1, "", {"postgres { conninfo = \"dbname=a user=b\" }\n"}},
        {1, "", {"redis { password = \"\" }\n"}},
        {0, "", {IN_REDIS}},
        {0, "", {"redis { password_file = password }\n"}},
        {0, "", {"postgres { password_file = password }\n"}},
        {0, "", {IN_CONNINFO}},
        {0, "", {"postgres { conninfo = \"postgres://u:horse@db/shop\" }\n"}},
        {0, "", {"postgres { conninfo = \"sslpassword=horse\" }\n"}},
        {0, "", {"postgres { conninfo = \"passfile=/some/file\" }\n"}},
        {0, "", {"postgres { conninfo = \"service=shop\" }\n"}},
        {0, "PGPASSWORD", {NONE}},
        {0, "PGPASSFILE", {NONE}},
        {0, "PGSERVICE", {NONE}},
        {0, "LEEWAY_TEST", {"redis { password = ${LEEWAY_TEST} }\n"}},
        {1, "LEEWAY_TEST", {NONE}},
        {1, "", {NONE, NONE}},
        {0, "", {NONE, IN_REDIS}},
        {0, "", {NONE, IN_CONNINFO, NONE}},
        {0, "", {NONE, MISTAKEN, NONE}},
        /* last, for the file stays */
        {0, ".pgpass", {NONE}},
    };

    (void)state;
    assert_int_equal(dumpable(), 1);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(in_child(cases[i].variable, cases[i].texts) == cases[i].dumpable, "case %zu: %s%s", i,
              cases[i].variable, cases[i].texts[0]);
    assert_int_equal(dumpable(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_core_dumps)};

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
