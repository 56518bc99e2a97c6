/* SPDX-License-Identifier: BSD-2-Clause */
/* RLIMIT_NOFILE, less what a worker needs itself. */
#include "config.h"

#include "app/capacity.h"

#include <sys/resource.h>

#include "base/log.h"

enum {
    /* Connections that are being read or written beside those that wait. */
    FURTHER_CONNECTIONS = 1024,
    /* Standard streams, the log, the listener, the loop, the parent, runtime_dir, the resolver,
       and Redis with its subscription and what takes their place. */
    OWN_FILES = 40,
    /* A session, and what cancels its query or connects in its place; and its slot's share. */
    BY_SLOT = 2,
};

int64_t capacity_wanted(const struct settings *settings)
{
    return settings->max_waiting + FURTHER_CONNECTIONS;
}

int64_t capacity_own(const struct settings *settings)
{
    return OWN_FILES + BY_SLOT * settings->postgres.slots;
}

int64_t capacity_of(const struct settings *settings, int64_t descriptors)
{
    int64_t left = descriptors - capacity_own(settings), wanted = capacity_wanted(settings);

    return left < 0 ? 0 : left < wanted ? left : wanted;
}

/* How many descriptors the process may have, after a try to get `needed`. */
static int64_t raise_limit(int64_t needed)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return needed;
    if (limit.rlim_cur < (rlim_t)needed && limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = limit;
        raised.rlim_cur = limit.rlim_max < (rlim_t)needed ? limit.rlim_max : (rlim_t)needed;
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    return limit.rlim_cur < (rlim_t)needed ? (int64_t)limit.rlim_cur : needed;
}

int64_t capacity_claim(const struct settings *settings, bool speaks)
{
    int64_t wanted = capacity_wanted(settings), own = capacity_own(settings);
    int64_t descriptors = raise_limit(wanted + own);
    int64_t connections = capacity_of(settings, descriptors);

    if (connections == 0)
        log_event(LOG_LEVEL_ERROR,
                  "the descriptors that a process may have leave none for connections",
                  log_number("descriptors", descriptors), log_number("own", own),
                  log_text("advice", "raise RLIMIT_NOFILE (LimitNOFILE=)"));
    else if (connections < wanted && speaks)
        log_event(LOG_LEVEL_WARN,
                  "fewer connections are served than settings allow, for want of descriptors",
                  log_number("connections", connections), log_number("allowed", wanted),
                  log_number("descriptors", descriptors), log_number("own", own),
                  log_text("advice", "raise RLIMIT_NOFILE (LimitNOFILE=)"));
    return connections;
}
