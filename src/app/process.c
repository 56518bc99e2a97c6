/* SPDX-License-Identifier: BSD-2-Clause */
/* Watchers of a loop that outlive nothing. */
#include "config.h"

#include "app/process.h"

#include <signal.h>

#include "app/ready.h"
#include "base/log.h"
#include "base/mem.h"
#include "prefork/notify.h"

struct process {
    struct ev_loop *loop;
    struct pulse *pulse; /* NULL: there is no parent */
    struct process_options options;
    bool stopping;
    bool orphan;
    ev_check turn;
    ev_timer pulse_timer; /* the loop turns although nothing happens */
    ev_timer watchdog;    /* without a parent */
    ev_signal term, interrupt, quit, hangup;
    ev_io parent;
    ev_timer second;
};

static void hold_signals(int how)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGQUIT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(how, &signals, NULL);
}

void process_hold_signals(void)
{
    hold_signals(SIG_BLOCK);
}

static void on_turn(struct ev_loop *loop, ev_check *check, int events)
{
    const struct process *process = check->data;

    (void)loop;
    (void)events;
    pulse_turn(process->pulse);
}

static void on_pulse_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
}

static void on_watchdog(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    notify_manager_if_room("WATCHDOG=1");
}

static void on_signal(struct ev_loop *loop, ev_signal *signal, int events)
{
    const struct process *process = signal->data;

    (void)loop;
    (void)events;
    process->options.on_stop(process->options.data);
}

static void on_hangup(struct ev_loop *loop, ev_signal *signal, int events)
{
    const struct process *process = signal->data;

    (void)loop;
    (void)events;
    process->options.on_hangup(process->options.data);
}

static void on_parent_gone(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct process *process = watcher->data;

    (void)events;
    ev_io_stop(loop, watcher);
    process->orphan = true;
    log_event(LOG_LEVEL_WARN, "the parent process has died", log_text("action", "stop"));
    process->options.on_stop(process->options.data);
}

static void on_second(struct ev_loop *loop, ev_timer *timer, int events)
{
    const struct process *process = timer->data;
    const struct process_options *options = &process->options;
    struct backend *backend = options->backend;

    (void)loop;
    (void)events;
    backend_tend(backend);
    metrics_set_up(backend->metrics, cache_is_up(backend->cache),
                   postgres_is_up(backend->postgres));
    log_tell_suppressed(false);
    identity_tick(backend->identity);
    ready_tick(backend);
    if (options->on_second != NULL)
        options->on_second(options->data);
}

static int process_destroy(struct process *process)
{
    ev_check_stop(process->loop, &process->turn);
    ev_timer_stop(process->loop, &process->pulse_timer);
    ev_timer_stop(process->loop, &process->watchdog);
    ev_signal_stop(process->loop, &process->term);
    ev_signal_stop(process->loop, &process->interrupt);
    ev_signal_stop(process->loop, &process->quit);
    ev_signal_stop(process->loop, &process->hangup);
    ev_io_stop(process->loop, &process->parent);
    ev_timer_stop(process->loop, &process->second);
    return 0;
}

static void init_watchers(struct process *process)
{
    ev_check_init(&process->turn, on_turn);
    ev_timer_init(&process->pulse_timer, on_pulse_timer, 0.0, PULSE_LOOK_MS / 1000.0);
    ev_init(&process->watchdog, on_watchdog);
    ev_signal_init(&process->term, on_signal, SIGTERM);
    ev_signal_init(&process->interrupt, on_signal, SIGINT);
    ev_signal_init(&process->quit, on_signal, SIGQUIT);
    ev_signal_init(&process->hangup, on_hangup, SIGHUP);
    ev_init(&process->parent, on_parent_gone);
    ev_timer_init(&process->second, on_second, 0.0, 1.0);
    process->turn.data = process->term.data = process->interrupt.data = process;
    process->quit.data = process->hangup.data = process->parent.data = process->second.data =
        process;
}

struct process *process_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct child_link *link)
{
    struct process *process = mem_check(talloc_zero(ctx, struct process));

    process->loop = loop;
    process->pulse = link != NULL ? link->pulse : NULL;
    init_watchers(process);
    if (process->pulse != NULL) {
        ev_check_start(loop, &process->turn);
        ev_timer_start(loop, &process->pulse_timer);
    }
    talloc_set_destructor(process, process_destroy);
    return process;
}

static void watch_parent(struct process *process, struct child_link *link)
{
    signal(SIGHUP, SIG_IGN); /* a terminal's hang-up is the parent's business */
    ev_io_set(&process->parent, link->parent_fd, EV_READ);
    ev_io_start(process->loop, &process->parent);
}

static void watch_manager(struct process *process)
{
    double watchdog_s = (double)notify_watchdog_us() / 1e6;

    ev_signal_start(process->loop, &process->hangup);
    if (watchdog_s > 0) {
        ev_timer_set(&process->watchdog, 0.0, watchdog_s);
        ev_timer_start(process->loop, &process->watchdog);
    }
}

void process_watch(struct process *process, const struct process_options *options,
                   struct child_link *link)
{
    process->options = *options;
    /* libfcgi installs handlers where it finds none */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    ev_signal_start(process->loop, &process->term);
    ev_signal_start(process->loop, &process->interrupt);
    ev_signal_start(process->loop, &process->quit);
    if (link != NULL)
        watch_parent(process, link);
    else
        watch_manager(process);
    ev_timer_start(process->loop, &process->second);
    hold_signals(SIG_UNBLOCK);
    if (link != NULL)
        child_ready(link);
    else
        notify_manager("READY=1");
}

bool process_is_orphan(const struct process *process)
{
    return process->orphan;
}

void process_stopping(struct process *process)
{
    if (!process->stopping && process->options.link == NULL)
        notify_manager("STOPPING=1");
    process->stopping = true;
}
