/* SPDX-License-Identifier: BSD-2-Clause */
/* The mask, and the smallest quota from our own control group up to the root of what is mounted. */
#include "config.h"

#include "base/processors.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    GROUP_BYTES = 4096,
    MAX_PROCESSORS = 64 * 1024,
};

/* A file of one line; false: there is none. */
static bool read_line(const char *directory, const char *name, char *line, size_t size)
{
    char path[PATH_MAX + GROUP_BYTES];
    FILE *file;
    bool found;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "re");
    found = file != NULL && fgets(line, (int)size, file) != NULL;
    if (file != NULL)
        fclose(file);
    return found;
}

/* Whole processors; 0: there is no limit. */
static int64_t of_share(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    return quota / period + (quota % period != 0);
}

/* "150000 100000", or "max 100000". */
static int64_t quota_of_two(const char *directory)
{
    char line[128];
    long long quota, period;

    if (!read_line(directory, "cpu.max", line, sizeof line) ||
        sscanf(line, "%lld %lld", &quota, &period) != 2)
        return 0;
    return of_share(quota, period);
}

static int64_t quota_of_one(const char *directory)
{
    char quota[64], period[64];

    if (!read_line(directory, "cpu.cfs_quota_us", quota, sizeof quota) ||
        !read_line(directory, "cpu.cfs_period_us", period, sizeof period))
        return 0;
    return of_share(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

static int64_t smaller(int64_t a, int64_t b)
{
    return b != 0 && (a == 0 || b < a) ? b : a;
}

/* A container may see the path that its group has outside, of which it has only the root. */
static int64_t smallest(const char *mount, char *group, int64_t (*quota_of)(const char *directory))
{
    char directory[PATH_MAX + GROUP_BYTES];
    int64_t least = 0;
    char *end;

    while ((end = strrchr(group, '/')) != NULL) {
        snprintf(directory, sizeof directory, "%s%s", mount, group);
        least = smaller(least, quota_of(directory));
        *end = '\0';
    }
    return smaller(least, quota_of(mount));
}

/* Whether a list like "cpu,cpuacct" has "cpu" in it. */
static bool has_cpu(const char *controllers)
{
    for (const char *at = controllers; *at != '\0'; at += strcspn(at, ",")) {
        at += *at == ',';
        if (strncmp(at, "cpu", 3) == 0 && (at[3] == ',' || at[3] == '\0'))
            return true;
    }
    return false;
}

/* "ID:CONTROLLERS:PATH"; version 2 has no controllers there. */
static int64_t quota_of_line(char *line, const char *mounts)
{
    char *controllers = strchr(line, ':');
    char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    char mount[PATH_MAX];

    if (group == NULL || group[1] != '/')
        return 0;
    *group++ = '\0';
    controllers++;
    group[strcspn(group, "\n")] = '\0';
    if (*controllers == '\0')
        return smallest(mounts, group, quota_of_two);
    if (!has_cpu(controllers))
        return 0;
    snprintf(mount, sizeof mount, "%s/cpu", mounts);
    return smallest(mount, group, quota_of_one);
}

int64_t processors_quota(const char *groups, const char *mounts)
{
    FILE *file = fopen(groups, "re");
    char line[GROUP_BYTES];
    int64_t least = 0;

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL)
        least = smaller(least, quota_of_line(line, mounts));
    fclose(file);
    return least;
}

/* The mask has to be as large as the kernel's, which is not known. */
static int64_t count_mask(void)
{
    for (int count = 1024; count <= MAX_PROCESSORS; count *= 2) {
        cpu_set_t *mask = CPU_ALLOC((size_t)count);
        size_t size = CPU_ALLOC_SIZE((size_t)count);
        int found = 0;
        if (mask == NULL)
            break;
        CPU_ZERO_S(size, mask);
        bool fits = sched_getaffinity(0, size, mask) == 0;
        bool is_too_small = !fits && errno == EINVAL;
        if (fits)
            found = CPU_COUNT_S(size, mask);
        CPU_FREE(mask);
        if (!is_too_small)
            return found;
    }
    return sysconf(_SC_NPROCESSORS_ONLN);
}

int64_t processors_available(void)
{
    int64_t count = count_mask();
    int64_t quota = processors_quota("/proc/self/cgroup", "/sys/fs/cgroup");

    return smaller(count > 0 ? count : 1, quota);
}
