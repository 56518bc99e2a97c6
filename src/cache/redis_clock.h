/* SPDX-License-Identifier: BSD-2-Clause */
/* Redis's clock, bounded from both sides. TIME asked at `sent` and answered at
   `received` on the local monotonic clock was read somewhere in between; that,
   and 1 ms of drift per second since, bounds Redis's time at any other moment.
   Pure: no clock is read here.

   Redis's clock may be set: by its administrator, or when another machine takes its
   place. Set forward, what is stored only looks older than it is. Set back, it would
   look younger: so a step back is told from drift by a measurement that the one
   before rules out, and times that may be from before the step are compared with
   the clock as it ran before. Who has lived through the step tells the others, through
   a key in Redis. */
#ifndef LEEWAY_CACHE_REDIS_CLOCK_H
#define LEEWAY_CACHE_REDIS_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zeros at first. */
struct redis_clock {
    bool known;
    int64_t low_us;      /* Redis's time less the monotonic clock, at least */
    int64_t high_us;     /* the same, at most */
    int64_t measured_us; /* on the monotonic clock */
    /* The clock as it was before it was last set back; all 0 if it never was. */
    int64_t before_high_us;     /* as high_us */
    int64_t before_measured_us; /* as measured_us */
    int64_t before_until_us;    /* the latest time that anybody can have taken from it */
};

enum {
    REDIS_CLOCK_MEASURE_S = 10, /* how often to measure */
    /* For so long after a step somebody may go on by the clock from before. */
    REDIS_CLOCK_UNNOTICED_US = (REDIS_CLOCK_MEASURE_S + 5) * 1000 * 1000,
};

/* Takes in one measurement; the newest one always replaces the one before, so
   that a clock that was set is followed. Returns by how much it was set back at
   least, 0 if it was not. */
int64_t redis_clock_measure(struct redis_clock *clock, int64_t sent_us, int64_t received_us,
                            int64_t redis_us);

/* What others have to know of a step back: until which time of its snapshot something may be from
   before, and by how much the clock from before is ahead. Only after a step. */
struct redis_clock_step {
    int64_t until_us;
    int64_t ahead_us;
};
struct redis_clock_step redis_clock_tell(const struct redis_clock *clock);
void redis_clock_learn(struct redis_clock *clock, const struct redis_clock_step *step);

/* The step as text, NUL-terminated, and back: 0, or -1 for anything else. */
enum { REDIS_CLOCK_STEP_BYTES = 48 };
void redis_clock_step_format(const struct redis_clock_step *step, char *out);
int redis_clock_step_parse(const char *text, size_t len, struct redis_clock_step *step)
    __attribute__((warn_unused_result));

/* The earliest and the latest that Redis's clock can have shown when the
   monotonic clock showed `local_us`. Only if `known`. */
int64_t redis_clock_earliest(const struct redis_clock *clock, int64_t local_us);
int64_t redis_clock_latest(const struct redis_clock *clock, int64_t local_us);

/* The latest as far as the age of something from `snapshot_us` is concerned: if that
   may be from before the clock was set back, what it would show now if it had not been. */
int64_t redis_clock_latest_for(const struct redis_clock *clock, int64_t snapshot_us,
                               int64_t local_us);

#endif
