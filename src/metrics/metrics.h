/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters and histograms of one process in shared memory (a slot of
   runtime_dir), and the Prometheus text made from all slots. */
#ifndef LEEWAY_METRICS_METRICS_H
#define LEEWAY_METRICS_METRICS_H

#include <stdbool.h>
#include <stdint.h>
#include <talloc.h>

#include "base/chunks.h"
#include "config/model.h"

struct metrics;

enum metrics_role { METRICS_WORKER, METRICS_REFRESHER };

/* What a worker is doing, for leeway_workers{state}. */
enum metrics_state { METRICS_STARTING, METRICS_SERVING, METRICS_DRAINING };

enum stale_reason { STALE_BUDGET, STALE_ERROR };               /* reason="refresh" | "error" */
enum query_origin { QUERY_MISS, QUERY_REFRESH, QUERY_BYPASS }; /* origin= */
enum refresh_result {
    REFRESH_STORED,
    REFRESH_FAILED,
    REFRESH_DROPPED,
    REFRESH_SET_ASIDE
};                                                                           /* result= */
enum collapse_result { COLLAPSE_SERVED, COLLAPSE_FAILED, COLLAPSE_TIMEOUT }; /* result= */
/* reason=: no slot, no connection (Postgres takes no more), no room to wait (max_waiting). */
enum shed_reason { SHED_NOT, SHED_SLOT, SHED_CONNECTION, SHED_WAITING };

/* Claims a free slot in `runtime_dir` (made if it is missing, see base/runtime_dir.h) by a lock
   that the kernel frees when the process ends, and counts on from what its last holder left. To be
   called in the process that will count. NULL and a sentence in `error` on failure. */
struct metrics *metrics_open(TALLOC_CTX *ctx, const char *runtime_dir, enum metrics_role role,
                             const struct config *config, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* To be called about once a second: if the slot's file was removed or replaced, claims another one
   and goes on there with all that this process has counted. */
void metrics_tend(struct metrics *metrics);

void metrics_set_state(struct metrics *metrics, enum metrics_state state);
void metrics_set_up(struct metrics *metrics, bool redis_up, bool postgres_up);

/* On the hit path: no system call, no lock, no allocation after a series' first use. */
void metrics_response(struct metrics *metrics, const struct route *route, bool cached, bool stale,
                      int64_t micros);
void metrics_served_age(struct metrics *metrics, const struct route *route, int64_t age_us);
void metrics_budget_exceeded(struct metrics *metrics, const struct route *route);
void metrics_stale_serve(struct metrics *metrics, const struct route *route,
                         enum stale_reason reason);
void metrics_query(struct metrics *metrics, const struct route *route, enum query_origin origin);
void metrics_refresh(struct metrics *metrics, const struct route *route,
                     enum refresh_result result);
void metrics_collapsed(struct metrics *metrics, const struct route *route,
                       enum collapse_result result);

/* A request whose query could not be begun, for that reason. SHED_NOT: nothing is counted. */
void metrics_shed(struct metrics *metrics, const struct route *route, enum shed_reason reason);

/* A response of the route with a status from 400 on that is not cached. */
void metrics_failed(struct metrics *metrics, const struct route *route, int status);

/* A response that was stored compressed and was sent without its coding. */
void metrics_decompressed(struct metrics *metrics, const struct route *route);

/* Log lines that were dropped since the last call. */
void metrics_log_dropped(struct metrics *metrics, uint64_t lines);

/* A request that was not let start a query for client_misses. */
void metrics_client_refused(struct metrics *metrics);

/* Clients that were cut off for max_unsent since the last call. */
void metrics_clients_cut(struct metrics *metrics, uint64_t clients);

/* Gauges that whoever asks for the text has read from Redis; -1: not known. */
struct metrics_gauges {
    int64_t jobs_queued;
    int64_t job_oldest_ms;
    int64_t jobs_abandoned; /* a counter, which Redis keeps */
    double redis_fragmentation_ratio;
};

/* Prometheus text exposition format 0.0.4 over all slots of `runtime_dir`, which needs no slot of
   its own: in steps of a fraction of a millisecond each, for who has other things to do. */
struct metrics_scrape;

struct metrics_scrape *metrics_scrape_new(TALLOC_CTX *ctx, const char *runtime_dir,
                                          const struct metrics_gauges *gauges);

/* Adds to what an operator has disabled now: `what` as leewayctl names it ("refresh" or "route:"
   and its name), `scope` "host" or "fleet". Of what is not disabled, `is_off` false, the text says
   that. To be called before the first step. */
void metrics_scrape_disabled(struct metrics_scrape *scrape, const char *what, const char *scope,
                             bool is_off);

/* false: there is more to do. */
bool metrics_scrape_step(struct metrics_scrape *scrape) __attribute__((warn_unused_result));

/* What there is of the text, a talloc chunk that belongs to the scrape: all of it after the last
   step. */
struct chunks *metrics_scrape_text(const struct metrics_scrape *scrape);

/* All steps that are left, and the whole text, a child of `ctx`. */
char *metrics_scrape_whole(struct metrics_scrape *scrape, TALLOC_CTX *ctx);

#endif
