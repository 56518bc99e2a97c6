/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes that serve one database tell each other each second how they are (docs/redis.md), so
   that what is wrong with one host can be told from what is wrong with all. Nobody reads what the
   others say while nothing is wrong with itself. */
#ifndef LEEWAY_CACHE_PEERS_H
#define LEEWAY_CACHE_PEERS_H

#include <stdbool.h>

#include "cache/cache.h"

struct peers;

struct peers_options {
    struct cache *cache; /* one that cache_open() opened; outlives it */
    const char *prefix;
    const char *identity;
    const char *instance; /* tells apart what runs on one host: runtime_dir */
    bool is_worker;
};

struct peers *peers_new(TALLOC_CTX *ctx, const struct peers_options *options);

/* How this process is. */
struct peers_state {
    unsigned codes;   /* of enum peer_code: what is wrong with it, */
    unsigned doubts;  /* what may be, which it does not know, */
    int64_t heard_us; /* and when Postgres has answered it, on the monotonic clock */
};

/* Says so. To be called once a second. `peers` NULL, for this and the others: there are none. */
void peers_beat(struct peers *peers, const struct peers_state *state);

/* Whether the last word was refused because Redis takes no writes. */
bool peers_are_refused(const struct peers *peers);

/* Which codes of those are this host's own, for a worker of another host is without them, as read
   in the last three seconds. 0 where nothing is known of others, as while Redis is away. */
unsigned peers_own(const struct peers *peers, unsigned codes);

#endif
