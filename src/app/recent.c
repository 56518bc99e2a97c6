/* SPDX-License-Identifier: BSD-2-Clause */
/* One slot a hash; a newer key takes over the slot. */
#include "config.h"

#include "app/recent.h"

#include <string.h>
#include <xxhash.h>

#include "base/mem.h"

enum { SLOTS = 4096 };

struct recent {
    struct {
        uint64_t hash;
        int64_t until_us;
    } slots[SLOTS];
};

struct recent *recent_new(TALLOC_CTX *ctx)
{
    return mem_check(talloc_zero(ctx, struct recent));
}

bool recent_check_and_add(struct recent *recent, const char *key, int64_t now_us, int64_t until_us)
{
    uint64_t hash = XXH3_64bits(key, strlen(key));
    size_t slot = hash % SLOTS;

    if (recent->slots[slot].hash == hash && recent->slots[slot].until_us > now_us)
        return true;
    recent->slots[slot].hash = hash;
    recent->slots[slot].until_us = until_us;
    return false;
}
