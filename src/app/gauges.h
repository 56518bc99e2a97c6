/* SPDX-License-Identifier: BSD-2-Clause */
/* What the metrics say of Redis, read when they are asked for. */
#ifndef LEEWAY_APP_GAUGES_H
#define LEEWAY_APP_GAUGES_H

#include <talloc.h>

#include "cache/cache.h"
#include "metrics/metrics.h"
#include "refresh/queue.h"

struct gauges_request;

/* What could not be read is -1. Called once, never from within gauges_read(). */
typedef void gauges_fn(void *data, const struct metrics_gauges *gauges);

/* A child of `ctx` until `fn` is called; freed before that, with `ctx` for instance, it is
   cancelled. It is freed before `cache` and `queue` are. */
struct gauges_request *gauges_read(TALLOC_CTX *ctx, struct cache *cache, struct queue *queue,
                                   gauges_fn *fn, void *data);

#endif
