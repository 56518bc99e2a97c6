/* SPDX-License-Identifier: BSD-2-Clause */
/* What the metrics say of Redis, read when they are asked for. */
#ifndef LEEWAY_APP_OLD_GAUGES_H
#define LEEWAY_APP_OLD_GAUGES_H

#include "cache/old_redis.h"
#include "metrics/metrics.h"

/* Fills in *gauges in one round trip; what cannot be read is -1. */
void old_gauges_read(TALLOC_CTX *ctx, struct old_redis *redis,
                     const struct redis_settings *settings, struct metrics_gauges *gauges);

#endif
