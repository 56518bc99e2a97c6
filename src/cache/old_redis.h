/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection to Redis that makes itself anew, and the only module that
   opens one. Connecting and the handshake never block: they run on the event
   loop, every 250 ms while Redis is away. Commands are either awaited in place,
   for at most command_timeout (the default), or, with `on_reply`, written out
   and answered through that function.

   The connection is its own circuit breaker: the first command that fails or
   times out closes it, and until it is up again commands fail at once. */
#ifndef LEEWAY_CACHE_OLD_REDIS_H
#define LEEWAY_CACHE_OLD_REDIS_H

#include <ev.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <talloc.h>

#include "config/settings.h"
#include "redis/clock.h"

struct old_redis;

struct old_redis_options {
    const struct redis_settings *settings; /* borrowed */
    const char *client_name;               /* for CLIENT LIST; no spaces */
    /* NULL, or called with every reply and pushed message (borrowed). */
    void (*on_reply)(void *data, const redisReply *reply);
    /* NULL, or called when the connection has come up or gone down. */
    void (*on_change)(void *data, bool up);
    void *data;
};

/* Starts connecting. Closed by talloc_free. */
struct old_redis *old_redis_new(TALLOC_CTX *ctx, struct ev_loop *loop,
                                const struct old_redis_options *options);

bool old_redis_is_up(const struct old_redis *redis);

/* Blocks until the connection is up or `ms` have passed: for start-up, and for
   processes that have nothing else to do. */
bool old_redis_wait_up(struct old_redis *redis, int64_t ms);

/* Redis's clock; measured in the handshake, every half second while something is asked, and else
   every two (redis_clock.h). */
const struct redis_clock *old_redis_get_clock(const struct old_redis *redis);

/* Takes in what TIME said, asked at `sent_us` (monotonic) and received just now: `reply` is an
   array that ends with it, as of a script. NULL or anything else: nothing is learnt. */
void old_redis_take_time(struct old_redis *redis, int64_t sent_us, const redisReply *reply);

/* A command and its parts. Text parts may use old_redis_text(). */
struct old_redis_part {
    const char *data;
    size_t len;
};
struct old_redis_part old_redis_text(const char *text);

/* A number as a part; `room` holds its digits. */
struct old_redis_digits {
    char text[24];
};
struct old_redis_part old_redis_number(struct old_redis_digits *room, int64_t number);

enum { OLD_REDIS_MAX_PARTS = 16 };

/* Sends `count` parts and awaits the reply. NULL: the connection is down (it is
   closed now, and logged). The reply may be an error reply; free it with
   freeReplyObject. */
redisReply *old_redis_command(struct old_redis *redis, const struct old_redis_part *parts,
                              size_t count) __attribute__((warn_unused_result));

/* Like old_redis_command for a command that Redis itself may hold back for `block_ms`. */
redisReply *old_redis_command_blocking(struct old_redis *redis, int64_t block_ms,
                                       const struct old_redis_part *parts, size_t count)
    __attribute__((warn_unused_result));

/* A pipeline: any number of old_redis_queue, then as many old_redis_next. */
void old_redis_queue(struct old_redis *redis, const struct old_redis_part *parts, size_t count);
redisReply *old_redis_next(struct old_redis *redis) __attribute__((warn_unused_result));

/* Measures Redis's clock now; does nothing while the connection is down. */
void old_redis_measure(struct old_redis *redis);

/* Puts TIME into the pipeline if what is known of Redis's clock is too old, or the local clocks
   have jumped since; true: it did, and old_redis_next_time() is to take the reply. */
bool old_redis_queue_time(struct old_redis *redis, int64_t *sent_us);
void old_redis_next_time(struct old_redis *redis, int64_t sent_us);

/* Only with `on_reply`: writes a command out; lost without a word while down. */
void old_redis_post(struct old_redis *redis, const struct old_redis_part *parts, size_t count);

/* Whether `reply` is text (bulk or status) equal to `text`. */
bool old_redis_reply_is(const redisReply *reply, const char *text);

/* Logs an error reply, at most one a second; true if it was one (or NULL). */
bool old_redis_reply_failed(const redisReply *reply, const char *what);

#endif
