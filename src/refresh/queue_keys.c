/* SPDX-License-Identifier: BSD-2-Clause */
/* All of them share the slot of the jobs list in a Redis Cluster. */
#include "config.h"

#include "refresh/queue_keys.h"

#include "base/mem.h"

char *queue_jobs_key(TALLOC_CTX *ctx, const char *prefix)
{
    return mem_check(talloc_asprintf(ctx, "%s:jobs", prefix));
}

char *queue_key(TALLOC_CTX *ctx, const char *prefix, const char *kind, const char *of)
{
    return mem_check(
        talloc_asprintf(ctx, "{%s:jobs}:%s%s%s", prefix, kind, of[0] != '\0' ? ":" : "", of));
}
