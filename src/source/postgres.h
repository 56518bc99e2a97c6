/* SPDX-License-Identifier: BSD-2-Clause */
/* A process's Postgres connections: queries go in, JSON comes out, nothing
   blocks. The first connection is opened by postgres_connect() or on first need,
   and kept; further ones are opened while more queries run at once and closed
   after a minute idle. None lives for longer than session_lifetime. A query that is given up
   keeps its slot until the server has ended it. */
#ifndef LEEWAY_SOURCE_POSTGRES_H
#define LEEWAY_SOURCE_POSTGRES_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <talloc.h>

#include "base/buf.h"
#include "base/steps.h"
#include "config/model.h"
#include "route/param.h"
#include "source/json.h"
#include "source/slots.h"

/* Where a session has come, as the server says. Borrowed for the call that it is passed to. */
struct postgres_place {
    const char *system_identifier; /* decimal; "": the role may not read it */
    const char *database_oid;      /* decimal */
    const char *user;              /* current_user */
    const char *search_path;       /* the setting, and which of its schemas there are */
    bool recurring; /* through a pooler: the session's next transaction may say something else */
};

enum place_verdict {
    PLACE_RIGHT,   /* the database that this configuration means */
    PLACE_WRONG,   /* another: the session is closed, and no answer comes from it */
    PLACE_UNKNOWN, /* this cannot be told at the moment: likewise */
    PLACE_ASKED,   /* it will be told */
};

/* What is to be told, and not yet; the judge's own. */
struct place_question;

/* Who is to be told. `told` is called with another verdict than PLACE_ASKED, exactly once unless
   the question is withdrawn, and never from within judge(). */
struct place_asker {
    void (*told)(void *session, enum place_verdict verdict, uint64_t generation);
    void *session;
};

/* Who decides whether a session may be used. */
struct postgres_judge {
    /* Called when a session has connected, and whenever a query's transaction says something else
       than the one before: through a pooler, or when a path leads to other schemas. With
       PLACE_RIGHT, *generation is what the keys of answers from such a session carry. With
       PLACE_ASKED, *question is good until `told` is called, within a few seconds. */
    enum place_verdict (*judge)(void *data, const struct postgres_place *place,
                                const struct place_asker *asker, struct place_question **question,
                                uint64_t *generation);
    /* `told` will not be called. */
    void (*withdraw)(struct place_question *question);
    void *data;
};

enum query_outcome {
    QUERY_DONE,
    QUERY_NO_ROW,    /* shape object or value, and nothing selected; or the SQL says so */
    QUERY_BAD_VALUE, /* SQLSTATE class 22: the client's value is at fault, or the data */
    QUERY_CHOSEN,    /* the SQL has chosen another status than 404 and 410 (SQLSTATE PTxxx) */
    QUERY_BROKEN,    /* the statement or its result is at fault; it has been logged */
    QUERY_NO_ROOM,   /* its result has none beside others that this process has under way; logged */
    QUERY_TIMED_OUT, /* statement_timeout, lock_timeout, transaction_timeout */
    QUERY_NO_SLOT,   /* slot_timeout has passed */
    QUERY_LEFT,      /* nobody waited for it any more, see postgres_leave() */
    QUERY_FULL,      /* it has, and the server allows no more sessions than are busy */
    QUERY_AWAY,      /* unreachable, SQLSTATE 53xxx or 57xxx, in recovery, or known to be so */
};

const char *query_outcome_name(enum query_outcome outcome);

struct query_result {
    enum query_outcome outcome;
    const struct json_text *json; /* QUERY_DONE: the body; borrowed for the call, but its chunk may
                                     be stolen */
    int status;                   /* QUERY_CHOSEN, QUERY_NO_ROW: that the SQL has chosen; 0: none */
    const char *message;          /* with it, for the client; NULL: none; borrowed for the call */
    unsigned parameter;  /* QUERY_BAD_VALUE: of this $n, and not of the data; 0: not known */
    int64_t sent_us;     /* monotonic, before the query was sent; 0: it was not sent */
    uint64_t generation; /* of the session that ran it, as judged; only where it was sent */
    bool told; /* QUERY_AWAY: the server said so of this query, and would say so to others; else it
                  is this process that has no session that works */
    bool lost; /* a connection was lost while it ran */
    int64_t hold_ms; /* for how long the server may still run it; 0: it has ended */
};

typedef void query_fn(void *data, const struct query_result *result);

struct query_request {
    const struct route *route;
    const struct param_values *values; /* borrowed until `done` is called */
    int64_t limit_ms;                  /* from when it is sent */
    int64_t
        since_us;   /* monotonic: slot_timeout is counted from here, as from a request's arrival */
    query_fn *done; /* called once, never from postgres_query itself; see postgres_leave() */
    /* Called once after a result with `hold_ms` above 0: the server does not run it any more. */
    void (*settled)(void *data);
    void *data;
};

struct postgres;

/* Long results are written in `steps`. `slots` NULL: queries run without asking for one. `judge` is
   copied; NULL: every session is right. */
struct postgres *postgres_new(TALLOC_CTX *ctx, struct ev_loop *loop, struct steps *steps,
                              const struct config *config, struct slots *slots,
                              const struct postgres_judge *judge);

/* `fn` is called now and then while a long result of `route` is written, which holds the process
   up. As of now; at most one. */
void postgres_on_work(struct postgres *postgres, void (*fn)(void *data, const struct route *route),
                      void *data);

/* Opens a session if there is none, so that it is judged, as before anything may be served; or if
   the last attempt failed, to see whether that is over. */
void postgres_connect(struct postgres *postgres);

/* Whether a session is being made, or runs a query that has not been given up. */
bool postgres_is_busy(const struct postgres *postgres);

/* Whether the server may run a query whose connection was lost: it does not end with this process.
 */
bool postgres_holds_lost(const struct postgres *postgres);

/* Idle sessions whose generation is another are closed now, busy ones after their query. */
void postgres_use_generation(struct postgres *postgres, uint64_t generation);

struct query;

/* The handle is good until `done` is called. */
struct query *postgres_query(struct postgres *postgres, const struct query_request *request);

/* Whether it has been given a slot and a session, which may still have to be made. */
bool postgres_has_begun(const struct query *query);

/* Somebody else waits for it too, who came at `since_us`: it waits for a slot for as long as either
   may. */
void postgres_wait_longer(const struct postgres *postgres, struct query *query, int64_t since_us);

/* Nobody waits for it any more. One that has not begun never does: true, and nothing is called. One
   that runs goes on; or, with `cancel`, it is given up, and `done` (QUERY_LEFT) may be called from
   here. */
bool postgres_leave(struct postgres *postgres, struct query *query, bool cancel);

/* false after a failure to connect, until a connection has worked again. Meanwhile one is tried
   about once a second, and no query waits for that. */
bool postgres_is_up(const struct postgres *postgres);

/* When a session has last heard of it, on the monotonic clock; 0: none has. */
int64_t postgres_heard_us(const struct postgres *postgres);

/* Whether a query may be run: it is up, or a session that still works is idle. */
bool postgres_can_run(const struct postgres *postgres);

#endif
