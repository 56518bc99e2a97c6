/* SPDX-License-Identifier: BSD-2-Clause */
/* A few reads, none of which changes anything. */
#include "config.h"

#include "refresh/old_queue_view.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/keys.h"

static redisReply *ask(struct old_redis *redis, const char *command, const char *key,
                       const char *more, int type)
{
    const struct old_redis_part parts[] = {old_redis_text(command), old_redis_text(key),
                                           old_redis_text(more != NULL ? more : "")};
    redisReply *reply = old_redis_command(redis, parts, more != NULL ? 3 : 2);

    if (!old_redis_reply_failed(reply, command) &&
        (reply->type == type || reply->type == REDIS_REPLY_NIL))
        return reply;
    if (reply != NULL)
        freeReplyObject(reply);
    return NULL;
}

/* 1 and *job, 0: the list is empty, -1: Redis is away; *known tells whether the job could be read.
 */
static int read_last(TALLOC_CTX *ctx, struct old_redis *redis, const char *list, struct job *job,
                     bool *known)
{
    redisReply *reply = ask(redis, "LINDEX", list, "-1", REDIS_REPLY_STRING);

    if (reply == NULL)
        return -1;
    bool there = reply->type == REDIS_REPLY_STRING;
    *known = there && job_decode(ctx, reply->str, reply->len, job) == 0;
    freeReplyObject(reply);
    return there;
}

static int look_at_jobs(TALLOC_CTX *ctx, struct old_redis *redis, const char *prefix,
                        struct old_queue_view *view)
{
    const char *jobs = key_jobs(ctx, prefix);
    redisReply *length = ask(redis, "LLEN", jobs, NULL, REDIS_REPLY_INTEGER);
    struct job oldest;
    bool known;

    if (length == NULL)
        return -1;
    view->length = length->integer;
    freeReplyObject(length);
    view->oldest_ms = -1;
    if (read_last(ctx, redis, jobs, &oldest, &known) == -1)
        return -1;
    if (known) {
        int64_t now_us = redis_clock_latest(old_redis_get_clock(redis), clock_monotonic_us());
        int64_t waited_ms = now_us / 1000 - oldest.queued_ms;
        view->oldest_ms = waited_ms > 0 ? waited_ms : 0;
    }
    return 0;
}

static int look_at_refresher(TALLOC_CTX *ctx, struct old_redis *redis, const char *prefix,
                             struct old_queue_refresher *refresher)
{
    redisReply *alive = ask(redis, "EXISTS", key_of_queue(ctx, prefix, "alive", refresher->name),
                            NULL, REDIS_REPLY_INTEGER);

    if (alive == NULL)
        return -1;
    refresher->alive = alive->integer == 1;
    freeReplyObject(alive);
    int found = read_last(ctx, redis, key_of_queue(ctx, prefix, "processing", refresher->name),
                          &refresher->job, &refresher->known);
    refresher->in_hand = found == 1;
    return found == -1 ? -1 : 0;
}

int old_queue_look(TALLOC_CTX *ctx, struct old_redis *redis, const struct redis_settings *settings,
                   struct old_queue_view *view)
{
    const char *prefix = settings->prefix;
    int result = look_at_jobs(ctx, redis, prefix, view);
    redisReply *names = ask(redis, "SMEMBERS", key_of_queue(ctx, prefix, "refreshers", ""), NULL,
                            REDIS_REPLY_ARRAY);

    if (names == NULL)
        return -1;
    view->n_refreshers = names->elements;
    view->refreshers = mem_check(
        talloc_zero_array(ctx, struct old_queue_refresher, (unsigned)names->elements + 1));
    for (size_t i = 0; i < names->elements && result == 0; i++) {
        view->refreshers[i].name = mem_check(talloc_strdup(ctx, names->element[i]->str));
        result = look_at_refresher(ctx, redis, prefix, &view->refreshers[i]);
    }
    freeReplyObject(names);
    return result;
}

int64_t old_queue_mark_left_ms(TALLOC_CTX *ctx, struct old_redis *redis,
                               const struct redis_settings *settings, const char *base)
{
    redisReply *left = ask(redis, "PTTL", key_of_queue(ctx, settings->prefix, "mark", base), NULL,
                           REDIS_REPLY_INTEGER);
    int64_t ms = -1;

    if (left != NULL) {
        ms = left->integer > 0 ? left->integer : 0;
        freeReplyObject(left);
    }
    return ms;
}
