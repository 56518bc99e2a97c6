/* SPDX-License-Identifier: BSD-2-Clause */
/* An entry as a worker would store it, for tests that need any. */
#ifndef LEEWAY_TESTS_SAMPLE_ENTRY_H
#define LEEWAY_TESTS_SAMPLE_ENTRY_H

#include <string.h>

#include "cache/entry.h"

/* Of the key with this base. */
static inline void sample_entry(struct buf *out, const char *base, int64_t snapshot_us, int status,
                                const char *body)
{
    const struct entry_facts facts = {
        .snapshot_us = snapshot_us,
        .arrival_us = snapshot_us,
        .clock = "",
        .status = status,
        .key = entry_key(base),
        .tags = "",
    };

    entry_encode(out, &facts, body, strlen(body));
}

#endif
