/* SPDX-License-Identifier: BSD-2-Clause */
/* Quotas of control groups, in trees of files as they are found on machines and in containers. */
#include "config.h"

#include "unit.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/processors.h"

struct file {
    const char *path, *text;
};

static void write_file(const char *root, const struct file *file)
{
    char path[512], command[600];

    snprintf(path, sizeof path, "%s/%s", root, file->path);
    snprintf(command, sizeof command, "mkdir -p \"$(dirname '%s')\"", path);
    assert_int_equal(system(command), 0);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(file->text, out);
    fclose(out);
}

static void test_quotas(void **state)
{
    static const struct {
        const char *groups;
        struct file files[4];
        int64_t quota;
    } cases[] = {
        {"0::/\n", {{NULL, NULL}}, 0},
        {"0::/\n", {{"cpu.max", "max 100000\n"}}, 0},
        {"0::/\n", {{"cpu.max", "200000 100000\n"}}, 2},
        {"0::/a/b\n", {{"a/b/cpu.max", "150000 100000\n"}}, 2},
        {"0::/a/b\n", {{"a/b/cpu.max", "50000 100000\n"}}, 1},
        {"0::/a/b\n", {{"a/b/cpu.max", "max 100000\n"}, {"a/cpu.max", "300000 100000\n"}}, 3},
        {"0::/a/b\n", {{"a/b/cpu.max", "400000 100000\n"}, {"a/cpu.max", "300000 100000\n"}}, 3},
        {"0::/a/b\n", {{"a/b/cpu.max", "200000 100000\n"}, {"a/cpu.max", "300000 100000\n"}}, 2},
        /* a container without a name space of its own for control groups */
        {"0::/docker/0123\n", {{"cpu.max", "100000 100000\n"}}, 1},
        {"0::/../../x\n", {{"cpu.max", "700000 100000\n"}}, 7},
        {"0::/\n", {{"cpu.max", "nonsense\n"}}, 0},
        {"0::/\n", {{"cpu.max", "-1 100000\n"}}, 0},
        {"0::/\n", {{"cpu.max", "100000 0\n"}}, 0},
        {"0::/\n", {{"cpu.max", ""}}, 0},
        {"", {{"cpu.max", "100000 100000\n"}}, 0},
        {"nonsense\n0:\n::\n", {{"cpu.max", "100000 100000\n"}}, 0},
        /* version 1 */
        {"4:cpu,cpuacct:/a\n1:name=systemd:/a\n0::/a\n",
         {{"cpu/a/cpu.cfs_quota_us", "250000\n"}, {"cpu/a/cpu.cfs_period_us", "100000\n"}},
         3},
        {"4:cpuacct,cpu:/a\n",
         {{"cpu/cpu.cfs_quota_us", "100000\n"}, {"cpu/cpu.cfs_period_us", "50000\n"}},
         2},
        {"4:cpu,cpuacct:/\n",
         {{"cpu/cpu.cfs_quota_us", "-1\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}},
         0},
        {"4:cpuset,cpuacct:/\n",
         {{"cpu/cpu.cfs_quota_us", "100000\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}},
         0},
    };
    char root[] = "/tmp/leeway-processors-XXXXXX", mounts[64], groups[64], command[80];

    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(mounts, sizeof mounts, "%s/mounts", root);
    snprintf(groups, sizeof groups, "%s/groups", root);
    snprintf(command, sizeof command, "rm -rf %s/*", root);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_file(root, &(struct file){"groups", cases[i].groups});
        for (size_t f = 0; f < 4 && cases[i].files[f].path != NULL; f++)
            write_file(mounts, &cases[i].files[f]);
        int64_t quota = processors_quota(groups, mounts);
        check(quota == cases[i].quota, "case %zu: %lld", i, (long long)quota);
        assert_int_equal(system(command), 0);
    }
    assert_int_equal(processors_quota("/nonexistent", mounts), 0);
    rmdir(root);
}

static void test_the_mask_counts(void **state)
{
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        cpu_set_t mask, one;
        int first = 0;
        sched_getaffinity(0, sizeof mask, &mask);
        while (!CPU_ISSET(first, &mask))
            first++;
        CPU_ZERO(&one);
        CPU_SET(first, &one);
        sched_setaffinity(0, sizeof one, &one);
        _exit(processors_available() == 1 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(processors_available() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quotas),
        cmocka_unit_test(test_the_mask_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
