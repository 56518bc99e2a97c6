/* SPDX-License-Identifier: BSD-2-Clause */
/* The look-ups of one turn of the loop, sent to Redis as one pipeline: while a worker waits for
   one reply, it does not wait for another. */
#ifndef LEEWAY_APP_LOOKUP_H
#define LEEWAY_APP_LOOKUP_H

#include "app/visit.h"
#include "cache/old_store.h"

/* A pipeline of more would hold up the first for too long. */
enum { LOOKUPS_MAX = 16 };

struct lookups {
    struct visit_list visits;
    size_t count;
};

/* What became of one: `found` and `stored` as by store_get(); `stored` is freed by the caller.
   Must not ask Redis anything: replies to others are still to come. */
typedef void lookup_fn(void *data, struct visit *visit, int found, struct old_stored *stored);

void lookups_init(struct lookups *lookups);

/* Adds one; there must be room. */
void lookups_add(struct lookups *lookups, struct visit *visit);

/* The client has left. Safe to call with one that is not being looked up. */
void lookups_remove(struct lookups *lookups, struct visit *visit);

/* Looks up all, in order; none is left. */
void lookups_run(struct lookups *lookups, struct old_redis *redis, lookup_fn *take, void *data);

#endif
