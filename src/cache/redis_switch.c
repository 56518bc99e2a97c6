/* SPDX-License-Identifier: BSD-2-Clause */
/* The fleet's switches: a hash for each identity, which expires with the last of them. */
#include "config.h"

#include "cache/redis_cache.h"

#include "base/mem.h"
#include "cache/keys.h"

#define RETURN "return redis.call('HGETALL', KEYS[1])"

/* KEYS: the hash. ARGV: name, value, until when (ms), the most there may be. What is over goes. A
   time that nobody means must not be one that PEXPIREAT refuses. */
static const char set_script[] =
    "local now = redis.call('TIME')\n"
    "now = now[1] * 1000 + math.floor(now[2] / 1000)\n"
    "local latest, others = tonumber(ARGV[3]), 0\n"
    "local there = redis.call('HGETALL', KEYS[1])\n"
    "for i = 1, #there, 2 do\n"
    "  local ends = tonumber(string.match(there[i + 1], '^%d+')) or 0\n"
    "  if ends <= now then\n"
    "    redis.call('HDEL', KEYS[1], there[i])\n"
    "  elseif there[i] ~= ARGV[1] then\n"
    "    others = others + 1\n"
    "    if ends > latest then latest = ends end\n"
    "  end\n"
    "end\n"
    "if others < tonumber(ARGV[4]) then\n"
    "  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])\n"
    "  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.min(latest, 1e15)))\n"
    "end\n" RETURN;

static const char unset_script[] = "redis.call('HDEL', KEYS[1], ARGV[1])\n" RETURN;

static void read_list(const struct redis_reply *reply, struct switch_list *list)
{
    struct cache_switch off;

    for (size_t i = 0; i + 1 < reply->n_elements; i += 2) {
        const struct redis_reply *name = redis_reply_element(reply, i, REDIS_TEXT);
        const struct redis_reply *value = redis_reply_element(reply, i + 1, REDIS_TEXT);
        if (name != NULL && value != NULL && switch_parse(name->text, value->text, &off))
            (void)switch_list_set(list, &off);
    }
}

static void on_list(const struct ask *ask, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct switch_list *list = mem_check(talloc_zero(NULL, struct switch_list));
    bool told = outcome == REDIS_REPLIED && reply->kind == REDIS_ARRAY;

    if (told)
        read_list(reply, list);
    ask->fn.switches(ask->data, told ? list : NULL, outcome == REDIS_REFUSED ? reply->text : NULL);
    talloc_free(list);
}

static struct cache_request *ask_for_list(struct cache *cache, const char *identity,
                                          cache_switches_fn *fn, void *data)
{
    struct ask *ask = ask_new(cache, on_list, data);
    const char *key = key_switches(ask, ask->cache->prefix, identity);
    const struct redis_part parts[] = {redis_text("HGETALL"), redis_text(key)};

    ask->fn.switches = fn;
    return ask_send(ask, parts, 2, key);
}

struct cache_request *redis_cache_switches(struct cache *cache, const char *identity,
                                           enum cache_switch_act act,
                                           const struct cache_switch *off, cache_switches_fn *fn,
                                           void *data)
{
    char value[SWITCH_VALUE_BYTES];
    struct redis_digits until, most;

    if (act == CACHE_SWITCHES_READ)
        return ask_for_list(cache, identity, fn, data);
    struct ask *ask = ask_new_write(cache, on_list, data);
    const char *key = key_switches(ask, ask->cache->prefix, identity);
    switch_write_value(off, value);
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        redis_text(act == CACHE_SWITCHES_OFF ? set_script : unset_script),
        redis_text("1"),
        redis_text(key),
        redis_text(off->name),
        redis_text(value),
        redis_number(&until, off->until_ms),
        redis_number(&most, SWITCHES_MAX),
    };
    ask->fn.switches = fn;
    return ask_send(ask, parts, act == CACHE_SWITCHES_OFF ? 8 : 5, key);
}
