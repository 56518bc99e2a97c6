/* SPDX-License-Identifier: BSD-2-Clause */
/* Opens what a process works with, in the order in which it depends on each other. */
#include "config.h"

#include "app/backend.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "redis/info.h"

int64_t backend_now_us(const struct backend *backend, int64_t snapshot_us)
{
    return redis_clock_latest_for(cache_clock(backend->cache), snapshot_us,
                                  clock_monotonic_us() + BACKEND_WRITE_ALLOWANCE_US);
}

static void on_info(void *data, const char *info)
{
    const struct backend *backend = data;
    const char *problem;

    for (size_t i = 0; info != NULL && (problem = redis_info_problem(info, i)) != NULL; i++)
        log_event(LOG_LEVEL_WARN, "redis does not suit",
                  log_text("address", backend->app->config->settings.redis.address),
                  log_text("problem", problem));
}

void backend_tend(struct backend *backend)
{
    metrics_tend(backend->metrics);
    metrics_log_dropped(backend->metrics, log_take_dropped());
    if (backend->slots != NULL)
        slots_tend(backend->slots);
    if (backend->ration != NULL)
        ration_tend(backend->ration);
    switches_tick(backend->switches);
}

/* Another server may be behind the address now. */
static void on_change(void *data, enum cache_change change)
{
    struct backend *backend = data;

    if (change == CACHE_DOWN)
        return;
    backend->cache_came_up = true;
    if (backend->switches != NULL) /* before anything is looked up */
        switches_cache_is_up(backend->switches);
    if (change == CACHE_UP_NEW && backend->speaks)
        cache_ask_info(backend->cache, on_info, backend);
    if (backend->identity != NULL)
        identity_tick(backend->identity);
}

/* A large response is there up to three times while it is read and taken apart. */
enum { KEPT_OBJECTS = 4 };

/* A process that writes a long result does not hang. */
static void on_work(void *data, const struct route *route)
{
    const struct backend *backend = data;

    pulse_at(backend->pulse, route->pattern);
    pulse_turn(backend->pulse);
}

struct backend *backend_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct application *app,
                            enum metrics_role role, bool speaks)
{
    const struct settings *settings = &app->config->settings;
    struct backend *backend = mem_check(talloc_zero(ctx, struct backend));
    char error[256] = "";

    backend->loop = loop;
    backend->steps = steps_new(backend, loop);
    backend->app = app;
    backend->speaks = speaks;
    backend->metrics =
        metrics_open(backend, settings->runtime_dir, role, app->config, error, sizeof error);
    if (backend->metrics != NULL && role == METRICS_WORKER)
        backend->slots = slots_open(backend, settings->runtime_dir,
                                    (size_t)settings->postgres.slots, error, sizeof error);
    bool rations = role == METRICS_WORKER && settings->client_misses.a_second > 0;
    if (backend->metrics != NULL && rations)
        backend->ration = ration_open(backend, settings->runtime_dir, &settings->client_misses,
                                      error, sizeof error);
    if (backend->metrics == NULL || (role == METRICS_WORKER && backend->slots == NULL) ||
        (rations && backend->ration == NULL)) {
        log_event(LOG_LEVEL_ERROR, "runtime_dir cannot be used", log_text("error", error));
        talloc_free(backend);
        return NULL;
    }
    mem_keep(KEPT_OBJECTS * (size_t)settings->max_object_bytes);
    const struct cache_options options = {
        .settings = &settings->redis,
        .client_name = role == METRICS_WORKER ? "leeway-worker" : "leeway-refresher",
        .speaks = speaks,
        .on_change = on_change,
        .data = backend,
    };
    backend->cache = cache_open(backend, loop, &options);
    backend->switches =
        switches_new(backend, app, backend->cache, speaks, role == METRICS_REFRESHER);
    const struct queue_list list = {.name = app->jobs, .window_ms = app->stale_ms};
    backend->queue = queue_open(backend, backend->cache, &settings->redis, &list);
    const struct peers_options peers = {
        .cache = backend->cache,
        .prefix = settings->redis.prefix,
        .identity = app->identity,
        .instance = settings->runtime_dir,
        .is_worker = role == METRICS_WORKER,
    };
    backend->peers = peers_new(backend, &peers);
    /* nothing else is to be done before it is there, or known to be away */
    loop_run_for(loop, settings->redis.connect_timeout_ms, &backend->cache_came_up, NULL);
    switches_tick(backend->switches);
    backend->identity = identity_new(backend, loop, app, backend->cache, speaks);
    backend->postgres = postgres_new(backend, loop, backend->steps, app->config, backend->slots,
                                     identity_judge(backend->identity));
    postgres_on_work(backend->postgres, on_work, backend);
    identity_start(backend->identity, backend->postgres);
    return backend;
}
