/* SPDX-License-Identifier: BSD-2-Clause */
/* Length and age of the queue, and Redis's memory. */
#include "config.h"

#include "app/old_gauges.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cache/keys.h"
#include "redis/info.h"
#include "refresh/job.h"

static void take_length(const redisReply *reply, struct metrics_gauges *gauges)
{
    if (reply->type == REDIS_REPLY_INTEGER)
        gauges->jobs_queued = reply->integer;
}

static void take_oldest(TALLOC_CTX *ctx, const struct redis_clock *clock, const redisReply *reply,
                        struct metrics_gauges *gauges)
{
    struct job job;

    if (reply->type == REDIS_REPLY_NIL)
        gauges->job_oldest_ms = 0;
    if (reply->type != REDIS_REPLY_STRING || job_decode(ctx, reply->str, reply->len, &job) == -1)
        return;
    int64_t age_ms = redis_clock_latest(clock, clock_monotonic_us()) / 1000 - job.queued_ms;
    gauges->job_oldest_ms = age_ms > 0 ? age_ms : 0;
}

static void take_memory(const redisReply *reply, struct metrics_gauges *gauges)
{
    char ratio[32];

    if (reply->type == REDIS_REPLY_STRING &&
        redis_info_find(reply->str, "mem_fragmentation_ratio", ratio, sizeof ratio))
        gauges->redis_fragmentation_ratio = strtod(ratio, NULL);
}

void old_gauges_read(TALLOC_CTX *ctx, struct old_redis *redis,
                     const struct redis_settings *settings, struct metrics_gauges *gauges)
{
    const char *jobs = key_jobs(ctx, settings->prefix);

    *gauges = (struct metrics_gauges){-1, -1, -1.0};
    old_redis_queue(redis, (struct old_redis_part[]){old_redis_text("LLEN"), old_redis_text(jobs)},
                    2);
    old_redis_queue(redis,
                    (struct old_redis_part[]){old_redis_text("LINDEX"), old_redis_text(jobs),
                                              old_redis_text("-1")},
                    3);
    old_redis_queue(redis,
                    (struct old_redis_part[]){old_redis_text("INFO"), old_redis_text("memory")}, 2);
    for (int i = 0; i < 3; i++) {
        redisReply *reply = old_redis_next(redis);
        if (reply == NULL)
            return;
        if (i == 0)
            take_length(reply, gauges);
        else if (i == 1)
            take_oldest(ctx, old_redis_get_clock(redis), reply, gauges);
        else
            take_memory(reply, gauges);
        freeReplyObject(reply);
    }
}
