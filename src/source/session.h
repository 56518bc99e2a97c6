/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection to Postgres as a state machine on the event loop: connect, find
   out where it has come, pin what decides how values print, prepare on first use, execute. */
#ifndef LEEWAY_SOURCE_SESSION_H
#define LEEWAY_SOURCE_SESSION_H

#include <ev.h>
#include <stdbool.h>

#include "base/steps.h"
#include "source/dial.h"
#include "source/json.h"
#include "source/query.h"
#include "source/result_bound.h"

struct session;

enum session_end {
    SESSION_UNREACHABLE, /* it never came to work */
    SESSION_FULL,        /* it never did, for the server allows no more connections */
    SESSION_BARRED,      /* it never did, for the server takes no new sessions of ours */
    SESSION_REFUSED,     /* it came to another database than is meant, or that cannot be told */
    SESSION_LOST,        /* it had worked */
    SESSION_DEAD,        /* it had been idle, and did not answer when it was tried */
};

/* What became of it is told to the pool; a session told to be closed must be freed
   by the pool and not used again. */
struct session_events {
    /* The session has connected and works. */
    void (*up)(void *pool, const struct session *session);
    /* `query` has a result, which is valid for the call. The session is idle again, or
       session_is_closed() and to be freed, or session_is_ending(). */
    void (*ended)(void *pool, struct session *session, struct query *query,
                  const struct query_result *result);
    /* The server has ended what was given up, or has answered session_try(), and the session is
       idle again. */
    void (*settled)(void *pool, struct session *session);
    /* The connection is over and `query` (or NULL) was not answered. */
    void (*closed)(void *pool, struct session *session, struct query *query, enum session_end how);
};

/* What the log has said of a server that cannot be connected to, by all sessions of a pool. */
struct session_outage {
    uint64_t error;  /* a hash of the last; 0: none since a session worked */
    int64_t told_us; /* when it was logged */
    int64_t since_us;
    bool full; /* it allows no more connections: others may work meanwhile */
};

struct session_options {
    struct ev_loop *loop;
    struct steps *steps; /* in which long results are written */
    const struct postgres_settings *settings;
    int64_t slow_query_ms;
    size_t n_statements;
    struct postgres_judge judge; /* its function may be NULL */
    const struct session_events *events;
    struct session_outage *outage;
    struct result_bound *bound;   /* shared by all sessions of a pool */
    const struct json_work *work; /* the pool's, without a route */
    struct dial_memory *memory;
    void *pool;
};

/* Starts connecting. */
struct session *session_new(TALLOC_CTX *ctx, const struct session_options *options);

/* Runs `query` now, or once connected. Only on a session that has none. */
void session_run(struct session *session, struct query *query);

/* Takes its query away, which has not begun as long as the session is being made; false: it has. */
bool session_take_back(struct session *session);

/* Nobody waits for its query any more: gives it up (QUERY_LEFT), if it runs. */
void session_give_up(struct session *session);

/* Whether a pooler is between that may have another server for each transaction. */
bool session_is_pooled(const struct session *session);

/* It may come to run further queries: it connects, or has worked. */
bool session_is_alive(const struct session *session);

/* It cannot be used any more. */
bool session_is_closed(const struct session *session);

/* Its query was given up, and the server may still be running it: `settled` or `closed` follows. */
bool session_is_ending(const struct session *session);

/* It is ending, and the server has not even kept its own time-out. */
bool session_is_hung(const struct session *session);

/* It has lived for as long as a session may. */
bool session_is_aged(const struct session *session);

/* As its judge has told; 0 until then. */
uint64_t session_generation(const struct session *session);

bool session_is_idle(const struct session *session);

/* When it last became idle, monotonic. */
int64_t session_idle_since_us(const struct session *session);

/* For how long the server has not been heard of on it. */
int64_t session_quiet_us(const struct session *session);

/* Whether an idle one still leads to the server: `settled` if it does, else `closed`, with
   SESSION_DEAD. It is not idle meanwhile. */
void session_try(struct session *session);

#endif
