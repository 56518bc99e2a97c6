/* SPDX-License-Identifier: BSD-2-Clause */
/* Asks for all, then takes the replies one by one. */
#include "config.h"

#include "app/lookup.h"

#include <assert.h>

void lookups_init(struct lookups *lookups)
{
    TAILQ_INIT(&lookups->visits);
    lookups->count = 0;
}

void lookups_add(struct lookups *lookups, struct visit *visit)
{
    assert(lookups->count < LOOKUPS_MAX);
    TAILQ_INSERT_TAIL(&lookups->visits, visit, link);
    visit->looking_up = true;
    lookups->count++;
}

void lookups_remove(struct lookups *lookups, struct visit *visit)
{
    if (!visit->looking_up)
        return;
    TAILQ_REMOVE(&lookups->visits, visit, link);
    visit->looking_up = false;
    lookups->count--;
}

void lookups_run(struct lookups *lookups, struct old_redis *redis, lookup_fn *take, void *data)
{
    struct visit *visit;
    struct old_stored stored;
    int64_t asked_us;

    if (lookups->count == 0)
        return;
    /* first, so that all are judged by it */
    bool asks_time = old_redis_queue_time(redis, &asked_us);
    TAILQ_FOREACH (visit, &lookups->visits, link)
        store_ask(visit, redis, visit->base);
    if (asks_time)
        old_redis_next_time(redis, asked_us);
    while ((visit = TAILQ_FIRST(&lookups->visits)) != NULL) {
        lookups_remove(lookups, visit);
        int found = store_take(old_redis_next(redis), &stored);
        take(data, visit, found, &stored);
        stored_free(&stored);
    }
}
