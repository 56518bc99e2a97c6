/* SPDX-License-Identifier: BSD-2-Clause */
/* Whose fault an error of Postgres is: from what is known of it to what becomes of the query. */
#ifndef LEEWAY_SOURCE_VERDICT_H
#define LEEWAY_SOURCE_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "source/postgres.h"

enum {
    VERDICT_MESSAGE_BYTES = 1000, /* of a message that SQL raises for the client */
};

struct verdict_facts {
    const char *sqlstate;
    bool has_values; /* of a client had been sent, so that one of them may be at fault */
    bool is_query;   /* it came while the route's own query was executed, and left the server up */
    int64_t ran_ms;  /* since what failed was sent */
    int64_t limit_ms;
};

struct verdict {
    enum query_outcome outcome;
    int status;    /* that the SQL has chosen; 0: none */
    bool canceled; /* by an operator, long before the limit */
};

struct verdict verdict_of(const struct verdict_facts *facts);

/* Whether another session would be told the same; else it is this one that ends. */
bool verdict_is_of_query(const char *sqlstate);

/* The number of the parameter whose value was refused before the query began, from the error's
   context (PG_DIAG_CONTEXT, or NULL). 0: it was another error, or the server says it in another
   language than English, or not at all. */
unsigned verdict_parameter(const char *context);

/* Copies what of the message a client may be shown: whole characters, as many as fit. "" if it is
   not UTF-8. */
void verdict_message(const char *message, char shown[VERDICT_MESSAGE_BYTES + 1]);

/* Whether a server or a pooler refuses the connection since there are as many as it allows. */
bool verdict_is_full(const char *sqlstate, const char *message);

/* Why a server takes no further session of ours; of several that were tried the highest counts. In
   both cases the sessions that there are go on. */
enum verdict_refusal {
    REFUSAL_OTHER,  /* nothing of the kind */
    REFUSAL_BARRED, /* no new one: another password, no such role or right, no such database, or one
                       that allows no connections */
    REFUSAL_FULL,   /* verdict_is_full() */
};

/* libpq tells the SQLSTATE of a refused connection only in its verbose message ("FATAL:  53300:
   sorry, ..." and a line with the place in the server's source). Brings `message` to its usual
   form, in place, and returns the refusal. */
enum verdict_refusal verdict_take_refusal(char *message);

#endif
