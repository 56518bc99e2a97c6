/* SPDX-License-Identifier: BSD-2-Clause */
/* The upper bounds of the histograms' buckets, in microseconds; +Inf comes behind. */
#ifndef LEEWAY_METRICS_BUCKETS_H
#define LEEWAY_METRICS_BUCKETS_H

#include <stddef.h>
#include <stdint.h>

#include "metrics/slot.h"

/* 50 us to 10 s, each at most 2.5 times the one before, and closer where hits are; 15 ms is there
   because it is what a cached response is to keep below. */
static const int64_t response_bounds_us[RESPONSE_BUCKETS - 1] = {
    50,    100,   200,   300,   500,    750,    1000,   1500,    2500,    5000,    7500,
    10000, 15000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};

/* 1 s to 30 d. */
static const int64_t age_bounds_us[AGE_BUCKETS - 1] = {
    1000000,    2000000,     5000000,     10000000,     30000000,
    60000000,   120000000,   300000000,   600000000,    1800000000,
    3600000000, 21600000000, 86400000000, 604800000000, 2592000000000};

static inline size_t bucket_of(const int64_t *bounds_us, size_t count, int64_t micros)
{
    size_t i = 0;

    while (i < count && micros > bounds_us[i])
        i++;
    return i;
}

#endif
