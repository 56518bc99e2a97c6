/* SPDX-License-Identifier: BSD-2-Clause */
/* Detached threads that run PQcancel, counted. */
#include "config.h"

#include "source/cancel.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

enum { MAX_UNDER_WAY = 8 };

static atomic_int under_way;

static void *run(void *data)
{
    PGcancel *cancel = data;
    char error[256];

    PQcancel(cancel, error, sizeof error);
    PQfreeCancel(cancel);
    atomic_fetch_sub(&under_way, 1);
    return NULL;
}

/* Signals are the event loop's business: the thread is made with all of them blocked. */
static int start_thread(PGcancel *cancel)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;

    if (pthread_attr_init(&attributes) != 0)
        return -1;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, &attributes, run, cancel);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failed == 0 ? 0 : -1;
}

void cancel_in_background(PGconn *conn)
{
    if (atomic_fetch_add(&under_way, 1) < MAX_UNDER_WAY) {
        PGcancel *cancel = PQgetCancel(conn);
        if (cancel != NULL && start_thread(cancel) == 0)
            return;
        PQfreeCancel(cancel);
    }
    atomic_fetch_sub(&under_way, 1);
}
