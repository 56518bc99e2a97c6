/* SPDX-License-Identifier: BSD-2-Clause */
/* Looks lines of INFO's reply up. */
#include "config.h"

#include "redis/info.h"

#include <stdlib.h>
#include <string.h>

enum { OLDEST_VERSION = 7 };

bool redis_info_find(const char *info, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name), len = 0;

    while (*info != '\0') {
        size_t line_len = strcspn(info, "\r\n");
        if (line_len > name_len && memcmp(info, name, name_len) == 0 && info[name_len] == ':') {
            len = line_len - name_len - 1;
            len = len < size ? len : size - 1;
            memcpy(out, info + name_len + 1, len);
            out[len] = '\0';
            return true;
        }
        info += line_len + strspn(info + line_len, "\r\n");
    }
    out[0] = '\0';
    return false;
}

static bool is_too_old(const char *info)
{
    char version[32];

    return redis_info_find(info, "redis_version", version, sizeof version) &&
           atoi(version) < OLDEST_VERSION;
}

/* Whether or not there is a limit to the memory as yet: it may be set at any time. */
static bool evicts_the_queue(const char *info)
{
    char policy[32];

    return redis_info_find(info, "maxmemory_policy", policy, sizeof policy) &&
           strncmp(policy, "allkeys-", strlen("allkeys-")) == 0;
}

static bool is_replica(const char *info)
{
    char role[16];

    return redis_info_find(info, "role", role, sizeof role) && strcmp(role, "slave") == 0;
}

const char *redis_info_problem(const char *info, size_t problem)
{
    static const struct {
        bool (*has)(const char *info);
        const char *text;
    } problems[] = {
        {is_too_old, "it is older than 7.0: nothing can be cached"},
        {evicts_the_queue,
         "its maxmemory-policy evicts keys without expiry, the queue of refreshes "
         "among them: use volatile-lru"},
        {is_replica, "it is a replica: nothing can be stored"},
    };

    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++)
        if (problems[i].has(info) && problem-- == 0)
            return problems[i].text;
    return NULL;
}

void redis_info_error(const char *reply, char *out, size_t size)
{
    const char *quoted = strstr(reply, ", with args");
    size_t len = quoted != NULL ? (size_t)(quoted - reply) : strlen(reply);

    if (len == 0) {
        reply = "an error that says nothing";
        len = strlen(reply);
    }
    len = len < size ? len : size - 1;
    memcpy(out, reply, len);
    out[len] = '\0';
}
