/* SPDX-License-Identifier: BSD-2-Clause */
/* Passes what is asked of a cache on to what stands behind it. */
#include "config.h"

#include "cache/cache.h"

#include "cache/driver.h"

bool cache_is_up(const struct cache *cache)
{
    return cache->driver->is_up(cache);
}

const char *cache_problem(const struct cache *cache)
{
    return cache->driver->problem(cache);
}

const struct redis_clock *cache_clock(const struct cache *cache)
{
    return cache->driver->clock(cache);
}

const char *cache_server_id(const struct cache *cache)
{
    return cache->driver->server_id(cache);
}

void cache_cancel(struct cache_request *request)
{
    if (request != NULL)
        request->cancel(request);
}

struct cache_request *cache_look_up(struct cache *cache, const char *base, cache_look_up_fn *fn,
                                    void *data)
{
    return cache->driver->look_up(cache, base, fn, data);
}

struct cache_request *cache_take(struct cache *cache, const char *base, cache_take_fn *fn,
                                 void *data)
{
    return cache->driver->take(cache, base, false, fn, data);
}

struct cache_request *cache_look_at_lease(struct cache *cache, const char *base, cache_take_fn *fn,
                                          void *data)
{
    return cache->driver->take(cache, base, true, fn, data);
}

struct cache_request *cache_renew(struct cache *cache, const struct lease *lease,
                                  cache_lease_fn *fn, void *data)
{
    return cache->driver->renew(cache, lease, fn, data);
}

struct cache_request *cache_store(struct cache *cache, const struct lease *lease, const char *bytes,
                                  size_t len, int64_t expiry_ms, cache_lease_fn *fn, void *data)
{
    return cache->driver->store(cache, lease, bytes, len, expiry_ms, fn, data);
}

struct cache_request *cache_end(struct cache *cache, const struct lease *lease,
                                const struct lease_mark *mark, cache_lease_fn *fn, void *data)
{
    return cache->driver->end(cache, lease, mark, fn, data);
}

void cache_shorten_mark(struct cache *cache, const char *base, int status, int64_t left_ms)
{
    cache->driver->shorten_mark(cache, base, status, left_ms);
}

struct cache_watch *cache_watch(TALLOC_CTX *ctx, struct cache *cache, const char *base,
                                cache_watch_fn *fn, void *data)
{
    return cache->driver->watch(ctx, cache, base, fn, data);
}

struct cache_request *cache_measure(struct cache *cache, cache_measured_fn *fn, void *data)
{
    return cache->driver->measure(cache, fn, data);
}

struct cache_request *cache_purge(struct cache *cache, const char *base, cache_purged_fn *fn,
                                  void *data)
{
    return cache->driver->purge(cache, base, fn, data);
}

struct cache_request *cache_read_note(struct cache *cache, const char *identity, cache_note_fn *fn,
                                      void *data)
{
    return cache->driver->note(cache, CACHE_NOTE_READ, identity, NULL, fn, data);
}

struct cache_request *cache_claim_note(struct cache *cache, const char *identity,
                                       const struct identity_note *mine, cache_note_fn *fn,
                                       void *data)
{
    return cache->driver->note(cache, CACHE_NOTE_CLAIM, identity, mine, fn, data);
}

struct cache_request *cache_accept_note(struct cache *cache, const char *identity,
                                        const struct identity_note *mine, cache_note_fn *fn,
                                        void *data)
{
    return cache->driver->note(cache, CACHE_NOTE_ACCEPT, identity, mine, fn, data);
}

struct cache_request *cache_read_switches(struct cache *cache, const char *identity,
                                          cache_switches_fn *fn, void *data)
{
    return cache->driver->switches(cache, identity, CACHE_SWITCHES_READ, NULL, fn, data);
}

struct cache_request *cache_switch_off(struct cache *cache, const char *identity,
                                       const struct cache_switch *off, cache_switches_fn *fn,
                                       void *data)
{
    return cache->driver->switches(cache, identity, CACHE_SWITCHES_OFF, off, fn, data);
}

struct cache_request *cache_switch_on(struct cache *cache, const char *identity,
                                      const struct cache_switch *on, cache_switches_fn *fn,
                                      void *data)
{
    return cache->driver->switches(cache, identity, CACHE_SWITCHES_ON, on, fn, data);
}

struct cache_request *cache_ask_info(struct cache *cache, cache_info_fn *fn, void *data)
{
    return cache->driver->info(cache, fn, data);
}

struct cache_request *cache_count(struct cache *cache, cache_count_fn *fn, void *data)
{
    return cache->driver->count(cache, fn, data);
}

struct cache_request *cache_list(struct cache *cache, const char *pattern, const char *cursor,
                                 cache_list_fn *fn, void *data)
{
    return cache->driver->list(cache, pattern, cursor, fn, data);
}
