/* SPDX-License-Identifier: BSD-2-Clause */
/* The refresher's use case: take a job, query, store, acknowledge. One job at a time, and nothing
   waits for it but the next. */
#ifndef LEEWAY_APP_REFRESH_H
#define LEEWAY_APP_REFRESH_H

#include "app/backend.h"

struct refresh;

/* Called once, from the loop: nothing is under way any more. It may free the refresh. */
typedef void refresh_stopped_fn(void *data);

/* Takes jobs from now on, as soon as it may. What it works with outlives it. */
struct refresh *refresh_new(TALLOC_CTX *ctx, struct backend *backend, refresh_stopped_fn *stopped,
                            void *data);

/* Shows that this refresher lives, and puts back what dead ones had taken. To be called every
   QUEUE_BEAT_MS, whatever is under way. */
void refresh_beat(struct refresh *refresh);

/* Finishes the job in hand, takes no other and leaves the queue. Where Redis does not answer, that
   is not waited for longer than a few seconds; a query ends by its own limits. */
void refresh_stop(struct refresh *refresh);

#endif
