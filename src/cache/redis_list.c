/* SPDX-License-Identifier: BSD-2-Clause */
/* Going through all keys, for operators. */
#include "config.h"

#include "cache/redis_cache.h"

#include "base/mem.h"
#include "cache/keys.h"

/* One SCAN looks at so many keys, which keeps Redis busy for well under a millisecond. */
enum { SCAN_COUNT = 500 };

static void on_count(const struct ask *ask, enum redis_outcome outcome, struct redis_reply *reply)
{
    bool done = outcome == REDIS_REPLIED && reply->kind == REDIS_NUMBER;

    ask->fn.count(ask->data, done ? reply->number : -1);
}

struct cache_request *redis_cache_count(struct cache *cache, cache_count_fn *fn, void *data)
{
    struct ask *ask = ask_new(cache, on_count, data);
    const struct redis_part part = redis_text("DBSIZE");

    ask->fn.count = fn;
    return ask_send(ask, &part, 1, NULL);
}

/* ["cursor", [key, ...]]. false: it is something else. */
static bool read_page(TALLOC_CTX *ctx, const struct redis_reply *reply, struct cache_page *page)
{
    const struct redis_reply *cursor = redis_reply_element(reply, 0, REDIS_TEXT);
    const struct redis_reply *keys = redis_reply_element(reply, 1, REDIS_ARRAY);

    if (cursor == NULL || keys == NULL)
        return false;
    const char **bases = mem_check(talloc_array(ctx, const char *, (unsigned)keys->n_elements + 1));
    *page = (struct cache_page){.bases = bases, .looked_at = SCAN_COUNT};
    if (!redis_reply_is(cursor, "0"))
        page->next = cursor->text;
    for (size_t i = 0; i < keys->n_elements; i++) {
        const struct redis_reply *key = redis_reply_element(keys, i, REDIS_TEXT);
        const char *base = key != NULL ? key_base_of(ctx, key->text, key->len) : NULL;
        if (base != NULL)
            bases[page->n_bases++] = base;
    }
    return true;
}

static void on_page(const struct ask *ask, enum redis_outcome outcome, struct redis_reply *reply)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    struct cache_page page;
    bool done = outcome == REDIS_REPLIED && read_page(ctx, reply, &page);

    ask->fn.list(ask->data, done ? &page : NULL);
    talloc_free(ctx);
}

struct cache_request *redis_cache_list(struct cache *cache, const char *pattern, const char *cursor,
                                       cache_list_fn *fn, void *data)
{
    struct ask *ask = ask_new(cache, on_page, data);
    struct redis_digits count;
    const struct redis_part parts[] = {
        redis_text("SCAN"),  redis_text(cursor != NULL ? cursor : "0"),
        redis_text("MATCH"), redis_text(key_of_any(ask, pattern)),
        redis_text("COUNT"), redis_number(&count, SCAN_COUNT),
    };

    ask->fn.list = fn;
    return ask_send(ask, parts, 6, NULL);
}
