/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls, or OpenSSL's, behind one face. */
#include "config.h"

#include "redis/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/tls.h"

enum {
    KEEPALIVE_IDLE_S = 15,
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_PROBES = 3,
};

struct redis_socket {
    int fd;
    struct tls_session *tls; /* NULL: in the clear */
    char problem[256];
};

static int destroy(struct redis_socket *sock)
{
    TALLOC_FREE(sock->tls);
    close(sock->fd);
    return 0;
}

static void set_option(int fd, int level, int option, int value)
{
    /* without it the connection is only slower to notice that the other side has gone */
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

static void set_options(int fd, int64_t unheard_ms)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)unheard_ms);
}

struct redis_socket *redis_socket_open(TALLOC_CTX *ctx, const struct sockaddr *address,
                                       socklen_t len, int64_t unheard_ms)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1)
        return NULL;
    if (address->sa_family != AF_UNIX)
        set_options(fd, unheard_ms);
    /* EAGAIN is a Unix socket's whose queue is full: it does not connect later */
    if (connect(fd, address, len) == -1 && errno != EINPROGRESS && errno != EINTR) {
        int error = errno;
        close(fd);
        errno = error;
        return NULL;
    }
    struct redis_socket *sock = mem_check(talloc_zero(ctx, struct redis_socket));
    sock->fd = fd;
    talloc_set_destructor(sock, destroy);
    return sock;
}

int redis_socket_descriptor(const struct redis_socket *sock)
{
    return sock->fd;
}

static enum socket_result fail(struct redis_socket *sock, const char *problem)
{
    snprintf(sock->problem, sizeof sock->problem, "%s", problem);
    return SOCKET_FAILED;
}

enum socket_result redis_socket_finish(struct redis_socket *sock)
{
    int error = 0;
    socklen_t len = sizeof error;

    if (getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
        error = errno;
    return error == 0 ? SOCKET_DONE : fail(sock, strerror(error));
}

void redis_socket_start_tls(struct redis_socket *sock, struct tls_context *context,
                            const char *name)
{
    sock->tls = tls_session_new(sock, context, sock->fd, name);
}

static enum socket_result of_tls(struct redis_socket *sock, enum tls_result result)
{
    switch (result) {
    case TLS_DONE:
        return SOCKET_DONE;
    case TLS_WANTS_READ:
        return SOCKET_WANTS_READ;
    case TLS_WANTS_WRITE:
        return SOCKET_WANTS_WRITE;
    case TLS_CLOSED:
        return SOCKET_CLOSED;
    case TLS_FAILED:
        break;
    }
    return fail(sock, tls_session_problem(sock->tls));
}

enum socket_result redis_socket_secure(struct redis_socket *sock)
{
    return of_tls(sock, tls_session_handshake(sock->tls));
}

enum socket_result redis_socket_read(struct redis_socket *sock, char *room, size_t size,
                                     size_t *done)
{
    ssize_t got;

    *done = 0;
    if (sock->tls != NULL)
        return of_tls(sock, tls_session_read(sock->tls, room, size, done));
    do
        got = recv(sock->fd, room, size, 0);
    while (got == -1 && errno == EINTR);
    if (got == 0)
        return SOCKET_CLOSED;
    if (got == -1)
        return errno == EAGAIN ? SOCKET_WANTS_READ : fail(sock, strerror(errno));
    *done = (size_t)got;
    return SOCKET_DONE;
}

enum socket_result redis_socket_write(struct redis_socket *sock, const char *bytes, size_t len,
                                      size_t *done)
{
    ssize_t sent;

    *done = 0;
    if (sock->tls != NULL)
        return of_tls(sock, tls_session_write(sock->tls, bytes, len, done));
    do
        sent = send(sock->fd, bytes, len, MSG_NOSIGNAL);
    while (sent == -1 && errno == EINTR);
    if (sent == -1)
        return errno == EAGAIN ? SOCKET_WANTS_WRITE : fail(sock, strerror(errno));
    *done = (size_t)sent;
    return SOCKET_DONE;
}

bool redis_socket_holds_input(const struct redis_socket *sock)
{
    return sock->tls != NULL && tls_session_holds_input(sock->tls);
}

const char *redis_socket_problem(const struct redis_socket *sock)
{
    return sock->problem;
}
