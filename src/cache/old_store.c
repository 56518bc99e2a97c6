/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries in Redis. */
#include "config.h"

#include "cache/old_store.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

enum { LARGE_BODY_BYTES = 64 * 1024 };

struct holder {
    redisReply *reply;
};

int store_take(redisReply *reply, struct old_stored *stored)
{
    *stored = (struct old_stored){.reply = NULL};
    if (old_redis_reply_failed(reply, "GET")) {
        if (reply != NULL)
            freeReplyObject(reply);
        return -1;
    }
    if (reply->type != REDIS_REPLY_STRING ||
        entry_decode(reply->str, reply->len, &stored->entry) == -1) {
        freeReplyObject(reply);
        return 0;
    }
    stored->reply = reply;
    return 1;
}

void store_ask(TALLOC_CTX *ctx, struct old_redis *redis, const char *base)
{
    struct buf key;

    buf_init(&key, ctx, strlen(base) + sizeof ":entry");
    buf_append_str(&key, base);
    buf_append_str(&key, ":entry");
    old_redis_queue(redis, (struct old_redis_part[]){old_redis_text("GET"), {key.data, key.len}},
                    2);
}

int store_get(TALLOC_CTX *ctx, struct old_redis *redis, const char *base, struct old_stored *stored)
{
    store_ask(ctx, redis, base);
    return store_take(old_redis_next(redis), stored);
}

static int holder_destroy(struct holder *holder)
{
    freeReplyObject(holder->reply);
    return 0;
}

void *stored_holder(struct old_stored *stored)
{
    if (stored->holder == NULL && stored->entry.body_len >= LARGE_BODY_BYTES) {
        struct holder *holder = mem_check(talloc(NULL, struct holder));
        holder->reply = stored->reply;
        talloc_set_destructor(holder, holder_destroy);
        stored->holder = holder;
    }
    return stored->holder;
}

void stored_free(struct old_stored *stored)
{
    if (stored->holder != NULL)
        talloc_unlink(NULL, stored->holder);
    else if (stored->reply != NULL)
        freeReplyObject(stored->reply);
    stored->reply = NULL;
    stored->holder = NULL;
}

int store_purge(TALLOC_CTX *ctx, struct old_redis *redis, const char *base)
{
    const char *entry = mem_check(talloc_asprintf(ctx, "%s:entry", base));
    const char *lease = mem_check(talloc_asprintf(ctx, "%s:lease", base));
    const struct old_redis_part parts[] = {old_redis_text("DEL"), old_redis_text(entry),
                                           old_redis_text(lease)};
    redisReply *reply = old_redis_command(redis, parts, 3);

    if (old_redis_reply_failed(reply, "DEL")) {
        if (reply != NULL)
            freeReplyObject(reply);
        return -1;
    }
    int result = reply->integer > 0;
    freeReplyObject(reply);
    return result;
}
