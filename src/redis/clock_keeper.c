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
    STEP_ASK_US = 2 * 1000 * 1000,
    STEP_LEAST_US = 5000,
    LEADS = 8,
    /* A lead that differs by less is the same. */
    LEAD_SAME_US = 500,
    /* Of a question that was sent just before the lead was read. */
    LEAD_LATE_US = 1000,
};

#define STEP_LAST_BYTE "47"

/* No entry lives for longer. */
static const int64_t STEP_MATTERS_US = (int64_t)90 * 24 * 3600 * 1000000;

/* KEYS: the step. ARGV: until and ahead as they are believed to be there, 0 for nothing; what is to
   be there, or "" for nothing. Answers with what is there then: if somebody else has told something
   meanwhile it stays, for he may know more. Without an expiry, so that no policy of eviction but
   those for all keys takes it away. */
static const char tell_script[] =
    "local held = redis.pcall('GETRANGE', KEYS[1], 0, " STEP_LAST_BYTE ") "
    "if type(held) == 'table' and string.sub(held.err, 1, 9) ~= 'WRONGTYPE' then return held end "
    "if type(held) == 'table' then held = '' end "
    "local till, ahead = string.match(held, '^(%d+) (%d+)$') "
    "if not till or #till > 18 or #ahead > 18 or tonumber(till) == 0 or tonumber(ahead) == 0 then "
    "  till, ahead = 0, 0 "
    "end "
    "if tonumber(till) ~= tonumber(ARGV[1]) or tonumber(ahead) ~= tonumber(ARGV[2]) then "
    "  return held "
    "end "
    "if ARGV[3] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[3]) end "
    "return ARGV[3]";

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
    int64_t step_asked_us;         /* when others' steps were last asked for */
    int64_t step_told_us;          /* when one was last told, or an attempt at it made */
    struct redis_clock_step there; /* in the key, as far as we know; all 0: nothing */
    struct redis_clock_step known; /* learnt from others, or told by us; all 0: none */
    struct redis_clock_step told;  /* that is being told */
    struct {
        int64_t until_us;
        int64_t high_us;
    } lived;         /* the steps that we have seen ourselves, as in struct redis_clock; 0: none */
    bool is_righted; /* the clock was set forward after a step: what is there may say too much */
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

static bool is_same_step(const struct redis_clock_step *a, const struct redis_clock_step *b)
{
    return a->until_us == b->until_us && a->ahead_us == b->ahead_us;
}

/* What the key says is taken in once. */
static void hear_step(struct redis_clock_keeper *keeper, struct redis_clock_step there)
{
    keeper->there = there;
    if (there.until_us == 0 || is_same_step(&there, &keeper->known) || !keeper->clock.known)
        return;
    keeper->known = there;
    redis_clock_learn(&keeper->clock, &there);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What the key ought to say: what it says and what we have seen ourselves, and, should it be lost,
   what we know of it. What was learnt is told on as it was, for each time it is taken for a little
   more than it was. */
static struct redis_clock_step due_step(const struct redis_clock_keeper *keeper, int64_t now_us)
{
    static const struct redis_clock_step none;
    const struct redis_clock_step all = redis_clock_tell(&keeper->clock);
    struct redis_clock_step due = keeper->there;

    if (all.until_us == 0 || all.until_us + STEP_MATTERS_US < keeper->clock.last.low_us + now_us)
        return due;
    if (keeper->is_righted)
        return all.ahead_us > STEP_LEAST_US ? all : none;
    if (all.ahead_us <= STEP_LEAST_US)
        return due;
    if (due.until_us == 0)
        due = keeper->known;
    if (keeper->lived.until_us == 0)
        return due;
    due.until_us = larger(due.until_us, keeper->lived.until_us);
    due.ahead_us = larger(due.ahead_us, keeper->lived.high_us - keeper->clock.last.low_us);
    return due;
}

/* The clocks of two who have seen the same step are not the same to the microsecond. */
static bool is_worth_telling(const struct redis_clock_keeper *keeper,
                             const struct redis_clock_step *due)
{
    const struct redis_clock_step *there = &keeper->there;

    if (keeper->is_righted)
        return !is_same_step(due, there);
    return due->until_us > there->until_us || due->ahead_us > there->ahead_us + STEP_LEAST_US;
}

static void on_told(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct redis_clock_keeper *keeper = data;

    keeper->is_telling = false;
    if (outcome != REDIS_REPLIED)
        return;
    struct redis_clock_step there = redis_clock_keeper_answer(reply);
    if (is_same_step(&there, &keeper->told)) {
        keeper->there = keeper->known = there;
        keeper->is_righted = false;
    } else {
        hear_step(keeper, there);
    }
}

static void tell_step(struct redis_clock_keeper *keeper)
{
    int64_t now_us = clock_monotonic_us();
    struct redis_clock_step due = due_step(keeper, now_us);
    char text[REDIS_CLOCK_STEP_BYTES] = "";
    struct redis_digits until, ahead;

    if (keeper->is_telling)
        return;
    if (!is_worth_telling(keeper, &due)) {
        keeper->is_righted = false;
        return;
    }
    if (keeper->step_told_us != 0 && now_us - keeper->step_told_us < STEP_ASK_US)
        return;
    if (due.until_us != 0)
        redis_clock_step_format(&due, text);
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        {tell_script, sizeof tell_script - 1},
        redis_text("1"),
        redis_text(keeper->step_key),
        redis_number(&until, keeper->there.until_us),
        redis_number(&ahead, keeper->there.ahead_us),
        redis_text(text),
    };
    keeper->told = due;
    keeper->step_told_us = now_us;
    keeper->is_telling = true;
    send_parts(keeper, parts, sizeof parts / sizeof parts[0], true, on_told);
}

static void measure(struct redis_clock_keeper *keeper, int64_t sent_us, int64_t received_us,
                    int64_t redis_us, int64_t lead_us)
{
    int64_t before_us = keeper->clock.last.high_us;
    int64_t set_us = redis_clock_measure(&keeper->clock, sent_us, received_us, redis_us, lead_us);

    keeper->used = false;
    if (set_us > 0)
        keeper->is_righted = keeper->clock.step_until_us != 0;
    if (set_us >= 0)
        return;
    keeper->lived.until_us =
        larger(keeper->lived.until_us, received_us + before_us + REDIS_CLOCK_UNNOTICED_US);
    keeper->lived.high_us = larger(keeper->lived.high_us, before_us);
    if (keeper->options.speaks)
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

    if (outcome == REDIS_REPLIED && !keeper->is_telling)
        hear_step(keeper, redis_clock_keeper_answer(reply));
}

/* Those who live see a step themselves; but one who knows more may have told more, and what was
   told may be lost. */
static void ask_for_step(struct redis_clock_keeper *keeper)
{
    struct redis_part parts[4];
    int64_t now_us = clock_monotonic_us();

    if (now_us - keeper->step_asked_us < STEP_ASK_US)
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
    keeper->step_key = mem_check(talloc_strdup(keeper, options->step_key));
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
    keeper->step_asked_us = greeting->sent_us;
    measure(keeper, greeting->sent_us, greeting->received_us, greeting->redis_us,
            greeting->lead_us);
    hear_step(keeper, greeting->step);
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
