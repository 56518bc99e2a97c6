/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands behind struct cache. Only for what implements one: Redis (cache/redis_cache.c) and,
   in the tests, a scripted one. The functions are those of cache/cache.h. */
#ifndef LEEWAY_CACHE_DRIVER_H
#define LEEWAY_CACHE_DRIVER_H

#include "cache/cache.h"

enum cache_note_act { CACHE_NOTE_READ, CACHE_NOTE_CLAIM, CACHE_NOTE_ACCEPT };

enum cache_switch_act { CACHE_SWITCHES_READ, CACHE_SWITCHES_OFF, CACHE_SWITCHES_ON };

struct cache_driver {
    bool (*is_up)(const struct cache *cache);
    const char *(*problem)(const struct cache *cache);
    const struct redis_clock *(*clock)(const struct cache *cache);
    const char *(*server_id)(const struct cache *cache);
    struct cache_request *(*look_up)(struct cache *cache, const char *base, cache_look_up_fn *fn,
                                     void *data);
    struct cache_request *(*take)(struct cache *cache, const char *base, bool only_look,
                                  cache_take_fn *fn, void *data);
    struct cache_request *(*renew)(struct cache *cache, const struct lease *lease,
                                   cache_lease_fn *fn, void *data);
    struct cache_request *(*store)(struct cache *cache, const struct lease *lease,
                                   const char *bytes, size_t len, int64_t expiry_ms,
                                   cache_lease_fn *fn, void *data);
    struct cache_request *(*end)(struct cache *cache, const struct lease *lease,
                                 const struct lease_mark *mark, cache_lease_fn *fn, void *data);
    void (*shorten_mark)(struct cache *cache, const char *base, int status, int64_t left_ms);
    struct cache_watch *(*watch)(TALLOC_CTX *ctx, struct cache *cache, const char *base,
                                 cache_watch_fn *fn, void *data);
    struct cache_request *(*measure)(struct cache *cache, cache_measured_fn *fn, void *data);
    struct cache_request *(*purge)(struct cache *cache, const char *base, cache_purged_fn *fn,
                                   void *data);
    struct cache_request *(*note)(struct cache *cache, enum cache_note_act act,
                                  const char *identity, const struct identity_note *mine,
                                  cache_note_fn *fn, void *data);
    struct cache_request *(*switches)(struct cache *cache, const char *identity,
                                      enum cache_switch_act act, const struct cache_switch *off,
                                      cache_switches_fn *fn, void *data);
    struct cache_request *(*info)(struct cache *cache, cache_info_fn *fn, void *data);
    struct cache_request *(*count)(struct cache *cache, cache_count_fn *fn, void *data);
    struct cache_request *(*list)(struct cache *cache, const char *pattern, const char *cursor,
                                  cache_list_fn *fn, void *data);
};

/* The first member of a driver's own struct. */
struct cache {
    const struct cache_driver *driver;
};

/* The first member of a driver's own request. */
struct cache_request {
    void (*cancel)(struct cache_request *request);
};

#endif
