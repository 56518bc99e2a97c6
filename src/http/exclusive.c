/* SPDX-License-Identifier: BSD-2-Clause */
/* The loop adds the listener to its set as any other descriptor. From the kernel's own account of
   that set (proc_pid_fdinfo(5)) we learn which it is and what stands for the listener in it, and
   replace the entry by an exclusive one of the same meaning. A set of our own inside the loop's
   would not do: then nobody sleeps on ours, and the kernel wakes everybody. */
#include "config.h"

#include "http/exclusive.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/log.h"

/* Whether `epoll_fd` is a set that holds `fd`, and as what. */
static bool find_entry(const char *epoll_fd, int fd, uint64_t *data)
{
    char path[64], line[256];
    unsigned events;
    bool found = false;
    int held;

    snprintf(path, sizeof path, "/proc/self/fdinfo/%.20s", epoll_fd);
    FILE *info = fopen(path, "re");
    if (info == NULL)
        return false;
    while (!found && fgets(line, sizeof line, info) != NULL)
        found = sscanf(line, "tfd: %d events: %x data: %" SCNx64, &held, &events, data) == 3 &&
                held == fd;
    fclose(info);
    return found;
}

/* The set that holds `fd`: there is only one, the loop's. -1: not found. */
static int find_set(int fd, uint64_t *data)
{
    DIR *folder = opendir("/proc/self/fdinfo");
    const struct dirent *entry;
    int found = -1;

    if (folder == NULL)
        return -1;
    while (found == -1 && (entry = readdir(folder)) != NULL)
        if (find_entry(entry->d_name, fd, data))
            found = atoi(entry->d_name);
    closedir(folder);
    return found;
}

/* Fails where memory, or what a user may watch, has run out: rather than be deaf, the process ends
   as in mem_check(). */
static void add(struct exclusive *exclusive)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u64 = exclusive->data};

    if (epoll_ctl(exclusive->epoll_fd, EPOLL_CTL_ADD, exclusive->io.fd, &event) == 0)
        return;
    log_event(LOG_LEVEL_ERROR, "cannot watch the listening socket",
              log_text("error", strerror(errno)), log_text("action", "abort"));
    abort();
}

static void delete (struct exclusive *exclusive)
{
    epoll_ctl(exclusive->epoll_fd, EPOLL_CTL_DEL, exclusive->io.fd, NULL);
}

/* After the first iteration in which the loop has the listener in its set. */
static void on_check(struct ev_loop *loop, ev_check *check, int events)
{
    struct exclusive *exclusive = check->data;
    int epoll_fd = find_set(exclusive->io.fd, &exclusive->data);

    (void)events;
    ev_check_stop(loop, check);
    if (epoll_fd == -1)
        return;
    exclusive->epoll_fd = epoll_fd;
    delete (exclusive);
    if (exclusive->listening)
        add(exclusive);
}

void exclusive_start(struct exclusive *exclusive, struct ev_loop *loop, int fd,
                     void (*on_readable)(struct ev_loop *loop, ev_io *watcher, int events),
                     void *data)
{
    exclusive->loop = loop;
    exclusive->epoll_fd = -1;
    exclusive->listening = true;
    ev_io_init(&exclusive->io, on_readable, fd, EV_READ);
    ev_check_init(&exclusive->check, on_check);
    exclusive->io.data = data;
    exclusive->check.data = exclusive;
    ev_io_start(loop, &exclusive->io);
    ev_check_start(loop, &exclusive->check);
}

void exclusive_pause(struct exclusive *exclusive)
{
    if (!exclusive->listening)
        return;
    exclusive->listening = false;
    if (exclusive->epoll_fd != -1)
        delete (exclusive);
    else
        ev_io_stop(exclusive->loop, &exclusive->io);
}

void exclusive_resume(struct exclusive *exclusive)
{
    if (exclusive->listening)
        return;
    exclusive->listening = true;
    if (exclusive->epoll_fd != -1)
        add(exclusive);
    else
        ev_io_start(exclusive->loop, &exclusive->io);
}

void exclusive_yield(struct exclusive *exclusive)
{
    if (!exclusive->listening || exclusive->epoll_fd == -1)
        return;
    delete (exclusive);
    add(exclusive);
}

void exclusive_stop(struct exclusive *exclusive)
{
    exclusive_pause(exclusive);
    ev_io_stop(exclusive->loop, &exclusive->io);
    ev_check_stop(exclusive->loop, &exclusive->check);
}
