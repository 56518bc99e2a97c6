/* SPDX-License-Identifier: BSD-2-Clause */
/* A query on its way, shared by the pool and its sessions. */
#ifndef LEEWAY_SOURCE_QUERY_H
#define LEEWAY_SOURCE_QUERY_H

#include <sys/queue.h>

#include "source/postgres.h"
#include "source/statement.h"
#include "source/verdict.h"

struct query {
    TAILQ_ENTRY(query) link;
    struct query_request request;
    struct statement *statement;
    struct plan *plan;              /* that it is sent with, held; NULL: not described yet */
    bool is_trial;                  /* `plan` is tried once before others use it */
    unsigned trials;                /* plans tried so far */
    char suspected[SQLSTATE_BYTES]; /* the error that led to the trial; "": none did */
    int slot;                       /* -1: none held */
    int64_t slot_until_us;          /* monotonic */
    unsigned resends;               /* connections that were lost under it */
    bool wants_new;                 /* an idle session was found dead before it was sent */
    char sqlstate[SQLSTATE_BYTES];  /* that it failed with; "": none */
    char message[VERDICT_MESSAGE_BYTES + 1]; /* raised for the client */
};

enum { QUERY_MAX_RESENDS = 2 };

/* Queries only read, so one whose connection broke is simply sent once more. */
static inline bool query_may_be_resent(const struct query *query)
{
    return query->resends < QUERY_MAX_RESENDS;
}

TAILQ_HEAD(query_list, query);

#endif
