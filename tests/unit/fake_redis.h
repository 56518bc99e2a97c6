/* SPDX-License-Identifier: BSD-2-Clause */
/* redis/redis.h as a script: what is sent is kept until the test answers it, as a server would, in
   any way. Linked in place of the client. There is one at a time. */
#ifndef LEEWAY_TESTS_FAKE_REDIS_H
#define LEEWAY_TESTS_FAKE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redis/redis.h"

/* What has been sent and not answered, the oldest first. A command that was cancelled stays: Redis
   does not know. */
size_t fake_redis_waiting(void);

/* The parts, with a space in between: all of them but a script. Borrowed until it is answered. */
const char *fake_redis_text(size_t index);

/* One of them, NUL-terminated; of a script, "EVAL" is 0. Fails the test if there is none. */
const char *fake_redis_part(size_t index, size_t part);
const char *fake_redis_key(size_t index); /* "": none */
int64_t fake_redis_block_ms(size_t index);
bool fake_redis_writes(size_t index);
bool fake_redis_is_cancelled(size_t index);

/* The oldest is answered; fails the test if there is none. `reply` NULL with REDIS_NOT_SENT and
   REDIS_UNCERTAIN. */
void fake_redis_answer(enum redis_outcome outcome, struct redis_reply *reply);

/* The oldest is answered as `reply` is: with REDIS_REFUSED if it is an error. */
void fake_redis_reply(struct redis_reply *reply);

/* Replies, to be passed on. An array ends with NULL. */
struct redis_reply *fake_nil(void);
struct redis_reply *fake_text(const char *text);
struct redis_reply *fake_bytes(const char *bytes, size_t len);
struct redis_reply *fake_number(int64_t number);
struct redis_reply *fake_error(const char *text);
struct redis_reply *fake_array(struct redis_reply *first, ...);

/* One from a line of text: "nil", "=TEXT", ":NUMBER", "-ERROR", "[A B C]" of those without spaces;
   and outcomes without one: "?" is REDIS_UNCERTAIN, "!" is REDIS_NOT_SENT. The oldest is answered.
 */
void fake_redis_answer_as(const char *line);

/* What the connection is like, at first up with a clock that will do. */
struct fake_redis {
    bool up;
    bool clock_will_do;
    const char *problem;
    struct redis_clock clock;
    size_t n_taken_times;  /* how often redis_take_time() was called with one */
    int64_t taken_sent_us; /* what it was last passed */
    size_t n_subscriptions;
};
extern struct fake_redis fake_redis;

/* Before each test. */
void fake_redis_reset(void);

void fake_redis_change(enum redis_change change);

/* Tells those who are subscribed to `channel`; how many. */
size_t fake_redis_news(const char *channel, enum redis_news news, const char *message);

#endif
