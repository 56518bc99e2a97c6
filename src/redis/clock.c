/* SPDX-License-Identifier: BSD-2-Clause */
/* Bounds of Redis's clock from questions and their answers. */
#include "config.h"

#include "redis/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

enum {
    /* Of the time that has passed: a kernel slews by a tenth at the most; and some for hardware. */
    SLEW_DIVISOR = 9,
    /* Nobody slews for long: of a longer time between two measurements only this much counts for
       slewing, and what is lost in the rest beyond 500 ppm was a step. */
    SLEWED_FOR_US = 5 * 1000 * 1000,
    /* 500 ppm: what a kernel corrects the rate of its hardware by. */
    UNSEEN_DIVISOR = 2000,
    /* Two clocks can't be read at once. */
    READING_US = 5000,
};

/* How far a moment is from when the clock was read, at the most. */
static int64_t distance(const struct redis_clock_reading *reading, int64_t local_us)
{
    int64_t after_us = local_us - reading->sent_us, before_us = reading->received_us - local_us;

    return after_us > before_us ? after_us : before_us;
}

/* Rounded up, which also covers that all clocks are read in whole microseconds. */
static int64_t share(int64_t us, int64_t divisor)
{
    return (us + divisor - 1) / divisor;
}

static int64_t earliest_by(const struct redis_clock_reading *reading, int64_t local_us)
{
    return local_us + reading->low_us - share(distance(reading, local_us), SLEW_DIVISOR);
}

static int64_t latest_by(const struct redis_clock_reading *reading, int64_t local_us)
{
    return local_us + reading->high_us + share(distance(reading, local_us), SLEW_DIVISOR);
}

/* What a clock that was not set may have lost since a reading. */
static int64_t most_lost(const struct redis_clock_reading *reading, int64_t local_us)
{
    int64_t passed_us = distance(reading, local_us);

    if (passed_us <= SLEWED_FOR_US)
        return share(passed_us, SLEW_DIVISOR);
    return share(SLEWED_FOR_US, SLEW_DIVISOR) + share(passed_us - SLEWED_FOR_US, UNSEEN_DIVISOR);
}

static void remove_past(struct redis_clock *clock, size_t at, size_t count)
{
    memmove(&clock->past[at], &clock->past[at + count],
            (clock->n_past - at - count) * sizeof clock->past[0]);
    clock->n_past -= count;
}

/* Of two neighbours the later one takes over what the earlier one says. Where that adds least, for
   how long ago they are. */
static void thin_out(struct redis_clock *clock)
{
    const struct redis_clock_past *past = clock->past;
    int64_t newest_us = past[clock->n_past - 1].until_us;
    double least = 0;
    size_t at = 0;

    for (size_t i = 0; i + 1 < clock->n_past; i++) {
        double cost = (double)(past[i].high_us - past[i + 1].high_us) /
                      (double)(newest_us - past[i].until_us + 1);
        if (i == 0 || cost < least) {
            least = cost;
            at = i;
        }
    }
    clock->past[at + 1].high_us = past[at].high_us;
    remove_past(clock, at, 1);
}

/* Keeps `past` in order, until rising and high falling: what is neither later nor higher than
   another says nothing. */
static void remember(struct redis_clock *clock, int64_t until_us, int64_t high_us)
{
    size_t at = 0, first = 0;

    while (at < clock->n_past && clock->past[at].until_us < until_us)
        at++;
    if (at < clock->n_past && clock->past[at].high_us >= high_us)
        return;
    if (at < clock->n_past && clock->past[at].until_us == until_us)
        at++;
    while (first < at && clock->past[first].high_us > high_us)
        first++;
    remove_past(clock, first, at - first);
    if (clock->n_past == REDIS_CLOCK_PAST) {
        thin_out(clock);
        remember(clock, until_us, high_us);
        return;
    }
    memmove(&clock->past[first + 1], &clock->past[first],
            (clock->n_past - first) * sizeof clock->past[0]);
    clock->past[first] = (struct redis_clock_past){until_us, high_us};
    clock->n_past++;
}

/* Of several the clock that ran furthest ahead is told for all. */
static void remember_step(struct redis_clock *clock, int64_t until_us, int64_t high_us)
{
    remember(clock, until_us, high_us);
    if (clock->step_until_us == 0 || clock->step_high_us < high_us)
        clock->step_high_us = high_us;
    if (clock->step_until_us < until_us)
        clock->step_until_us = until_us;
}

int64_t redis_clock_measure(struct redis_clock *clock, int64_t sent_us, int64_t received_us,
                            int64_t redis_us, int64_t lead_us)
{
    const struct redis_clock_reading last = clock->last;
    const struct redis_clock_reading next = {
        .low_us = redis_us - received_us,
        .high_us = redis_us - sent_us,
        .sent_us = sent_us,
        .received_us = received_us,
    };

    clock->lead_us = lead_us;
    if (!clock->known) {
        clock->known = true;
        clock->first_us = redis_us;
        clock->last = next;
        return 0;
    }
    int64_t back_us = last.low_us - next.high_us - most_lost(&last, sent_us);
    /* whole: what the last one says may be from before this machine stood still, or before Redis's
       clock was set by less than an answer takes */
    clock->last = next;
    if (back_us > 0) {
        remember_step(clock, received_us + last.high_us + REDIS_CLOCK_UNNOTICED_US, last.high_us);
        return -back_us;
    }
    remember(clock, redis_us, last.high_us);
    int64_t forward_us = redis_us - latest_by(&last, received_us);
    return forward_us > 0 ? forward_us : 0;
}

bool redis_clock_is_current(const struct redis_clock *clock, int64_t local_us, int64_t lead_us)
{
    int64_t moved_us = lead_us - clock->lead_us;

    return clock->known && local_us - clock->last.sent_us < REDIS_CLOCK_OLD_US &&
           (moved_us < 0 ? -moved_us : moved_us) <
               READING_US + share(distance(&clock->last, local_us), SLEW_DIVISOR);
}

int64_t redis_clock_earliest(const struct redis_clock *clock, int64_t local_us)
{
    return earliest_by(&clock->last, local_us);
}

int64_t redis_clock_latest(const struct redis_clock *clock, int64_t local_us)
{
    return latest_by(&clock->last, local_us);
}

int64_t redis_clock_earliest_after(const struct redis_clock *clock,
                                   const struct redis_clock_reading *before, int64_t local_us)
{
    int64_t then_us = earliest_by(before, local_us);

    /* set back in between: only the last one goes on */
    return then_us > redis_clock_latest(clock, local_us) ? redis_clock_earliest(clock, local_us)
                                                         : then_us;
}

/* What a clock that nobody here has seen can have lost of an age. */
static int64_t unseen_loss(const struct redis_clock *clock, int64_t snapshot_us)
{
    return snapshot_us < clock->first_us ? (clock->first_us - snapshot_us) / UNSEEN_DIVISOR : 0;
}

int64_t redis_clock_latest_for(const struct redis_clock *clock, int64_t snapshot_us,
                               int64_t local_us)
{
    int64_t latest_us = redis_clock_latest(clock, local_us);

    for (size_t i = 0; i < clock->n_past; i++)
        if (clock->past[i].until_us >= snapshot_us) {
            if (local_us + clock->past[i].high_us > latest_us)
                latest_us = local_us + clock->past[i].high_us;
            break;
        }
    return latest_us + unseen_loss(clock, snapshot_us);
}

struct redis_clock_step redis_clock_tell(const struct redis_clock *clock)
{
    return (struct redis_clock_step){
        .until_us = clock->step_until_us,
        .ahead_us = clock->step_high_us - clock->last.low_us,
    };
}

void redis_clock_learn(struct redis_clock *clock, const struct redis_clock_step *step)
{
    int64_t now_us = redis_clock_latest(clock, clock->last.received_us);

    /* nobody can have told so */
    if (step->until_us > now_us + step->ahead_us + 2 * REDIS_CLOCK_UNNOTICED_US)
        return;
    remember_step(clock, step->until_us, clock->last.high_us + step->ahead_us);
}

void redis_clock_step_format(const struct redis_clock_step *step, char *out)
{
    snprintf(out, REDIS_CLOCK_STEP_BYTES, "%" PRId64 " %" PRId64, step->until_us, step->ahead_us);
}

int redis_clock_step_parse(const char *text, size_t len, struct redis_clock_step *step)
{
    const char *space = memchr(text, ' ', len);
    static const int64_t most_us = INT64_MAX / 4;

    if (space == NULL || !num_parse_i64(text, (size_t)(space - text), &step->until_us) ||
        !num_parse_i64(space + 1, len - (size_t)(space + 1 - text), &step->ahead_us))
        return -1;
    return step->until_us > 0 && step->until_us < most_us && step->ahead_us > 0 &&
                   step->ahead_us < most_us
               ? 0
               : -1;
}
