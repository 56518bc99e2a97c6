/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptors that do not block. syslog(3) waits for a daemon that does not read; so the datagrams
   are sent from here. */
#include "config.h"

#include "base/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define SYSLOG_SOCKET   "/dev/log"
#define JOURNAL_SOCKETS "/run/systemd/journal/"
#define FILE_PREFIX     "file:"

enum {
    FILE_MODE = 0640,
    LOOK_INTERVAL_US = 1000 * 1000,
    HEAD_BYTES = 128,
};

static const int priorities[] = {
    [LOG_LEVEL_DEBUG] = LOG_DEBUG,
    [LOG_LEVEL_INFO] = LOG_INFO,
    [LOG_LEVEL_WARN] = LOG_WARNING,
    [LOG_LEVEL_ERROR] = LOG_ERR,
};

/* sd-daemon(3): the variable is inherited by whoever is started from a service, and standard error
   may lead elsewhere by then. */
static bool leads_to_journal(const struct stat *found)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char ours[48];

    if (stream == NULL)
        return false;
    snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)found->st_dev, (uintmax_t)found->st_ino);
    return strcmp(stream, ours) == 0;
}

/* A pipe or a terminal that we open ourselves does not block us, and still blocks those who share
   ours. Where that is not allowed, for it was made by another user, those who share a pipe have to
   bear it; a terminal is the shell's as well. */
static void unblock(struct log_sink *sink, bool is_pipe)
{
    int own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int flags = own == -1 && is_pipe ? fcntl(STDERR_FILENO, F_GETFL) : -1;

    if (own != -1) {
        sink->fd = own;
        sink->is_own = true;
    } else if (flags != -1) {
        fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
    }
}

/* The descriptor may be one for writing only. Who may not read the file cannot see how it ends, and
   knows of its own lines only. */
static void open_end(struct log_sink *sink)
{
    struct stat found;
    char name[32];

    sink->end_fd = -1;
    if (sink->fd == -1 || fstat(sink->fd, &found) == -1 || !S_ISREG(found.st_mode))
        return;
    snprintf(name, sizeof name, "/proc/self/fd/%d", sink->fd);
    sink->end_fd = open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void log_sink_stderr(struct log_sink *sink, const char *program)
{
    struct stat found;

    *sink = (struct log_sink){
        .kind = SINK_STDERR,
        .program = program,
        .fd = STDERR_FILENO,
        .is_stream = true,
    };
    open_end(sink);
    if (fstat(STDERR_FILENO, &found) == -1)
        return;
    sink->is_journal = sink->adds_time = leads_to_journal(&found);
    sink->is_socket = S_ISSOCK(found.st_mode);
    if (S_ISFIFO(found.st_mode) || isatty(STDERR_FILENO))
        unblock(sink, S_ISFIFO(found.st_mode));
}

static int open_file(const char *path)
{
    /* a FIFO that nobody reads fails at once */
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, FILE_MODE);
}

/* By datagrams, else by a stream, as syslog(3) does. */
static void connect_syslog(struct log_sink *sink)
{
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SYSLOG_SOCKET};
    static const int types[] = {SOCK_DGRAM, SOCK_STREAM};

    for (size_t i = 0; sink->fd == -1 && i < sizeof types / sizeof types[0]; i++) {
        int fd = socket(AF_UNIX, types[i] | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd == -1)
            return;
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
            sink->fd = fd;
            sink->is_stream = types[i] == SOCK_STREAM;
            sink->is_torn = false;
        } else {
            bool other_type = errno == EPROTOTYPE;
            close(fd);
            if (!other_type)
                return;
        }
    }
}

static int open_syslog(struct log_sink *sink)
{
    char target[PATH_MAX];

    sink->kind = SINK_SYSLOG;
    sink->is_socket = true;
    if (realpath(SYSLOG_SOCKET, target) != NULL)
        sink->adds_time = strncmp(target, JOURNAL_SOCKETS, strlen(JOURNAL_SOCKETS)) == 0;
    connect_syslog(sink);
    return 0;
}

int log_sink_open(struct log_sink *sink, const char *program, const char *destination, char *error,
                  size_t error_size)
{
    if (strcmp(destination, "stderr") == 0) {
        log_sink_stderr(sink, program);
        return 0;
    }
    *sink = (struct log_sink){.program = program, .fd = -1, .is_own = true, .end_fd = -1};
    if (strcmp(destination, "syslog") == 0)
        return open_syslog(sink);
    const char *path = destination + strlen(FILE_PREFIX);
    sink->kind = SINK_FILE;
    sink->is_stream = true;
    sink->fd = open_file(path);
    if (sink->fd == -1) {
        snprintf(error, error_size, "the log %s cannot be opened: %s", path,
                 errno == ENXIO ? "nobody reads it" : strerror(errno));
        return -1;
    }
    sink->path = strdup(path);
    open_end(sink);
    return 0;
}

void log_sink_close(struct log_sink *sink)
{
    if (sink->is_own && sink->fd != -1)
        close(sink->fd);
    if (sink->end_fd != -1)
        close(sink->end_fd);
    free(sink->path);
    sink->path = NULL;
    sink->fd = sink->end_fd = -1;
}

static bool is_same_file(int fd, const char *path)
{
    struct stat open_one, named;

    return fd != -1 && fstat(fd, &open_one) == 0 && stat(path, &named) == 0 &&
           open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

static bool is_lost(int fd)
{
    struct stat file;

    return fd != -1 && fstat(fd, &file) == 0 && file.st_nlink == 0;
}

/* Somebody moves the file away, to keep it, and need not tell us. If there is no other to be had,
   what there is stays, unless nobody can ever read it. */
static void look_after_file(struct log_sink *sink, int64_t now_us)
{
    if (sink->path == NULL || now_us - sink->looked_us < LOOK_INTERVAL_US)
        return;
    sink->looked_us = now_us;
    if (is_same_file(sink->fd, sink->path))
        return;
    int fd = open_file(sink->path);
    if (fd == -1 && !is_lost(sink->fd))
        return;
    if (sink->fd != -1)
        close(sink->fd);
    if (sink->end_fd != -1)
        close(sink->end_fd);
    sink->fd = fd;
    sink->is_torn = false;
    open_end(sink);
}

/* Whether somebody's line has been taken in part, as by a disk that was full. */
static bool ends_torn(const struct log_sink *sink)
{
    struct stat file;
    char last;

    if (sink->end_fd == -1 || fstat(sink->end_fd, &file) == -1 || file.st_size == 0 ||
        pread(sink->end_fd, &last, 1, file.st_size - 1) != 1)
        return sink->is_torn;
    return last != '\n';
}

/* RFC 3164, 4.1, as syslog(3) writes it. */
static int put_syslog_head(const struct log_sink *sink, enum log_level level, char head[HEAD_BYTES])
{
    time_t now = time(NULL);
    struct tm parts;
    char stamp[32] = "";

    if (localtime_r(&now, &parts) != NULL)
        strftime(stamp, sizeof stamp, "%b %e %T", &parts);
    int len = snprintf(head, HEAD_BYTES, "<%d>%s %.64s[%ld]: ", LOG_DAEMON | priorities[level],
                       stamp, sink->program, (long)getpid());
    return len < HEAD_BYTES ? len : HEAD_BYTES - 1;
}

static ssize_t send_parts(const struct log_sink *sink, struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};

    if (sink->is_socket)
        return sendmsg(sink->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return writev(sink->fd, parts, count);
}

/* A terminal that could not be opened anew would block while its output is stopped; it is asked
   first. What is our own does not block, and for others the question is as good as none. */
static bool may_write(const struct log_sink *sink)
{
    struct pollfd fd = {.fd = sink->fd, .events = POLLOUT};

    if (sink->kind != SINK_STDERR || sink->is_socket || sink->is_own)
        return true;
    return poll(&fd, 1, 0) == 1 && (fd.revents & POLLOUT) != 0;
}

static bool write_parts(struct log_sink *sink, struct iovec *parts, int count)
{
    size_t wanted = 0;

    for (int i = 0; i < count; i++)
        wanted += parts[i].iov_len;
    if (sink->fd == -1 || !may_write(sink))
        return false;
    ssize_t written = send_parts(sink, parts, count);
    if (written >= 0 && (size_t)written < wanted)
        sink->is_torn = sink->is_stream;
    else if (written >= 0)
        sink->is_torn = false;
    return written > 0 && (size_t)written == wanted;
}

static bool write_to_syslog(struct log_sink *sink, enum log_level level, const char *line,
                            size_t len)
{
    static char nul[1];
    char head[HEAD_BYTES];
    struct iovec parts[] = {
        {.iov_base = nul},
        {.iov_base = head, .iov_len = (size_t)put_syslog_head(sink, level, head)},
        {.iov_base = (void *)(uintptr_t)line, .iov_len = len},
        {.iov_base = nul},
    };

    /* the daemon may have been started anew */
    for (int tries = 0; tries < 2; tries++) {
        if (sink->fd == -1)
            connect_syslog(sink);
        parts[0].iov_len = sink->is_torn ? 1 : 0; /* a NUL ends what came before */
        parts[3].iov_len = sink->is_stream ? 1 : 0;
        if (write_parts(sink, parts, 4))
            return true;
        if (sink->fd == -1 || errno == EAGAIN || errno == ENOBUFS)
            return false;
        close(sink->fd);
        sink->fd = -1;
    }
    return false;
}

bool log_sink_write(struct log_sink *sink, enum log_level level, const char *line, size_t len,
                    int64_t now_us)
{
    static char newline[1] = {'\n'};
    struct iovec parts[] = {
        {.iov_base = newline},
        {.iov_base = (void *)(uintptr_t)line, .iov_len = len},
        {.iov_base = newline, .iov_len = 1},
    };

    if (sink->kind == SINK_SYSLOG)
        return write_to_syslog(sink, level, line, len);
    look_after_file(sink, now_us);
    parts[0].iov_len = ends_torn(sink) ? 1 : 0;
    return write_parts(sink, parts, 3);
}
