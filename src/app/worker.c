/* SPDX-License-Identifier: BSD-2-Clause */
/* Start, loop, drain. */
#include "config.h"

#include "app/worker.h"

#include "app/capacity.h"
#include "app/process.h"
#include "app/serve.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/processors.h"
#include "http/transport.h"
#include "prefork/notify.h"

enum {
    /* Of more workers than processors so few connections are served as quickly by one as by many,
       and with a quarter less processor time. */
    STAYING_TOGETHER = 8,
    DRAIN_CHECK_MS = 20,
    /* A server that is away for a moment is back by then. */
    TAKE_OVER_MS = 5000,
};

struct worker {
    const struct application *app;
    struct ev_loop *loop;
    struct process *process;
    struct backend *backend;
    struct server *server;
    struct transport *transport;
    bool draining;
    bool reload;
    ev_timer drain_check;
    ev_timer drain_deadline;
};

static void on_request(void *data, struct request *request)
{
    const struct worker *worker = data;

    serve_request(worker->server, request);
}

static void on_gone(void *data, struct request *request)
{
    (void)data;
    serve_gone(request);
}

/* A key that is held goes free soon after this process has ended. */
static void on_drain_check(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct worker *worker = timer->data;

    (void)events;
    if (transport_is_idle(worker->transport) && server_is_drained(worker->server) &&
        !postgres_holds_lost(worker->backend->postgres))
        ev_break(loop, EVBREAK_ALL);
}

/* What still waits is answered with 503; what is being written gets one more round. */
static void on_drain_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct worker *worker = timer->data;

    (void)events;
    server_abandon(worker->server);
    ev_break(loop, EVBREAK_ALL);
}

static void drain(struct worker *worker)
{
    double deadline_s = (double)worker->app->config->settings.drain_timeout_ms / 1000.0;

    if (worker->draining)
        return;
    worker->draining = true;
    metrics_set_state(worker->backend->metrics, METRICS_DRAINING);
    server_drain(worker->server);
    transport_stop_accepting(worker->transport);
    ev_now_update(worker->loop);
    ev_timer_init(&worker->drain_check, on_drain_check, 0.0, DRAIN_CHECK_MS / 1000.0);
    ev_timer_init(&worker->drain_deadline, on_drain_deadline, deadline_s, 0.0);
    worker->drain_check.data = worker->drain_deadline.data = worker;
    ev_timer_start(worker->loop, &worker->drain_check);
    ev_timer_start(worker->loop, &worker->drain_deadline);
}

static void on_stop(void *data)
{
    struct worker *worker = data;

    worker->reload = false;
    process_stopping(worker->process);
    drain(worker);
}

/* Without a parent a reload is a stop after which the program starts itself anew. */
static void on_hangup(void *data)
{
    struct worker *worker = data;

    if (worker->draining || !application_check(worker->app->config->file, NULL))
        return;
    worker->reload = true;
    notify_reloading();
    drain(worker);
}

static void on_second(void *data)
{
    const struct worker *worker = data;

    metrics_clients_cut(worker->backend->metrics, transport_take_cut(worker->transport));
}

static size_t staying_together(const struct child_link *link)
{
    return link != NULL && link->count > processors_available() ? STAYING_TOGETHER : 1;
}

/* Workers that serve are not replaced by those that cannot: for a while, for a reload must come to
   an end. The first one waits for all, and keeps what it finds out. */
static void await_identity(const struct worker *worker, const struct child_link *link)
{
    struct identity *identity = worker->backend->identity;
    int64_t limit_ms = worker->app->config->settings.postgres.connect_timeout_ms + TAKE_OVER_MS;

    if (link == NULL || !link->replaces || identity_is_verified(identity))
        return;
    if (link->index == 0)
        identity_await(identity, limit_ms);
    if (link->index == 0 && !identity_is_verified(identity))
        log_event(LOG_LEVEL_ERROR,
                  "workers that serve are replaced by ones that do not: the database of the new "
                  "configuration is not verified",
                  log_text("problem", identity_problem(identity)));
}

static struct transport *open_transport(struct worker *worker, int listen_fd,
                                        const struct child_link *link, int64_t max_connections)
{
    const struct settings *settings = &worker->app->config->settings;
    const struct transport_options options = {
        .loop = worker->loop,
        .steps = worker->backend->steps,
        .listen_fd = listen_fd,
        .max_connections = (size_t)max_connections,
        .staying_together = staying_together(link),
        .max_unsent_bytes = (size_t)settings->max_unsent_bytes,
        .client_timeout_ms = settings->client_timeout_ms,
        .variables = worker->app->variables,
        .on_request = on_request,
        .on_gone = on_gone,
        .data = worker,
    };

    return transport_new(worker, &options);
}

static int start(struct worker *worker, int listen_fd, const struct child_link *link)
{
    bool speaks = link == NULL || link->index == 0;
    int64_t max_connections = capacity_claim(&worker->app->config->settings, speaks);

    if (max_connections == 0)
        return -1;
    worker->backend = backend_new(worker, worker->loop, worker->app, METRICS_WORKER, speaks);
    if (worker->backend == NULL)
        return -1;
    worker->backend->pulse = link != NULL ? link->pulse : NULL;
    await_identity(worker, link);
    worker->server = server_new(worker, worker->backend);
    worker->transport = open_transport(worker, listen_fd, link, max_connections);
    if (worker->transport == NULL) {
        log_message(LOG_LEVEL_ERROR, "cannot watch the listening socket");
        return -1;
    }
    metrics_set_state(worker->backend->metrics, METRICS_SERVING);
    return 0;
}

/* After start(), because libfcgi installs handlers where it finds none. */
static void watch(struct worker *worker, struct child_link *link)
{
    const struct process_options options = {
        .loop = worker->loop,
        .backend = worker->backend,
        .link = link,
        .on_stop = on_stop,
        .on_hangup = on_hangup,
        .on_second = on_second,
        .data = worker,
    };

    process_watch(worker->process, &options, link);
}

static void stop(struct worker *worker)
{
    ev_timer_stop(worker->loop, &worker->drain_check);
    ev_timer_stop(worker->loop, &worker->drain_deadline);
    TALLOC_FREE(worker->process);
    TALLOC_FREE(worker->transport);
    TALLOC_FREE(worker->server);
    TALLOC_FREE(worker->backend);
}

enum worker_end worker_run(const struct application *app, int listen_fd, struct child_link *link)
{
    struct worker *worker = mem_check(talloc_zero(NULL, struct worker));
    enum worker_end end = WORKER_FAILED;

    worker->app = app;
    worker->loop = mem_check(ev_loop_new(EVBACKEND_EPOLL));
    worker->process = process_new(worker, worker->loop, link);
    process_hold_signals();
    if (start(worker, listen_fd, link) == 0) {
        watch(worker, link);
        ev_run(worker->loop, 0);
        end = worker->reload ? WORKER_RELOAD : WORKER_STOPPED;
        process_hold_signals();
        log_tell_suppressed(true);
    }
    stop(worker);
    ev_loop_destroy(worker->loop);
    talloc_free(worker);
    return end;
}
