/* SPDX-License-Identifier: BSD-2-Clause */
/* Notes of what an identity means: a hash of three fields. What writes is a script, so that two
   hosts that start at once agree. */
#include "config.h"

#include "cache/redis_cache.h"

#include "base/mem.h"
#include "cache/keys.h"

#define FIELDS "'system', 'database', 'accepts'"
#define RETURN "return redis.call('HMGET', KEYS[1], " FIELDS ")"

/* KEYS: the note. ARGV: system, database, accepts. */
static const char claim_script[] =
    "local noted = redis.call('HMGET', KEYS[1], " FIELDS ")\n"
    "if not noted[2] then\n"
    "  redis.call('HSET', KEYS[1], 'system', ARGV[1], 'database', ARGV[2], 'accepts', ARGV[3])\n"
    "elseif noted[2] == ARGV[2] and (noted[1] == ARGV[1] or noted[1] == '' or ARGV[1] == '') then\n"
    "  local noted_accepts, accepts = tonumber(noted[3]) or 0, tonumber(ARGV[3])\n"
    "  if noted[1] == '' and ARGV[1] ~= '' and noted_accepts <= accepts then\n"
    "    redis.call('HSET', KEYS[1], 'system', ARGV[1])\n"
    "  end\n"
    "  if noted_accepts < accepts then\n"
    "    redis.call('HSET', KEYS[1], 'accepts', ARGV[3])\n"
    "  end\n"
    "end\n" RETURN;

static const char accept_script[] =
    "redis.call('HSET', KEYS[1], 'system', ARGV[1], 'database', ARGV[2])\n"
    "redis.call('HINCRBY', KEYS[1], 'accepts', 1)\n" RETURN;

/* 1 and *noted, 0: there is none, -1: it cannot be understood. */
static int read_note(const struct redis_reply *reply, struct identity_note *noted)
{
    const struct redis_reply *fields[3];

    if (reply->kind != REDIS_ARRAY || reply->n_elements != 3)
        return -1;
    if (redis_reply_element(reply, 1, REDIS_NIL) != NULL)
        return 0;
    for (size_t i = 0; i < 3; i++)
        if ((fields[i] = redis_reply_element(reply, i, REDIS_TEXT)) == NULL)
            return -1;
    bool understood =
        identity_note_set(noted, fields[0]->text, fields[1]->text, fields[2]->text) == 0;
    return understood && noted->database[0] != '\0' ? 1 : -1;
}

static void on_note(const struct ask *ask, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct identity_note noted = {.accepts = 0};
    int found = outcome == REDIS_REPLIED ? read_note(reply, &noted) : -1;

    ask->fn.note(ask->data, found, &noted);
}

/* A note that is gone right after it was written is one that cannot be understood. */
static void on_written_note(const struct ask *ask, enum redis_outcome outcome,
                            struct redis_reply *reply)
{
    struct identity_note noted = {.accepts = 0};
    int found = outcome == REDIS_REPLIED ? read_note(reply, &noted) : -1;

    ask->fn.note(ask->data, found == 1 ? 1 : -1, &noted);
}

static struct cache_request *ask_for_note(struct cache *cache, const char *identity,
                                          cache_note_fn *fn, void *data)
{
    struct ask *ask = ask_new(cache, on_note, data);
    const char *key = key_note(ask, ask->cache->prefix, identity);
    const struct redis_part parts[] = {redis_text("HMGET"), redis_text(key), redis_text("system"),
                                       redis_text("database"), redis_text("accepts")};

    ask->fn.note = fn;
    return ask_send(ask, parts, 5, key);
}

static struct cache_request *write_note(struct cache *cache, const char *script,
                                        const char *identity, const struct identity_note *mine,
                                        cache_note_fn *fn, void *data)
{
    struct ask *ask = ask_new_write(cache, on_written_note, data);
    const char *key = key_note(ask, ask->cache->prefix, identity);
    struct redis_digits accepts;
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        redis_text(script),
        redis_text("1"),
        redis_text(key),
        redis_text(mine->system),
        redis_text(mine->database),
        redis_number(&accepts, mine->accepts),
    };

    ask->fn.note = fn;
    return ask_send(ask, parts, 7, key);
}

struct cache_request *redis_cache_note(struct cache *cache, enum cache_note_act act,
                                       const char *identity, const struct identity_note *mine,
                                       cache_note_fn *fn, void *data)
{
    if (act == CACHE_NOTE_READ)
        return ask_for_note(cache, identity, fn, data);
    return write_note(cache, act == CACHE_NOTE_CLAIM ? claim_script : accept_script, identity, mine,
                      fn, data);
}
