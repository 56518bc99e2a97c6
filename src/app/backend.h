/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process, worker or refresher, works with. */
#ifndef LEEWAY_APP_BACKEND_H
#define LEEWAY_APP_BACKEND_H

#include <ev.h>

#include "app/application.h"
#include "cache/redis.h"
#include "metrics/metrics.h"
#include "source/postgres.h"

struct backend {
    struct ev_loop *loop;
    const struct application *app;
    struct redis *redis; /* awaited in place */
    struct postgres *postgres;
    struct metrics *metrics;
};

/* Opens metrics, slots (workers only) and the connections; Redis is waited for up to its
   connect_timeout, and may be away. NULL: runtime_dir cannot be used; it has been
   logged. */
struct backend *backend_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct application *app,
                            enum metrics_role role) __attribute__((warn_unused_result));

#endif
