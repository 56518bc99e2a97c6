/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory in pieces of one size that are used again and again, instead of being asked from the C
   library and given back for each request. */
#ifndef LEEWAY_BASE_POOLS_H
#define LEEWAY_BASE_POOLS_H

#include <stddef.h>
#include <talloc.h>

struct pools;

/* Pools of `bytes`, of which up to `max_spare` are kept while nobody uses them. */
struct pools *pools_new(TALLOC_CTX *ctx, size_t bytes, size_t max_spare);

/* A talloc pool: its children take their memory from it while there is room, and else from the C
   library. Belongs to `pools`. */
TALLOC_CTX *pools_take(struct pools *pools);

/* Frees the pool's children. */
void pools_give_back(struct pools *pools, TALLOC_CTX *pool);

#endif
