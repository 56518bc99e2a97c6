/* SPDX-License-Identifier: BSD-2-Clause */
/* How long a key whose refresh failed is left alone. Pure. */
#ifndef LEEWAY_REFRESH_BACKOFF_H
#define LEEWAY_REFRESH_BACKOFF_H

#include <stdint.h>

/* 1 s after the first failure in a row, doubling, at most the budget but never
   below 1 s. `failures` counts from 1. */
int64_t backoff_ms(int64_t failures, int64_t budget_ms);

#endif
