/* SPDX-License-Identifier: BSD-2-Clause */
/* Keeps a server's clock measured, and tells and hears of its steps through a key. */
#ifndef LEEWAY_REDIS_CLOCK_KEEPER_H
#define LEEWAY_REDIS_CLOCK_KEEPER_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <talloc.h>

#include "redis/clock.h"
#include "redis/greeting.h"
#include "redis/redis.h"

/* What TIME said, in microseconds: `reply` is an array that ends with it. */
bool redis_time_parse(const struct redis_reply *reply, int64_t *us);

/* The command that asks for a step, and what its reply says: until_us 0: of none. */
size_t redis_clock_keeper_question(const char *step_key, struct redis_part *parts);
struct redis_clock_step redis_clock_keeper_answer(const struct redis_reply *reply);

struct redis_clock_keeper;

struct redis_clock_keeper_options {
    const char *client_name; /* borrowed */
    const char *step_key;    /* copied */
    bool speaks;             /* it logs steps */
    /* Sends a command over the server's connection. */
    void (*send)(void *data, const struct redis_command *command, redis_fn *fn, void *fn_data);
    void *data;
};

/* It must not go before what it has sent has been answered or will never be. */
struct redis_clock_keeper *redis_clock_keeper_new(TALLOC_CTX *ctx, struct ev_loop *loop,
                                                  const struct redis_clock_keeper_options *options);

const char *redis_clock_keeper_step_key(const struct redis_clock_keeper *keeper);
const struct redis_clock *redis_clock_keeper_clock(const struct redis_clock_keeper *keeper);

/* The connection is up: the clock is as its greeting says. From now on it is measured. */
void redis_clock_keeper_start(struct redis_clock_keeper *keeper,
                              const struct redis_greeting_result *greeting);
void redis_clock_keeper_stop(struct redis_clock_keeper *keeper);

/* Something was asked: the clock matters. */
void redis_clock_keeper_use(struct redis_clock_keeper *keeper);

/* As redis_take_time and redis_clock_will_do. */
void redis_clock_keeper_take_time(struct redis_clock_keeper *keeper, int64_t sent_us,
                                  const struct redis_reply *reply);
bool redis_clock_keeper_will_do(struct redis_clock_keeper *keeper);

#endif
