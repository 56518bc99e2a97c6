/* SPDX-License-Identifier: BSD-2-Clause */
/* Running an event loop in place, for what has nothing else to do: a start, and leewayctl. */
#ifndef LEEWAY_BASE_LOOP_H
#define LEEWAY_BASE_LOOP_H

#include <ev.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Until `ms` have passed, or until *sooner is set by a callback, or *interrupted by the handler of
   a signal. Either may be NULL. Not to be called by what the loop calls. */
void loop_run_for(struct ev_loop *loop, int64_t ms, const bool *sooner,
                  const volatile sig_atomic_t *interrupted);

#endif
