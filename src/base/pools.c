/* SPDX-License-Identifier: BSD-2-Clause */
/* A stack of spare talloc pools: the one used last is the one most likely in the processor's
 * caches. */
#include "config.h"

#include "base/pools.h"

#include "base/mem.h"

struct pools {
    size_t bytes;
    size_t max_spare;
    size_t n_spare;
    TALLOC_CTX **spare;
};

struct pools *pools_new(TALLOC_CTX *ctx, size_t bytes, size_t max_spare)
{
    struct pools *pools = mem_check(talloc_zero(ctx, struct pools));

    pools->bytes = bytes;
    pools->max_spare = max_spare;
    pools->spare = mem_check(talloc_array(pools, TALLOC_CTX *, (unsigned)max_spare));
    return pools;
}

TALLOC_CTX *pools_take(struct pools *pools)
{
    if (pools->n_spare > 0)
        return pools->spare[--pools->n_spare];
    return mem_check(talloc_pool(pools, pools->bytes));
}

void pools_give_back(struct pools *pools, TALLOC_CTX *pool)
{
    if (pools->n_spare == pools->max_spare) {
        talloc_free(pool);
        return;
    }
    talloc_free_children(pool);
    pools->spare[pools->n_spare++] = pool;
}
