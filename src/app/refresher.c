/* SPDX-License-Identifier: BSD-2-Clause */
/* Signals, heartbeats, and what is to be looked after once a second. */
#include "config.h"

#include "app/refresher.h"

#include <signal.h>

#include "app/backend.h"
#include "app/refresh.h"
#include "base/log.h"
#include "base/mem.h"

struct refresher {
    struct ev_loop *loop;
    struct backend *backend;
    struct refresh *refresh;
    ev_signal term, interrupt;
    ev_io parent;
    ev_timer beat;
};

static void on_beat(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct refresher *refresher = timer->data;
    struct backend *backend = refresher->backend;

    (void)loop;
    (void)events;
    backend_tend(backend);
    metrics_set_up(backend->metrics, cache_is_up(backend->cache),
                   postgres_is_up(backend->postgres));
    log_tell_suppressed(false);
    identity_tick(backend->identity);
    refresh_beat(refresher->refresh);
}

static void on_stopped(void *data)
{
    struct refresher *refresher = data;

    ev_break(refresher->loop, EVBREAK_ALL);
}

static void on_stop(struct refresher *refresher)
{
    metrics_set_state(refresher->backend->metrics, METRICS_DRAINING);
    refresh_stop(refresher->refresh);
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
    ev_timer_init(&refresher->beat, on_beat, 0.0, QUEUE_BEAT_MS / 1000.0);
    ev_init(&refresher->parent, on_parent_gone);
    refresher->term.data = refresher->interrupt.data = refresher->beat.data = refresher;
    refresher->parent.data = refresher;
    ev_signal_start(refresher->loop, &refresher->term);
    ev_signal_start(refresher->loop, &refresher->interrupt);
    ev_timer_start(refresher->loop, &refresher->beat);
    if (link != NULL) {
        signal(SIGHUP, SIG_IGN);
        ev_io_set(&refresher->parent, link->parent_fd, EV_READ);
        ev_io_start(refresher->loop, &refresher->parent);
    }
}

static void stop(struct refresher *refresher)
{
    ev_signal_stop(refresher->loop, &refresher->term);
    ev_signal_stop(refresher->loop, &refresher->interrupt);
    ev_io_stop(refresher->loop, &refresher->parent);
    ev_timer_stop(refresher->loop, &refresher->beat);
    TALLOC_FREE(refresher->refresh);
    TALLOC_FREE(refresher->backend);
}

int refresher_run(const struct application *app, struct child_link *link)
{
    struct refresher *refresher = mem_check(talloc_zero(NULL, struct refresher));
    int result = -1;

    refresher->loop = mem_check(ev_loop_new(EVBACKEND_EPOLL));
    refresher->backend = backend_new(refresher, refresher->loop, app, METRICS_REFRESHER,
                                     link == NULL || link->index == 0);
    if (refresher->backend != NULL) {
        refresher->refresh = refresh_new(refresher, refresher->backend, on_stopped, refresher);
        watch(refresher, link);
        metrics_set_state(refresher->backend->metrics, METRICS_SERVING);
        if (link != NULL)
            child_ready(link);
        ev_run(refresher->loop, 0);
        stop(refresher);
        log_tell_suppressed(true);
        result = 0;
    }
    ev_loop_destroy(refresher->loop);
    talloc_free(refresher);
    return result;
}
