/* SPDX-License-Identifier: BSD-2-Clause */
/* A listener that many processes wait for, each in its own event loop, of which one wake-up reaches
   one (EPOLLEXCLUSIVE, epoll_ctl(2)): libev has no way to ask for that. */
#ifndef LEEWAY_HTTP_EXCLUSIVE_H
#define LEEWAY_HTTP_EXCLUSIVE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct exclusive {
    struct ev_loop *loop;
    ev_io io;
    ev_check check; /* makes the first iteration's watch an exclusive one */
    int epoll_fd;   /* the loop's own set; -1: not known, and the watch is a usual one */
    uint64_t data;  /* what the loop recognises the listener by */
    bool listening;
};

/* `on_readable` is called as by an ev_io; its watcher's data is `data`. It must not move. */
void exclusive_start(struct exclusive *exclusive, struct ev_loop *loop, int fd,
                     void (*on_readable)(struct ev_loop *loop, ev_io *watcher, int events),
                     void *data);

/* Between start and stop, any number of times. */
void exclusive_pause(struct exclusive *exclusive);
void exclusive_resume(struct exclusive *exclusive);

/* Goes behind the other processes that wait: of those that are idle the kernel wakes the first. A
   connection that is there already is for whoever comes first all the same. Does nothing while
   paused. */
void exclusive_yield(struct exclusive *exclusive);

void exclusive_stop(struct exclusive *exclusive);

#endif
