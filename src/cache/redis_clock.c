/* SPDX-License-Identifier: BSD-2-Clause */
/* Bounds of Redis's clock from one question and its answer. */
#include "config.h"

#include "cache/redis_clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

enum { DRIFT_DIVISOR = 1000 }; /* 1 ms per second */

/* Rounded up, which also covers that all clocks are read in whole microseconds. A moment
   before the measurement is as uncertain as one after it. */
static int64_t drift(int64_t measured_us, int64_t local_us)
{
    int64_t distance = local_us - measured_us;

    if (distance < 0)
        distance = -distance;
    return (distance + DRIFT_DIVISOR - 1) / DRIFT_DIVISOR;
}

static int64_t latest_before(const struct redis_clock *clock, int64_t local_us)
{
    return local_us + clock->before_high_us + drift(clock->before_measured_us, local_us);
}

/* Of several steps back, the clock that runs furthest ahead counts for all. */
static void remember_step(struct redis_clock *clock, int64_t high_us, int64_t measured_us,
                          int64_t until_us)
{
    if (clock->before_until_us == 0 || latest_before(clock, measured_us) < measured_us + high_us) {
        clock->before_high_us = high_us;
        clock->before_measured_us = measured_us;
    }
    if (clock->before_until_us < until_us)
        clock->before_until_us = until_us;
}

int64_t redis_clock_measure(struct redis_clock *clock, int64_t sent_us, int64_t received_us,
                            int64_t redis_us)
{
    int64_t back_us = clock->known ? redis_clock_earliest(clock, sent_us) - redis_us : 0;

    /* carried on to now, so that its drift is counted but once */
    if (back_us > 0)
        remember_step(clock, redis_clock_latest(clock, received_us) - received_us, received_us,
                      redis_clock_latest(clock, received_us) + REDIS_CLOCK_UNNOTICED_US);
    clock->known = true;
    clock->low_us = redis_us - received_us;
    clock->high_us = redis_us - sent_us;
    clock->measured_us = sent_us;
    return back_us > 0 ? back_us : 0;
}

int64_t redis_clock_earliest(const struct redis_clock *clock, int64_t local_us)
{
    return local_us + clock->low_us - drift(clock->measured_us, local_us);
}

int64_t redis_clock_latest(const struct redis_clock *clock, int64_t local_us)
{
    return local_us + clock->high_us + drift(clock->measured_us, local_us);
}

int64_t redis_clock_latest_for(const struct redis_clock *clock, int64_t snapshot_us,
                               int64_t local_us)
{
    int64_t latest_us = redis_clock_latest(clock, local_us);

    if (snapshot_us > clock->before_until_us)
        return latest_us;
    int64_t before_us = latest_before(clock, local_us);
    return before_us > latest_us ? before_us : latest_us;
}

struct redis_clock_step redis_clock_tell(const struct redis_clock *clock)
{
    return (struct redis_clock_step){
        .until_us = clock->before_until_us,
        .ahead_us = latest_before(clock, clock->measured_us) - clock->measured_us - clock->low_us,
    };
}

void redis_clock_learn(struct redis_clock *clock, const struct redis_clock_step *step)
{
    remember_step(clock, clock->high_us + step->ahead_us, clock->measured_us, step->until_us);
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
