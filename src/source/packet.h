/* SPDX-License-Identifier: BSD-2-Clause */
/* What a session sends to Postgres in one step: commands in libpq's pipeline mode, in one packet,
   with their results in the order of the parts. Nothing waits. */
#ifndef LEEWAY_SOURCE_PACKET_H
#define LEEWAY_SOURCE_PACKET_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/model.h"
#include "route/param.h"
#include "source/plan.h"

/* The columns that PART_PLACE begins with. */
enum place_column {
    PLACE_BACKEND, /* process id */
    PLACE_IN_RECOVERY,
    PLACE_STARTED, /* when the server was */
    PLACE_NAME,    /* of the database */
    PLACE_USER,
    PLACE_SEARCH_PATH,
    PLACE_RECURRING, /* in a transaction it has no further ones, but the next through a pooler */
    PLACE_DATABASE = PLACE_RECURRING,
    PLACE_SYSTEM, /* NULL: the role may not read it */
    PLACE_COLUMNS,
};

/* Instead of the last two, when it is asked first. */
enum {
    PLACE_MAY_READ_DATABASE = PLACE_DATABASE,
    PLACE_MAY_READ_SYSTEM,
};

enum packet_part {
    PART_PLACE, /* where this is; through a pooler also the settings, for the transaction */
    PART_PINS,
    PART_WATCH, /* whether the server takes note of clients that have gone; it may refuse to */
    PART_BEGIN,
    PART_COLUMNS, /* of the SQL that a rendered plan wraps, as they are in this transaction */
    PART_QUERY,   /* the route's */
    PART_TIDY,    /* undoes what the query left behind */
    PART_DEALLOCATE,
    PART_PARSE,
    PART_DESCRIBE,
};

enum {
    PACKET_PARTS = 14,
    PACKET_NAME_BYTES = 48, /* of a prepared statement */
};

struct packet {
    enum packet_part parts[PACKET_PARTS];
    size_t n_parts;
    size_t syncs; /* an error in a part skips those up to the next sync */
};

/* Each fills in *packet. What cannot be sent shows as a lost connection when it is flushed, or else
   by a deadline: no result comes. */
void packet_place(struct packet *packet, PGconn *conn, const struct postgres_settings *settings);

/* All of it, in one statement, so that it is said of one server; and PART_WATCH, whose result is
   NULL where the server is older than the setting, and an error where its platform lacks it. */
void packet_identify(struct packet *packet, PGconn *conn, const struct postgres_settings *settings,
                     bool may_read_database, bool may_read_system);

/* What the server is told of a query's end. */
struct packet_limits {
    int64_t execution_ms; /* of each statement */
    int64_t pinned_ms;    /* likewise, as it is set for the session if it is ours alone */
    bool watched;         /* a query whose client has gone is ended: the answer to PART_WATCH */
};

/* Sets what decides how values print, and the query's longest time, for the session, and prepares
   what goes around each query. */
void packet_pin(struct packet *packet, PGconn *conn, const struct packet_limits *limits);

/* Parses the route's own SQL and describes it; `pooled`: in a transaction that carries the
   settings, some of which decide how SQL is read. */
void packet_describe(struct packet *packet, PGconn *conn, const struct packet_limits *limits,
                     const struct route *route, bool pooled, bool may_read_database);

/* The names of a plan's statements are made of `name`. `before`: those of an earlier plan of the
   same route, to deallocate first; NULL: there are none. */
void packet_prepare(struct packet *packet, PGconn *conn, const struct packet_limits *limits,
                    const struct plan *plan, const char *name, const char *before);

struct packet_query {
    const struct plan *plan;
    const struct param_values *values;
    const char *name; /* of the prepared statement; NULL: its SQL is sent */
    bool pooled;
    bool may_read_database; /* pg_database, where the transaction asks for its OID */
};

/* One read-only, read-committed transaction with the query in a subtransaction that is rolled back:
   settings, cursors and channels that the query left are gone with it, and so are advisory locks
   where the session is ours alone. The transaction itself is committed, for an operator's counters
   of rollbacks are kept for what went wrong. After an error in it packet_tidy() is due. */
void packet_execute(struct packet *packet, PGconn *conn, const struct packet_limits *limits,
                    const struct packet_query *query);

/* Nothing, to see whether the server answers. */
void packet_try(struct packet *packet, PGconn *conn);

/* Ends a transaction that has failed. */
void packet_tidy(struct packet *packet, PGconn *conn, bool pooled);

#endif
