/* SPDX-License-Identifier: BSD-2-Clause */
/* A file is judged by connecting to it, and only replaced if the answer leaves no doubt. */
#include "config.h"

#include "prefork/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    LOCK_TRIES = 100,
    LOCK_PAUSE_NS = 10 * 1000 * 1000,
};

/* A call's arguments, and where it complains. */
struct wanted {
    const char *path;
    struct sockaddr_un address;
    mode_t mode;
    int64_t group;
    char *error;
    size_t error_size;
};

/* The file that this process made; a process listens on one socket. */
static struct {
    dev_t device;
    ino_t number; /* 0: none */
} made;

static int fail(const struct wanted *wanted, const char *why)
{
    snprintf(wanted->error, wanted->error_size, "%s: %s", wanted->path, why);
    return -1;
}

static int fail_by_errno(const struct wanted *wanted, const char *what)
{
    snprintf(wanted->error, wanted->error_size, "%s: %s%s", wanted->path, what, strerror(errno));
    return -1;
}

/* Held from the look at an old file until the new one is listened on: otherwise another process
   might take the new one for dead, or remove it in place of the old one. Who holds the lock for
   long has other things in mind, and is not waited for. The descriptor to close, or -1. */
static int lock_directory(const char *path)
{
    static const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    char directory[sizeof((struct sockaddr_un *)0)->sun_path] = ".";
    const char *slash = strrchr(path, '/');

    if (slash != NULL)
        snprintf(directory, sizeof directory, "%.*s", slash == path ? 1 : (int)(slash - path),
                 path);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd != -1 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) == -1; i++)
        nanosleep(&pause, NULL);
    return fd;
}

/* Whether somebody listens there: 1, 0, or -1 and errno if that cannot be told. */
static int is_answered(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd == -1)
        return -1;
    /* EAGAIN: more are waiting already than may */
    int rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
    int answered = rc == 0 || errno == EAGAIN                 ? 1
                   : errno == ECONNREFUSED || errno == ENOENT ? 0
                                                              : -1;
    int problem = errno;
    close(fd);
    errno = problem;
    return answered;
}

/* Removes what a process that died without cleaning up has left. */
static int clear_stale(const struct wanted *wanted)
{
    struct stat found;

    if (lstat(wanted->path, &found) == -1)
        return errno == ENOENT ? 0 : fail_by_errno(wanted, "");
    if (!S_ISSOCK(found.st_mode))
        return fail(wanted, "exists and is no socket");
    switch (is_answered(&wanted->address)) {
    case 0:
        return unlink(wanted->path) == 0 || errno == ENOENT ? 0 : fail_by_errno(wanted, "");
    case 1:
        return fail(wanted, "is in use by another process");
    default:
        return fail_by_errno(wanted, "whether another process uses it cannot be told, and so it "
                                     "is left alone: ");
    }
}

static int give_to_group(const struct wanted *wanted)
{
    if (wanted->group == -1 || lchown(wanted->path, (uid_t)-1, (gid_t)wanted->group) == 0)
        return 0;
    return fail_by_errno(wanted, "cannot be given to the socket_group: ");
}

static int bind_and_listen(const struct wanted *wanted, int fd)
{
    struct stat file;
    /* the mode is right from the first moment on */
    mode_t before = umask(~wanted->mode & 0777);
    int bound = bind(fd, (const struct sockaddr *)&wanted->address, sizeof wanted->address);

    umask(before);
    if (bound == -1)
        return fail_by_errno(wanted, "");
    /* while nobody can connect as yet */
    if (give_to_group(wanted) == -1)
        goto failed;
    if (listen(fd, SOMAXCONN) == -1 || lstat(wanted->path, &file) == -1) {
        fail_by_errno(wanted, "");
        goto failed;
    }
    made.device = file.st_dev;
    made.number = file.st_ino;
    return 0;
failed:
    unlink(wanted->path);
    return -1;
}

static int listen_there(const struct wanted *wanted)
{
    if (clear_stale(wanted) == -1)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1)
        return fail_by_errno(wanted, "");
    if (bind_and_listen(wanted, fd) == 0)
        return fd;
    close(fd);
    return -1;
}

int unix_socket_listen(const char *path, mode_t mode, int64_t group, char *error, size_t error_size)
{
    struct wanted wanted = {
        .path = path,
        .address.sun_family = AF_UNIX,
        .mode = mode,
        .group = group,
        .error = error,
        .error_size = error_size,
    };

    if (path[0] == '\0' || strlen(path) >= sizeof wanted.address.sun_path)
        return fail(&wanted, "a socket's path has 1 to 107 bytes");
    memcpy(wanted.address.sun_path, path, strlen(path));
    int lock = lock_directory(path);
    int fd = listen_there(&wanted);
    if (lock != -1)
        close(lock);
    return fd;
}

static bool is_made(const char *path)
{
    struct stat file;

    return made.number != 0 && lstat(path, &file) == 0 && file.st_dev == made.device &&
           file.st_ino == made.number;
}

int unix_socket_adjust(const char *path, mode_t mode, int64_t group, char *error, size_t error_size)
{
    const struct wanted wanted = {
        .path = path, .mode = mode, .group = group, .error = error, .error_size = error_size};

    if (made.number == 0)
        return 0;
    if (!is_made(path))
        return fail(&wanted,
                    "is no longer the socket that was made here, and nobody can connect to "
                    "that one any more: start anew");
    if (give_to_group(&wanted) == -1)
        return -1;
    return chmod(path, mode) == 0 ? 0 : fail_by_errno(&wanted, "cannot be given socket_mode: ");
}

void unix_socket_mark(char mark[UNIX_SOCKET_MARK_BYTES])
{
    mark[0] = '\0';
    if (made.number != 0)
        snprintf(mark, UNIX_SOCKET_MARK_BYTES, "%ju:%ju", (uintmax_t)made.device,
                 (uintmax_t)made.number);
}

void unix_socket_adopt(const char *path, const char *mark)
{
    uintmax_t device, number;
    struct stat file;

    if (mark != NULL && sscanf(mark, "%ju:%ju", &device, &number) == 2) {
        made.device = (dev_t)device;
        made.number = (ino_t)number;
    } else if (mark == NULL && lstat(path, &file) == 0 && S_ISSOCK(file.st_mode)) {
        made.device = file.st_dev;
        made.number = file.st_ino;
    }
}

void unix_socket_unlink(const char *path)
{
    if (is_made(path))
        unlink(path);
}
