/* SPDX-License-Identifier: BSD-2-Clause */
/* What an entry's age means. Pure: every time is an argument, in microseconds
   on Redis's clock. */
#ifndef LEEWAY_CACHE_FRESHNESS_H
#define LEEWAY_CACHE_FRESHNESS_H

#include <stdbool.h>
#include <stdint.h>

struct freshness_policy {
    int64_t budget_us;          /* B; 0: nothing is ever fresh */
    int64_t refresh_after_us;   /* S <= B */
    int64_t stale_if_error_us;  /* beyond B */
    int64_t negative_budget_us; /* <= B */
};

enum freshness {
    FRESHNESS_FRESH,    /* age < S */
    FRESHNESS_STALE,    /* S <= age < B: serve, and ask for a refresh */
    FRESHNESS_ON_ERROR, /* B <= age < B + stale_if_error: only while Postgres cannot answer */
    FRESHNESS_EXPIRED,
};

struct freshness_verdict {
    enum freshness state;
    int64_t age_us;   /* never below 0 */
    int64_t fresh_us; /* what is left until it is stale; 0 or below from then on */
    int64_t ttl_us; /* what is left of the budget (of a 404 or 410: negative_budget); negative past
                       it */
};

const char *freshness_name(enum freshness state);

/* 404 and 410: there is nothing, which may be cached for negative_budget. */
bool freshness_is_negative(int status);

/* `status` is the entry's: a negative one is fresh below negative_budget and expired from then on,
   so that its fresh_us is its ttl_us. A snapshot in the future counts as age 0 but is expired: the
   caller's bounds rule it out unless Redis's clock was set back. */
struct freshness_verdict freshness_judge(const struct freshness_policy *policy, int status,
                                         int64_t snapshot_us, int64_t now_us);

/* Until when Redis keeps an entry: milliseconds, for PXAT, never later than the
   last instant at which freshness_judge lets it be served. */
int64_t freshness_expiry_ms(const struct freshness_policy *policy, int status, int64_t snapshot_us);

#endif
