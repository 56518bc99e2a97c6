/* SPDX-License-Identifier: BSD-2-Clause */
/* Doubling from one second up to the budget. */
#include "config.h"

#include "refresh/backoff.h"

enum { FIRST_MS = 1000 };

int64_t backoff_ms(int64_t failures, int64_t budget_ms)
{
    int64_t limit_ms = budget_ms > FIRST_MS ? budget_ms : FIRST_MS;
    int64_t wait_ms = FIRST_MS;

    for (; failures > 1 && wait_ms < limit_ms; failures--)
        wait_ms *= 2;
    return wait_ms < limit_ms ? wait_ms : limit_ms;
}
