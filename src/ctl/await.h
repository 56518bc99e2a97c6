/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting in place for what is answered by a callback, by running the loop: a command has nothing
   else to do. */
#ifndef LEEWAY_CTL_AWAIT_H
#define LEEWAY_CTL_AWAIT_H

#include "ctl/ctl.h"
#include "metrics/metrics.h"

/* Until *came is set by a callback. Every question of cache and queue is answered in its time. */
void ctl_await(struct ctl *ctl, const bool *came);

/* What is noted of `identity`: 1 and *noted, 0: nothing, -1: Redis cannot say. */
int ctl_read_note(struct ctl *ctl, const char *identity, struct identity_note *noted);

/* -1 where Redis cannot say. */
void ctl_read_gauges(struct ctl *ctl, struct metrics_gauges *gauges);

#endif
