/* SPDX-License-Identifier: BSD-2-Clause */
/* Redis, whatever it consists of: commands go to the primary that has their key. Nothing here
   blocks: connecting, looking up names, TLS and every command run on the event loop.

   A primary's connections make themselves anew, with back-off, for as long as this object lives.
   While the first of them, that for what only reads, is down, all commands are answered at once
   with REDIS_NOT_SENT: it is a circuit breaker. A command that is refused says nothing about that.
 */
#ifndef LEEWAY_REDIS_REDIS_H
#define LEEWAY_REDIS_REDIS_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "config/settings.h"
#include "redis/clock.h"
#include "redis/reply.h"

struct redis;
struct redis_request; /* a command that has not been answered */

enum redis_change {
    REDIS_CAME_UP,     /* again, and it is the server that it was */
    REDIS_CAME_UP_NEW, /* another server, or one of which that cannot be told: its data may be
                          others, and its clock has been measured */
    REDIS_WENT_DOWN,
};

struct redis_options {
    const struct redis_settings *settings; /* borrowed */
    const char *client_name;               /* for CLIENT LIST; no spaces */
    const char *clock_key; /* where processes tell each other of steps of the clock; copied */
    bool speaks; /* it logs what all processes of its kind see: outages, steps of the clock */
    /* NULL, or called when a primary has come up or gone down; never from redis_new. */
    void (*on_change)(void *data, enum redis_change change);
    void *data;
};

/* Starts connecting. talloc_free closes it; what has not been answered never is. */
struct redis *redis_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct redis_options *options);

/* The loop that it runs on. */
struct ev_loop *redis_loop(const struct redis *redis);

/* Whether every primary is up. */
bool redis_is_up(const struct redis *redis);

/* Why it is not, for a log line or an operator; NULL: it is up, or nothing has failed yet. Borrowed
   until the next call. */
const char *redis_problem(const struct redis *redis);

/* What the server says of itself in its greeting: for people, never to decide by. */
struct redis_server {
    const char *name;    /* "redis", "valkey", or as it says */
    const char *version; /* "": it does not say */
    const char *mode;    /* "standalone", "cluster"; "": it does not say */
    const char *run_id;  /* "": it does not say */
    const char *role;    /* "master", "replica"; "": it does not say */
};
struct redis_server redis_server(const struct redis *redis);

/* A command's parts are bytes. */
struct redis_part {
    const char *data;
    size_t len;
};
struct redis_part redis_text(const char *text);

/* A number as a part; `room` holds its digits. */
struct redis_digits {
    char text[24];
};
struct redis_part redis_number(struct redis_digits *room, int64_t number);

struct redis_command {
    const struct redis_part *parts; /* copied */
    size_t count;
    const char *key; /* the first of its keys, by which its primary is found; NULL: any will do */
    /* It goes over another connection than what only reads: a server that holds writes back (CLIENT
       PAUSE, a full disk) holds back all that comes behind them on theirs. Order is kept among what
       writes, and among what only reads. */
    bool writes;
    /* 0, or for so long Redis itself may hold it back (BLMOVE): it goes over a connection of its
       own, which is opened on first need, so that nothing waits behind it. */
    int64_t block_ms;
    bool is_a_trial; /* that it is refused, or not answered, is nothing to log */
};

enum redis_outcome {
    REDIS_REPLIED,
    REDIS_REFUSED,   /* by an error reply; logged, within limits (base/log_limit.h) */
    REDIS_NOT_SENT,  /* it has not been done, and will not be */
    REDIS_UNCERTAIN, /* sent, but no reply has come within command_timeout, or the connection broke:
                        it may have been done, or may be done yet; the former is logged, too */
};

/* `reply` only with REDIS_REPLIED and REDIS_REFUSED; it belongs to the caller, who frees it after
   the call: steal it to keep it. Called exactly once unless the request is cancelled, and never
   from within redis_send(). It may send, cancel, and free the redis object. */
typedef void redis_fn(void *data, enum redis_outcome outcome, struct redis_reply *reply);

/* What is sent in one turn of the loop over a connection goes out in one write, in order. The
   handle is good until `fn` is called; never NULL. */
struct redis_request *redis_send(struct redis *redis, const struct redis_command *command,
                                 redis_fn *fn, void *data);

/* `fn` will not be called. The command may be done all the same. NULL is allowed. */
void redis_cancel(struct redis_request *request);

/* The clock by which snapshots are made: that of the first primary, which is the only one of a
   single topology. It is measured in the greeting, every half second while something
   is asked, and else every two (redis/clock.h). */
const struct redis_clock *redis_get_clock(const struct redis *redis);

/* Takes in what TIME said, asked at `sent_us` (monotonic, before redis_send) and received just now:
   `reply` is an array that ends with it, as of a script. Anything else: nothing is learnt. */
void redis_take_time(struct redis *redis, int64_t sent_us, const struct redis_reply *reply);

/* Whether what is known of Redis's clock will do now: it was measured less than a second ago and
   the local clocks have not jumped since. If not, ask for TIME in front of what is to be judged. */
bool redis_clock_will_do(const struct redis *redis);

/* Subscriptions go over a connection of their own, opened on first need. Several may be for one
   channel. Ended by talloc_free, also of `ctx`. One that outlives the redis object says nothing any
   more. */
struct redis_subscription;

enum redis_news {
    REDIS_SUBSCRIBED, /* from now on nothing is missed; also when the connection is there again */
    REDIS_MESSAGE,
    REDIS_SUBSCRIPTION_REFUSED, /* no right to it, or another error: nothing will come until the
                                   next connection */
    REDIS_SUBSCRIPTION_LOST,    /* the connection is down */
};

/* `message` only with REDIS_MESSAGE; borrowed. It may end the subscription. */
typedef void redis_news_fn(void *data, enum redis_news news, struct redis_part message);

struct redis_subscription *redis_subscribe(TALLOC_CTX *ctx, struct redis *redis,
                                           const char *channel, redis_news_fn *fn, void *data);

#endif
