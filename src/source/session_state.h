/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of a session, for the files that make one up: session_course.c has its course, and
   each of the others one thing that is done on the way. */
#ifndef LEEWAY_SOURCE_SESSION_STATE_H
#define LEEWAY_SOURCE_SESSION_STATE_H

#include <libpq-fe.h>

#include "source/dial.h"
#include "source/packet.h"
#include "source/rows.h"
#include "source/session.h"
#include "source/session_step.h"
#include "source/sqlstate.h"

struct step_state {
    struct packet packet;
    size_t part;                   /* whose results come now */
    size_t syncs;                  /* that have come */
    bool started;                  /* something of the part has come */
    char sqlstate[SQLSTATE_BYTES]; /* of the first error; "": none */
    bool terminated;               /* by the server; the query is to be sent elsewhere */
    bool unexpected; /* a result that no part of ours has: the connection's state is not known */
    enum verdict_refusal refusal; /* why the server, or a pooler, takes no further session */
    bool refused;                 /* the place is not the one that is meant, or can't be told */
    bool unwanted;                /* rows still come, and none is of use */
};

struct session {
    struct session_options options;
    PGconn *conn; /* NULL: not yet, or it has been cut */
    enum session_step step;
    struct dial *dial;                 /* NULL: it has come to work */
    enum verdict_refusal kept_refusal; /* of the servers that were tried */
    struct step_state now;
    bool worked;   /* it has connected and is set up */
    bool pooled;   /* as in struct session_facts */
    bool spent;    /* something was left that nobody knows of: not to be used again */
    bool is_ended; /* by the server, which has said so while there was no query */
    bool in_recovery;
    bool may_read_database;
    char *place[PLACE_COLUMNS]; /* as the server said last */
    char *first_backend;        /* of the first transaction */
    uint64_t generation;
    struct place_question *question; /* NULL: none, or a verdict has been given */
    enum session_step unjudged;      /* STEP_REJUDGE: as in struct session_facts */
    uint32_t nonce;
    unsigned *prepared;  /* by statement index: the plan that has a name here, 0: none */
    unsigned *named;     /* likewise: the plan of which a name may be there, 0: none */
    struct query *query; /* NULL: none */
    bool just_prepared;  /* for this query */
    bool outdated;       /* its plan does not fit any more, or may not */
    struct query_result result;
    struct rows *rows;
    struct json_text json;          /* once all of them have come */
    PGresult *unfinished;           /* whose rows are not all written; NULL: none */
    struct step pause;              /* waits: others are served first, then it is gone on with */
    size_t arriving;                /* about as much of a row has come that is not whole */
    struct result_share incomplete; /* that, less what comes in one piece anyway */
    int64_t idle_since_us;
    int64_t tried_us;      /* when it was seen to lead to the server last, while it was idle */
    int64_t started_us;    /* when the query's first step was sent */
    int64_t step_us;       /* when this step's packet was */
    int64_t until_us;      /* it is used for new queries; 0: for ever */
    bool watched;          /* the server ends a query soon whose client has gone */
    bool direct;           /* it is the server's own process that is connected, no pooler */
    PGcancel *request;     /* taken while the connection lived; NULL: it has not worked */
    struct cancel *cancel; /* NULL: none, or it is over */
    int64_t hold_until_us; /* what was given up has ended by then */
    bool hung;
    ev_io io;
    ev_timer deadline;
    bool late; /* the deadline has been put off once */
};

/* The server's own statement_timeout gets this long to say so first. */
enum { SERVER_FIRST_MS = 250 };

/* ---- session.c: ends */

/* Hands the result on; the session is idle, and may be given the next query, before the pool hears
   of it. */
void session_end_query(struct session *session);

/* The connection is over. */
void session_lose(struct session *session);

/* None of its servers will do, or it has worked. */
void session_end_connection(struct session *session);

void session_forget_result(struct session *session);
void session_log_if_slow(const struct session *session, const struct query *query,
                         const struct query_result *result);

/* ---- session_course.c: from one step to the next */

/* The one place where a step follows another. */
void session_go_on(struct session *session, enum session_event event);

/* All of the step's results are there. */
void session_step_done(struct session *session);

/* ---- session_io.c: what comes over the connection, and when */

/* Watches the connection for these of libev's events. */
void session_watch(struct session *session, int events);

/* Rounded up: a timer that is set to it does not come before. */
int64_t session_left_ms(int64_t until_us);

void session_set_deadline(struct session *session, int64_t ms);
void session_stop_deadline(struct session *session);

/* For session->io and session->deadline. */
void session_on_io(struct ev_loop *loop, ev_io *watcher, int events);
void session_on_deadline(struct ev_loop *loop, ev_timer *timer, int events);

/* For session->pause. */
void session_on_pause_end(void *data);

/* ---- session_connect.c: from a connection string to a connection */

void session_connect(struct session *session);

/* The server did not come to work. true: the next one is tried; false: the session is lost. */
bool session_leave_server(struct session *session, bool late);

/* It has connected: what was logged is over. */
void session_end_outage(struct session *session);

/* ---- session_place.c: where it has come, and what is made of it */

void session_take_place(struct session *session, const PGresult *res);

/* Whether the answers of this server may be used. What is not known at once is told later. */
void session_ask_judge(struct session *session);
void session_withdraw_question(struct session *session);

/* Where nobody waits for the verdict any more, nobody knows what the session is good for. */
void session_end_question(struct session *session);

void session_log_recovery(void);

/* ---- session_send.c: the packet of a step */

void session_send_step(struct session *session);

/* ---- session_results.c: what comes of it */

/* `res` becomes session->unfinished if there is more to write of it than at once. */
void session_take_result(struct session *session, PGresult *res);

/* Writes a further part of what is unfinished. */
void session_write_on(struct session *session);
void session_drop_unfinished(struct session *session);

/* Bytes of the result so far. */
size_t session_length(const struct session *session);

/* Before it is read from. false: there is no room for what comes of this row. */
bool session_count_arriving(struct session *session);
void session_drop_arriving(struct session *session);

/* All of a query's rows have come. */
void session_finish_rows(struct session *session);

/* ---- session_cancel.c: a query that is given up, and its end */

/* Answers the query, of which nothing more is wanted, and waits for its end. */
void session_give_query_up(struct session *session);

/* What was given up has ended. */
void session_settle(struct session *session);

/* Of a lost connection's query, which the server may still run: cancels it. */
void session_hold_lost(struct session *session, struct query *query);

/* Closes the connection under it. */
void session_cut(struct session *session);

/* One cancel that is still on its way would hit the next query. */
void session_end_cancel(struct session *session);

#endif
