/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists, marks and heartbeats. All keys share the slot of the jobs list, and every key
   that a script touches is named in KEYS. */
#include "config.h"

#include "refresh/old_queue.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/mem.h"
#include "cache/keys.h"

/* KEYS: jobs, mark. ARGV: job, mark's milliseconds, limit. */
static const char offer_script[] =
    "if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 2 end "
    "if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[2]) then return 1 end "
    "redis.call('LPUSH', KEYS[1], ARGV[1]) "
    "return 0";

/* KEYS: processing, mark, failures. ARGV: job. */
static const char settle_script[] = "redis.call('DEL', KEYS[2], KEYS[3]) "
                                    "return redis.call('LREM', KEYS[1], 1, ARGV[1])";

/* KEYS: processing, failures. ARGV: job, milliseconds until failures are forgotten. */
static const char failure_script[] = "redis.call('LREM', KEYS[1], 1, ARGV[1]) "
                                     "local count = redis.call('INCR', KEYS[2]) "
                                     "redis.call('PEXPIRE', KEYS[2], ARGV[2]) "
                                     "return count";

/* KEYS: heartbeat, processing, jobs, registry. ARGV: the refresher's name. */
static const char reap_script[] =
    "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end "
    "local count = 0 "
    "while redis.call('LMOVE', KEYS[2], KEYS[3], 'RIGHT', 'RIGHT') do count = count + 1 end "
    "redis.call('SREM', KEYS[4], ARGV[1]) "
    "return count";

/* One turn looks at so many keys, which keeps Redis busy for a millisecond or two. */
#define SCAN_COUNT "1000"
enum { SCAN_STEPS = 4 };

struct old_queue {
    struct old_redis *redis;
    const char *prefix;
    char *name; /* of this refresher */
    char *jobs;
    char *processing;
    char *alive;
    char *registry;
    char *turn;      /* held by the refresher that reaps */
    char *lists;     /* pattern of all processing lists */
    char cursor[24]; /* where the search for such lists goes on */
};

/* A command that answers with an integer; -1 if it did not. */
static int64_t run(struct old_redis *redis, const struct old_redis_part *parts, size_t count)
{
    redisReply *reply = old_redis_command(redis, parts, count);
    int64_t result = -1;

    if (!old_redis_reply_failed(reply, parts[0].data))
        result = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    if (reply != NULL)
        freeReplyObject(reply);
    return result;
}

enum old_queue_offer old_queue_offer(TALLOC_CTX *ctx, struct old_redis *redis,
                                     const struct redis_settings *settings, const char *base,
                                     struct old_redis_part job, int64_t mark_ms)
{
    struct old_redis_digits ms, limit;
    const struct old_redis_part parts[] = {
        old_redis_text("EVAL"),
        old_redis_text(offer_script),
        old_redis_text("2"),
        old_redis_text(key_jobs(ctx, settings->prefix)),
        old_redis_text(key_of_queue(ctx, settings->prefix, "mark", base)),
        job,
        old_redis_number(&ms, mark_ms > 0 ? mark_ms : 1),
        old_redis_number(&limit, settings->queue_limit),
    };

    switch (run(redis, parts, 8)) {
    case 0:
        return OLD_QUEUE_QUEUED;
    case 1:
        return OLD_QUEUE_MARKED;
    case 2:
        return OLD_QUEUE_FULL;
    default:
        return OLD_QUEUE_AWAY;
    }
}

struct old_queue *old_queue_new(TALLOC_CTX *ctx, struct old_redis *redis,
                                const struct redis_settings *settings)
{
    struct old_queue *queue = mem_check(talloc_zero(ctx, struct old_queue));
    char host[64] = "";
    unsigned random = 0;

    /* the name only has to be unique; without random numbers host and pid nearly are */
    gethostname(host, sizeof host - 1);
    if (getrandom(&random, sizeof random, 0) == -1)
        random = 0;
    queue->redis = redis;
    queue->prefix = settings->prefix;
    queue->name = mem_check(talloc_asprintf(queue, "%s-%ld-%08x", host, (long)getpid(), random));
    queue->jobs = key_jobs(queue, queue->prefix);
    queue->processing = key_of_queue(queue, queue->prefix, "processing", queue->name);
    queue->alive = key_of_queue(queue, queue->prefix, "alive", queue->name);
    queue->registry = key_of_queue(queue, queue->prefix, "refreshers", "");
    queue->turn = key_of_queue(queue, queue->prefix, "reaper", "");
    /* a prefix has no characters that a pattern would take for more than themselves */
    queue->lists = key_of_queue(queue, queue->prefix, "processing", "*");
    strcpy(queue->cursor, "0");
    return queue;
}

int old_queue_take(TALLOC_CTX *ctx, struct old_queue *queue, int64_t block_ms, char **job,
                   size_t *len)
{
    char seconds[24];

    snprintf(seconds, sizeof seconds, "%lld.%03lld", (long long)block_ms / 1000,
             (long long)block_ms % 1000);
    const struct old_redis_part parts[] = {
        old_redis_text("BLMOVE"), old_redis_text(queue->jobs), old_redis_text(queue->processing),
        old_redis_text("RIGHT"),  old_redis_text("LEFT"),      old_redis_text(seconds),
    };
    redisReply *reply = old_redis_command_blocking(queue->redis, block_ms, parts, 6);
    int result = 0;

    if (old_redis_reply_failed(reply, "BLMOVE")) {
        result = -1;
    } else if (reply->type == REDIS_REPLY_STRING) {
        *job = mem_check(talloc_memdup(ctx, reply->str, reply->len + 1));
        *len = reply->len;
        result = 1;
    }
    if (reply != NULL)
        freeReplyObject(reply);
    return result;
}

int old_queue_settle(struct old_queue *queue, struct old_redis_part job, const char *base)
{
    TALLOC_CTX *ctx = talloc_new(queue);
    const char *of = base != NULL ? base : "";
    const struct old_redis_part parts[] = {
        old_redis_text("EVAL"),
        old_redis_text(settle_script),
        old_redis_text("3"),
        old_redis_text(queue->processing),
        old_redis_text(key_of_queue(ctx, queue->prefix, "mark", of)),
        old_redis_text(key_of_queue(ctx, queue->prefix, "failures", of)),
        job,
    };
    int64_t result = run(queue->redis, parts, 7);

    talloc_free(ctx);
    return result == -1 ? -1 : 0;
}

int64_t old_queue_count_failure(struct old_queue *queue, struct old_redis_part job,
                                const char *base, int64_t forget_ms)
{
    TALLOC_CTX *ctx = talloc_new(queue);
    struct old_redis_digits ms;
    const struct old_redis_part parts[] = {
        old_redis_text("EVAL"),
        old_redis_text(failure_script),
        old_redis_text("2"),
        old_redis_text(queue->processing),
        old_redis_text(key_of_queue(ctx, queue->prefix, "failures", base)),
        job,
        old_redis_number(&ms, forget_ms),
    };
    int64_t result = run(queue->redis, parts, 7);

    talloc_free(ctx);
    return result;
}

int old_queue_back_off(struct old_queue *queue, const char *base, int64_t ms)
{
    TALLOC_CTX *ctx = talloc_new(queue);
    struct old_redis_digits room;
    const struct old_redis_part parts[] = {
        old_redis_text("SET"),       old_redis_text(key_of_queue(ctx, queue->prefix, "mark", base)),
        old_redis_text("1"),         old_redis_text("PX"),
        old_redis_number(&room, ms),
    };
    int64_t result = run(queue->redis, parts, 5);

    talloc_free(ctx);
    return result == -1 ? -1 : 0;
}

int old_queue_beat(struct old_queue *queue)
{
    struct old_redis_digits ms;
    const struct old_redis_part alive[] = {old_redis_text("SET"), old_redis_text(queue->alive),
                                           old_redis_text("1"), old_redis_text("PX"),
                                           old_redis_number(&ms, OLD_QUEUE_ALIVE_MS)};
    const struct old_redis_part enrol[] = {old_redis_text("SADD"), old_redis_text(queue->registry),
                                           old_redis_text(queue->name)};

    /* enrolled after the heartbeat is there, so that nobody is found dead at birth */
    if (run(queue->redis, alive, 5) == -1)
        return -1;
    return run(queue->redis, enrol, 3) == -1 ? -1 : 0;
}

static int64_t reap_one(struct old_queue *queue, const char *name)
{
    TALLOC_CTX *ctx = talloc_new(queue);
    const struct old_redis_part parts[] = {
        old_redis_text("EVAL"),
        old_redis_text(reap_script),
        old_redis_text("4"),
        old_redis_text(key_of_queue(ctx, queue->prefix, "alive", name)),
        old_redis_text(key_of_queue(ctx, queue->prefix, "processing", name)),
        old_redis_text(queue->jobs),
        old_redis_text(queue->registry),
        old_redis_text(name),
    };
    int64_t count = run(queue->redis, parts, 8);

    talloc_free(ctx);
    return count;
}

/* 1: this refresher reaps for the next second, 0: another does, -1. */
static int64_t take_turn(struct old_queue *queue)
{
    struct old_redis_digits ms;
    const struct old_redis_part parts[] = {
        old_redis_text("SET"),       old_redis_text(queue->turn),
        old_redis_text(queue->name), old_redis_text("NX"),
        old_redis_text("PX"),        old_redis_number(&ms, OLD_QUEUE_BEAT_MS - 100),
    };
    redisReply *reply = old_redis_command(queue->redis, parts, 6);
    int64_t result = old_redis_reply_failed(reply, "SET") ? -1 : old_redis_reply_is(reply, "OK");

    if (reply != NULL)
        freeReplyObject(reply);
    return result;
}

static int64_t reap_enrolled(struct old_queue *queue)
{
    const struct old_redis_part parts[] = {old_redis_text("SMEMBERS"),
                                           old_redis_text(queue->registry)};
    redisReply *reply = old_redis_command(queue->redis, parts, 2);
    int64_t moved = 0;

    if (old_redis_reply_failed(reply, "SMEMBERS") || reply->type != REDIS_REPLY_ARRAY)
        moved = -1;
    for (size_t i = 0; moved != -1 && i < reply->elements; i++) {
        int64_t count = reap_one(queue, reply->element[i]->str);
        moved = count == -1 ? -1 : moved + count;
    }
    if (reply != NULL)
        freeReplyObject(reply);
    return moved;
}

/* One step of a search for processing lists. Takes the next cursor from `reply`. */
static int64_t reap_found(struct old_queue *queue, const redisReply *reply)
{
    size_t name_at = strlen(queue->processing) - strlen(queue->name);
    int64_t moved = 0;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_ARRAY)
        return -1;
    snprintf(queue->cursor, sizeof queue->cursor, "%s", reply->element[0]->str);
    const redisReply *keys = reply->element[1];
    for (size_t i = 0; moved != -1 && i < keys->elements; i++) {
        if (keys->element[i]->len <= name_at)
            continue;
        int64_t count = reap_one(queue, keys->element[i]->str + name_at);
        moved = count == -1 ? -1 : moved + count;
    }
    return moved;
}

/* The set of names may have been lost, by eviction or by hand; the lists themselves are what
   counts. Among many keys the search goes on in the next turn. */
static int64_t reap_unlisted(struct old_queue *queue)
{
    int64_t moved = 0;

    for (int step = 0; step < SCAN_STEPS && moved != -1; step++) {
        const struct old_redis_part parts[] = {
            old_redis_text("SCAN"),       old_redis_text(queue->cursor), old_redis_text("MATCH"),
            old_redis_text(queue->lists), old_redis_text("COUNT"),       old_redis_text(SCAN_COUNT),
            old_redis_text("TYPE"),       old_redis_text("list"),
        };
        redisReply *reply = old_redis_command(queue->redis, parts, 8);
        int64_t count = old_redis_reply_failed(reply, "SCAN") ? -1 : reap_found(queue, reply);
        if (reply != NULL)
            freeReplyObject(reply);
        moved = count == -1 ? -1 : moved + count;
        if (strcmp(queue->cursor, "0") == 0)
            break;
    }
    return moved;
}

int old_queue_reap(struct old_queue *queue)
{
    int64_t moved = take_turn(queue);

    if (moved != 1)
        return (int)moved;
    int64_t enrolled = reap_enrolled(queue);
    int64_t unlisted = enrolled == -1 ? -1 : reap_unlisted(queue);
    return unlisted == -1 ? -1 : (int)(enrolled + unlisted);
}

int old_queue_leave(struct old_queue *queue)
{
    const struct old_redis_part gone[] = {old_redis_text("DEL"), old_redis_text(queue->alive)};

    if (run(queue->redis, gone, 2) == -1)
        return -1;
    return reap_one(queue, queue->name) == -1 ? -1 : 0;
}
