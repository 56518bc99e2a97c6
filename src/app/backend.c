/* SPDX-License-Identifier: BSD-2-Clause */
/* Opens what a process works with, in the order in which it depends on each other. */
#include "config.h"

#include "app/backend.h"

#include "base/clock.h"
#include "base/log.h"
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
    if (backend->slots != NULL)
        slots_tend(backend->slots);
}

/* Another server may be behind the address now. */
static void on_change(void *data, enum cache_change change)
{
    struct backend *backend = data;

    if (change == CACHE_DOWN)
        return;
    if (change == CACHE_UP_NEW && backend->speaks)
        cache_ask_info(backend->cache, on_info, backend);
    if (backend->identity != NULL)
        identity_tick(backend->identity);
}

static void on_waited(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    *(bool *)timer->data = true;
}

/* Nothing else is to be done before it is there, or known to be away. */
static void await_cache(struct backend *backend)
{
    const struct redis_settings *settings = &backend->app->config->settings.redis;
    bool over = false;
    ev_timer timer;

    ev_now_update(backend->loop);
    ev_timer_init(&timer, on_waited, (double)settings->connect_timeout_ms / 1000.0, 0.0);
    timer.data = &over;
    ev_timer_start(backend->loop, &timer);
    while (!over && !cache_is_up(backend->cache))
        ev_run(backend->loop, EVRUN_ONCE);
    ev_timer_stop(backend->loop, &timer);
}

/* A large response is there up to three times while it is read and taken apart. */
enum { KEPT_OBJECTS = 4 };

struct backend *backend_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct application *app,
                            enum metrics_role role, bool speaks)
{
    const struct settings *settings = &app->config->settings;
    struct backend *backend = mem_check(talloc_zero(ctx, struct backend));
    char error[256] = "";

    backend->loop = loop;
    backend->app = app;
    backend->speaks = speaks;
    backend->metrics =
        metrics_open(backend, settings->runtime_dir, role, app->config, error, sizeof error);
    if (backend->metrics != NULL && role == METRICS_WORKER)
        backend->slots = slots_open(backend, settings->runtime_dir,
                                    (size_t)settings->postgres.slots, error, sizeof error);
    if (backend->metrics == NULL || (role == METRICS_WORKER && backend->slots == NULL)) {
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
    backend->queue = queue_open(backend, backend->cache, &settings->redis);
    await_cache(backend);
    backend->identity = identity_new(backend, loop, app, backend->cache, speaks);
    backend->postgres =
        postgres_new(backend, loop, app->config, backend->slots, identity_judge(backend->identity));
    identity_start(backend->identity, backend->postgres);
    return backend;
}
