/* SPDX-License-Identifier: BSD-2-Clause */
/* Opens what a process works with, in the order in which it depends on each other. */
#include "config.h"

#include "app/backend.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

int64_t backend_now_us(const struct backend *backend, int64_t snapshot_us)
{
    return redis_clock_latest_for(redis_get_clock(backend->redis), snapshot_us,
                                  clock_monotonic_us() + BACKEND_WRITE_ALLOWANCE_US);
}

struct backend *backend_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct application *app,
                            enum metrics_role role)
{
    const struct settings *settings = &app->config->settings;
    struct backend *backend = mem_check(talloc_zero(ctx, struct backend));
    struct slots *slots = NULL;
    char error[256] = "";

    backend->loop = loop;
    backend->app = app;
    backend->metrics =
        metrics_open(backend, settings->runtime_dir, role, app->config, error, sizeof error);
    if (backend->metrics != NULL && role == METRICS_WORKER)
        slots = slots_open(backend, settings->runtime_dir, (size_t)settings->postgres.slots, error,
                           sizeof error);
    if (backend->metrics == NULL || (role == METRICS_WORKER && slots == NULL)) {
        log_event(LOG_LEVEL_ERROR, "runtime_dir cannot be used", log_text("error", error));
        talloc_free(backend);
        return NULL;
    }
    const struct redis_options options = {
        .settings = &settings->redis,
        .client_name = role == METRICS_WORKER ? "leeway-worker" : "leeway-refresher",
    };
    backend->redis = redis_new(backend, loop, &options);
    redis_wait_up(backend->redis, settings->redis.connect_timeout_ms);
    backend->postgres = postgres_new(backend, loop, app->config, slots);
    return backend;
}
