/* SPDX-License-Identifier: BSD-2-Clause */
/* Connection, handshake and circuit breaker around a hiredis context. */
#include "config.h"

#include "cache/old_redis.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "redis/info.h"

enum {
    RETRY_MS = 250,
    STEP_ASK_S = 10,
    STEP_LEAST_US = 5000,
    /* Redis may answer a blocking command this much later than it was asked to. */
    BLOCK_OVERRUN_MS = 500,
    /* A reply's buffer that is not grown anew, by copying, for each large response. */
    READER_KEEPS_BYTES = 2 * 1024 * 1024,
    ERROR_BYTES = 256, /* of an error reply that is logged */
};

/* No entry lives for longer. */
static const int64_t STEP_KEPT_MS = (int64_t)90 * 24 * 3600 * 1000;
#define STEP_LAST_BYTE    "47"
#define COMMAND_TIMED_OUT "command timed out"

/* The end of the year 9999, which a snapshot's 16 digits hold. */
static const int64_t MAX_SECONDS = 253402300799;

enum old_redis_state { REDIS_DOWN, REDIS_SHAKING_HANDS, REDIS_UP };

struct old_redis {
    struct ev_loop *loop;
    struct old_redis_options options;
    enum old_redis_state state;
    bool outage_logged;
    redisContext *context;
    int handshake_replies;    /* still to come */
    int64_t time_sent_us;     /* when the handshake's TIME was asked */
    bool unsent;              /* commands have been queued since the last were sent */
    int64_t timeout_ms;       /* of those awaited in place */
    int64_t replies_until_us; /* to those sent last; monotonic */
    bool reply_begun;         /* something of them has come */
    struct redis_clock clock;
    int64_t lead_us; /* of the time of day, when commands were last sent */
    bool used;       /* something was asked since the last measurement */
    const char *step_key;
    int64_t step_asked_us;              /* when others' steps were last asked for */
    struct redis_clock_step heard;      /* of a step back, from others; all 0: of none */
    struct redis_clock_step known_step; /* learnt from others, or told by us */
    bool step_untold;
    ev_io readable;
    ev_io writable;
    ev_timer deadline; /* of the handshake, or the next attempt */
    ev_timer measure;
};

static void start_connecting(struct old_redis *redis);

struct old_redis_part old_redis_text(const char *text)
{
    return (struct old_redis_part){text, strlen(text)};
}

struct old_redis_part old_redis_number(struct old_redis_digits *room, int64_t number)
{
    snprintf(room->text, sizeof room->text, "%" PRId64, number);
    return old_redis_text(room->text);
}

bool old_redis_is_up(const struct old_redis *redis)
{
    return redis->state == REDIS_UP;
}

const struct redis_clock *old_redis_get_clock(const struct old_redis *redis)
{
    return &redis->clock;
}

static struct timeval to_timeval(int64_t ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

static void drop_context(struct old_redis *redis)
{
    ev_io_stop(redis->loop, &redis->readable);
    ev_io_stop(redis->loop, &redis->writable);
    ev_timer_stop(redis->loop, &redis->deadline);
    ev_timer_stop(redis->loop, &redis->measure);
    if (redis->context != NULL)
        redisFree(redis->context);
    redis->context = NULL;
}

static void set_deadline(struct old_redis *redis, int64_t ms)
{
    ev_now_update(redis->loop);
    ev_timer_stop(redis->loop, &redis->deadline);
    ev_timer_set(&redis->deadline, (double)ms / 1000.0, 0.0);
    ev_timer_start(redis->loop, &redis->deadline);
}

/* The one way down: every failure of the connection comes through here. */
static void go_down(struct old_redis *redis, const char *why)
{
    bool was_up = redis->state == REDIS_UP;

    if (!redis->outage_logged)
        log_event(LOG_LEVEL_WARN, "redis is away",
                  log_text("connection", redis->options.client_name),
                  log_text("address", redis->options.settings->address), log_text("error", why));
    redis->outage_logged = true;
    drop_context(redis);
    redis->state = REDIS_DOWN;
    /* a connection that had worked is most often back at once */
    set_deadline(redis, was_up ? 0 : RETRY_MS);
    if (was_up && redis->options.on_change != NULL)
        redis->options.on_change(redis->options.data, false);
}

static void go_down_with_context(struct old_redis *redis)
{
    char why[160];

    snprintf(why, sizeof why, "%s",
             redis->context->errstr[0] != '\0' ? redis->context->errstr : strerror(errno));
    go_down(redis, why);
}

static void append(struct old_redis *redis, const struct old_redis_part *parts, size_t count)
{
    const char *argv[OLD_REDIS_MAX_PARTS];
    size_t lens[OLD_REDIS_MAX_PARTS];

    assert(count <= OLD_REDIS_MAX_PARTS);
    for (size_t i = 0; i < count; i++) {
        argv[i] = parts[i].data;
        lens[i] = parts[i].len;
    }
    redisAppendCommandArgv(redis->context, (int)count, argv, lens);
    redis->unsent = true;
}

/* Where processes tell each other that Redis's clock was set back. */
static void append_step_question(struct old_redis *redis)
{
    append(redis,
           (struct old_redis_part[]){old_redis_text("GETRANGE"), old_redis_text(redis->step_key),
                                     old_redis_text("0"), old_redis_text(STEP_LAST_BYTE)},
           4);
}

static void take_step(struct old_redis *redis, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING ||
        redis_clock_step_parse(reply->str, reply->len, &redis->heard) == -1)
        redis->heard = (struct redis_clock_step){0, 0};
}

/* What somebody else has told, once. */
static void learn_step(struct old_redis *redis)
{
    const struct redis_clock_step heard = redis->heard;

    if (heard.until_us == 0 || (heard.until_us == redis->known_step.until_us &&
                                heard.ahead_us == redis->known_step.ahead_us))
        return;
    redis->known_step = heard;
    redis_clock_learn(&redis->clock, &heard);
}

void old_redis_take_time(struct old_redis *redis, int64_t sent_us, const redisReply *reply)
{
    int64_t seconds, micros;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements < 2)
        return;
    redisReply *const *time = &reply->element[reply->elements - 2];
    if (time[0]->type != REDIS_REPLY_STRING || time[1]->type != REDIS_REPLY_STRING ||
        !num_parse_i64(time[0]->str, time[0]->len, &seconds) ||
        !num_parse_i64(time[1]->str, time[1]->len, &micros) || seconds < 0 ||
        seconds > MAX_SECONDS || micros < 0 || micros >= 1000000)
        return;
    int64_t set_us = redis_clock_measure(&redis->clock, sent_us, clock_monotonic_us(),
                                         seconds * 1000000 + micros, redis->lead_us);
    redis->used = false;
    learn_step(redis);
    if (set_us == 0 || redis->options.on_reply != NULL)
        return;
    /* put right, what was told of a step before is wrong */
    redis->step_untold = set_us < 0 || redis->clock.step_until_us != 0;
    if (set_us < 0)
        log_event(LOG_LEVEL_WARN, "redis's clock was set back",
                  log_text("connection", redis->options.client_name),
                  log_number("ms", -set_us / 1000));
}

static void tell_step(struct old_redis *redis)
{
    const struct redis_clock_step step = redis_clock_tell(&redis->clock);
    char text[REDIS_CLOCK_STEP_BYTES];
    struct old_redis_digits ms;

    if (!redis->step_untold)
        return;
    redis_clock_step_format(&step, text);
    const struct old_redis_part set[] = {old_redis_text("SET"), old_redis_text(redis->step_key),
                                         old_redis_text(text), old_redis_text("PX"),
                                         old_redis_number(&ms, STEP_KEPT_MS)};
    const struct old_redis_part del[] = {old_redis_text("DEL"), old_redis_text(redis->step_key)};
    bool is_ahead = step.ahead_us > STEP_LEAST_US; /* else it has been put right */
    redisReply *reply = old_redis_command(redis, is_ahead ? set : del, is_ahead ? 5 : 2);
    redis->step_untold = old_redis_reply_failed(reply, is_ahead ? "SET" : "DEL");
    redis->known_step = step;
    if (reply != NULL)
        freeReplyObject(reply);
}

/* Rarely: those who live see a step themselves. */
static void ask_for_step(struct old_redis *redis)
{
    int64_t now_us = clock_monotonic_us();

    /* the measurement before may have found it down */
    if (redis->state != REDIS_UP || now_us - redis->step_asked_us < (int64_t)STEP_ASK_S * 1000000)
        return;
    redis->step_asked_us = now_us;
    append_step_question(redis);
    redisReply *step = old_redis_next(redis);
    if (step != NULL) {
        take_step(redis, step);
        freeReplyObject(step);
    }
}

void old_redis_measure(struct old_redis *redis)
{
    int64_t sent_us = clock_monotonic_us();
    old_redis_queue(redis, (struct old_redis_part[]){old_redis_text("TIME")}, 1);
    old_redis_next_time(redis, sent_us);
}

static void on_measure(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct old_redis *redis = timer->data;
    int64_t age_us = clock_monotonic_us() - redis->clock.last.sent_us;

    (void)loop;
    (void)events;
    /* other commands may have brought the time just now */
    if (age_us >= (redis->used ? REDIS_CLOCK_MEASURE_MS / 2 : REDIS_CLOCK_IDLE_MS) * 1000)
        old_redis_measure(redis);
    ask_for_step(redis);
    tell_step(redis);
}

/* From here on commands are awaited in place. */
static bool make_blocking(struct old_redis *redis)
{
    redisContext *context = redis->context;
    int flags = fcntl(context->fd, F_GETFL);

    if (flags == -1 || fcntl(context->fd, F_SETFL, flags & ~O_NONBLOCK) == -1)
        return false;
    context->flags |= REDIS_BLOCK;
    return redisSetTimeout(context, to_timeval(redis->options.settings->command_timeout_ms)) ==
           REDIS_OK;
}

static void go_up(struct old_redis *redis)
{
    ev_timer_stop(redis->loop, &redis->deadline);
    if (redis->options.on_reply == NULL && !make_blocking(redis)) {
        go_down(redis, strerror(errno));
        return;
    }
    redis->state = REDIS_UP;
    if (redis->options.on_reply == NULL)
        ev_timer_again(redis->loop, &redis->measure);
    if (redis->outage_logged)
        log_event(LOG_LEVEL_INFO, "redis is back",
                  log_text("connection", redis->options.client_name),
                  log_text("address", redis->options.settings->address));
    redis->outage_logged = false;
    tell_step(redis);
    if (redis->state == REDIS_UP && redis->options.on_change != NULL)
        redis->options.on_change(redis->options.data, true);
}

/* TIME is the handshake's last command, the question for steps the one before. Any other's error
   reply ends the attempt (a server that is still loading, a wrong password). */
static void take_handshake_reply(struct old_redis *redis, const redisReply *reply)
{
    if (redis->handshake_replies == 2) {
        redis->handshake_replies--;
        take_step(redis, reply);
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        char error[ERROR_BYTES];
        redis_info_error(reply->str, error, sizeof error);
        go_down(redis, error);
        return;
    }
    if (--redis->handshake_replies > 0)
        return;
    old_redis_take_time(redis, redis->time_sent_us, reply);
    if (!redis->clock.known) {
        go_down(redis, "TIME was not understood");
        return;
    }
    go_up(redis);
}

static void take_replies(struct old_redis *redis)
{
    redisContext *context = redis->context;
    void *reply = NULL;

    while (redis->context == context) {
        if (redisGetReplyFromReader(context, &reply) != REDIS_OK) {
            go_down_with_context(redis);
            return;
        }
        if (reply == NULL)
            return;
        if (redis->state == REDIS_SHAKING_HANDS)
            take_handshake_reply(redis, reply);
        else if (redis->options.on_reply != NULL)
            redis->options.on_reply(redis->options.data, reply);
        freeReplyObject(reply);
    }
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct old_redis *redis = watcher->data;

    (void)loop;
    (void)events;
    /* on a connection used in place nothing is awaited here: this is its end */
    if (redis->state == REDIS_UP && redis->options.on_reply == NULL) {
        char byte;
        if (recv(redis->context->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != -1 || errno != EAGAIN)
            go_down(redis, "connection closed");
        return;
    }
    if (redisBufferRead(redis->context) != REDIS_OK) {
        go_down_with_context(redis);
        return;
    }
    take_replies(redis);
}

static void write_out(struct old_redis *redis)
{
    int done = 0;

    if (redisBufferWrite(redis->context, &done) != REDIS_OK)
        go_down_with_context(redis);
    else if (done)
        ev_io_stop(redis->loop, &redis->writable);
    else
        ev_io_start(redis->loop, &redis->writable);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    write_out(watcher->data);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct old_redis *redis = timer->data;

    (void)loop;
    (void)events;
    if (redis->state == REDIS_SHAKING_HANDS)
        go_down(redis, "no answer in time");
    else if (redis->state == REDIS_DOWN)
        start_connecting(redis);
}

static void queue_handshake(struct old_redis *redis)
{
    const struct redis_settings *settings = redis->options.settings;
    char database[24];

    redis->handshake_replies = 0;
    if (settings->password[0] != '\0') {
        bool named = settings->username[0] != '\0';
        const struct old_redis_part auth[] = {
            old_redis_text("AUTH"),
            old_redis_text(named ? settings->username : settings->password),
            old_redis_text(settings->password),
        };
        append(redis, auth, named ? 3 : 2);
        redis->handshake_replies++;
    }
    if (settings->database != 0) {
        snprintf(database, sizeof database, "%lld", (long long)settings->database);
        append(redis, (struct old_redis_part[]){old_redis_text("SELECT"), old_redis_text(database)},
               2);
        redis->handshake_replies++;
    }
    append(redis,
           (struct old_redis_part[]){old_redis_text("CLIENT"), old_redis_text("SETNAME"),
                                     old_redis_text(redis->options.client_name)},
           3);
    /* PING is refused while a server loads its data, TIME is not */
    append(redis, (struct old_redis_part[]){old_redis_text("PING")}, 1);
    append_step_question(redis);
    append(redis, (struct old_redis_part[]){old_redis_text("TIME")}, 1);
    redis->handshake_replies += 4;
    redis->lead_us = clock_time_of_day_lead_us();
    redis->time_sent_us = clock_monotonic_us();
}

static redisContext *connect_to(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0)
        return redisConnectUnixNonBlock(address + 5);

    /* "tcp:HOST:PORT", checked by the configuration; HOST may be in brackets */
    char host[256];
    const char *from = address + 4;
    const char *colon = strrchr(from, ':');
    size_t len = colon != NULL ? (size_t)(colon - from) : strlen(from);
    if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
        from++;
        len -= 2;
    }
    snprintf(host, sizeof host, "%.*s", (int)len, from);
    return redisConnectNonBlock(host, colon != NULL ? atoi(colon + 1) : 6379);
}

static void start_connecting(struct old_redis *redis)
{
    const struct redis_settings *settings = redis->options.settings;
    redisContext *context = mem_check(connect_to(settings->address));

    redis->context = context;
    context->reader->maxbuf = READER_KEEPS_BYTES;
    if (context->err != 0) {
        go_down_with_context(redis);
        return;
    }
    fcntl(context->fd, F_SETFD, FD_CLOEXEC);
    redis->state = REDIS_SHAKING_HANDS;
    ev_io_set(&redis->readable, context->fd, EV_READ);
    ev_io_set(&redis->writable, context->fd, EV_WRITE);
    queue_handshake(redis);
    ev_io_start(redis->loop, &redis->readable);
    ev_io_start(redis->loop, &redis->writable);
    set_deadline(redis, settings->connect_timeout_ms + settings->command_timeout_ms);
}

static int old_redis_destroy(struct old_redis *redis)
{
    drop_context(redis);
    return 0;
}

struct old_redis *old_redis_new(TALLOC_CTX *ctx, struct ev_loop *loop,
                                const struct old_redis_options *options)
{
    struct old_redis *redis = mem_check(talloc_zero(ctx, struct old_redis));

    redis->loop = loop;
    redis->options = *options;
    redis->timeout_ms = options->settings->command_timeout_ms;
    redis->step_key = mem_check(talloc_asprintf(redis, "%s:clock", options->settings->prefix));
    ev_init(&redis->readable, on_readable);
    ev_init(&redis->writable, on_writable);
    ev_init(&redis->deadline, on_deadline);
    ev_timer_init(&redis->measure, on_measure, 0.0, REDIS_CLOCK_MEASURE_MS / 1000.0);
    redis->readable.data = redis->writable.data = redis;
    redis->deadline.data = redis->measure.data = redis;
    talloc_set_destructor(redis, old_redis_destroy);
    start_connecting(redis);
    return redis;
}

bool old_redis_wait_up(struct old_redis *redis, int64_t ms)
{
    int64_t until = clock_monotonic_us() + ms * 1000;

    while (redis->state != REDIS_UP && clock_monotonic_us() < until) {
        struct pollfd fd = {.fd = redis->context != NULL ? redis->context->fd : -1,
                            .events = POLLIN};
        if (redis->state == REDIS_SHAKING_HANDS)
            write_out(redis);
        if (redis->state == REDIS_SHAKING_HANDS && ev_is_active(&redis->writable))
            fd.events |= POLLOUT;
        if (poll(&fd, redis->state == REDIS_SHAKING_HANDS ? 1 : 0, 20) > 0 &&
            (fd.revents & (POLLIN | POLLERR | POLLHUP)) != 0)
            on_readable(redis->loop, &redis->readable, EV_READ);
        if (redis->state == REDIS_DOWN)
            start_connecting(redis);
    }
    return redis->state == REDIS_UP;
}

void old_redis_queue(struct old_redis *redis, const struct old_redis_part *parts, size_t count)
{
    if (redis->state == REDIS_UP)
        append(redis, parts, count);
}

/* Why a call on a blocking connection, whose time-out is command_timeout, has just failed. */
static const char *blocking_problem(void)
{
    return errno == EAGAIN ? COMMAND_TIMED_OUT : strerror(errno);
}

/* NULL, or what is wrong. */
static const char *send_queued(struct old_redis *redis)
{
    redisContext *context = redis->context;
    int done = 0;

    if (!redis->unsent)
        return NULL;
    redis->unsent = false;
    redis->used = true;
    redis->lead_us = clock_time_of_day_lead_us();
    redis->reply_begun = false;
    redis->replies_until_us = clock_monotonic_us() + redis->timeout_ms * 1000;
    while (!done)
        if (redisBufferWrite(context, &done) != REDIS_OK)
            return context->err == REDIS_ERR_IO ? blocking_problem() : context->errstr;
    return NULL;
}

/* The socket's own time-out begins anew with each piece of a reply, and is good for the first. */
static bool comes_in_time(const struct old_redis *redis)
{
    struct pollfd socket = {.fd = redis->context->fd, .events = POLLIN};
    int ready;

    do {
        int64_t left_us = redis->replies_until_us - clock_monotonic_us();
        ready = poll(&socket, 1, left_us > 0 ? (int)((left_us + 999) / 1000) : 0);
    } while (ready == -1 && errno == EINTR);
    return ready == 1;
}

/* Waits for more of a reply. In larger pieces than hiredis's own 16 KiB, of which a large response
   would take many. NULL, or what is wrong. */
static const char *read_more(struct old_redis *redis)
{
    static char room[64 * 1024];
    redisContext *context = redis->context;
    ssize_t got;

    if (redis->reply_begun && !comes_in_time(redis))
        return COMMAND_TIMED_OUT;
    redis->reply_begun = true;
    do
        got = read(context->fd, room, sizeof room);
    while (got == -1 && errno == EINTR);
    if (got == -1)
        return blocking_problem();
    if (got == 0)
        return "Server closed the connection";
    return redisReaderFeed(context->reader, room, (size_t)got) == REDIS_OK
               ? NULL
               : context->reader->errstr;
}

redisReply *old_redis_next(struct old_redis *redis)
{
    void *reply = NULL;

    if (redis->state != REDIS_UP)
        return NULL;
    const char *problem = send_queued(redis);
    while (reply == NULL && problem == NULL) {
        if (redisGetReplyFromReader(redis->context, &reply) != REDIS_OK)
            problem = redis->context->errstr;
        else if (reply == NULL)
            problem = read_more(redis);
    }
    if (problem == NULL)
        return reply;
    char why[160]; /* what is wrong goes down with the connection */
    snprintf(why, sizeof why, "%s", problem);
    go_down(redis, why);
    return NULL;
}

redisReply *old_redis_command(struct old_redis *redis, const struct old_redis_part *parts,
                              size_t count)
{
    old_redis_queue(redis, parts, count);
    return old_redis_next(redis);
}

redisReply *old_redis_command_blocking(struct old_redis *redis, int64_t block_ms,
                                       const struct old_redis_part *parts, size_t count)
{
    int64_t usual_ms = redis->options.settings->command_timeout_ms;

    if (redis->state != REDIS_UP)
        return NULL;
    redis->timeout_ms = block_ms + BLOCK_OVERRUN_MS + usual_ms;
    redisSetTimeout(redis->context, to_timeval(redis->timeout_ms));
    redisReply *reply = old_redis_command(redis, parts, count);
    redis->timeout_ms = usual_ms;
    if (redis->state == REDIS_UP)
        redisSetTimeout(redis->context, to_timeval(usual_ms));
    return reply;
}

bool old_redis_queue_time(struct old_redis *redis, int64_t *sent_us)
{
    *sent_us = clock_monotonic_us();
    if (redis->state != REDIS_UP ||
        redis_clock_is_current(&redis->clock, *sent_us, clock_time_of_day_lead_us()))
        return false;
    append(redis, (struct old_redis_part[]){old_redis_text("TIME")}, 1);
    return true;
}

void old_redis_next_time(struct old_redis *redis, int64_t sent_us)
{
    redisReply *time = old_redis_next(redis);

    old_redis_take_time(redis, sent_us, time);
    if (time != NULL)
        freeReplyObject(time);
}

void old_redis_post(struct old_redis *redis, const struct old_redis_part *parts, size_t count)
{
    if (redis->state != REDIS_UP)
        return;
    append(redis, parts, count);
    write_out(redis);
}

bool old_redis_reply_is(const redisReply *reply, const char *text)
{
    return (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) &&
           reply->len == strlen(text) && memcmp(reply->str, text, reply->len) == 0;
}

bool old_redis_reply_failed(const redisReply *reply, const char *what)
{
    char error[ERROR_BYTES];

    if (reply == NULL)
        return true;
    if (reply->type != REDIS_REPLY_ERROR)
        return false;
    redis_info_error(reply->str, error, sizeof error);
    log_event_limited(LOG_LEVEL_WARN, "redis refused a command", log_text("command", what),
                      log_text("error", error));
    return true;
}
