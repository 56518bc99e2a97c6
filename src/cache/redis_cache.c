/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening the cache in Redis, and the questions that need no part of their own: look-ups, purges of
   a single response, the clock, INFO. */
#include "config.h"

#include "cache/redis_cache.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cache/keys.h"

struct ask *ask_new(struct cache *cache, ask_answered *answered, void *data)
{
    struct ask *ask = mem_check(talloc(cache, struct ask));

    *ask = (struct ask){.cache = redis_cache_of(cache), .answered = answered, .data = data};
    return ask;
}

struct ask *ask_new_write(struct cache *cache, ask_answered *answered, void *data)
{
    struct ask *ask = ask_new(cache, answered, data);

    ask->writes = true;
    return ask;
}

static void cancel_ask(struct cache_request *request)
{
    struct ask *ask = (struct ask *)request;

    redis_cancel(ask->sent);
    talloc_free(ask);
}

static void on_answer(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    const struct ask ask = *(struct ask *)data;

    talloc_free(data);
    ask.answered(&ask, outcome, reply);
}

struct cache_request *ask_send(struct ask *ask, const struct redis_part *parts, size_t count,
                               const char *key)
{
    const struct redis_command command = {
        .parts = parts, .count = count, .key = key, .writes = ask->writes};

    ask->request.cancel = cancel_ask;
    ask->sent = redis_send(ask->cache->redis, &command, on_answer, ask);
    return &ask->request;
}

bool ask_was_done(const struct ask *ask, enum redis_outcome outcome,
                  const struct redis_reply *reply)
{
    if (outcome != REDIS_REPLIED)
        return false;
    if (reply->kind == REDIS_ARRAY)
        redis_take_time(ask->cache->redis, ask->sent_us, reply);
    return true;
}

/* ---- The clock */

static void on_time(const struct ask *ask, enum redis_outcome outcome, struct redis_reply *reply)
{
    bool up = ask_was_done(ask, outcome, reply);

    if (ask->fn.measured != NULL)
        ask->fn.measured(ask->data, up);
}

static struct cache_request *measure(struct cache *cache, cache_measured_fn *fn, void *data)
{
    struct ask *ask = ask_new(cache, on_time, data);
    const struct redis_part part = {"TIME", 4};

    ask->fn.measured = fn;
    ask->sent_us = clock_monotonic_us();
    return ask_send(ask, &part, 1, NULL);
}

/* In front of what is to be judged by it. Once is enough for all that goes out in this turn; what
   was found, or asked for, in an earlier one is from before this machine may have stood still. */
static void see_to_clock(struct redis_cache *cache)
{
    unsigned turn = ev_iteration(cache->loop);

    if (cache->clock_seen_to && cache->clock_seen_to_in == turn)
        return;
    cache->clock_seen_to = true;
    cache->clock_seen_to_in = turn;
    if (!redis_clock_will_do(cache->redis))
        measure(&cache->cache, NULL, NULL);
}

/* ---- Look-ups */

/* The entry is taken apart where the reply has it: nothing is copied. */
static enum cache_found read_entry(enum redis_outcome outcome, struct redis_reply *reply,
                                   uint64_t key, struct stored *stored)
{
    *stored = (struct stored){.bytes = NULL};
    if (outcome == REDIS_REFUSED)
        return redis_refusal_of(reply) == REDIS_WRONG_TYPE ? CACHE_NOTHING : CACHE_AWAY;
    if (outcome != REDIS_REPLIED)
        return CACHE_AWAY;
    if (reply->kind != REDIS_TEXT ||
        entry_decode(reply->text, reply->len, key, &stored->entry) == -1)
        return CACHE_NOTHING;
    stored->bytes = reply;
    return CACHE_FOUND;
}

static void on_entry(const struct ask *ask, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct stored stored;
    enum cache_found found = read_entry(outcome, reply, ask->key, &stored);

    ask->fn.look_up(ask->data, found, &stored);
}

static struct cache_request *look_up(struct cache *cache, const char *base, cache_look_up_fn *fn,
                                     void *data)
{
    struct ask *ask = ask_new(cache, on_entry, data);
    char room[512];
    const char *key = key_entry_in(room, sizeof room, ask, base);
    const struct redis_part parts[] = {{"GET", 3}, redis_text(key)};

    see_to_clock(ask->cache);
    ask->fn.look_up = fn;
    ask->key = entry_key(base);
    return ask_send(ask, parts, 2, key);
}

/* ---- Purges */

static void on_deleted(const struct ask *ask, enum redis_outcome outcome, struct redis_reply *reply)
{
    bool done = outcome == REDIS_REPLIED && reply->kind == REDIS_NUMBER;

    ask->fn.purged(ask->data, done ? reply->number > 0 : -1);
}

static struct cache_request *purge(struct cache *cache, const char *base, cache_purged_fn *fn,
                                   void *data)
{
    struct ask *ask = ask_new_write(cache, on_deleted, data);
    const char *entry = key_entry(ask, base);
    const struct redis_part parts[] = {redis_text("DEL"), redis_text(entry),
                                       redis_text(key_lease(ask, base))};

    ask->fn.purged = fn;
    return ask_send(ask, parts, 3, entry);
}

/* ---- What the server says of itself */

static void on_info(const struct ask *ask, enum redis_outcome outcome, struct redis_reply *reply)
{
    bool said = outcome == REDIS_REPLIED && reply->kind == REDIS_TEXT;

    ask->fn.info(ask->data, said ? reply->text : NULL);
}

static struct cache_request *ask_info(struct cache *cache, cache_info_fn *fn, void *data)
{
    struct ask *ask = ask_new(cache, on_info, data);
    const struct redis_part part = redis_text("INFO");

    ask->fn.info = fn;
    return ask_send(ask, &part, 1, NULL);
}

/* ---- Opening */

static const struct redis_cache *const_redis_cache_of(const struct cache *cache)
{
    return (const struct redis_cache *)cache;
}

static bool is_up(const struct cache *cache)
{
    return redis_is_up(const_redis_cache_of(cache)->redis);
}

static const char *problem(const struct cache *cache)
{
    return redis_problem(const_redis_cache_of(cache)->redis);
}

static const struct redis_clock *get_clock(const struct cache *cache)
{
    return redis_get_clock(const_redis_cache_of(cache)->redis);
}

static const char *server_id(const struct cache *cache)
{
    return redis_server(const_redis_cache_of(cache)->redis).run_id;
}

struct redis *cache_redis(struct cache *cache)
{
    return redis_cache_of(cache)->redis;
}

static void on_change(void *data, enum redis_change change)
{
    static const enum cache_change changes[] = {
        [REDIS_CAME_UP] = CACHE_UP,
        [REDIS_CAME_UP_NEW] = CACHE_UP_NEW,
        [REDIS_WENT_DOWN] = CACHE_DOWN,
    };
    struct redis_cache *cache = data;

    /* it may be another server, or free to write again */
    if (change != REDIS_WENT_DOWN)
        cache->writes_again_us = 0;
    if (cache->on_change != NULL)
        cache->on_change(cache->data, changes[change]);
}

static const struct cache_driver redis_cache_driver = {
    .is_up = is_up,
    .problem = problem,
    .clock = get_clock,
    .server_id = server_id,
    .look_up = look_up,
    .take = redis_cache_take,
    .renew = redis_cache_renew,
    .store = redis_cache_store,
    .end = redis_cache_end,
    .shorten_mark = redis_cache_shorten_mark,
    .watch = redis_cache_watch,
    .measure = measure,
    .purge = purge,
    .note = redis_cache_note,
    .switches = redis_cache_switches,
    .info = ask_info,
    .count = redis_cache_count,
    .list = redis_cache_list,
};

struct cache *cache_open(TALLOC_CTX *ctx, struct ev_loop *loop, const struct cache_options *options)
{
    struct redis_cache *cache = mem_check(talloc_zero(ctx, struct redis_cache));
    char *clock_key = key_clock(cache, options->settings->prefix);
    const struct redis_options redis_options = {
        .settings = options->settings,
        .client_name = options->client_name,
        .clock_key = clock_key,
        .speaks = options->speaks,
        .on_change = on_change,
        .data = cache,
    };

    cache->cache.driver = &redis_cache_driver;
    cache->loop = loop;
    cache->prefix = options->settings->prefix;
    cache->on_change = options->on_change;
    cache->data = options->data;
    cache->redis = redis_new(cache, loop, &redis_options);
    talloc_free(clock_key);
    return &cache->cache;
}
