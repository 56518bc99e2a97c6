/* SPDX-License-Identifier: BSD-2-Clause */
/* A query on its way, shared by the pool and its sessions. */
#ifndef LEEWAY_SOURCE_QUERY_H
#define LEEWAY_SOURCE_QUERY_H

#include "base/clock.h"
#include "source/postgres.h"
#include "source/statement.h"
#include "source/turns.h"
#include "source/verdict.h"

struct cancel;
struct session;

struct query {
    struct turn turn;        /* while it waits for a place */
    struct session *session; /* that it was given to; NULL: it waits */
    struct query_request request;
    struct statement *statement;
    struct plan *plan;              /* that it is sent with, held; NULL: not described yet */
    bool is_trial;                  /* `plan` is tried once before others use it */
    unsigned trials;                /* plans tried so far */
    char suspected[SQLSTATE_BYTES]; /* the error that led to the trial; "": none did */
    struct slots_place place;
    int64_t waits_until_us; /* monotonic */
    unsigned resends;       /* connections that were lost under it */
    bool wants_new;         /* an idle session was found dead before it was sent */
    int64_t held_until_us;  /* its connection was lost: the server may run it until then */
    bool ends_held;         /* it is not sent again then */
    bool is_left;           /* likewise, unless somebody comes: nobody waits for it */
    struct cancel *cancel;  /* sent when the connection was lost; NULL: none is under way */
    bool ends_if_answered;  /* the query, soon after such an answer */
    bool ends_if_refused;
    char sqlstate[SQLSTATE_BYTES];           /* that it failed with; "": none */
    char message[VERDICT_MESSAGE_BYTES + 1]; /* raised for the client */
};

enum { QUERY_MAX_RESENDS = 2 };

/* Queries only read, so one whose connection broke is simply sent once more. */
static inline bool query_may_be_resent(const struct query *query)
{
    return query->resends < QUERY_MAX_RESENDS;
}

/* It is answered once it is not held any more. */
static inline bool query_ends_held(const struct query *query)
{
    return query->ends_held || query->is_left;
}

/* The same once its connection has been counted as lost. */
static inline bool query_may_be_sent_anew(const struct query *query)
{
    return query->resends <= QUERY_MAX_RESENDS;
}

/* session_cancel.c: what has come of the request to cancel, which may end its hold. */
void query_look_at_cancel(struct query *query);
void query_end_cancel(struct query *query);

/* It waits until the server does not run it any more, with its place. */
static inline bool query_is_held(const struct query *query)
{
    return query->session == NULL && query->held_until_us > clock_monotonic_us();
}

#endif
