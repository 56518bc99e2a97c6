/* SPDX-License-Identifier: BSD-2-Clause */
/* The caching headers of a response: Cache-Status (RFC 9211) and Cache-Control
   (RFC 9111, RFC 5861). Pure. No Age is sent: lifetimes are what is left of them. */
#ifndef LEEWAY_CACHE_ANSWER_H
#define LEEWAY_CACHE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "cache/freshness.h"

enum answer_row {
    ANSWER_FRESH,     /* a hit */
    ANSWER_STALE,     /* a hit in the last part of the budget; a refresh is asked for */
    ANSWER_ON_ERROR,  /* a hit past the budget, while Postgres cannot answer */
    ANSWER_MISS,      /* queried because there was no entry */
    ANSWER_EXPIRED,   /* queried because the entry was past its budget */
    ANSWER_COLLAPSED, /* waited for another's query */
    ANSWER_NO_BUDGET, /* queried for this request alone, as are the next three */
    ANSWER_DISABLED,
    ANSWER_TOO_LARGE,
    ANSWER_NO_REDIS,
};

struct answer {
    enum answer_row row;
    int fwd_status;                   /* MISS, EXPIRED: what the query led to */
    bool stored;                      /* MISS, EXPIRED */
    bool private;                     /* keep the directive that shuts out shared caches */
    struct freshness_verdict verdict; /* as of now; a bypass needs none */
    /* When this process sent the query of a response that is its own, on the monotonic clock;
       0: the response is from Redis, and its snapshot counts. */
    int64_t sent_us;
};

enum { ANSWER_MAX_BYTES = 256 };

/* Writes both header lines, each ended by CR LF and a NUL behind them, and returns their
   length; 0 if `size` is too small, which ANSWER_MAX_BYTES never is.

   Seconds are rounded down, below zero too, so that a budget never looks longer than it is;
   max-age and stale-while-revalidate together never exceed what is left of it. Hits, misses
   and collapsed answers get the Cache-Control that their age selects, which past the budget
   is no-cache. A 404 lives for its negative budget and has no stale window: its verdict says
   so, and the response to a miss that is not stored reads like one that is. */
size_t answer_cache_headers(char *out, size_t size, const struct answer *answer);

#endif
