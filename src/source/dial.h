/* SPDX-License-Identifier: BSD-2-Clause */
/* From a connection string to a connection. Each server that it names is tried in turn, and each
   address of a name, for as long as connect_timeout. libpq would look names up where it stands; it
   is given addresses instead, and keeps the names for what they prove (TLS, passwords). Nothing
   here blocks. */
#ifndef LEEWAY_SOURCE_DIAL_H
#define LEEWAY_SOURCE_DIAL_H

#include <ev.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <talloc.h>

#include "config/model.h"
#include "source/verdict.h"

struct dial;

enum { DIAL_SERVER_BYTES = 512 };

/* The server that has worked last: who shares this begins with it. Zeroed: none has. */
struct dial_memory {
    char server[DIAL_SERVER_BYTES];
    char address[NI_MAXHOST];
};

struct dial_options {
    struct ev_loop *loop;
    const struct postgres_settings *settings;
    const char *application; /* its name, where the connection string gives none; static */
    struct dial_memory *memory;
};

/* `conn` is connected, and the caller's from now on. NULL: there is no server left to try, and
   dial_problem() says why. */
typedef void dial_fn(void *data, PGconn *conn);

/* Begins. `fn` is called once, and once more after each dial_next(); never from a call of these.
   Ended by talloc_free, also from `fn`. */
struct dial *dial_new(TALLOC_CTX *ctx, const struct dial_options *options, dial_fn *fn, void *data);

/* The connection will not do: adds it to the problem. */
void dial_note(struct dial *dial, const char *why);

/* Goes on with the next server. */
void dial_next(struct dial *dial);

/* Whether a server is left that has not been tried. */
bool dial_has_next(const struct dial *dial);

/* The connection will do: others begin with its server. */
void dial_settle(struct dial *dial);

/* What is left of the time of the server that was reached, to say what it is. */
int64_t dial_left_ms(const struct dial *dial);

/* What became of the servers that were tried, each named where there are several; "": nothing to
   tell. Borrowed until the next call. */
const char *dial_problem(const struct dial *dial);

/* Why one of them takes no further session. */
enum verdict_refusal dial_refusal(const struct dial *dial);

#endif
