/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of a connection, for the files that make one up: connection.c has its course, and each
   of the others one thing that is done over it. */
#ifndef LEEWAY_REDIS_CONNECTION_PRIVATE_H
#define LEEWAY_REDIS_CONNECTION_PRIVATE_H

#include "redis/connection.h"

#include <stdint.h>

#include "base/buf.h"
#include "base/tls.h"
#include "redis/dial.h"
#include "redis/reader.h"
#include "redis/requests.h"
#include "redis/socket.h"

/* The output buffer keeps this much when it is empty. */
enum { OUT_KEEPS_BYTES = 256 * 1024 };

/* An attempt goes from one to the next, and from any of them back to the first. */
enum connection_state {
    CONNECTION_WAITING, /* for the next attempt */
    CONNECTION_DIALLING,
    CONNECTION_GREETING,
    CONNECTION_UP,
};

struct redis_connection {
    struct ev_loop *loop;
    struct redis_connection_options options;
    enum connection_state state;
    bool keeps;          /* requests, until it is up or has failed to be */
    bool is_quiet;       /* nobody has been told that it is not up */
    bool is_closed;      /* freed when the last handler is left */
    unsigned n_handlers; /* under way */
    unsigned generation; /* of the socket, the reader and what is owed */
    unsigned n_failed;   /* attempts in a row */
    int64_t up_since_us;
    int64_t heard_us;        /* when something came last */
    bool has_answered;       /* something beyond the greeting */
    struct tls_context *tls; /* NULL: none */
    struct redis_dial *dial;
    struct redis_socket *socket;
    struct redis_reader *reader;
    struct redis_greeting greeting;
    struct redis_requests owed;    /* sent, or about to be */
    struct redis_requests kept;    /* until it is up */
    struct redis_requests refused; /* to be told so in the loop's next turn */
    struct redis_request *probe;   /* the last PING of ours that was not answered in time, or yet */
    struct redis_request *untold;  /* the first of `owed` whose time may not be over */
    struct redis_requests spare;
    int64_t blocks_ms; /* all of `owed` together */
    struct buf out;
    size_t out_at;    /* what of `out` has been written */
    uint64_t written; /* up to out_at, since the socket was opened */
    bool wrote_wants_read;
    int64_t now_us; /* when this turn's first request was sent */
    struct connection_tie *tie;
    ev_io readable;
    ev_io writable;
    ev_prepare flush;
    ev_timer attempt;            /* the next one, or the greeting's deadline */
    ev_timer deadline;           /* the requests' */
    ev_timer quiet;              /* looks whether the server is still there */
    ev_timer soon;               /* tells `refused`, and restarts */
    const char *restart_problem; /* NULL: it is not to be restarted */
};

/* ---- connection.c */

void redis_connection_set_timer(struct redis_connection *connection, ev_timer *timer,
                                double seconds);

/* Every change of state goes through here. */
void redis_connection_set_state(struct redis_connection *connection, enum connection_state to);

/* Only for redis_connection_leave(): it is closed, and no handler is left. */
void redis_connection_destroy(struct redis_connection *connection);

/* The one way down: every failure of a connection or an attempt comes through here. Only from a
   handler, like all that tells requests. */
void redis_connection_take_down(struct redis_connection *connection, const char *problem);

/* While nothing is under way a server may well close a connection (`timeout`): that is worth no
   word unless no other one comes up. Not so where messages may be missed. */
void redis_connection_take_end(struct redis_connection *connection, const char *problem);

/* The first request has got no answer for too long. Where that is only our own question nobody
   misses anything. */
void redis_connection_take_stuck(struct redis_connection *connection);

/* The greeting is over. */
void redis_connection_come_up(struct redis_connection *connection);

/* Around all that may call somebody who closes the connection. */
static inline void redis_connection_enter(struct redis_connection *connection)
{
    connection->n_handlers++;
}

static inline void redis_connection_leave(struct redis_connection *connection)
{
    if (--connection->n_handlers == 0 && connection->is_closed)
        redis_connection_destroy(connection);
}

/* ---- connection_attempt.c: from an address to a connection that is up */

void redis_connection_retry_in(struct redis_connection *connection, int64_t ms);

/* After a connection that has `worked`, at once. */
void redis_connection_wait_for_attempt(struct redis_connection *connection, bool worked);

void redis_connection_take_greeting(struct redis_connection *connection,
                                    const struct redis_reply *reply);

/* For connection->attempt. */
void redis_connection_on_attempt(struct ev_loop *loop, ev_timer *timer, int events);

/* ---- connection_requests.c: what is asked, and its deadlines */

/* Nobody is to be told of it. */
void redis_connection_recycle(struct redis_connection *connection, struct redis_request *request);

/* Only from a handler. */
void redis_connection_tell(struct redis_connection *connection, struct redis_request *request,
                           enum redis_outcome outcome, struct redis_reply *reply);

/* When a request is stuck that was sent now. */
int64_t redis_connection_stuck_ms(const struct redis_connection *connection);

void redis_connection_set_deadline(struct redis_connection *connection);

/* It is up: sends what was kept until then. */
void redis_connection_send_kept(struct redis_connection *connection);

/* The first of `owed` is answered; NULL: nothing is owed. */
struct redis_request *redis_connection_take_owed(struct redis_connection *connection);

struct redis_requests redis_connection_take_all_owed(struct redis_connection *connection);

/* They go over the next connection. */
void redis_connection_keep_owed(struct redis_connection *connection);

void redis_connection_refuse_kept(struct redis_connection *connection, struct redis_requests kept);

/* `written` went out over the connection that they were sent over. What was not written out whole
   has not been done and will not be. */
void redis_connection_end_owed(struct redis_connection *connection, struct redis_requests owed,
                               uint64_t written);

/* Starts connection->soon, if it has not been. */
void redis_connection_do_soon(struct redis_connection *connection);

/* For connection->soon and connection->deadline. */
void redis_connection_on_soon(struct ev_loop *loop, ev_timer *timer, int events);
void redis_connection_on_deadline(struct ev_loop *loop, ev_timer *timer, int events);

/* ---- connection_io.c: the socket, and who the replies are for */

void redis_connection_write_out(struct redis_connection *connection);

/* For connection->flush, connection->readable and connection->writable. */
void redis_connection_on_flush(struct ev_loop *loop, ev_prepare *watcher, int events);
void redis_connection_on_readable(struct ev_loop *loop, ev_io *watcher, int events);
void redis_connection_on_writable(struct ev_loop *loop, ev_io *watcher, int events);

#endif
