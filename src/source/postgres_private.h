/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of the pool, for the files that make it up: what waits is in postgres_queue.c, what it
   waits for in postgres_sessions.c. */
#ifndef LEEWAY_SOURCE_POSTGRES_PRIVATE_H
#define LEEWAY_SOURCE_POSTGRES_PRIVATE_H

#include "source/postgres.h"

#include <sys/queue.h>

#include "source/query.h"
#include "source/session.h"

TAILQ_HEAD(pooled_list, pooled);

struct postgres {
    struct ev_loop *loop;
    const struct postgres_settings *settings;
    struct slots *slots;
    struct statement *statements; /* by route index */
    size_t n_statements;
    struct session_options session_options;
    struct session_outage outage;
    struct result_bound bound;
    struct json_work work;
    struct dial_memory memory;
    struct pooled_list sessions; /* the most recently used one first */
    size_t n_sessions;
    struct turns *waiting;        /* for a slot, by routes */
    int64_t full_until_us;        /* no more sessions are to be had; 0: they may be */
    bool down;                    /* the breaker is open */
    int64_t heard_us;             /* when it has last answered; 0: never */
    bool doubted;                 /* a query has hung, and what is tried is to tell */
    const struct session *trying; /* opened to see whether Postgres is there; NULL: none is */
    bool told_pooler;
    uint64_t generation; /* that sessions have to be of; 0: any */
    ev_timer pump;
    ev_timer reap;
    ev_timer retry; /* while it is down */
};

/* ---- postgres_queue.c: queries that wait for a place and a session, and what they are told */

extern const struct slots_place postgres_no_place;

/* Who waits may have it. */
void postgres_give_place_back(struct postgres *postgres, struct slots_place *place);

/* Tells who has asked; the query is gone then. */
void postgres_answer(struct postgres *postgres, struct query *query,
                     const struct query_result *result);
void postgres_answer_without_result(struct postgres *postgres, struct query *query,
                                    enum query_outcome outcome);

/* Before others, for it has had its turn. */
void postgres_queue_again(struct postgres *postgres, struct query *query);

/* For postgres->pump. */
void postgres_on_pump(struct ev_loop *loop, ev_timer *timer, int events);

/* ---- postgres_sessions.c: sessions, and whether more of them can be had */

struct session *postgres_open_session(struct postgres *postgres);

/* An idle one, or NULL: a new one is to be opened. One whose session was ended by the server finds
   others of that time as dead. */
struct session *postgres_session_for(const struct postgres *postgres, const struct query *query);

/* Nothing is to be had but the sessions that are busy now. One a second tries for more. */
bool postgres_is_full(struct postgres *postgres);

/* There is no server, and nothing to wait for: who needs a new session is turned away. */
bool postgres_is_away(const struct postgres *postgres);

extern const struct session_events postgres_session_events;

/* For postgres->retry and postgres->reap. */
void postgres_on_retry(struct ev_loop *loop, ev_timer *timer, int events);
void postgres_on_reap(struct ev_loop *loop, ev_timer *timer, int events);

#endif
