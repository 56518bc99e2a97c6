/* SPDX-License-Identifier: BSD-2-Clause */
/* The face of whatever topology there is. */
#include "config.h"

#include "redis/redis.h"

#include "base/mem.h"
#include "redis/topology.h"

struct redis {
    struct ev_loop *loop;
    struct redis_topology *topology;
};

struct redis *redis_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct redis_options *options)
{
    struct redis *redis = mem_check(talloc_zero(ctx, struct redis));

    redis->loop = loop;
    redis->topology = redis_single_new(redis, loop, options);
    return redis;
}

struct ev_loop *redis_loop(const struct redis *redis)
{
    return redis->loop;
}

static struct redis_primary *primary_of(const struct redis *redis, const char *key)
{
    return redis->topology->type->primary_of(redis->topology, key);
}

static struct redis_primary *primary_at(const struct redis *redis, size_t index)
{
    return redis->topology->type->primary_at(redis->topology, index);
}

static size_t count(const struct redis *redis)
{
    return redis->topology->type->count(redis->topology);
}

bool redis_is_up(const struct redis *redis)
{
    for (size_t i = 0; i < count(redis); i++)
        if (!redis_primary_is_up(primary_at(redis, i)))
            return false;
    return true;
}

const char *redis_problem(const struct redis *redis)
{
    for (size_t i = 0; i < count(redis); i++) {
        const char *problem = redis_primary_problem(primary_at(redis, i));
        if (problem != NULL)
            return problem;
    }
    return NULL;
}

struct redis_server redis_server(const struct redis *redis)
{
    return redis_primary_server(primary_at(redis, 0));
}

struct redis_request *redis_send(struct redis *redis, const struct redis_command *command,
                                 redis_fn *fn, void *data)
{
    return redis_primary_send(primary_of(redis, command->key), command, fn, data);
}

static struct redis_clock_keeper *keeper(const struct redis *redis)
{
    return redis_primary_clock_keeper(primary_at(redis, 0));
}

const struct redis_clock *redis_get_clock(const struct redis *redis)
{
    return redis_clock_keeper_clock(keeper(redis));
}

void redis_take_time(struct redis *redis, int64_t sent_us, const struct redis_reply *reply)
{
    redis_clock_keeper_take_time(keeper(redis), sent_us, reply);
}

bool redis_clock_will_do(const struct redis *redis)
{
    return redis_clock_keeper_will_do(keeper(redis));
}

struct redis_subscription *redis_subscribe(TALLOC_CTX *ctx, struct redis *redis,
                                           const char *channel, redis_news_fn *fn, void *data)
{
    return redis_subscriber_add(ctx, redis_primary_subscriber(primary_of(redis, channel)), channel,
                                fn, data);
}
