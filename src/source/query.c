/* SPDX-License-Identifier: BSD-2-Clause */
/* What queries come to, in words. */
#include "config.h"

#include "source/query.h"

const char *query_outcome_name(enum query_outcome outcome)
{
    static const char *const names[] = {
        [QUERY_DONE] = "done",     [QUERY_NO_ROW] = "no-row",       [QUERY_BAD_VALUE] = "bad-value",
        [QUERY_BROKEN] = "broken", [QUERY_TIMED_OUT] = "timed-out", [QUERY_NO_SLOT] = "no-slot",
        [QUERY_AWAY] = "away",     [QUERY_CHOSEN] = "chosen",       [QUERY_FULL] = "full",
        [QUERY_LEFT] = "left",     [QUERY_NO_ROOM] = "no-room",
    };

    return names[outcome];
}
