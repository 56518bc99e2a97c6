/* SPDX-License-Identifier: BSD-2-Clause */
/* Doubling with a ceiling. */
#include "config.h"

#include "refresh/backoff.h"

enum { FIRST_MS = 1000, MAX_DOUBLINGS = 40 };

int64_t backoff_ms(int64_t failures, int64_t budget_ms)
{
    int64_t doublings = failures > 1 ? failures - 1 : 0;
    int64_t ceiling_ms = budget_ms > FIRST_MS ? budget_ms : FIRST_MS;

    if (doublings > MAX_DOUBLINGS)
        return ceiling_ms;
    int64_t ms = (int64_t)FIRST_MS << doublings;
    return ms < ceiling_ms ? ms : ceiling_ms;
}
