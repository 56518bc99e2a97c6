/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads that take requests from one queue and end when it is empty. What one of them opens is in
   a table of descriptors of its own, so that nothing stays of a thread that is ended. */
#include "config.h"

#include "source/cancel.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    MAX_THREADS = 8,
    /* A server that answers does so within a round trip. */
    HANGS_AFTER_US = 2 * 1000 * 1000,
};

struct cancel {
    TAILQ_ENTRY(cancel) link;
    PGcancel *request;
    enum { CANCEL_QUEUED, CANCEL_SENT, CANCEL_OVER } state;
    enum cancel_outcome outcome; /* CANCEL_OVER */
    bool ownerless;              /* cancel_end() has been called */
};

struct canceller {
    bool used;
    bool told_to_end;
    bool has_own_files;
    pthread_t thread;
    struct cancel *cancel; /* that it sends; NULL: none */
    int64_t since_us;
};

TAILQ_HEAD(cancel_list, cancel);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct cancel_list queue = TAILQ_HEAD_INITIALIZER(queue);
static struct canceller cancellers[MAX_THREADS];

static void lock(void)
{
    pthread_mutex_lock(&mutex);
}

static void unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

static void free_cancel(struct cancel *cancel)
{
    PQfreeCancel(cancel->request);
    free(cancel);
}

/* Locked. */
static void finish(struct canceller *canceller, enum cancel_outcome outcome)
{
    struct cancel *cancel = canceller->cancel;

    canceller->cancel = NULL;
    if (cancel == NULL)
        return;
    cancel->state = CANCEL_OVER;
    cancel->outcome = outcome;
    if (cancel->ownerless)
        free_cancel(cancel);
}

/* NULL: there is none, or none for this thread. */
static struct cancel *take_next(struct canceller *canceller)
{
    lock();
    struct cancel *cancel = canceller->told_to_end ? NULL : TAILQ_FIRST(&queue);
    if (cancel != NULL) {
        TAILQ_REMOVE(&queue, cancel, link);
        cancel->state = CANCEL_SENT;
        canceller->since_us = clock_monotonic_us();
    } else {
        canceller->used = false; /* from here on the queue's next needs another thread */
    }
    canceller->cancel = cancel;
    unlock();
    return cancel;
}

static void on_end(void *data)
{
    struct canceller *canceller = data;

    lock();
    finish(canceller, CANCEL_FAILED);
    canceller->used = false;
    unlock();
}

static bool take_own_files(void)
{
#ifdef CLOSE_RANGE_UNSHARE
    return close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_UNSHARE) == 0;
#else
    return false;
#endif
}

/* libpq tells by the text alone, in which it writes the error as a number, which ends a line, or as
   strerror() does. */
static bool has_error(const char *text, int error)
{
    char number[32], words[128];

    snprintf(number, sizeof number, "error %d\n", error);
    snprintf(words, sizeof words, ": %s", strerror(error));
    return strstr(text, number) != NULL || strstr(text, words) != NULL;
}

static enum cancel_outcome send_request(const PGcancel *request)
{
    char error[256] = "";

    if (PQcancel((PGcancel *)(uintptr_t)request, error, sizeof error) == 1)
        return CANCEL_ANSWERED;
    return has_error(error, ECONNREFUSED) || has_error(error, ENOENT) ? CANCEL_REFUSED
                                                                      : CANCEL_FAILED;
}

static void *run(void *data)
{
    struct canceller *canceller = data;
    struct cancel *cancel;
    bool own_files = take_own_files();

    lock();
    canceller->has_own_files = own_files;
    unlock();
    while ((cancel = take_next(canceller)) != NULL) {
        pthread_cleanup_push(on_end, canceller);
        enum cancel_outcome outcome = send_request(cancel->request);
        lock();
        finish(canceller, outcome);
        unlock();
        pthread_cleanup_pop(0);
    }
    return NULL;
}

/* Signals are the event loop's business: the thread is made with all of them blocked. */
static int start_thread(struct canceller *canceller)
{
    sigset_t all, before;
    pthread_attr_t attributes;

    if (pthread_attr_init(&attributes) != 0)
        return -1;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&canceller->thread, &attributes, run, canceller);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failed == 0 ? 0 : -1;
}

/* Locked. Threads for what waits, as far as there may be more. */
static void start_threads(unsigned most)
{
    for (size_t i = 0; i < MAX_THREADS && most > 0 && !TAILQ_EMPTY(&queue); i++) {
        if (cancellers[i].used)
            continue;
        cancellers[i] = (struct canceller){.used = true};
        if (start_thread(&cancellers[i]) == -1)
            cancellers[i].used = false;
        most--;
    }
}

static void *wait_for_end(void *data)
{
    (void)data;
    for (;;)
        pause();
    return NULL;
}

/* glibc opens a library when a thread is ended for the first time, and aborts where it cannot. */
void cancel_init(void)
{
    static bool done;
    pthread_t thread;

    if (done || pthread_create(&thread, NULL, wait_for_end, NULL) != 0)
        return;
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    done = true;
}

struct cancel *cancel_start(PGcancel *request)
{
    if (request == NULL)
        return NULL;
    struct cancel *cancel = mem_check(calloc(1, sizeof *cancel));
    cancel->request = request;
    lock();
    TAILQ_INSERT_TAIL(&queue, cancel, link);
    start_threads(1);
    unlock();
    return cancel;
}

enum cancel_outcome cancel_outcome(const struct cancel *cancel)
{
    lock();
    enum cancel_outcome outcome = cancel->state == CANCEL_OVER ? cancel->outcome : CANCEL_UNDER_WAY;
    unlock();
    return outcome;
}

bool cancel_end(struct cancel *cancel)
{
    lock();
    bool sent = cancel->state == CANCEL_SENT;
    bool safe = cancel->state == CANCEL_QUEUED || (!sent && cancel->outcome == CANCEL_ANSWERED);
    if (cancel->state == CANCEL_QUEUED)
        TAILQ_REMOVE(&queue, cancel, link);
    cancel->ownerless = true;
    if (!sent)
        free_cancel(cancel);
    unlock();
    return safe;
}

/* One without a table of its own would leave its socket behind: it keeps its place. */
static bool hangs(const struct canceller *canceller, int64_t now_us)
{
    return canceller->used && canceller->has_own_files && !canceller->told_to_end &&
           canceller->cancel != NULL && now_us - canceller->since_us >= HANGS_AFTER_US;
}

void cancel_tend(void)
{
    int64_t now_us = clock_monotonic_us();

    lock();
    for (size_t i = 0; i < MAX_THREADS; i++) {
        if (!hangs(&cancellers[i], now_us))
            continue;
        cancellers[i].told_to_end = true;
        pthread_cancel(cancellers[i].thread);
    }
    start_threads(MAX_THREADS);
    unlock();
}
