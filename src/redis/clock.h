/* SPDX-License-Identifier: BSD-2-Clause */
/* Redis's clock, bounded from both sides. TIME asked at `sent` and answered at
   `received` on the local monotonic clock was read somewhere in between; that,
   and what the one clock can gain on the other since, bounds Redis's time at any
   other moment. Pure: no clock is read here.

   The local clock is not disciplined (base/clock.h), Redis's may be: a kernel slews it by a tenth
   at the most (adjtimex(2); chrony's default is a twelfth), and hardware is wrong by some
   millionths.
   What counts in the end is how much time has passed, and not what Redis's clock says of it: where
   Redis's clock has lost time by ours since an entry was made, the entry is older than it looks.
   So the clock as it ran at earlier measurements is remembered, and what may be from that time
   is compared with it. From before the first measurement as much may be lost as a clock
   loses that is only kept at the right rate, 500 ppm.

   Redis's clock may be set: by its administrator, or when another machine takes its
   place. Set forward, what is stored only looks older than it is. Set back, it has lost time at
   once; but others may go on by the clock from before for a while, and so times that are later
   than the step can be from before it. Who has lived through the step tells processes to come,
   through a key in Redis. */
#ifndef LEEWAY_REDIS_CLOCK_H
#define LEEWAY_REDIS_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One measurement. */
struct redis_clock_reading {
    int64_t low_us;  /* Redis's time less the monotonic clock, at least */
    int64_t high_us; /* the same, at most */
    int64_t sent_us; /* on the monotonic clock: it was read from then on */
    int64_t received_us;
};

enum { REDIS_CLOCK_PAST = 48 };

/* All zeros at first. */
struct redis_clock {
    bool known;
    struct redis_clock_reading last;
    int64_t first_us; /* Redis's time at the first measurement */
    int64_t lead_us;  /* of the time of day, when the last question was sent (base/clock.h) */
    /* What is not later than `until_us` may be from when Redis's time was up to `high_us` more than
       the monotonic clock. The later, the less. */
    struct redis_clock_past {
        int64_t until_us;
        int64_t high_us;
    } past[REDIS_CLOCK_PAST];
    size_t n_past;
    /* The last step back; 0: there was none. */
    int64_t step_until_us; /* the latest time that anybody can have taken from before */
    int64_t step_high_us;  /* as high_us, before */
};

enum {
    /* How often to measure while something is asked, and else. */
    REDIS_CLOCK_MEASURE_MS = 500,
    REDIS_CLOCK_IDLE_MS = 2000,
    /* What is older is measured again before it is used. */
    REDIS_CLOCK_OLD_US = 1000 * 1000,
    /* For so long after a step somebody may go on by the clock from before. */
    REDIS_CLOCK_UNNOTICED_US = 5 * 1000 * 1000,
};

/* Takes in one measurement; `lead_us` as it was at `sent_us`. Returns by how much the clock was set
   back at least, 0 if it was not. */
int64_t redis_clock_measure(struct redis_clock *clock, int64_t sent_us, int64_t received_us,
                            int64_t redis_us, int64_t lead_us);

/* Whether the last measurement will do: it is not old, and the local clocks have run alike since. A
   machine that stood still often finds its time of day set when it goes on, and nothing else. */
bool redis_clock_is_current(const struct redis_clock *clock, int64_t local_us, int64_t lead_us);

/* What others have to know of a step back: until which time of its snapshot something may be from
   before, and by how much the clock from before is ahead: not above 0 once that was put right. Only
   after a step. */
struct redis_clock_step {
    int64_t until_us;
    int64_t ahead_us;
};
struct redis_clock_step redis_clock_tell(const struct redis_clock *clock);

/* To be called once for each: `ahead_us` is as of now. */
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

/* The earliest, by the last measurement before `local_us`: what was measured later tells nothing of
   a moment before this machine may have stood still. Unless the clock was set back since. */
int64_t redis_clock_earliest_after(const struct redis_clock *clock,
                                   const struct redis_clock_reading *before, int64_t local_us);

/* The latest as far as the age of something from `snapshot_us` is concerned: what Redis's clock
   would show now had it lost no time since. */
int64_t redis_clock_latest_for(const struct redis_clock *clock, int64_t snapshot_us,
                               int64_t local_us);

#endif
