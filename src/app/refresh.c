/* SPDX-License-Identifier: BSD-2-Clause */
/* Take a job, query, store, acknowledge. One job at a time; the loop runs while its
   query does, and between jobs. */
#include "config.h"

#include "app/refresh.h"

#include <poll.h>
#include <signal.h>
#include <string.h>

#include "app/backend.h"
#include "app/fill.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/keys.h"
#include "cache/old_lease.h"
#include "refresh/backoff.h"
#include "refresh/job.h"
#include "refresh/old_queue.h"

enum {
    TAKE_MS = 500, /* how long one BLMOVE waits: signals and heartbeats come in between */
    AWAY_MS = 100, /* how often a refresher without Redis looks for it */
    /* What a worker may allow for Redis's clock, which is measured with the lease here. */
    WORKERS_AHEAD_US = REDIS_CLOCK_OLD_US / 10,
};

struct refresher {
    const struct application *app;
    struct ev_loop *loop;
    struct backend *backend;
    struct old_queue *queue;
    bool stopping;
    bool unsettled; /* Redis went away with a job in hand */
    ev_signal term, interrupt;
    ev_io parent;
    ev_timer beat;
};

/* A job in hand. */
struct task {
    struct refresher *refresher;
    struct old_redis_part bytes; /* as on the list */
    const struct route *route;
    struct job job;
    const char *base;
    struct old_lease lease;
};

static void count(const struct task *task, enum refresh_result result)
{
    metrics_refresh(task->refresher->backend->metrics, task->route, result);
}

static void settle(struct task *task)
{
    if (old_queue_settle(task->refresher->queue, task->bytes, task->base) == -1)
        task->refresher->unsettled = true;
}

static void drop(struct task *task)
{
    if (task->route != NULL)
        count(task, REFRESH_DROPPED);
    settle(task);
}

/* The entry was not touched; the key is left alone for longer after each failure. */
static void fail(struct task *task, enum query_outcome outcome, bool too_large)
{
    struct refresher *refresher = task->refresher;
    int64_t budget_ms = task->route->context->budget_ms;
    int64_t failures =
        old_queue_count_failure(refresher->queue, task->bytes, task->base, 2 * budget_ms + 1000);

    count(task, REFRESH_FAILED);
    log_event_limited(LOG_LEVEL_WARN, "refresh failed", log_text("route", task->route->pattern),
                      log_text("outcome", too_large ? "too-large" : query_outcome_name(outcome)),
                      log_number("failures", failures));
    if (failures == -1 ||
        old_queue_back_off(refresher->queue, task->base, backoff_ms(failures, budget_ms)) == -1)
        refresher->unsettled = true;
}

static void on_filled(void *data, const struct fill_result *result)
{
    struct task *task = data;
    bool answered = result->outcome == QUERY_DONE || result->outcome == QUERY_NO_ROW;

    if (!answered || result->storing == FILL_TOO_LARGE) {
        fail(task, result->outcome, answered);
    } else if (result->storing == FILL_STORED) {
        count(task, REFRESH_STORED);
        settle(task);
    } else {
        drop(task);
    }
    ev_break(task->refresher->loop, EVBREAK_ONE);
}

static void on_lost(void *data)
{
    (void)data;
}

/* One job is done at a time. */
static void on_settled(void *data)
{
    (void)data;
}

static bool is_of_our_generation(const struct task *task)
{
    const struct identity *identity = task->refresher->backend->identity;

    return identity_is_verified(identity) &&
           strcmp(identity_fingerprint(identity, task->route), task->job.fingerprint) == 0;
}

/* Which route and key a job means; false: none that we know, as after a deploy. */
static bool understand(struct task *task)
{
    const struct application *app = task->refresher->app;

    if (job_decode(task, task->bytes.data, task->bytes.len, &task->job) == -1)
        return false;
    task->route = route_table_by_name(app->routes, task->job.route);
    if (task->route == NULL)
        return false;
    /* the key is the job's own in any case, so that its mark can be taken away */
    task->base = key_base(task, app->config->settings.redis.prefix, task->route,
                          task->job.fingerprint, &task->job.values);
    if (!is_of_our_generation(task))
        identity_renew(task->refresher->backend->identity, &task->refresher->stopping);
    return is_of_our_generation(task) && param_values_fit(task, task->route, &task->job.values);
}

/* Whether the entry that a stale hit saw still wants to be renewed, as the worker may have seen it.
 */
static bool wants_refresh(const struct task *task, const struct old_stored *stored)
{
    const struct refresher *refresher = task->refresher;

    if (stored->reply == NULL || stored->entry.status != 200)
        return false;
    return freshness_judge(&application_rules(refresher->app, task->route)->policy, 200,
                           stored->entry.snapshot_us,
                           backend_now_us(refresher->backend, stored->entry.snapshot_us) +
                               WORKERS_AHEAD_US)
               .state != FRESHNESS_FRESH;
}

static void run_query(struct task *task)
{
    struct lease lease = {.base = task->lease.base, .held_at_us = task->lease.held_at_us};
    memcpy(lease.token, task->lease.token, sizeof lease.token);
    const struct fill_request request = {
        .route = task->route,
        .values = &task->job.values,
        .lease = &lease,
        .generation = identity_generation(task->refresher->backend->identity),
        .origin = QUERY_REFRESH,
        .lost = on_lost,
        .done = on_filled,
        .settled = on_settled,
        .data = task,
    };

    fill_start(task->refresher->backend, &request);
    ev_run(task->refresher->loop, 0);
}

static void do_job(struct refresher *refresher, const char *bytes, size_t len)
{
    struct task *task = mem_check(talloc_zero(refresher, struct task));
    struct old_lease_answer answer = {.stored = {.reply = NULL}};

    task->refresher = refresher;
    task->bytes = (struct old_redis_part){bytes, len};
    if (!understand(task)) {
        /* one that could not be looked into because of a stop is put back as it ends */
        if (task->route == NULL || !refresher->stopping)
            drop(task);
        talloc_free(task);
        return;
    }
    lease_take(task, refresher->backend->redis, task->base, &task->lease, &answer);
    if (answer.state == OLD_LEASE_AWAY) {
        refresher->unsettled = true;
    } else if (answer.state != OLD_LEASE_WON) {
        drop(task);
    } else if (!wants_refresh(task, &answer.stored)) {
        lease_give_up(task, refresher->backend->redis, &task->lease);
        drop(task);
    } else {
        run_query(task);
    }
    stored_free(&answer.stored);
    talloc_free(task);
}

static void on_beat(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct refresher *refresher = timer->data;
    struct backend *backend = refresher->backend;

    (void)loop;
    (void)events;
    backend_tend(backend);
    metrics_set_up(backend->metrics, old_redis_is_up(backend->redis),
                   postgres_is_up(backend->postgres));
    log_tell_suppressed(false);
    identity_tick(backend->identity);
    if (!old_redis_is_up(backend->redis) || old_queue_beat(refresher->queue) == -1)
        return;
    int moved = old_queue_reap(refresher->queue);
    if (moved > 0)
        log_event(LOG_LEVEL_WARN, "jobs of a dead refresher were put back",
                  log_number("jobs", moved));
}

static void on_stop(struct refresher *refresher)
{
    refresher->stopping = true;
    metrics_set_state(refresher->backend->metrics, METRICS_DRAINING);
}

static void on_signal(struct ev_loop *loop, ev_signal *signal, int events)
{
    (void)loop;
    (void)events;
    on_stop(signal->data);
}

static void on_parent_gone(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)events;
    ev_io_stop(loop, watcher);
    log_event(LOG_LEVEL_WARN, "the parent process has died", log_text("action", "stop"));
    on_stop(watcher->data);
}

static void watch(struct refresher *refresher, const struct child_link *link)
{
    signal(SIGPIPE, SIG_IGN);
    ev_signal_init(&refresher->term, on_signal, SIGTERM);
    ev_signal_init(&refresher->interrupt, on_signal, SIGINT);
    ev_timer_init(&refresher->beat, on_beat, 0.0, OLD_QUEUE_BEAT_MS / 1000.0);
    refresher->term.data = refresher->interrupt.data = refresher->beat.data = refresher;
    refresher->parent.data = refresher;
    ev_signal_start(refresher->loop, &refresher->term);
    ev_signal_start(refresher->loop, &refresher->interrupt);
    ev_timer_start(refresher->loop, &refresher->beat);
    if (link != NULL) {
        signal(SIGHUP, SIG_IGN);
        ev_io_init(&refresher->parent, on_parent_gone, link->parent_fd, EV_READ);
        refresher->parent.data = refresher;
        ev_io_start(refresher->loop, &refresher->parent);
    }
}

/* One turn: what the loop has to do, then a job if one comes. */
static void turn(struct refresher *refresher)
{
    char *job;
    size_t len;

    ev_run(refresher->loop, EVRUN_NOWAIT);
    if (refresher->stopping)
        return;
    if (refresher->unsettled && old_redis_is_up(refresher->backend->redis))
        refresher->unsettled = old_queue_leave(refresher->queue) == -1;
    if (!identity_is_verified(refresher->backend->identity)) {
        /* its own timer ends the wait, if nothing else does */
        ev_run(refresher->loop, EVRUN_ONCE);
        return;
    }
    TALLOC_CTX *ctx = talloc_new(refresher);
    int taken =
        refresher->unsettled ? -1 : old_queue_take(ctx, refresher->queue, TAKE_MS, &job, &len);
    if (taken == 1)
        do_job(refresher, job, len);
    else if (taken == -1)
        poll(NULL, 0, AWAY_MS); /* it failed at once, and would again */
    talloc_free(ctx);
}

static void stop(struct refresher *refresher)
{
    ev_signal_stop(refresher->loop, &refresher->term);
    ev_signal_stop(refresher->loop, &refresher->interrupt);
    ev_io_stop(refresher->loop, &refresher->parent);
    ev_timer_stop(refresher->loop, &refresher->beat);
    if (refresher->queue != NULL && old_redis_is_up(refresher->backend->redis))
        old_queue_leave(refresher->queue);
    TALLOC_FREE(refresher->backend);
}

int refresher_run(const struct application *app, struct child_link *link)
{
    struct refresher *refresher = mem_check(talloc_zero(NULL, struct refresher));
    const struct redis_settings *settings = &app->config->settings.redis;
    int result = -1;

    refresher->app = app;
    refresher->loop = mem_check(ev_loop_new(EVBACKEND_EPOLL));
    refresher->backend = backend_new(refresher, refresher->loop, app, METRICS_REFRESHER,
                                     link == NULL || link->index == 0);
    if (refresher->backend != NULL) {
        refresher->queue = old_queue_new(refresher, refresher->backend->redis, settings);
        watch(refresher, link);
        metrics_set_state(refresher->backend->metrics, METRICS_SERVING);
        if (link != NULL)
            child_ready(link);
        while (!refresher->stopping)
            turn(refresher);
        stop(refresher);
        log_tell_suppressed(true);
        result = 0;
    }
    ev_loop_destroy(refresher->loop);
    talloc_free(refresher);
    return result;
}
