/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection to one Redis server, which makes itself anew for as long as it lives. Nothing is
   called back from within a call. */
#ifndef LEEWAY_REDIS_CONNECTION_H
#define LEEWAY_REDIS_CONNECTION_H

#include <ev.h>
#include <stdbool.h>
#include <talloc.h>

#include "redis/address.h"
#include "redis/greeting.h"
#include "redis/redis.h"

struct redis_connection;

struct redis_connection_options {
    struct redis_greeting_options greeting;
    struct redis_address address;
    /* Commands are kept until it is up the first time, and again after it broke, unless an attempt
       fails: for one that is opened because it is needed now. */
    bool wanted;
    /* Any but on_push may be NULL. They may close the connection. */
    void (*on_up)(void *data, const struct redis_greeting_result *greeting);
    /* It is down, or still down: `problem` says why and is borrowed. Not called when the server
       closes a connection on which nothing was under way and a new one comes up at once: that is
       only told by on_up. */
    void (*on_down)(void *data, const char *problem);
    /* A command was refused; called before its owner is told. */
    void (*on_refused)(void *data, enum redis_refusal refusal);
    /* NULL, or of a connection with subscriptions: takes messages (borrowed). */
    void (*on_push)(void *data, const struct redis_reply *message);
    void *data;
};

/* Starts connecting. Ended by talloc_free of `ctx` or by redis_connection_close; what has not been
   answered never is. */
struct redis_connection *redis_connection_new(TALLOC_CTX *ctx, struct ev_loop *loop,
                                              const struct redis_connection_options *options);
void redis_connection_close(struct redis_connection *connection);

/* Also while it is made anew because the server closed it idle. */
bool redis_connection_is_up(const struct redis_connection *connection);

/* As redis_send. */
struct redis_request *redis_connection_send(struct redis_connection *connection,
                                            const struct redis_command *command, redis_fn *fn,
                                            void *data);

/* It goes down and connects anew, in the loop's next turn; nothing if it waits for its next
   attempt. `problem` is static. */
void redis_connection_restart(struct redis_connection *connection, const char *problem);

/* Not later than now, if it waits for its next attempt; commands are kept until that has failed. */
void redis_connection_hurry(struct redis_connection *connection);

#endif
