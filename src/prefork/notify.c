/* SPDX-License-Identifier: BSD-2-Clause */
/* One datagram a state. */
#include "config.h"

#include "prefork/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"

/* A manager at work reads at once. */
enum { PATIENCE_S = 2 };

/* 0, or errno of the attempt to send. */
static int tell(const char *state, int flags)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path != NULL ? strlen(path) : 0;

    if (len == 0 || len >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return 0;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* the abstract namespace */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = PATIENCE_S},
               sizeof(struct timeval));
    ssize_t sent =
        sendto(fd, state, strlen(state), MSG_NOSIGNAL | flags, (const struct sockaddr *)&address,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    int error = sent == -1 ? errno : 0;
    close(fd);
    return error;
}

void notify_manager(const char *state)
{
    tell(state, 0);
}

bool notify_manager_if_room(const char *state)
{
    return tell(state, MSG_DONTWAIT) != EAGAIN;
}

/* The manager compares with its own CLOCK_MONOTONIC; clock_monotonic_us() also counts the time
   that the machine slept. */
void notify_reloading(void)
{
    struct timespec now;
    char state[80];

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
             (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    notify_manager(state);
}

int64_t notify_watchdog_us(void)
{
    const char *period = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    int64_t period_us, number;

    if (period == NULL || !num_parse_i64(period, strlen(period), &period_us) || period_us < 2)
        return 0;
    if (pid != NULL && (!num_parse_i64(pid, strlen(pid), &number) || number != getpid()))
        return 0;
    return period_us / 2;
}
