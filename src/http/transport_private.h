/* SPDX-License-Identifier: BSD-2-Clause */
/* What the listener (transport.c) and its connections (connection.c) know of each other. */
#ifndef LEEWAY_HTTP_TRANSPORT_PRIVATE_H
#define LEEWAY_HTTP_TRANSPORT_PRIVATE_H

#include "http/transport.h"

#include <sys/queue.h>

#include "base/buf.h"
#include "base/pools.h"
#include "base/steps.h"
#include "http/exclusive.h"
#include "http/fcgi_record.h"
#include "http/outgoing.h"
#include "http/parse.h"

enum {
    /* Both caps, their record headers and padding. */
    TRANSPORT_INPUT_BYTES = TRANSPORT_MAX_PARAMS_BYTES + TRANSPORT_MAX_STDIN_BYTES + 32 * 1024,
};

enum connection_state {
    CONNECTION_READING, /* no request is under way; some of one may have come */
    CONNECTION_PASSING, /* the rest of a request that is too large is passed over */
    CONNECTION_WAITING, /* for the answer */
    CONNECTION_WRITING, /* the rest of the answer, which is long, or is taken slowly */
    CONNECTION_CLOSING, /* answered before its request was whole: the rest is thrown away, so that
                           its sender reads the answer */
};

struct connection {
    TAILQ_ENTRY(connection) link;
    TAILQ_ENTRY(connection) new_link;
    struct transport *transport;
    int fd;
    enum connection_state state;
    bool answered_before; /* kept by the web server: it may stay silent */
    bool stays;           /* it is watched, or kept */
    bool keep;            /* the current request's wish */
    bool is_new;          /* its request has just come and has not been answered yet */
    uint16_t id;          /* of the current request */
    struct request *request;
    TALLOC_CTX *pool;              /* where `request` is; NULL: there is none */
    struct buf input;              /* collected, not yet handled */
    struct fcgi_verdict too_large; /* CONNECTION_PASSING: on the request, */
    struct fcgi_rest rest;         /* what has not come of it, */
    struct buf begun;              /* and what was before it */
    unsigned asked;                /* management records so far */
    bool cut_off;                  /* the rest has not come in time, and is not waited for */
    struct outgoing outgoing;      /* CONNECTION_WRITING */
    struct step more;              /* CONNECTION_WRITING: sends more of it */
    ev_io io;
    ev_timer timer;
};

TAILQ_HEAD(connection_list, connection);

struct transport {
    struct transport_options options;
    struct parser *parser;
    struct pools *pools;                /* one for each request under way */
    struct connection_list connections; /* idle ones that were kept longest come first */
    size_t n_connections;
    struct unsent *unsent;
    uint64_t n_cut;             /* since they were taken */
    struct connection_list new; /* those that are */
    ev_timer new_end;           /* active while there are some */
    bool stopping;
    bool behind;    /* while it stops: there may be more in the backlog */
    size_t backlog; /* that much at the most */
    size_t n_staying;
    struct exclusive listener;
    ev_timer accept_pause;
    unsigned char peeked[TRANSPORT_INPUT_BYTES];
};

/* Has a first look at the request of a connection that was just accepted; the connection may be
   gone when it returns. It closes `fd`. */
void connection_begin(struct transport *transport, int fd);

/* Kept, and nothing of a next request has been seen. */
bool connection_is_idle(const struct connection *connection);

/* Closes an idle one, unless a request has come in the meantime: that is served. */
void connection_drop(struct connection *connection);

void connection_close(struct connection *connection);

/* For transport->new_end. Who has not been answered by now waits, and may leave meanwhile. A hit is
   answered before, and so costs no watching. */
void connection_on_new_end(struct ev_loop *loop, ev_timer *timer, int events);

/* One connection less: there is room for another. */
void transport_make_room(struct transport *transport);

#endif
