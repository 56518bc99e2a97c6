/* SPDX-License-Identifier: BSD-2-Clause */
/* How much the results that a process has under way may hold, each and all together. Who holds some
   of it gives it back. */
#ifndef LEEWAY_SOURCE_RESULT_BOUND_H
#define LEEWAY_SOURCE_RESULT_BOUND_H

#include <stdbool.h>
#include <stddef.h>

struct result_bound {
    size_t limit; /* bytes */
    size_t held;
};

/* One holder's part, which starts with 0. */
struct result_share {
    struct result_bound *bound;
    size_t bytes;
};

/* Why one is over the bound: by itself, or only because others are under way. */
extern const char result_bound_exceeded[], result_bound_crowded[];

/* It holds `bytes` from now on. NULL; or it is over the bound and unchanged, and why: a sentence,
   static; result_bound_crowded itself if that is why. */
const char *result_share_set(struct result_share *share, size_t bytes)
    __attribute__((warn_unused_result));

/* It holds nothing any more. */
void result_share_release(struct result_share *share);

#endif
