/* SPDX-License-Identifier: BSD-2-Clause */
/* The table. */
#include "config.h"

#include "app/flight_state.h"

static bool is_looking(enum flight_state state)
{
    return state == FLIGHT_LOOKING || state == FLIGHT_LOOKING_TWICE;
}

bool flight_state_is_undecided(enum flight_state state)
{
    return is_looking(state) || state == FLIGHT_WAITING;
}

bool flight_state_may_follow(enum flight_state from, enum flight_state to)
{
    static const unsigned followers[] = {
        [FLIGHT_NEW] =
            1U << FLIGHT_LOOKING | 1U << FLIGHT_FILLING | 1U << FLIGHT_FAILING | 1U << FLIGHT_ENDED,
        [FLIGHT_LOOKING] = 1U << FLIGHT_LOOKING | 1U << FLIGHT_LOOKING_TWICE |
                           1U << FLIGHT_WAITING | 1U << FLIGHT_FILLING | 1U << FLIGHT_FAILING |
                           1U << FLIGHT_ENDED,
        [FLIGHT_LOOKING_TWICE] =
            1U << FLIGHT_LOOKING | 1U << FLIGHT_FILLING | 1U << FLIGHT_FAILING | 1U << FLIGHT_ENDED,
        [FLIGHT_WAITING] = 1U << FLIGHT_LOOKING | 1U << FLIGHT_FAILING | 1U << FLIGHT_ENDED,
        [FLIGHT_FILLING] =
            1U << FLIGHT_ANSWERING | 1U << FLIGHT_FAILING | 1U << FLIGHT_HELD | 1U << FLIGHT_ENDED,
        [FLIGHT_ANSWERING] = 1U << FLIGHT_ENDED,
        [FLIGHT_FAILING] = 1U << FLIGHT_HELD | 1U << FLIGHT_ENDED,
        [FLIGHT_HELD] = 1U << FLIGHT_ENDED,
        [FLIGHT_ENDED] = 0,
    };

    return (followers[from] >> to & 1U) != 0;
}
