/* SPDX-License-Identifier: BSD-2-Clause */
/* Ends the process when memory has run out. */
#include "config.h"

#include "base/mem.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/log.h"

void *mem_check(void *pointer)
{
    if (pointer == NULL) {
        log_event(LOG_LEVEL_ERROR, "out of memory", log_text("action", "abort"));
        abort();
    }
    return pointer;
}

void mem_keep(size_t bytes)
{
#ifdef M_TRIM_THRESHOLD
    enum { KEPT_ANYWAY = 128 * 1024 }; /* glibc's least for both, unless they are set */
    int threshold = bytes < MEM_KEPT_AT_MOST ? (int)bytes : MEM_KEPT_AT_MOST;

    if (threshold <= KEPT_ANYWAY)
        return;
    mallopt(M_TRIM_THRESHOLD, threshold);
    /* chunks of this size and more would be mapped one by one */
    mallopt(M_MMAP_THRESHOLD, threshold);
#else
    (void)bytes;
#endif
}

struct apart {
    void (*work)(void *data);
    void *data;
};

static void *run_apart(void *data)
{
    const struct apart *apart = data;

    apart->work(apart->data);
    return NULL;
}

/* glibc gives each thread an arena of its own. Where there can be no thread, it is done here:
   that is only slower. */
void mem_apart(void (*work)(void *data), void *data)
{
    struct apart apart = {work, data};
    sigset_t all, before;
    pthread_t thread;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the thread that waits */
    int problem = pthread_create(&thread, NULL, run_apart, &apart);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (problem == 0)
        pthread_join(thread, NULL);
    else
        work(data);
#ifdef M_TRIM_THRESHOLD
    malloc_trim(0);
#endif
}
