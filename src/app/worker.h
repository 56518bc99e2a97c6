/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker process: the event loop around serve_request. */
#ifndef LEEWAY_APP_WORKER_H
#define LEEWAY_APP_WORKER_H

#include "app/application.h"
#include "prefork/supervisor.h"

enum worker_end {
    WORKER_STOPPED, /* TERM or INT, and everything begun has been answered */
    WORKER_RELOAD,  /* HUP, likewise; only without a parent */
    WORKER_FAILED,  /* it could not start; it has been logged */
};

/* Serves until told to stop, or until the parent has died. `link` NULL: there is no parent. */
enum worker_end worker_run(const struct application *app, int listen_fd, struct child_link *link);

#endif
