/* SPDX-License-Identifier: BSD-2-Clause */
/* Cancelling a query without waiting: libpq's own call blocks, so it runs in a
   short-lived thread. */
#ifndef LEEWAY_SOURCE_CANCEL_H
#define LEEWAY_SOURCE_CANCEL_H

#include <libpq-fe.h>

/* Asks the server to stop what `conn` is doing; the caller may close `conn` at once.
   At most 8 cancellations are under way; a further one is left to the server's
   statement_timeout. */
void cancel_in_background(PGconn *conn);

#endif
