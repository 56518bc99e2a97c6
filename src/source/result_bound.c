/* SPDX-License-Identifier: BSD-2-Clause */
/* Two sums and a comparison. */
#include "config.h"

#include "source/result_bound.h"

const char result_bound_exceeded[] = "the response is over max_response";
const char result_bound_crowded[] = "the responses under way are over max_response together";

const char *result_share_set(struct result_share *share, size_t bytes)
{
    struct result_bound *bound = share->bound;
    size_t others = bound->held - share->bytes;

    if (bytes > bound->limit)
        return result_bound_exceeded;
    if (bytes > share->bytes && bytes > bound->limit - others)
        return result_bound_crowded;
    bound->held = others + bytes;
    share->bytes = bytes;
    return NULL;
}

void result_share_release(struct result_share *share)
{
    share->bound->held -= share->bytes;
    share->bytes = 0;
}
