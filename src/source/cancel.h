/* SPDX-License-Identifier: BSD-2-Clause */
/* Cancelling a query without waiting: libpq's own call blocks, so it runs in other threads, of
   which there are at most 8; further requests wait for one of them. */
#ifndef LEEWAY_SOURCE_CANCEL_H
#define LEEWAY_SOURCE_CANCEL_H

#include <libpq-fe.h>
#include <stdbool.h>

struct cancel;

/* To be called before anything else here, while there are descriptors left. */
void cancel_init(void);

/* Asks the server to stop what the connection that `request` is of is doing, be it closed by now.
   Takes `request`, which may be NULL. NULL: it cannot be asked. */
struct cancel *cancel_start(PGcancel *request);

enum cancel_outcome {
    CANCEL_UNDER_WAY,
    CANCEL_ANSWERED, /* whoever listens there has read it, and does what it does about it */
    CANCEL_REFUSED,  /* nobody listens there */
    CANCEL_FAILED,   /* nobody knows */
};
enum cancel_outcome cancel_outcome(const struct cancel *cancel);

/* To be called once for each, at any time: one that has not begun is not sent any more. Whether
   nothing of it can reach the server from now on, so that the connection may have another query.
   Frees it. */
bool cancel_end(struct cancel *cancel);

/* To be called about once a second: a thread that hangs in a request, as towards an address that
   does not answer, is ended for the sake of those that wait. */
void cancel_tend(void);

#endif
