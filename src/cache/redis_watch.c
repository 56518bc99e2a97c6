/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting for another's lease: its channel's messages. What they say is not read, for the keys say
   more. */
#include "config.h"

#include "cache/redis_cache.h"

#include "base/mem.h"
#include "cache/keys.h"

struct cache_watch {
    const struct cache *cache;
    cache_watch_fn *fn;
    void *data;
};

static void on_news(void *data, enum redis_news news, struct redis_part message)
{
    struct cache_watch *watch = data;

    (void)message;
    switch (news) {
    case REDIS_SUBSCRIBED:
    case REDIS_MESSAGE:
        watch->fn(watch->data, CACHE_LOOK_NOW);
        break;
    case REDIS_SUBSCRIPTION_REFUSED:
        watch->fn(watch->data, CACHE_NOT_TOLD);
        break;
    case REDIS_SUBSCRIPTION_LOST:
        /* as where Redis has no room for a further connection */
        if (cache_is_up(watch->cache))
            watch->fn(watch->data, CACHE_NOT_TOLD);
        break;
    }
}

/* The subscription is a child of the watch, and ends with it. */
struct cache_watch *redis_cache_watch(TALLOC_CTX *ctx, struct cache *cache, const char *base,
                                      cache_watch_fn *fn, void *data)
{
    struct cache_watch *watch = mem_check(talloc(ctx, struct cache_watch));

    *watch = (struct cache_watch){.cache = cache, .fn = fn, .data = data};
    char *channel = key_channel(watch, base);
    redis_subscribe(watch, cache_redis(cache), channel, on_news, watch);
    talloc_free(channel);
    return watch;
}
