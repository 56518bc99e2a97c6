/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting for another's lease: its channel's messages. What they say is not read, for the keys say
   more. */
#include "config.h"

#include "cache/redis_cache.h"

#include "base/mem.h"
#include "cache/keys.h"

struct cache_watch {
    struct redis_cache *cache; /* NULL: it has gone */
    struct redis_subscription *subscription;
    cache_watch_fn *fn;
    void *data;
    struct cache_watch *next;
    struct cache_watch **link; /* what points here */
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
        break;
    }
}

static int watch_destroy(struct cache_watch *watch)
{
    if (watch->cache == NULL)
        return 0;
    *watch->link = watch->next;
    if (watch->next != NULL)
        watch->next->link = watch->link;
    return 0;
}

struct cache_watch *redis_cache_watch(TALLOC_CTX *ctx, struct cache *cache, const char *base,
                                      cache_watch_fn *fn, void *data)
{
    struct redis_cache *of = redis_cache_of(cache);
    struct cache_watch *watch = mem_check(talloc_zero(ctx, struct cache_watch));

    watch->cache = of;
    watch->fn = fn;
    watch->data = data;
    watch->next = of->watches;
    watch->link = &of->watches;
    if (watch->next != NULL)
        watch->next->link = &watch->next;
    of->watches = watch;
    talloc_set_destructor(watch, watch_destroy);
    char *channel = key_channel(watch, base);
    watch->subscription = redis_subscribe(watch, of->redis, channel, on_news, watch);
    talloc_free(channel);
    return watch;
}

void redis_cache_abandon_watches(struct redis_cache *cache)
{
    while (cache->watches != NULL) {
        struct cache_watch *watch = cache->watches;
        cache->watches = watch->next;
        watch->cache = NULL;
        TALLOC_FREE(watch->subscription);
    }
}
