/* SPDX-License-Identifier: BSD-2-Clause */
/* Wake-ups from Redis: a connection that is subscribed to the channels of the
   leases a process waits for, opened on first need. */
#ifndef LEEWAY_CACHE_OLD_WAKE_H
#define LEEWAY_CACHE_OLD_WAKE_H

#include <ev.h>
#include <talloc.h>

#include "config/settings.h"

struct wake;
struct wake_watch;

/* Called when the subscription is in force (again: look at the keys now, what was
   published before is not delivered) and with every message. It may end the watch. */
typedef void wake_fn(void *data);

struct wake *wake_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct redis_settings *settings);

/* At most one watch per channel at a time. Ended by talloc_free, also by freeing
   `ctx`. While Redis is away nothing is called; the caller keeps a deadline. */
struct wake_watch *wake_watch(TALLOC_CTX *ctx, struct wake *wake, const char *channel, wake_fn *fn,
                              void *data);

#endif
