/* SPDX-License-Identifier: BSD-2-Clause */
/* A hash of three fields. What writes is a script, so that two hosts that start at once agree. */
#include "config.h"

#include "cache/old_note.h"

#include <string.h>

#include "base/mem.h"

#define FIELDS "'system', 'database', 'accepts'"
#define RETURN "return redis.call('HMGET', KEYS[1], " FIELDS ")"

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

char *identity_note_key(TALLOC_CTX *ctx, const char *prefix, const char *identity)
{
    return mem_check(talloc_asprintf(ctx, "%s:identity:%s", prefix, identity));
}

static int take_note(const redisReply *reply, struct identity_note *noted)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return -1;
    if (reply->element[1]->type == REDIS_REPLY_NIL)
        return 0;
    for (size_t i = 0; i < 3; i++)
        if (reply->element[i]->type != REDIS_REPLY_STRING)
            return -1;
    bool understood = identity_note_set(noted, reply->element[0]->str, reply->element[1]->str,
                                        reply->element[2]->str) == 0;
    return understood && noted->database[0] != '\0' ? 1 : -1;
}

/* Takes the reply over. */
static int read_reply(redisReply *reply, struct identity_note *noted)
{
    int found = old_redis_reply_failed(reply, "identity") ? -1 : take_note(reply, noted);

    if (reply != NULL)
        freeReplyObject(reply);
    return found;
}

int identity_note_read(struct old_redis *redis, const char *key, struct identity_note *noted)
{
    const struct old_redis_part parts[] = {old_redis_text("HMGET"), old_redis_text(key),
                                           old_redis_text("system"), old_redis_text("database"),
                                           old_redis_text("accepts")};

    return read_reply(old_redis_command(redis, parts, 5), noted);
}

static int write_note(struct old_redis *redis, const char *script, const char *key,
                      const struct identity_note *mine, struct identity_note *noted)
{
    struct old_redis_digits accepts;
    const struct old_redis_part parts[] = {
        old_redis_text("EVAL"),
        old_redis_text(script),
        old_redis_text("1"),
        old_redis_text(key),
        old_redis_text(mine->system),
        old_redis_text(mine->database),
        old_redis_number(&accepts, mine->accepts),
    };

    return read_reply(old_redis_command(redis, parts, 7), noted) == 1 ? 0 : -1;
}

int identity_note_claim(struct old_redis *redis, const char *key, const struct identity_note *mine,
                        struct identity_note *noted)
{
    return write_note(redis, claim_script, key, mine, noted);
}

int identity_note_accept(struct old_redis *redis, const char *key, const struct identity_note *mine,
                         struct identity_note *noted)
{
    return write_note(redis, accept_script, key, mine, noted);
}
