/* SPDX-License-Identifier: BSD-2-Clause */
/* Which kind of socket it is; and sockets that are inherited. */
#include "config.h"

#include "prefork/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "prefork/tcp_socket.h"

enum { FIRST_PASSED_FD = 3 };

struct complaint {
    char *text;
    size_t size;
};

static int fail(const struct complaint *complaint, const char *what, const char *why)
{
    snprintf(complaint->text, complaint->size, "%s: %s", what, why);
    return -1;
}

static bool is_listening(int fd)
{
    int accepts = 0;
    socklen_t size = sizeof accepts;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) == 0 && accepts != 0;
}

static int take_inherited(int fd, const struct complaint *complaint)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags == -1 || !is_listening(fd))
        return fail(complaint, "no socket to listen on",
                    "descriptor 0 is none; start the program with spawn-fcgi or with "
                    "-s unix:PATH or -s tcp:HOST:PORT");
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
        return fail(complaint, "the inherited socket", strerror(errno));
    if (fd != STDIN_FILENO)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

/* sd_listen_fds(3). 0: nothing was passed, else the number of sockets. */
static int64_t count_passed(void)
{
    const char *pid_text = getenv("LISTEN_PID"), *count_text = getenv("LISTEN_FDS");
    int64_t pid, count = 0;
    bool ours = pid_text != NULL && count_text != NULL &&
                num_parse_i64(pid_text, strlen(pid_text), &pid) && pid == getpid() &&
                num_parse_i64(count_text, strlen(count_text), &count) && count > 0;

    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return ours ? count : 0;
}

int listener_open(const struct listener_options *options, char *error, size_t error_size)
{
    const struct complaint complaint = {error, error_size};
    const char *address = options->address;
    int64_t passed = count_passed();

    if (address != NULL && strncmp(address, "unix:", 5) == 0)
        return unix_socket_listen(address + 5, options->mode, options->group, error, error_size);
    if (address != NULL && strncmp(address, "tcp:", 4) == 0)
        return tcp_socket_listen(address + 4, error, error_size);
    if (address != NULL)
        return fail(&complaint, address, "an address is unix:PATH or tcp:HOST:PORT");
    if (passed > 1)
        return fail(&complaint, "LISTEN_FDS", "one socket is wanted, and more were passed");
    return take_inherited(passed == 1 ? FIRST_PASSED_FD : STDIN_FILENO, &complaint);
}

int listener_adjust(const struct listener_options *options, char *error, size_t error_size)
{
    if (options->address == NULL || strncmp(options->address, "unix:", 5) != 0)
        return 0;
    return unix_socket_adjust(options->address + 5, options->mode, options->group, error,
                              error_size);
}

void listener_mark(char mark[UNIX_SOCKET_MARK_BYTES])
{
    unix_socket_mark(mark);
}

void listener_adopt(const char *address, const char *mark)
{
    if (strncmp(address, "unix:", 5) == 0)
        unix_socket_adopt(address + 5, mark);
}

void listener_unlink(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0)
        unix_socket_unlink(address + 5);
}
