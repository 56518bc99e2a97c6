/* SPDX-License-Identifier: BSD-2-Clause */
/* The caching headers of a response: Cache-Status (RFC 9211) and Cache-Control (RFC 9111,
   RFC 5861). Pure. No Age is sent: lifetimes are what is left of them. */
#ifndef LEEWAY_CACHE_ANSWER_H
#define LEEWAY_CACHE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "cache/freshness.h"

enum answer_row {
    ANSWER_FRESH,
    ANSWER_STALE, /* a hit in the last part of the budget; a refresh was asked for */
    ANSWER_MISS,
    ANSWER_EXPIRED,   /* queried because the entry was past its budget */
    ANSWER_COLLAPSED, /* waited for another's query */
    ANSWER_ON_ERROR,
    ANSWER_NO_BUDGET,
    ANSWER_TOO_LARGE,
    ANSWER_NO_REDIS,
};

struct answer {
    enum answer_row row;
    int fwd_status; /* MISS, EXPIRED: of the query */
    bool stored;    /* MISS, EXPIRED */
    bool negative;  /* the response is a 404 */
    bool private;   /* keep the directive that shuts out shared caches */
    struct freshness_verdict verdict;
    const struct freshness_policy *policy; /* borrowed */
};

enum { ANSWER_MAX_BYTES = 256 };

/* Writes both header lines, each ended by CR LF, into `out` of at least ANSWER_MAX_BYTES, and
   returns their length. Seconds are rounded down, negative ones too, so that a budget never
   looks longer than it is. A 404 lives for its negative budget, without a stale window. */
size_t answer_cache_headers(char *out, size_t size, const struct answer *answer);

#endif
