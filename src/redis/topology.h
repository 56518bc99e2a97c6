/* SPDX-License-Identifier: BSD-2-Clause */
/* What Redis consists of: which servers are primaries, and of which keys. Each kind of it
   implements these few questions; what each server is asked is not their matter. */
#ifndef LEEWAY_REDIS_TOPOLOGY_H
#define LEEWAY_REDIS_TOPOLOGY_H

#include <ev.h>
#include <stddef.h>
#include <talloc.h>

#include "redis/primary.h"
#include "redis/redis.h"

struct redis_topology;

struct redis_topology_type {
    /* Who has the key; NULL: any will do. NULL: nobody that is known. */
    struct redis_primary *(*primary_of)(struct redis_topology *topology, const char *key);
    size_t (*count)(const struct redis_topology *topology);
    /* Each of them; `index` is below the count. */
    struct redis_primary *(*primary_at)(struct redis_topology *topology, size_t index);
};

/* The first part of every kind. */
struct redis_topology {
    const struct redis_topology_type *type;
};

/* One server that has all keys. What changes it tells by on_change of `options`. */
struct redis_topology *redis_single_new(TALLOC_CTX *ctx, struct ev_loop *loop,
                                        const struct redis_options *options);

#endif
