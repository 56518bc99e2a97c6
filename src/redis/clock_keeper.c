/* SPDX-License-Identifier: BSD-2-Clause */
/* When the clock is measured, and what is told of it. */
#include "config.h"

#include "redis/clock_keeper.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"

enum {
    STEP_ASK_S = 10,
    STEP_LEAST_US = 5000,
    LEADS = 8,
    /* A lead that differs by less is the same. */
    LEAD_SAME_US = 500,
    /* Of a question that was sent just before the lead was read. */
    LEAD_LATE_US = 1000,
};

/* No entry lives for longer. */
static const int64_t STEP_KEPT_MS = (int64_t)90 * 24 * 3600 * 1000;
#define STEP_LAST_BYTE "47"

/* The end of the year 9999, which a snapshot's 16 digits hold. */
static const int64_t MAX_SECONDS = 253402300799;

struct redis_clock_keeper {
    struct ev_loop *loop;
    struct redis_clock_keeper_options options;
    const char *step_key;
    struct redis_clock clock;
    ev_timer measure;
    bool used;       /* something was asked since the last measurement */
    bool is_asking;  /* TIME is under way */
    int64_t sent_us; /* that TIME */
    /* Leads of the time of day and since when they are so, the newest last: replies come later than
       their questions were sent. */
    struct {
        int64_t from_us;
        int64_t lead_us;
    } leads[LEADS];
    size_t n_leads;
    int64_t step_asked_us;              /* when others' steps were last asked for */
    struct redis_clock_step heard;      /* from others */
    struct redis_clock_step known_step; /* learnt from others, or told by us */
    struct redis_clock_step told;       /* that is being told */
    bool step_untold;
    bool is_telling;
};

bool redis_time_parse(const struct redis_reply *reply, int64_t *us)
{
    int64_t seconds, micros;
    size_t n = reply != NULL && reply->kind == REDIS_ARRAY ? reply->n_elements : 0;

    if (n < 2)
        return false;
    const struct redis_reply *first = redis_reply_element(reply, n - 2, REDIS_TEXT);
    const struct redis_reply *second = redis_reply_element(reply, n - 1, REDIS_TEXT);
    if (first == NULL || second == NULL || !num_parse_i64(first->text, first->len, &seconds) ||
        !num_parse_i64(second->text, second->len, &micros) || seconds < 0 ||
        seconds > MAX_SECONDS || micros < 0 || micros >= 1000000)
        return false;
    *us = seconds * 1000000 + micros;
    return true;
}

size_t redis_clock_keeper_question(const char *step_key, struct redis_part *parts)
{
    parts[0] = redis_text("GETRANGE");
    parts[1] = redis_text(step_key);
    parts[2] = redis_text("0");
    parts[3] = redis_text(STEP_LAST_BYTE);
    return 4;
}

struct redis_clock_step redis_clock_keeper_answer(const struct redis_reply *reply)
{
    struct redis_clock_step step;

    if (reply == NULL || reply->kind != REDIS_TEXT ||
        redis_clock_step_parse(reply->text, reply->len, &step) == -1)
        return (struct redis_clock_step){0, 0};
    return step;
}

static void send_parts(struct redis_clock_keeper *keeper, const struct redis_part *parts,
                       size_t count, bool writes, redis_fn *fn)
{
    const struct redis_command command = {.parts = parts, .count = count, .writes = writes};

    keeper->options.send(keeper->options.data, &command, fn, keeper);
}

/* What somebody else has told, once. */
static void learn_step(struct redis_clock_keeper *keeper)
{
    const struct redis_clock_step heard = keeper->heard;

    if (heard.until_us == 0 || (heard.until_us == keeper->known_step.until_us &&
                                heard.ahead_us == keeper->known_step.ahead_us))
        return;
    keeper->known_step = heard;
    redis_clock_learn(&keeper->clock, &heard);
}

static void on_told(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct redis_clock_keeper *keeper = data;

    (void)reply;
    keeper->is_telling = false;
    if (outcome != REDIS_REPLIED) {
        keeper->step_untold = true;
        return;
    }
    keeper->known_step = keeper->told;
}

static void tell_step(struct redis_clock_keeper *keeper)
{
    char text[REDIS_CLOCK_STEP_BYTES];
    struct redis_digits ms;

    if (!keeper->step_untold || keeper->is_telling)
        return;
    keeper->told = redis_clock_tell(&keeper->clock);
    redis_clock_step_format(&keeper->told, text);
    const struct redis_part set[] = {redis_text("SET"), redis_text(keeper->step_key),
                                     redis_text(text), redis_text("PX"),
                                     redis_number(&ms, STEP_KEPT_MS)};
    const struct redis_part del[] = {redis_text("DEL"), redis_text(keeper->step_key)};
    bool is_ahead = keeper->told.ahead_us > STEP_LEAST_US; /* else it has been put right */
    keeper->step_untold = false;
    keeper->is_telling = true;
    send_parts(keeper, is_ahead ? set : del, is_ahead ? 5 : 2, true, on_told);
}

static void measure(struct redis_clock_keeper *keeper, int64_t sent_us, int64_t received_us,
                    int64_t redis_us, int64_t lead_us)
{
    int64_t set_us = redis_clock_measure(&keeper->clock, sent_us, received_us, redis_us, lead_us);

    keeper->used = false;
    learn_step(keeper);
    if (set_us == 0)
        return;
    /* put right, what was told of a step before is wrong */
    keeper->step_untold = set_us < 0 || keeper->clock.step_until_us != 0;
    if (set_us < 0 && keeper->options.speaks)
        log_event(LOG_LEVEL_WARN, "redis's clock was set back",
                  log_text("connection", keeper->options.client_name),
                  log_number("ms", -set_us / 1000));
}

/* Reads the lead as it is now, if it has changed. */
static void note_lead(struct redis_clock_keeper *keeper)
{
    int64_t lead_us = clock_time_of_day_lead_us();
    size_t n = keeper->n_leads;
    int64_t change_us = n > 0 ? lead_us - keeper->leads[n - 1].lead_us : 0;

    if (n > 0 && change_us < LEAD_SAME_US && change_us > -LEAD_SAME_US)
        return;
    if (n == LEADS)
        memmove(&keeper->leads[0], &keeper->leads[1], (--n) * sizeof keeper->leads[0]);
    keeper->leads[n].from_us = clock_monotonic_us();
    keeper->leads[n].lead_us = lead_us;
    keeper->n_leads = n + 1;
}

/* As it was when a question was sent. What is older than all that is known gets the oldest: at
   worst the measurement does not count as current. */
static int64_t lead_at(const struct redis_clock_keeper *keeper, int64_t sent_us)
{
    size_t at = keeper->n_leads - 1;

    while (at > 0 && keeper->leads[at].from_us > sent_us + LEAD_LATE_US)
        at--;
    return keeper->leads[at].lead_us;
}

void redis_clock_keeper_take_time(struct redis_clock_keeper *keeper, int64_t sent_us,
                                  const struct redis_reply *reply)
{
    int64_t redis_us;

    if (!redis_time_parse(reply, &redis_us) || keeper->n_leads == 0)
        return;
    /* answers come in any order: one that was asked before the last says nothing new */
    if (keeper->clock.known && sent_us < keeper->clock.last.sent_us)
        return;
    measure(keeper, sent_us, clock_monotonic_us(), redis_us, lead_at(keeper, sent_us));
}

static void on_time(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct redis_clock_keeper *keeper = data;

    keeper->is_asking = false;
    if (outcome == REDIS_REPLIED)
        redis_clock_keeper_take_time(keeper, keeper->sent_us, reply);
}

static void on_step(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct redis_clock_keeper *keeper = data;

    if (outcome == REDIS_REPLIED)
        keeper->heard = redis_clock_keeper_answer(reply);
}

/* Rarely: those who live see a step themselves. */
static void ask_for_step(struct redis_clock_keeper *keeper)
{
    struct redis_part parts[4];
    int64_t now_us = clock_monotonic_us();

    if (now_us - keeper->step_asked_us < (int64_t)STEP_ASK_S * 1000000)
        return;
    keeper->step_asked_us = now_us;
    send_parts(keeper, parts, redis_clock_keeper_question(keeper->step_key, parts), false, on_step);
}

static void on_measure(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct redis_clock_keeper *keeper = timer->data;
    int64_t age_us = clock_monotonic_us() - keeper->clock.last.sent_us;
    const struct redis_part time = redis_text("TIME");

    (void)loop;
    (void)events;
    /* other commands may have brought the time just now */
    if (!keeper->is_asking &&
        age_us >= (keeper->used ? REDIS_CLOCK_MEASURE_MS / 2 : REDIS_CLOCK_IDLE_MS) * 1000) {
        note_lead(keeper);
        keeper->is_asking = true;
        keeper->sent_us = clock_monotonic_us();
        send_parts(keeper, &time, 1, false, on_time);
    }
    ask_for_step(keeper);
    tell_step(keeper);
}

static int destroy(struct redis_clock_keeper *keeper)
{
    ev_timer_stop(keeper->loop, &keeper->measure);
    return 0;
}

struct redis_clock_keeper *redis_clock_keeper_new(TALLOC_CTX *ctx, struct ev_loop *loop,
                                                  const struct redis_clock_keeper_options *options)
{
    struct redis_clock_keeper *keeper = mem_check(talloc_zero(ctx, struct redis_clock_keeper));

    keeper->loop = loop;
    keeper->options = *options;
    keeper->step_key = mem_check(talloc_asprintf(keeper, "%s:clock", options->prefix));
    ev_timer_init(&keeper->measure, on_measure, 0.0, REDIS_CLOCK_MEASURE_MS / 1000.0);
    keeper->measure.data = keeper;
    talloc_set_destructor(keeper, destroy);
    return keeper;
}

const char *redis_clock_keeper_step_key(const struct redis_clock_keeper *keeper)
{
    return keeper->step_key;
}

const struct redis_clock *redis_clock_keeper_clock(const struct redis_clock_keeper *keeper)
{
    return &keeper->clock;
}

void redis_clock_keeper_start(struct redis_clock_keeper *keeper,
                              const struct redis_greeting_result *greeting)
{
    note_lead(keeper);
    keeper->heard = greeting->step;
    keeper->step_asked_us = greeting->sent_us;
    measure(keeper, greeting->sent_us, greeting->received_us, greeting->redis_us,
            greeting->lead_us);
    ev_timer_again(keeper->loop, &keeper->measure);
    tell_step(keeper);
}

void redis_clock_keeper_stop(struct redis_clock_keeper *keeper)
{
    ev_timer_stop(keeper->loop, &keeper->measure);
}

void redis_clock_keeper_use(struct redis_clock_keeper *keeper)
{
    keeper->used = true;
    note_lead(keeper);
}

bool redis_clock_keeper_will_do(struct redis_clock_keeper *keeper)
{
    note_lead(keeper);
    return redis_clock_is_current(&keeper->clock, clock_monotonic_us(),
                                  clock_time_of_day_lead_us());
}
