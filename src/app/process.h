/* SPDX-License-Identifier: BSD-2-Clause */
/* What workers and refreshers have around their loops: signals that stop them, a parent that may
   die and wants to see that they work, and what is to be looked after once a second. */
#ifndef LEEWAY_APP_PROCESS_H
#define LEEWAY_APP_PROCESS_H

#include <ev.h>

#include "app/backend.h"
#include "prefork/supervisor.h"

struct process;

struct process_options {
    struct ev_loop *loop;
    struct backend *backend;       /* outlives it */
    const struct child_link *link; /* NULL: there is no parent */
    /* TERM, INT or QUIT came, or the parent has died; possibly more than once. */
    void (*on_stop)(void *data);
    /* HUP came to a process without a parent, which with one ignores it. */
    void (*on_hangup)(void *data);
    /* NULL, or called once a second, after what all processes do then. */
    void (*on_second)(void *data);
    void *data;
};

/* TERM, INT, QUIT and HUP are held back, so that none is lost before process_watch(). Those that
   came are kept through a restart (execve(2)). To be called before anything that takes time, and
   again when the loop has ended. */
void process_hold_signals(void);

/* Shows the parent from now on that `loop` turns, and at least once a second. To be called before
   the loop is run for the first time. */
struct process *process_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct child_link *link);

/* Signals are taken, the parent and each second heeded from now on; the parent is told that the
   child works, or the service manager where there is no parent. */
void process_watch(struct process *process, const struct process_options *options,
                   struct child_link *link);

/* Whether the parent has died. */
bool process_is_orphan(const struct process *process);

/* A stop begins; the service manager is told where there is no parent. */
void process_stopping(struct process *process);

#endif
