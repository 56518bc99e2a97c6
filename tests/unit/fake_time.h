/* SPDX-License-Identifier: BSD-2-Clause */
/* Clocks that the test sets, the loop's included: this takes the place of clock_gettime(2) in the
   whole program, so that no test waits for anything. */
#ifndef LEEWAY_TESTS_FAKE_TIME_H
#define LEEWAY_TESTS_FAKE_TIME_H

#include <ev.h>
#include <stdint.h>

/* What clock_monotonic_us() says. */
int64_t fake_time_us(void);

/* All clocks of this machine go on by so much, and what the loop has to do is done. */
void fake_time_advance(struct ev_loop *loop, int64_t ms);

/* They go on by so much, and the loop has not noticed yet. */
void fake_time_pass(int64_t us);

/* What the loop has to do now is done, and what comes of that. */
void fake_time_run(struct ev_loop *loop);

#endif
