/* SPDX-License-Identifier: BSD-2-Clause */
/* Making, inheriting and checking listening sockets. */
#include "config.h"

#include "prefork/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/num.h"

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

static int fail_and_close(const struct complaint *complaint, const char *what, int fd)
{
    fail(complaint, what, strerror(errno));
    close(fd);
    return -1;
}

/* Whether somebody listens at `address`. */
static bool is_answered(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool answered =
        fd != -1 &&
        (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN);

    if (fd != -1)
        close(fd);
    return answered;
}

/* What a process that died without cleaning up has left; nothing but a socket is removed. */
static int clear_stale(const char *path, const struct sockaddr_un *address,
                       const struct complaint *complaint)
{
    struct stat found;

    if (lstat(path, &found) == -1)
        return errno == ENOENT ? 0 : fail(complaint, path, strerror(errno));
    if (!S_ISSOCK(found.st_mode))
        return fail(complaint, path, "exists and is no socket");
    if (is_answered(address))
        return fail(complaint, path, "is in use by another process");
    return unlink(path) == -1 ? fail(complaint, path, strerror(errno)) : 0;
}

static int listen_unix(const char *path, mode_t mode, const struct complaint *complaint)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (path[0] == '\0' || strlen(path) >= sizeof address.sun_path)
        return fail(complaint, path, "a socket's path has 1 to 107 bytes");
    memcpy(address.sun_path, path, strlen(path));
    if (clear_stale(path, &address, complaint) == -1)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1)
        return fail(complaint, path, strerror(errno));
    /* the mode is right from the first moment on */
    mode_t before = umask(~mode & 0777);
    int bound = bind(fd, (const struct sockaddr *)&address, sizeof address);
    umask(before);
    if (bound == -1 || listen(fd, SOMAXCONN) == -1)
        return fail_and_close(complaint, path, fd);
    return fd;
}

static int listen_at(const struct addrinfo *info, const char *name,
                     const struct complaint *complaint)
{
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd == -1)
        return fail(complaint, name, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == -1 || listen(fd, SOMAXCONN) == -1)
        return fail_and_close(complaint, name, fd);
    return fd;
}

/* "HOST:PORT", "[ADDRESS]:PORT" */
static int listen_tcp(const char *name, const struct complaint *complaint)
{
    static const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                          .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(name, ':');
    struct addrinfo *info;
    char host[256];

    if (colon == NULL || colon == name || colon[1] == '\0')
        return fail(complaint, name, "a TCP address is HOST:PORT");
    size_t len = (size_t)(colon - name);
    if (name[0] == '[' && name[len - 1] == ']')
        snprintf(host, sizeof host, "%.*s", (int)len - 2, name + 1);
    else
        snprintf(host, sizeof host, "%.*s", (int)len, name);
    int problem = getaddrinfo(host, colon + 1, &hints, &info);
    if (problem != 0)
        return fail(complaint, name, gai_strerror(problem));
    int fd = listen_at(info, name, complaint);
    freeaddrinfo(info);
    return fd;
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

int listener_open(const char *address, mode_t mode, char *error, size_t error_size)
{
    const struct complaint complaint = {error, error_size};
    int64_t passed = count_passed();

    if (address != NULL && strncmp(address, "unix:", 5) == 0)
        return listen_unix(address + 5, mode, &complaint);
    if (address != NULL && strncmp(address, "tcp:", 4) == 0)
        return listen_tcp(address + 4, &complaint);
    if (address != NULL)
        return fail(&complaint, address, "an address is unix:PATH or tcp:HOST:PORT");
    if (passed > 1)
        return fail(&complaint, "LISTEN_FDS", "one socket is wanted, and more were passed");
    return take_inherited(passed == 1 ? FIRST_PASSED_FD : STDIN_FILENO, &complaint);
}

void listener_unlink(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0)
        unlink(address + 5);
}
