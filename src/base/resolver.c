/* SPDX-License-Identifier: BSD-2-Clause */
/* getaddrinfo() in a thread that outlives, if need be, whoever asked. Who asks for a name that is
   being looked up waits for that look-up, unless it has taken long. */
#include "config.h"

#include "base/resolver.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <talloc.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    MAX_THREADS = 16, /* of a process, those included that hang */
    MAX_OF_NAME = 4,  /* of them for one name, lest one that hangs keeps others from being found */
    SHARED_US = 1000 * 1000, /* a look-up that has taken longer may hang, and a new one not */
    STACK_BYTES = 512 * 1024,
    HOST_BYTES = 256,
};

/* Of the thread and of those who asked; whoever lets go last frees it. In the C library's memory,
   for talloc is not to be used by several threads. */
struct job {
    atomic_int holders;
    int done; /* eventfd, or -1; never read, so that it tells all */
    int64_t begun_us;
    int error;
    char host[HOST_BYTES];
    char service[8];
    size_t count;
    struct resolver_address addresses[RESOLVER_MAX];
};

struct resolver {
    struct ev_loop *loop;
    resolver_fn *fn;
    void *data;
    struct job *job;
    bool has_thread;
    const char *problem; /* of what could not be begun */
    ev_io answered;
    ev_timer timeout;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct job *running[MAX_THREADS]; /* by the threads that there are; NULL: none */

static void let_go(struct job *job)
{
    if (atomic_fetch_sub(&job->holders, 1) > 1)
        return;
    if (job->done != -1)
        close(job->done);
    free(job);
}

static void look_up(struct job *job, int flags)
{
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | flags,
    };
    struct addrinfo *found = NULL;

    job->error = getaddrinfo(job->host, job->service, &hints, &found);
    if (job->error != 0)
        return;
    for (const struct addrinfo *at = found; at != NULL && job->count < RESOLVER_MAX;
         at = at->ai_next) {
        struct resolver_address *address = &job->addresses[job->count];
        if (at->ai_addrlen > sizeof address->address)
            continue;
        memcpy(&address->address, at->ai_addr, at->ai_addrlen);
        address->len = at->ai_addrlen;
        job->count++;
    }
    freeaddrinfo(found);
}

static void leave_thread(const struct job *job)
{
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < MAX_THREADS; i++)
        if (running[i] == job)
            running[i] = NULL;
    pthread_mutex_unlock(&mutex);
}

/* false: there are too many. */
static bool enter_thread(struct job *job)
{
    bool entered = false;

    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < MAX_THREADS && !entered; i++) {
        entered = running[i] == NULL;
        if (entered)
            running[i] = job;
    }
    pthread_mutex_unlock(&mutex);
    return entered;
}

/* One of the same that has only begun, or of which there are enough; held. NULL: there is none. */
static struct job *find_running(const struct job *wanted)
{
    struct job *youngest = NULL;
    size_t of_name = 0, all = 0;

    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < MAX_THREADS; i++) {
        struct job *job = running[i];
        all += job != NULL;
        if (job == NULL || strcmp(job->host, wanted->host) != 0 ||
            strcmp(job->service, wanted->service) != 0)
            continue;
        of_name++;
        if (youngest == NULL || job->begun_us > youngest->begun_us)
            youngest = job;
    }
    if (youngest != NULL && of_name < MAX_OF_NAME && all < MAX_THREADS &&
        wanted->begun_us - youngest->begun_us >= SHARED_US)
        youngest = NULL;
    if (youngest != NULL)
        atomic_fetch_add(&youngest->holders, 1);
    pthread_mutex_unlock(&mutex);
    return youngest;
}

static void *run(void *data)
{
    struct job *job = data;
    const uint64_t one = 1;

    look_up(job, AI_ADDRCONFIG);
    leave_thread(job);
    /* an eventfd takes this at any time */
    while (write(job->done, &one, sizeof one) == -1 && errno == EINTR)
        ;
    let_go(job);
    return NULL;
}

/* NULL, or why there is none. */
static const char *start_thread(struct job *job)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;

    job->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (job->done == -1)
        return strerror(errno);
    if (!enter_thread(job))
        return "too many look-ups hang";
    atomic_fetch_add(&job->holders, 1);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    /* signals are for the loop's thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attributes, run, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        return NULL;
    leave_thread(job);
    atomic_fetch_sub(&job->holders, 1);
    return strerror(error);
}

/* Takes the job's place if there is one that will do. NULL, or why nothing is looked up. */
static const char *share_or_start(struct job **job)
{
    (*job)->begun_us = clock_monotonic_us();
    struct job *shared = find_running(*job);

    if (shared == NULL)
        return start_thread(*job);
    let_go(*job);
    *job = shared;
    return NULL;
}

/* The one end. Leaves the job to the caller. */
static struct job *end(struct resolver *resolver)
{
    struct job *job = resolver->job;

    ev_io_stop(resolver->loop, &resolver->answered);
    ev_timer_stop(resolver->loop, &resolver->timeout);
    talloc_free(resolver);
    return job;
}

static const char *problem_of(const struct job *job)
{
    if (job->error == 0)
        return "it has no address that can be used";
    return job->error == EAI_SYSTEM ? "the look-up failed" : gai_strerror(job->error);
}

static void tell_answer(struct resolver *resolver)
{
    resolver_fn *fn = resolver->fn;
    void *data = resolver->data;
    const char *problem = resolver->problem;
    struct job *job = end(resolver);

    if (problem == NULL && job->count == 0)
        problem = problem_of(job);
    fn(data, job->addresses, job->count, problem);
    let_go(job);
}

static void on_answered(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    tell_answer(watcher->data);
}

static void on_timeout(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct resolver *resolver = watcher->data;
    resolver_fn *fn = resolver->fn;
    void *data = resolver->data;

    (void)loop;
    (void)events;
    /* without a thread it is only the next turn of the loop */
    if (!resolver->has_thread) {
        tell_answer(resolver);
        return;
    }
    let_go(end(resolver));
    fn(data, NULL, 0, "no answer in time");
}

struct resolver *resolver_start(struct ev_loop *loop, const char *host, uint16_t port,
                                int64_t timeout_ms, resolver_fn *fn, void *data)
{
    struct resolver *resolver = mem_check(talloc_zero(NULL, struct resolver));
    struct job *job = mem_check(calloc(1, sizeof *job));
    const char *problem = NULL;
    bool is_number = false;

    job->holders = 1;
    job->done = -1;
    snprintf(job->service, sizeof job->service, "%u", (unsigned)port);
    if (strlen(host) >= sizeof job->host) {
        problem = "the name is too long";
    } else {
        strcpy(job->host, host);
        look_up(job, AI_NUMERICHOST);
        is_number = job->count > 0;
        if (!is_number)
            problem = share_or_start(&job);
    }
    *resolver = (struct resolver){.loop = loop, .fn = fn, .data = data, .job = job};
    resolver->problem = problem;
    resolver->has_thread = !is_number && problem == NULL;
    ev_now_update(loop);
    ev_io_init(&resolver->answered, on_answered, job->done, EV_READ);
    ev_timer_init(&resolver->timeout, on_timeout,
                  resolver->has_thread ? (double)timeout_ms / 1000.0 : 0.0, 0.0);
    resolver->answered.data = resolver->timeout.data = resolver;
    if (resolver->has_thread)
        ev_io_start(loop, &resolver->answered);
    ev_timer_start(loop, &resolver->timeout);
    return resolver;
}

void resolver_cancel(struct resolver *resolver)
{
    let_go(end(resolver));
}
