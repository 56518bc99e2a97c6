/* SPDX-License-Identifier: BSD-2-Clause */
/* The course of a session as a table: what is done next is a function of what has just happened.
   Pure. */
#ifndef LEEWAY_SOURCE_SESSION_STEP_H
#define LEEWAY_SOURCE_SESSION_STEP_H

#include <stdbool.h>

enum session_step {
    STEP_CONNECT,
    STEP_PLACE,    /* ask where it has come */
    STEP_IDENTIFY, /* ask once more, in another transaction, and which cluster it is */
    STEP_JUDGE,    /* wait for the verdict on it */
    STEP_PIN,      /* set what decides how values print, for the session */
    STEP_IDLE,
    STEP_TRY,      /* see whether a connection that was idle still leads to the server */
    STEP_DESCRIBE, /* parse the route's own SQL to see its columns */
    STEP_PREPARE,
    STEP_EXECUTE,
    STEP_REJUDGE, /* the result waits, for its transaction ran in a place of which no verdict has
                     been given yet */
    STEP_TIDY,    /* end the transaction of a query that failed */
    STEP_CANCEL,  /* the query was given up and cancelled: wait until the server has ended it */
    STEP_CUT,     /* the connection was closed under it: wait until the server has noticed */
    STEP_CLOSED,
};

const char *session_step_name(enum session_step step);

enum session_event {
    EVENT_DONE,     /* the step did what it is for; of STEP_IDLE: there is a query */
    EVENT_FAILED,   /* the server refused it, or its result will not do */
    EVENT_OUTDATED, /* the plan does not fit the tables any more, or may not */
    EVENT_UNJUDGED, /* its results have come before the verdict on their place */
    EVENT_LATE,     /* the step's time is over, or of the query's result nothing more is wanted */
    EVENT_LOST,     /* the connection cannot be used any more */
};

/* What the choice depends on beside. */
struct session_facts {
    bool pooled; /* transactions may come to different servers: nothing is set for the session,
                    nothing prepared by name */
    bool has_query;
    bool is_untried;  /* it was idle for so long that nobody knows whether it still works */
    bool has_plan;    /* for the query */
    bool is_prepared; /* the query's plan, by name, on this connection */
    bool is_trial;    /* the plan is tried once before it gets a name */
    bool is_untidy;   /* a failed transaction has not been ended */
    bool is_outdated; /* EVENT_OUTDATED came before STEP_TIDY */
    bool is_held;     /* what was given up may still run once the connection is closed */
    enum session_step unjudged; /* STEP_REJUDGE: whose results wait */
};

/* No step leads out of STEP_CLOSED. */
enum session_step session_next_step(enum session_step step, enum session_event event,
                                    const struct session_facts *facts);

#endif
