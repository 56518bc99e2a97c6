/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process knows of a route's SQL on this server: the plan that works, and whether an error
   may be the fault of a statement that was prepared earlier. */
#ifndef LEEWAY_SOURCE_STATEMENT_H
#define LEEWAY_SOURCE_STATEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "source/plan.h"

enum {
    /* A fresh preparation that failed as the old one did is not tried again before. */
    STATEMENT_PAUSE_US = 60 * 1000 * 1000,
    SQLSTATE_BYTES = 6,
    STATEMENT_PAUSES = 4, /* with more errors than this none is doubted */
};

/* With `sqlstate` a fresh preparation failed too. */
struct statement_pause {
    char sqlstate[SQLSTATE_BYTES];
    int64_t until_us; /* monotonic */
};

struct statement {
    const struct route *route;
    struct plan *plan; /* the first, or the last that was found to work; NULL: none yet */
    struct statement_pause pauses[STATEMENT_PAUSES];
};

/* `plan` is the one for queries to come. */
void statement_use_plan(struct statement *statement, struct plan *plan);

/* Whether an error raised by this function of the server, or NULL, can only come from a preparation
   that does not fit the tables any more. */
bool statement_is_outdated(const char *function);

/* Whether the error `sqlstate` of a statement prepared earlier may come from the preparation, so
   that a fresh one is worth a try. Not those that tell of the value, of the transaction, of the
   connection or the server, or that the SQL raises on purpose. `function` is the server's that
   raised it, or NULL: one that only ever complains of the preparation is always believed. */
bool statement_may_be_outdated(const struct statement *statement, const char *sqlstate,
                               const char *function, int64_t now_us);

/* The fresh preparation failed with the same error: it was not to blame. */
void statement_pause(struct statement *statement, const char *sqlstate, int64_t now_us);

#endif
