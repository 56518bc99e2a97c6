/* SPDX-License-Identifier: BSD-2-Clause */
/* Start, loop, stop. */
#include "config.h"

#include "app/refresher.h"

#include "app/backend.h"
#include "app/process.h"
#include "app/refresh.h"
#include "base/log.h"
#include "base/mem.h"

struct refresher {
    struct ev_loop *loop;
    struct process *process;
    struct backend *backend;
    struct refresh *refresh;
};

/* QUEUE_BEAT_MS is a second. */
static void on_second(void *data)
{
    const struct refresher *refresher = data;

    refresh_beat(refresher->refresh);
}

static void on_stopped(void *data)
{
    struct refresher *refresher = data;

    ev_break(refresher->loop, EVBREAK_ALL);
}

static void on_stop(void *data)
{
    struct refresher *refresher = data;

    refresher->backend->draining = true;
    /* one that ends for the death of its parent was not to end, and is missed (app/ready.h) */
    if (!process_is_orphan(refresher->process))
        metrics_set_state(refresher->backend->metrics, METRICS_DRAINING);
    refresh_stop(refresher->refresh);
}

static void watch(struct refresher *refresher, struct child_link *link)
{
    const struct process_options options = {
        .loop = refresher->loop,
        .backend = refresher->backend,
        .link = link,
        .on_stop = on_stop,
        .on_hangup = on_stop,
        .on_second = on_second,
        .data = refresher,
    };

    process_watch(refresher->process, &options, link);
}

static int start(struct refresher *refresher, const struct application *app,
                 const struct child_link *link)
{
    refresher->backend = backend_new(refresher, refresher->loop, app, METRICS_REFRESHER,
                                     link == NULL || link->index == 0);
    if (refresher->backend == NULL)
        return -1;
    refresher->backend->pulse = link != NULL ? link->pulse : NULL;
    refresher->refresh = refresh_new(refresher, refresher->backend, on_stopped, refresher);
    metrics_set_state(refresher->backend->metrics, METRICS_SERVING);
    return 0;
}

static void stop(struct refresher *refresher)
{
    TALLOC_FREE(refresher->process);
    TALLOC_FREE(refresher->refresh);
    TALLOC_FREE(refresher->backend);
}

int refresher_run(const struct application *app, struct child_link *link)
{
    struct refresher *refresher = mem_check(talloc_zero(NULL, struct refresher));
    int result = -1;

    refresher->loop = mem_check(ev_loop_new(EVBACKEND_EPOLL));
    refresher->process = process_new(refresher, refresher->loop, link);
    process_hold_signals();
    if (start(refresher, app, link) == 0) {
        watch(refresher, link);
        ev_run(refresher->loop, 0);
        log_tell_suppressed(true);
        result = 0;
    }
    stop(refresher);
    ev_loop_destroy(refresher->loop);
    talloc_free(refresher);
    return result;
}
