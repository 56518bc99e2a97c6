/* SPDX-License-Identifier: BSD-2-Clause */
/* A rate with a burst, as it is written in a configuration. */
#ifndef LEEWAY_CONFIG_RATE_H
#define LEEWAY_CONFIG_RATE_H

#include <stdbool.h>
#include <stdint.h>

enum { RATE_MAX = 1000000 };

struct rate {
    int64_t a_second; /* 0: there is no limit */
    int64_t burst;    /* how many may come at once, before */
};

/* "20/s burst 100", both from 1 to RATE_MAX, or "" for no limit. NULL and *rate, or what is wrong:
   "is not ...". */
const char *rate_parse(const char *text, struct rate *rate) __attribute__((warn_unused_result));

#endif
