/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process, worker or refresher, works with. */
#ifndef LEEWAY_APP_BACKEND_H
#define LEEWAY_APP_BACKEND_H

#include <ev.h>

#include "app/application.h"
#include "app/identity.h"
#include "app/ration.h"
#include "app/switches.h"
#include "base/steps.h"
#include "cache/cache.h"
#include "cache/peers.h"
#include "metrics/metrics.h"
#include "prefork/pulse.h"
#include "refresh/queue.h"
#include "source/postgres.h"

struct backend {
    struct ev_loop *loop;
    struct steps *steps;
    const struct application *app;
    struct cache *cache;
    bool cache_came_up; /* once, at least */
    struct queue *queue;
    struct identity *identity;
    struct postgres *postgres;
    struct switches *switches; /* NULL: nothing can be switched off */
    struct metrics *metrics;
    struct peers *peers;   /* NULL: nobody is told how this process is */
    struct pulse *pulse;   /* by which the parent sees that it works; NULL: it has none */
    struct slots *slots;   /* NULL: a refresher, which needs none */
    struct ration *ration; /* NULL: a refresher, or misses are not rationed */
    bool draining;         /* the process stops */
    int refreshers_died;   /* looks in a row at which those of this host were dead */
    unsigned looks;        /* at them, once a second */
    bool speaks;           /* it warns of what concerns all of its kind */
};

/* For deciding on a response: it is judged as of this much later, so that it keeps its budget
   when its first byte is written and not just when it was decided on. Where processors are busy
   another process may have its time slice first, 3 or 4 ms. */
enum { BACKEND_WRITE_ALLOWANCE_US = 10 * 1000 };

/* The latest that Redis's clock can show when a response decided on now is written, as far as
   something from `snapshot_us` is concerned. */
int64_t backend_now_us(const struct backend *backend, int64_t snapshot_us);

/* To be called about once a second: what others have done to the files of runtime_dir is noticed
   and mended. */
void backend_tend(struct backend *backend);

/* Opens metrics, slots (workers only) and the connections; Redis is waited for up to its
   connect_timeout, and may be away, and Postgres likewise. `speaks` says whether this process is
   the one of its kind that warns of a Redis that does not suit. NULL: runtime_dir cannot be used;
   it has been logged. */
struct backend *backend_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct application *app,
                            enum metrics_role role, bool speaks)
    __attribute__((warn_unused_result));

#endif
