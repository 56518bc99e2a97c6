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

static void warn_of_redis(const struct backend *backend)
{
    const char *problem;

    redisReply *info =
        old_redis_command(backend->redis, (struct old_redis_part[]){old_redis_text("INFO")}, 1);
    if (info != NULL && info->type == REDIS_REPLY_STRING)
        for (size_t i = 0; (problem = redis_info_problem(info->str, i)) != NULL; i++)
            log_event(LOG_LEVEL_WARN, "redis does not suit",
                      log_text("address", backend->app->config->settings.redis.address),
                      log_text("problem", problem));
    if (info != NULL)
        freeReplyObject(info);
}

void backend_tend(struct backend *backend)
{
    metrics_tend(backend->metrics);
    if (backend->slots != NULL)
        slots_tend(backend->slots);
}

/* Whenever the connection has come up: another server may be behind the address now. */
static void look_at_redis(void *data, bool up)
{
    struct backend *backend = data;

    /* old_redis_new calls back before it returns only if it fails, so redis is set */
    if (up && backend->speaks)
        warn_of_redis(backend);
    if (up && backend->identity != NULL)
        identity_tick(backend->identity);
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
    const struct old_redis_options options = {
        .settings = &settings->redis,
        .client_name = role == METRICS_WORKER ? "leeway-worker" : "leeway-refresher",
        .on_change = look_at_redis,
        .data = backend,
    };
    backend->redis = old_redis_new(backend, loop, &options);
    old_redis_wait_up(backend->redis, settings->redis.connect_timeout_ms);
    backend->identity = identity_new(backend, loop, app, backend->cache, speaks);
    backend->postgres =
        postgres_new(backend, loop, app->config, backend->slots, identity_judge(backend->identity));
    identity_start(backend->identity, backend->postgres);
    return backend;
}
