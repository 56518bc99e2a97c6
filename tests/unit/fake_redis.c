/* SPDX-License-Identifier: BSD-2-Clause */
/* A list of commands and a list of subscriptions. */
#include "config.h"

#include "unit.h"

#include "fake_redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/mem.h"

struct redis {
    struct redis_options options;
    TAILQ_HEAD(, redis_request) requests;
    TAILQ_HEAD(, redis_subscription) subscriptions;
};

struct redis_request {
    TAILQ_ENTRY(redis_request) link;
    char *text;
    char **parts;
    size_t count;
    char *key;
    int64_t block_ms;
    bool writes;
    redis_fn *fn; /* NULL: cancelled */
    void *data;
};

struct redis_subscription {
    TAILQ_ENTRY(redis_subscription) link;
    struct redis *redis; /* NULL: it has gone */
    char *channel;
    redis_news_fn *fn;
    void *data;
    bool told;
};

struct fake_redis fake_redis;
static struct redis *the_redis;

void fake_redis_reset(void)
{
    fake_redis = (struct fake_redis){.up = true, .clock_will_do = true};
}

/* ---- redis/redis.h */

static int redis_destroy(struct redis *redis)
{
    struct redis_subscription *subscription;

    TAILQ_FOREACH (subscription, &redis->subscriptions, link)
        subscription->redis = NULL;
    fake_redis.n_subscriptions = 0;
    the_redis = NULL;
    return 0;
}

struct redis *redis_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct redis_options *options)
{
    struct redis *redis = mem_check(talloc_zero(ctx, struct redis));

    (void)loop;
    check(the_redis == NULL, "there is one already");
    redis->options = *options;
    TAILQ_INIT(&redis->requests);
    TAILQ_INIT(&redis->subscriptions);
    talloc_set_destructor(redis, redis_destroy);
    the_redis = redis;
    return redis;
}

bool redis_is_up(const struct redis *redis)
{
    (void)redis;
    return fake_redis.up;
}

const char *redis_problem(const struct redis *redis)
{
    (void)redis;
    return fake_redis.problem;
}

struct redis_server redis_server(const struct redis *redis)
{
    (void)redis;
    return (struct redis_server){
        .name = "redis", .version = "7.0.15", .mode = "standalone", .run_id = "", .role = "master"};
}

struct redis_part redis_text(const char *text)
{
    return (struct redis_part){text, strlen(text)};
}

struct redis_part redis_number(struct redis_digits *room, int64_t number)
{
    snprintf(room->text, sizeof room->text, "%" PRId64, number);
    return redis_text(room->text);
}

struct redis_request *redis_send(struct redis *redis, const struct redis_command *command,
                                 redis_fn *fn, void *data)
{
    struct redis_request *request = mem_check(talloc_zero(redis, struct redis_request));
    bool is_script = command->parts[0].len == 4 && memcmp(command->parts[0].data, "EVAL", 4) == 0;

    request->text = mem_check(talloc_strdup(request, ""));
    request->parts = mem_check(talloc_array(request, char *, (unsigned)command->count));
    request->count = command->count;
    for (size_t i = 0; i < command->count; i++) {
        char *part =
            mem_check(talloc_strndup(request, command->parts[i].data, command->parts[i].len));
        request->parts[i] = part;
        if (!is_script || i != 1)
            request->text =
                mem_check(talloc_asprintf_append(request->text, "%s%s", i > 0 ? " " : "", part));
    }
    request->key = mem_check(talloc_strdup(request, command->key != NULL ? command->key : ""));
    request->block_ms = command->block_ms;
    request->writes = command->writes;
    request->fn = fn;
    request->data = data;
    TAILQ_INSERT_TAIL(&redis->requests, request, link);
    return request;
}

void redis_cancel(struct redis_request *request)
{
    if (request == NULL)
        return;
    check(request->fn != NULL, "%s is cancelled twice", request->text);
    request->fn = NULL;
}

const struct redis_clock *redis_get_clock(const struct redis *redis)
{
    (void)redis;
    return &fake_redis.clock;
}

void redis_take_time(struct redis *redis, int64_t sent_us, const struct redis_reply *reply)
{
    (void)redis;
    if (reply->kind != REDIS_ARRAY || reply->n_elements < 2)
        return;
    fake_redis.n_taken_times++;
    fake_redis.taken_sent_us = sent_us;
}

bool redis_clock_will_do(const struct redis *redis)
{
    (void)redis;
    return fake_redis.clock_will_do;
}

static int subscription_destroy(struct redis_subscription *subscription)
{
    if (subscription->redis != NULL) {
        TAILQ_REMOVE(&subscription->redis->subscriptions, subscription, link);
        fake_redis.n_subscriptions--;
    }
    return 0;
}

struct redis_subscription *redis_subscribe(TALLOC_CTX *ctx, struct redis *redis,
                                           const char *channel, redis_news_fn *fn, void *data)
{
    struct redis_subscription *subscription =
        mem_check(talloc_zero(ctx, struct redis_subscription));

    subscription->redis = redis;
    subscription->channel = mem_check(talloc_strdup(subscription, channel));
    subscription->fn = fn;
    subscription->data = data;
    TAILQ_INSERT_TAIL(&redis->subscriptions, subscription, link);
    talloc_set_destructor(subscription, subscription_destroy);
    fake_redis.n_subscriptions++;
    return subscription;
}

/* ---- What was sent */

size_t fake_redis_waiting(void)
{
    struct redis_request *request;
    size_t count = 0;

    if (the_redis != NULL)
        TAILQ_FOREACH (request, &the_redis->requests, link)
            count++;
    return count;
}

static const struct redis_request *request_at(size_t index)
{
    struct redis_request *request;
    size_t at = 0;

    check(the_redis != NULL, "there is no redis");
    TAILQ_FOREACH (request, &the_redis->requests, link)
        if (at++ == index)
            return request;
    check(false, "%zu commands wait, there is no %zu", at, index);
    return NULL;
}

const char *fake_redis_text(size_t index)
{
    return request_at(index)->text;
}

const char *fake_redis_part(size_t index, size_t part)
{
    const struct redis_request *request = request_at(index);

    check(part < request->count, "%s has no part %zu", request->text, part);
    return request->parts[part];
}

const char *fake_redis_key(size_t index)
{
    return request_at(index)->key;
}

int64_t fake_redis_block_ms(size_t index)
{
    return request_at(index)->block_ms;
}

bool fake_redis_writes(size_t index)
{
    return request_at(index)->writes;
}

bool fake_redis_is_cancelled(size_t index)
{
    return request_at(index)->fn == NULL;
}

/* ---- Answers */

void fake_redis_answer(enum redis_outcome outcome, struct redis_reply *reply)
{
    struct redis_request *request;
    TALLOC_CTX *held = mem_check(talloc_new(NULL));

    check(the_redis != NULL && !TAILQ_EMPTY(&the_redis->requests), "nothing waits for an answer");
    request = TAILQ_FIRST(&the_redis->requests);
    TAILQ_REMOVE(&the_redis->requests, request, link);
    talloc_steal(held, reply);
    redis_fn *fn = request->fn;
    void *data = request->data;
    talloc_free(request);
    if (fn != NULL)
        fn(data, outcome, reply);
    talloc_free(held);
}

void fake_redis_reply(struct redis_reply *reply)
{
    fake_redis_answer(reply->kind == REDIS_ERROR ? REDIS_REFUSED : REDIS_REPLIED, reply);
}

static struct redis_reply *make(enum redis_kind kind, const char *bytes, size_t len)
{
    struct redis_reply *reply =
        mem_check(talloc_zero_size(NULL, sizeof(struct redis_reply) + len + 1));

    reply->kind = kind;
    reply->len = len;
    if (len > 0)
        memcpy(reply->text, bytes, len);
    return reply;
}

struct redis_reply *fake_nil(void)
{
    return make(REDIS_NIL, "", 0);
}

struct redis_reply *fake_text(const char *text)
{
    return make(REDIS_TEXT, text, strlen(text));
}

struct redis_reply *fake_bytes(const char *bytes, size_t len)
{
    return make(REDIS_TEXT, bytes, len);
}

struct redis_reply *fake_error(const char *text)
{
    return make(REDIS_ERROR, text, strlen(text));
}

struct redis_reply *fake_number(int64_t number)
{
    struct redis_reply *reply = make(REDIS_NUMBER, "", 0);

    reply->number = number;
    return reply;
}

static void append(struct redis_reply *array, struct redis_reply *element)
{
    array->elements = mem_check(talloc_realloc(array, array->elements, struct redis_reply *,
                                               (unsigned)array->n_elements + 1));
    array->elements[array->n_elements++] = talloc_steal(array, element);
}

struct redis_reply *fake_array(struct redis_reply *first, ...)
{
    struct redis_reply *array = make(REDIS_ARRAY, "", 0);
    va_list args;

    va_start(args, first);
    for (struct redis_reply *each = first; each != NULL; each = va_arg(args, struct redis_reply *))
        append(array, each);
    va_end(args);
    return array;
}

static struct redis_reply *parse(const char *line, size_t len)
{
    switch (line[0]) {
    case '=':
        return make(REDIS_TEXT, line + 1, len - 1);
    case '-':
        return make(REDIS_ERROR, line + 1, len - 1);
    case ':':
        return fake_number(strtoll(line + 1, NULL, 10));
    default:
        check(len == 3 && memcmp(line, "nil", 3) == 0, "not a reply: %.*s", (int)len, line);
        return fake_nil();
    }
}

static struct redis_reply *parse_array(const char *line)
{
    struct redis_reply *array = make(REDIS_ARRAY, "", 0);

    while (*line != ']') {
        size_t len = strcspn(line, " ]");
        check(line[len] != '\0', "not an array: %s", line);
        append(array, parse(line, len));
        line += len + strspn(line + len, " ");
    }
    return array;
}

void fake_redis_answer_as(const char *line)
{
    if (strcmp(line, "?") == 0)
        fake_redis_answer(REDIS_UNCERTAIN, NULL);
    else if (strcmp(line, "!") == 0)
        fake_redis_answer(REDIS_NOT_SENT, NULL);
    else if (line[0] == '[')
        fake_redis_reply(parse_array(line + 1));
    else
        fake_redis_reply(parse(line, strlen(line)));
}

/* ---- Changes and messages */

void fake_redis_change(enum redis_change change)
{
    fake_redis.up = change != REDIS_WENT_DOWN;
    the_redis->options.on_change(the_redis->options.data, change);
}

static struct redis_subscription *next_untold(const char *channel)
{
    struct redis_subscription *subscription;

    if (the_redis != NULL)
        TAILQ_FOREACH (subscription, &the_redis->subscriptions, link)
            if (!subscription->told && strcmp(subscription->channel, channel) == 0)
                return subscription;
    return NULL;
}

size_t fake_redis_news(const char *channel, enum redis_news news, const char *message)
{
    struct redis_subscription *subscription;
    size_t count = 0;

    /* from the start each time, for any of them may end meanwhile */
    while ((subscription = next_untold(channel)) != NULL) {
        subscription->told = true;
        count++;
        subscription->fn(subscription->data, news, redis_text(message));
    }
    if (the_redis != NULL)
        TAILQ_FOREACH (subscription, &the_redis->subscriptions, link)
            subscription->told = false;
    return count;
}
