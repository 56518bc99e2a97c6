/* SPDX-License-Identifier: BSD-2-Clause */
/* The course of a flight (app/flight.h): which state may follow which. Pure. */
#ifndef LEEWAY_APP_FLIGHT_STATE_H
#define LEEWAY_APP_FLIGHT_STATE_H

#include <stdbool.h>

enum flight_state {
    FLIGHT_NEW,
    FLIGHT_LOOKING,       /* the lease is asked for, or looked at where a query could not be run */
    FLIGHT_LOOKING_TWICE, /* likewise, and it may have ended since: once more if another holds it */
    FLIGHT_WAITING,       /* another holds it */
    FLIGHT_FILLING,       /* a fill of ours is under way */
    FLIGHT_ANSWERING,     /* it has come, and not all of those have it who waited */
    FLIGHT_FAILING,       /* the entry is looked up that may be served on an error */
    FLIGHT_HELD, /* its query has failed or was given up, and the server may still run it */
    FLIGHT_ENDED,
};

/* It can still come to have another's answer. */
bool flight_state_is_undecided(enum flight_state state);

bool flight_state_may_follow(enum flight_state from, enum flight_state to);

#endif
