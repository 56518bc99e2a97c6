/* SPDX-License-Identifier: BSD-2-Clause */
/* Counting: an array look-up by route and relaxed additions. */
#include "config.h"

#include "metrics/metrics.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/runtime_dir.h"
#include "metrics/buckets.h"
#include "metrics/slot.h"

struct metrics {
    const char *directory;
    struct slot slot;
    bool complained; /* that the slot is gone and there is no other */
    size_t n_routes;
    struct series **by_route; /* by route index; NULL until first used */
};

static int metrics_destroy(struct metrics *metrics)
{
    slot_close(&metrics->slot);
    return 0;
}

struct metrics *metrics_open(TALLOC_CTX *ctx, const char *runtime_dir, enum metrics_role role,
                             const struct config *config, char *error, size_t error_size)
{
    struct metrics *metrics = mem_check(talloc_zero(ctx, struct metrics));

    metrics->directory = mem_check(talloc_strdup(metrics, runtime_dir));
    if (runtime_dir_make(runtime_dir, error, error_size) == -1 ||
        slot_claim(&metrics->slot, runtime_dir, role, error, error_size) == -1) {
        talloc_free(metrics);
        return NULL;
    }
    talloc_set_destructor(metrics, metrics_destroy);
    metrics->n_routes = config->n_routes;
    metrics->by_route =
        mem_check(talloc_zero_array(metrics, struct series *, (unsigned)config->n_routes + 1));
    metrics->slot.memory->role = role;
    metrics->slot.memory->state = METRICS_STARTING;
    metrics_set_up(metrics, true, true);
    return metrics;
}

void metrics_tend(struct metrics *metrics)
{
    struct slot fresh;
    char error[256];

    if (!slot_is_gone(&metrics->slot, metrics->directory))
        return;
    if (runtime_dir_make(metrics->directory, error, sizeof error) == -1 ||
        slot_claim(&fresh, metrics->directory, metrics->slot.memory->role, error, sizeof error) ==
            -1) {
        if (!metrics->complained)
            log_event(LOG_LEVEL_ERROR, "the metrics are gone and cannot be made anew",
                      log_text("error", error));
        metrics->complained = true;
        return;
    }
    slot_add(&fresh, &metrics->slot);
    slot_close(&metrics->slot);
    metrics->slot = fresh;
    metrics->complained = false;
    memset(metrics->by_route, 0, metrics->n_routes * sizeof *metrics->by_route);
    log_event(LOG_LEVEL_WARN, "the metrics were removed and have been made anew",
              log_text("directory", metrics->directory), log_number("slot", fresh.number));
}

void metrics_set_state(struct metrics *metrics, enum metrics_state state)
{
    metrics->slot.memory->state = state;
}

void metrics_set_up(struct metrics *metrics, bool redis_up, bool postgres_up)
{
    metrics->slot.memory->redis_up = redis_up;
    metrics->slot.memory->postgres_up = postgres_up;
}

static struct series *series_of(struct metrics *metrics, const struct route *route)
{
    struct series **place = &metrics->by_route[route->index];

    if (*place == NULL)
        *place = slot_series(&metrics->slot, route->pattern);
    return *place;
}

/* Nobody else writes here: a load and a store are enough. */
static void add(slot_cell *cell, uint64_t number)
{
    uint64_t now = atomic_load_explicit(cell, memory_order_relaxed);

    atomic_store_explicit(cell, now + number, memory_order_relaxed);
}

static void count(struct metrics *metrics, const struct route *route, enum metrics_counter counter)
{
    add(&series_of(metrics, route)->counters[counter], 1);
}

void metrics_response(struct metrics *metrics, const struct route *route, bool cached, bool stale,
                      int64_t micros)
{
    struct series *series = series_of(metrics, route);
    enum response_kind kind = !cached ? RESPONSE_COMPUTED
                              : stale ? RESPONSE_STALE_HIT
                                      : RESPONSE_HIT;

    add(&series->response_micros[kind], (uint64_t)(micros > 0 ? micros : 0));
    add(&series
             ->response_buckets[kind][bucket_of(response_bounds_us, RESPONSE_BUCKETS - 1, micros)],
        1);
}

void metrics_served_age(struct metrics *metrics, const struct route *route, int64_t age_us)
{
    struct series *series = series_of(metrics, route);

    add(&series->age_micros, (uint64_t)(age_us > 0 ? age_us : 0));
    add(&series->age_buckets[bucket_of(age_bounds_us, AGE_BUCKETS - 1, age_us)], 1);
}

void metrics_budget_exceeded(struct metrics *metrics, const struct route *route)
{
    count(metrics, route, COUNTER_BUDGET_EXCEEDED);
}

void metrics_stale_serve(struct metrics *metrics, const struct route *route,
                         enum stale_reason reason)
{
    count(metrics, route, reason == STALE_BUDGET ? COUNTER_STALE_BUDGET : COUNTER_STALE_ERROR);
}

void metrics_query(struct metrics *metrics, const struct route *route, enum query_origin origin)
{
    static const enum metrics_counter counters[] = {
        [QUERY_MISS] = COUNTER_QUERY_MISS,
        [QUERY_REFRESH] = COUNTER_QUERY_REFRESH,
        [QUERY_BYPASS] = COUNTER_QUERY_BYPASS,
    };

    count(metrics, route, counters[origin]);
}

void metrics_refresh(struct metrics *metrics, const struct route *route, enum refresh_result result)
{
    static const enum metrics_counter counters[] = {
        [REFRESH_STORED] = COUNTER_REFRESH_STORED,
        [REFRESH_FAILED] = COUNTER_REFRESH_FAILED,
        [REFRESH_DROPPED] = COUNTER_REFRESH_DROPPED,
        [REFRESH_SET_ASIDE] = COUNTER_REFRESH_SET_ASIDE,
    };

    count(metrics, route, counters[result]);
    if (result == REFRESH_FAILED)
        count(metrics, route, COUNTER_REFRESH_FAILURE);
}

void metrics_collapsed(struct metrics *metrics, const struct route *route,
                       enum collapse_result result)
{
    static const enum metrics_counter counters[] = {
        [COLLAPSE_SERVED] = COUNTER_COLLAPSE_SERVED,
        [COLLAPSE_FAILED] = COUNTER_COLLAPSE_FAILED,
        [COLLAPSE_TIMEOUT] = COUNTER_COLLAPSE_TIMEOUT,
    };

    count(metrics, route, counters[result]);
}

void metrics_shed(struct metrics *metrics, const struct route *route, enum shed_reason reason)
{
    static const enum metrics_counter counters[] = {
        [SHED_SLOT] = COUNTER_SHED_SLOT,
        [SHED_CONNECTION] = COUNTER_SHED_CONNECTION,
        [SHED_WAITING] = COUNTER_SHED_WAITING,
    };

    if (reason != SHED_NOT)
        count(metrics, route, counters[reason]);
}

/* Others than these do not come from a route. */
static enum metrics_counter failed_counter(int status)
{
    switch (status) {
    case 400:
        return COUNTER_FAILED_400;
    case 403:
        return COUNTER_FAILED_403;
    case 406:
        return COUNTER_FAILED_406;
    case 409:
        return COUNTER_FAILED_409;
    case 422:
        return COUNTER_FAILED_422;
    case 429:
        return COUNTER_FAILED_429;
    case 503:
        return COUNTER_FAILED_503;
    case 504:
        return COUNTER_FAILED_504;
    default:
        return COUNTER_FAILED_500;
    }
}

void metrics_failed(struct metrics *metrics, const struct route *route, int status)
{
    count(metrics, route, failed_counter(status));
}

void metrics_decompressed(struct metrics *metrics, const struct route *route)
{
    count(metrics, route, COUNTER_DECOMPRESSED);
}

void metrics_log_dropped(struct metrics *metrics, uint64_t lines)
{
    add(&metrics->slot.memory->process_counters[PROCESS_COUNTER_LOG_DROPPED], lines);
}

void metrics_client_refused(struct metrics *metrics)
{
    add(&metrics->slot.memory->process_counters[PROCESS_COUNTER_CLIENT_REFUSED], 1);
}

void metrics_clients_cut(struct metrics *metrics, uint64_t clients)
{
    add(&metrics->slot.memory->process_counters[PROCESS_COUNTER_CLIENTS_CUT], clients);
}
