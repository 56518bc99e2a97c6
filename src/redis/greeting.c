/* SPDX-License-Identifier: BSD-2-Clause */
/* The steps: what is sent, and what becomes of the reply. */
#include "config.h"

#include "redis/greeting.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "redis/clock_keeper.h"
#include "redis/command.h"
#include "redis/info.h"

enum { MAX_PARTS = 8 };

/* A reply's verdict on the step: whether the greeting goes on. */
typedef bool take_fn(struct redis_greeting *greeting, const struct redis_reply *reply);
typedef size_t say_fn(struct redis_greeting *greeting, struct redis_part *parts);

/* The error reply, without what it quotes. */
static bool fail(struct redis_greeting *greeting, const struct redis_reply *reply)
{
    bool is_told = reply->kind == REDIS_ERROR;

    redis_info_error(is_told ? reply->text : "the greeting was not understood", greeting->problem,
                     sizeof greeting->problem);
    return false;
}

static bool must_succeed(struct redis_greeting *greeting, const struct redis_reply *reply)
{
    return reply->kind != REDIS_ERROR || fail(greeting, reply);
}

static bool may_fail(struct redis_greeting *greeting, const struct redis_reply *reply)
{
    (void)greeting;
    (void)reply;
    return true;
}

static size_t say_hello(struct redis_greeting *greeting, struct redis_part *parts)
{
    const struct redis_settings *settings = greeting->options.settings;
    size_t n = 0;

    parts[n++] = redis_text("HELLO");
    parts[n++] = redis_text("2");
    if (settings->password[0] != '\0') {
        parts[n++] = redis_text("AUTH");
        parts[n++] = redis_text(settings->username[0] != '\0' ? settings->username : "default");
        parts[n++] = redis_text(settings->password);
    }
    parts[n++] = redis_text("SETNAME");
    parts[n++] = redis_text(greeting->options.client_name);
    return n;
}

static void copy_if(const struct redis_reply *const pair[2], const char *name, char *out,
                    size_t size)
{
    if (redis_reply_is(pair[0], name) && pair[1]->kind == REDIS_TEXT)
        snprintf(out, size, "%s", pair[1]->text);
}

/* HELLO's fields: names and values in turn. */
static void take_fields(struct redis_greeting_result *result, const struct redis_reply *reply)
{
    for (size_t i = 0; i + 1 < reply->n_elements; i += 2) {
        const struct redis_reply *const pair[2] = {reply->elements[i], reply->elements[i + 1]};
        copy_if(pair, "server", result->name, sizeof result->name);
        copy_if(pair, "version", result->version, sizeof result->version);
        copy_if(pair, "mode", result->mode, sizeof result->mode);
        copy_if(pair, "role", result->role, sizeof result->role);
    }
}

/* A server or a proxy that refuses HELLO itself may well take the older commands. */
static bool take_hello(struct redis_greeting *greeting, const struct redis_reply *reply)
{
    enum redis_refusal refusal = redis_refusal_of(reply);

    if (refusal == REDIS_NO_LOGIN || refusal == REDIS_LOADING)
        return fail(greeting, reply);
    /* or it has no room for us, says so, and closes */
    if (refusal != REDIS_NOT_REFUSED)
        (void)fail(greeting, reply);
    greeting->introduced = refusal == REDIS_NOT_REFUSED;
    greeting->hello_unknown = !greeting->introduced;
    if (reply->kind == REDIS_ARRAY)
        take_fields(&greeting->result, reply);
    return true;
}

static size_t say_auth(struct redis_greeting *greeting, struct redis_part *parts)
{
    const struct redis_settings *settings = greeting->options.settings;
    size_t n = 0;

    if (greeting->introduced || settings->password[0] == '\0')
        return 0;
    parts[n++] = redis_text("AUTH");
    if (settings->username[0] != '\0')
        parts[n++] = redis_text(settings->username);
    parts[n++] = redis_text(settings->password);
    return n;
}

static size_t say_name(struct redis_greeting *greeting, struct redis_part *parts)
{
    if (greeting->introduced)
        return 0;
    parts[0] = redis_text("CLIENT");
    parts[1] = redis_text("SETNAME");
    parts[2] = redis_text(greeting->options.client_name);
    return 3;
}

static size_t say_select(struct redis_greeting *greeting, struct redis_part *parts)
{
    static struct redis_digits database; /* good until it is encoded, at once */

    if (greeting->options.settings->database == 0)
        return 0;
    parts[0] = redis_text("SELECT");
    parts[1] = redis_number(&database, greeting->options.settings->database);
    return 2;
}

static size_t say_clock_step(struct redis_greeting *greeting, struct redis_part *parts)
{
    if (greeting->options.step_key == NULL)
        return 0;
    return redis_clock_keeper_question(greeting->options.step_key, parts);
}

/* It reads a key, which a server that is still loading refuses, as it does not TIME. */
static bool take_clock_step(struct redis_greeting *greeting, const struct redis_reply *reply)
{
    if (redis_refusal_of(reply) == REDIS_LOADING || redis_refusal_of(reply) == REDIS_NO_LOGIN)
        return fail(greeting, reply);
    greeting->result.step = redis_clock_keeper_answer(reply);
    return true;
}

static size_t say_time(struct redis_greeting *greeting, struct redis_part *parts)
{
    if (greeting->options.step_key == NULL)
        return 0;
    greeting->result.lead_us = clock_time_of_day_lead_us();
    greeting->result.sent_us = clock_monotonic_us();
    parts[0] = redis_text("TIME");
    return 1;
}

static bool take_time(struct redis_greeting *greeting, const struct redis_reply *reply)
{
    if (reply->kind == REDIS_ERROR)
        return fail(greeting, reply);
    greeting->result.received_us = clock_monotonic_us();
    if (redis_time_parse(reply, &greeting->result.redis_us))
        return true;
    snprintf(greeting->problem, sizeof greeting->problem, "TIME was not understood");
    return false;
}

static size_t say_info(struct redis_greeting *greeting, struct redis_part *parts)
{
    if (greeting->options.step_key == NULL)
        return 0;
    parts[0] = redis_text("INFO");
    parts[1] = redis_text("server");
    return 2;
}

static bool take_info(struct redis_greeting *greeting, const struct redis_reply *reply)
{
    struct redis_greeting_result *result = &greeting->result;

    if (reply->kind != REDIS_TEXT)
        return true;
    redis_info_find(reply->text, "run_id", result->run_id, sizeof result->run_id);
    if (result->version[0] == '\0')
        redis_info_find(reply->text, "redis_version", result->version, sizeof result->version);
    return true;
}

static const struct {
    say_fn *say; /* 0: there is nothing to say */
    take_fn *take;
} steps[GREETING_STEPS] = {
    [GREETING_HELLO] = {say_hello, take_hello},
    [GREETING_AUTH] = {say_auth, must_succeed},
    [GREETING_NAME] = {say_name, may_fail},
    [GREETING_SELECT] = {say_select, must_succeed},
    [GREETING_CLOCK_STEP] = {say_clock_step, take_clock_step},
    [GREETING_TIME] = {say_time, take_time},
    [GREETING_INFO] = {say_info, take_info},
};

void redis_greeting_begin(struct redis_greeting *greeting,
                          const struct redis_greeting_options *options)
{
    bool hello_unknown = greeting->hello_unknown && greeting->is_done;

    *greeting = (struct redis_greeting){.options = *options, .hello_unknown = hello_unknown};
}

static void write_step(struct redis_greeting *greeting, struct buf *out,
                       enum redis_greeting_step step)
{
    struct redis_part parts[MAX_PARTS];
    size_t count = steps[step].say(greeting, parts);

    if (count == 0)
        return;
    redis_command_encode(out, parts, count);
    greeting->owed[greeting->n_owed++] = step;
}

enum redis_greeting_verdict redis_greeting_write(struct redis_greeting *greeting, struct buf *out)
{
    bool begins = greeting->n_owed == 0;

    greeting->n_owed = greeting->n_taken = 0;
    /* what comes after depends on whether it is known */
    if (begins && !greeting->hello_unknown) {
        write_step(greeting, out, GREETING_HELLO);
        return GREETING_WAITS;
    }
    greeting->is_last = true;
    for (enum redis_greeting_step step = GREETING_AUTH; step < GREETING_STEPS; step++)
        write_step(greeting, out, step);
    greeting->is_done = greeting->n_owed == 0;
    return greeting->is_done ? GREETING_DONE : GREETING_WAITS;
}

enum redis_greeting_verdict redis_greeting_take(struct redis_greeting *greeting,
                                                const struct redis_reply *reply)
{
    if (!steps[greeting->owed[greeting->n_taken]].take(greeting, reply)) {
        /* another server may be there next time */
        greeting->hello_unknown = false;
        return GREETING_FAILED;
    }
    if (++greeting->n_taken < greeting->n_owed)
        return GREETING_WAITS;
    greeting->is_done = greeting->is_last;
    return greeting->is_done ? GREETING_DONE : GREETING_SPEAKS;
}
