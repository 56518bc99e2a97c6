/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking up stored responses. They are written under a lease (cache/old_lease.h). */
#ifndef LEEWAY_CACHE_OLD_STORE_H
#define LEEWAY_CACHE_OLD_STORE_H

#include "cache/entry.h"
#include "cache/old_redis.h"

/* An entry and the reply that its slices point into. */
struct old_stored {
    struct cache_entry entry;
    redisReply *reply; /* NULL: there is none */
    void *holder;      /* NULL, or what frees the reply once nobody refers to it */
};

/* One GET of "<base>:entry". 1 and *stored, 0: no (readable) entry, -1: Redis is
   away or refused. */
int store_get(TALLOC_CTX *ctx, struct old_redis *redis, const char *base, struct old_stored *stored)
    __attribute__((warn_unused_result));

/* The same as a part of a pipeline: asks, to be followed by old_redis_next() and store_take(). */
void store_ask(TALLOC_CTX *ctx, struct old_redis *redis, const char *base);

/* The same from a reply to GET, which it takes over. */
int store_take(redisReply *reply, struct old_stored *stored) __attribute__((warn_unused_result));

/* A talloc chunk that can be referred to, so that a large response need not be copied for a client
   that does not take it at once. NULL: it is small, and a copy is cheaper. Belongs to `stored`. */
void *stored_holder(struct old_stored *stored);

/* Safe to call on a zeroed or freed one. */
void stored_free(struct old_stored *stored);

/* Deletes entry and lease in one step, so that a fill under way is refused.
   1: something was deleted, 0: nothing was there, -1. */
int store_purge(TALLOC_CTX *ctx, struct old_redis *redis, const char *base)
    __attribute__((warn_unused_result));

#endif
