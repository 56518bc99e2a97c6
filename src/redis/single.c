/* SPDX-License-Identifier: BSD-2-Clause */
/* The topology that is one server. */
#include "config.h"

#include "base/mem.h"
#include "redis/topology.h"

struct single {
    struct redis_topology topology;
    struct redis_primary *primary;
};

static struct redis_primary *primary_of(struct redis_topology *topology, const char *key)
{
    (void)key;
    return ((struct single *)topology)->primary;
}

static size_t count(const struct redis_topology *topology)
{
    (void)topology;
    return 1;
}

static struct redis_primary *primary_at(struct redis_topology *topology, size_t index)
{
    (void)index;
    return ((struct single *)topology)->primary;
}

static const struct redis_topology_type type = {primary_of, count, primary_at};

struct redis_topology *redis_single_new(TALLOC_CTX *ctx, struct ev_loop *loop,
                                        const struct redis_options *options)
{
    struct single *single = mem_check(talloc_zero(ctx, struct single));

    single->topology.type = &type;
    single->primary = redis_primary_new(single, loop, options->settings->address, options);
    return &single->topology;
}
