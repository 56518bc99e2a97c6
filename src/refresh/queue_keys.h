/* SPDX-License-Identifier: BSD-2-Clause */
/* The names of the queue's keys (docs/redis.md). */
#ifndef LEEWAY_REFRESH_QUEUE_KEYS_H
#define LEEWAY_REFRESH_QUEUE_KEYS_H

#include <talloc.h>

/* The list of jobs that wait. A child of `ctx`. */
char *queue_jobs_key(TALLOC_CTX *ctx, const char *prefix);

/* "processing", "alive", "mark" or "failures" of something, or "refreshers" or "reaper" of "". A
   child of `ctx`. */
char *queue_key(TALLOC_CTX *ctx, const char *prefix, const char *kind, const char *of);

#endif
