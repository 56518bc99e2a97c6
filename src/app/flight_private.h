/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of a flight, for the files that make one up: flight.c has its course and the visits
   that wait for it, and each of the others one thing that it does or that may become of it. */
#ifndef LEEWAY_APP_FLIGHT_PRIVATE_H
#define LEEWAY_APP_FLIGHT_PRIVATE_H

#include "app/flight.h"

#include <ev.h>

#include "app/fill.h"
#include "app/flight_state.h"
#include "base/steps.h"
#include "cache/lease.h"
#include "metrics/metrics.h"

/* Why a response is not stored from the outset. */
enum flight_bypass { BYPASS_NONE, BYPASS_NO_BUDGET, BYPASS_TOO_LARGE, BYPASS_NO_REDIS };

/* What those are told that no entry will do for. */
struct flight_failure {
    int status;
    const char *detail; /* NULL: the usual one */
    enum collapse_result collapse;
    enum shed_reason shed; /* why its query was not begun, if for want of something */
};

struct flight {
    TAILQ_ENTRY(flight) link; /* in flights->all */
    const char *base;
    uint64_t generation; /* of the key */
    struct flights *flights;
    enum flight_state state;
    const struct route *route;
    const struct route_rules *rules;
    struct param_values values; /* copied: they outlive the first visit */
    struct visit_list visits;
    struct visit *leader; /* the visit on whose account the query runs; NULL: it has left */
    struct fill *fill;    /* FILLING: until it is told what came of it */
    bool listed;          /* in flights->by_base */
    enum flight_bypass bypass;
    struct flight_failure failure; /* FAILING, HELD */
    struct fill_result result;     /* ANSWERING */
    struct stored stored;          /* what it points to, with its bytes */
    struct step next;              /* ANSWERING, FAILING: those who have not been answered yet */
    bool held;                     /* the server may still run the query, which only we know */
    bool left;       /* HELD: since nobody waited for it; who comes waits for its end */
    bool only_looks; /* LOOKING, LOOKING_TWICE: the lease is not asked for */
    struct cache_request *asking; /* LOOKING, LOOKING_TWICE, FAILING: what is asked, */
    int64_t asked_us;             /* and when, on the monotonic clock */
    struct cache_watch *watch;
    bool untold;       /* no wake-up will come */
    ev_timer recheck;  /* WAITING: when the lease ends unless it is renewed */
    ev_timer deadline; /* LOOKING to FILLING, until the query has begun: of the visit that has
                          waited longest, or before */
    int64_t deadline_us;
};

/* Of a crowd that waits for one answer, in one turn of the loop. */
enum { FLIGHT_ANSWERS_A_TURN = 32 };

struct flights {
    struct backend *backend;
    void *by_base; /* tsearch tree of the flights that may be joined */
    TAILQ_HEAD(, flight) all;
    size_t waiting;
    size_t count; /* of flights */
};

/* ---- flight.c */

/* Of the key that `visit` asks for; nobody waits for it yet, and it cannot be joined. */
struct flight *flight_new(struct flights *flights, const struct visit *visit);

/* Every change of state goes through here: it ends what does not belong to the state `to`. */
void flight_set_state(struct flight *flight, enum flight_state to);

/* The one end: no visit is left. What the server may still run is not begun again meanwhile. */
void flight_end(struct flight *flight);

/* Nobody is left who waits. What has not begun does not begin; what runs goes on where it is of use
   to those who come. */
void flight_leave_alone(struct flight *flight);

/* It cannot be joined any more. */
void flight_unlist(struct flight *flight);

/* `visit` waits for this flight from now on, or does not any more. */
void flight_park(struct flight *flight, struct visit *visit);
void flight_take_out(struct flight *flight, struct visit *visit);

/* Takes the next waiting visit out, so that it can be answered; NULL: none is left. */
struct visit *flight_next_visit(struct flight *flight);

/* Some of those who wait have been answered: the others are in the next turn, or later. */
void flight_go_on_soon(struct flight *flight);

/* ---- flight_deadline.c: how long its visits wait */

/* Gives up when `visit` does, if that is before all others. */
void flight_heed_deadline(struct flight *flight, const struct visit *visit);

/* For flight->deadline. */
void flight_on_deadline(struct ev_loop *loop, ev_timer *timer, int events);

/* ---- flight_lease.c: whether the query is ours or another's, and what that has stored */

/* Asks for the lease, or looks at it, and does what the answer says. */
void flight_look(struct flight *flight);

/* For flight->recheck. */
void flight_on_recheck(struct ev_loop *loop, ev_timer *timer, int events);

/* Answers those who had come when the cache was asked for the entry, each by its age at that
   moment, and `most` of them. true: who is left has come since, or is beyond that; false: it will
   not do for who is left. */
bool flight_serve_stored(struct flight *flight, struct stored *stored, bool on_error, size_t most);

/* ---- flight_query.c: its query, and the result of it */

/* The first visit leads whose client may start a query; the others wait for it, which costs them
   nothing. false: there is none. */
bool flight_find_leader(struct flight *flight);

/* No client of those who wait may start a query. */
void flight_end_rationed(struct flight *flight);

/* Starts the leader's query. `lease` NULL: nothing is stored. */
void flight_lead(struct flight *flight, enum flight_bypass bypass, const struct lease *lease);

/* ANSWERING: answers some of those who wait. */
void flight_go_on_with_result(struct flight *flight);

/* ---- flight_failure.c: those who wait cannot have a result */

/* They have waited for as long as they may. */
extern const struct flight_failure flight_timed_out;

/* One of its visits has to do without the query. */
void flight_count_shed(const struct flight *flight);

/* `on_error` false: no entry may be served instead. */
void flight_fail(struct flight *flight, const struct flight_failure *failure, bool on_error);

/* FAILING, and no entry will do: tells some of those who wait. */
void flight_go_on_with_failure(struct flight *flight);

/* Moves a visit into a flight of those that fail apart from the others, which is made for the first
   of them (`failing` NULL) and returned. The visit has been taken out before. */
struct flight *flight_set_apart(struct flight *failing, struct flight *flight, struct visit *visit);

#endif
