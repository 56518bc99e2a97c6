/* SPDX-License-Identifier: BSD-2-Clause */
/* What all processes of a runtime_dir have counted, added up by route. */
#ifndef LEEWAY_METRICS_TOTALS_H
#define LEEWAY_METRICS_TOTALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "metrics/metrics.h"
#include "metrics/slot.h"

/* Of one route. Buckets are not cumulative; their bounds are in metrics/buckets.h. */
struct route_total {
    char pattern[SLOT_PATTERN_BYTES];
    uint64_t counters[COUNTER_COUNT];
    uint64_t response_buckets[RESPONSE_KINDS][RESPONSE_BUCKETS];
    uint64_t response_micros[RESPONSE_KINDS];
    uint64_t age_buckets[AGE_BUCKETS];
    uint64_t age_micros;
    struct route_total *next; /* for whoever reads them */
};

struct totals {
    struct route_total **routes; /* in the order in which they were first used */
    size_t n_routes;
    uint64_t process_counters[PROCESS_COUNTER_COUNT];
    int workers[METRICS_DRAINING + 1]; /* alive, by state */
    bool redis_up;                     /* all living processes say so */
    bool postgres_up;
    bool any_alive;
};

/* Reading them in steps, for who has other things to do: a step adds up what a process has counted
   of at most so many routes. */
struct totals_reading;

struct totals_reading *totals_begin(TALLOC_CTX *ctx, const char *runtime_dir);

/* NULL: there is more. Else all of them, which belong to the reading. */
struct totals *totals_step(struct totals_reading *reading, size_t routes)
    __attribute__((warn_unused_result));

/* All at once, a child of `ctx`. A directory without slots gives zeros. */
struct totals *totals_read(TALLOC_CTX *ctx, const char *runtime_dir);

/* The route's, or NULL. */
const struct route_total *totals_find(const struct totals *totals, const char *pattern);

/* Below which value (microseconds) a `share` of what is in the buckets lies, by linear
   interpolation within a bucket; -1: they are empty. What is beyond the last bound counts as the
   last bound. */
int64_t totals_percentile_us(const int64_t *bounds_us, size_t n_bounds, const uint64_t *buckets,
                             double share);

#endif
