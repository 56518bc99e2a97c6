/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking "HOST:PORT" apart and listening there. */
#include "config.h"

#include "prefork/tcp_socket.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"

enum { HOST_BYTES = 256 };

struct name {
    const char *text;
    char host[HOST_BYTES];
    char port[8];
    bool in_brackets;
    char *error;
    size_t error_size;
};

static int fail(const struct name *name, const char *why)
{
    snprintf(name->error, name->error_size, "%s: %s", name->text, why);
    return -1;
}

static int take_port(struct name *name, const char *text)
{
    int64_t port;

    if (!num_parse_i64(text, strlen(text), &port) || port < 1 || port > 65535)
        return fail(name, "a port is a number from 1 to 65535");
    snprintf(name->port, sizeof name->port, "%d", (int)port);
    return 0;
}

static int take_host(struct name *name, const char *text, size_t len)
{
    name->in_brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    if (name->in_brackets) {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        return fail(name, "an IPv6 address stands in brackets, tcp:[::1]:9000");
    }
    if (len == 0)
        return fail(name, "a TCP address is HOST:PORT");
    if (len >= sizeof name->host)
        return fail(name, "the host's name is too long");
    memcpy(name->host, text, len);
    return 0;
}

static int take_apart(struct name *name)
{
    const char *colon = strrchr(name->text, ':');

    if (colon == NULL)
        return fail(name, "a TCP address is HOST:PORT");
    if (take_host(name, name->text, (size_t)(colon - name->text)) == -1)
        return -1;
    return take_port(name, colon + 1);
}

static bool is_same(const struct addrinfo *a, const struct addrinfo *b)
{
    return a->ai_addrlen == b->ai_addrlen && memcmp(a->ai_addr, b->ai_addr, a->ai_addrlen) == 0;
}

/* NULL: there is only one. */
static const struct addrinfo *second_address(const struct addrinfo *info)
{
    const struct addrinfo *other = info->ai_next;

    while (other != NULL && is_same(info, other))
        other = other->ai_next;
    return other;
}

static void write_address(const struct addrinfo *info, char *text, size_t size)
{
    if (getnameinfo(info->ai_addr, info->ai_addrlen, text, (socklen_t)size, NULL, 0,
                    NI_NUMERICHOST) != 0)
        snprintf(text, size, "?");
}

static int refuse_several(const struct name *name, const struct addrinfo *info,
                          const struct addrinfo *other)
{
    char first[64], second[64];

    write_address(info, first, sizeof first);
    write_address(other, second, sizeof second);
    snprintf(name->error, name->error_size,
             "%s: this name has several addresses, among them %s and %s; give the one to listen on",
             name->text, first, second);
    return -1;
}

static int listen_at(const struct name *name, const struct addrinfo *info)
{
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd == -1)
        return fail(name, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    fail(name, strerror(errno));
    close(fd);
    return -1;
}

int tcp_socket_listen(const char *text, char *error, size_t error_size)
{
    struct name name = {.text = text, .error = error, .error_size = error_size};
    struct addrinfo *info;

    if (take_apart(&name) == -1)
        return -1;
    const struct addrinfo hints = {
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV | (name.in_brackets ? AI_NUMERICHOST : 0),
        .ai_family = name.in_brackets ? AF_INET6 : AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    int problem = getaddrinfo(name.host, name.port, &hints, &info);
    if (problem != 0)
        return fail(&name, gai_strerror(problem));
    const struct addrinfo *other = second_address(info);
    int fd = other != NULL ? refuse_several(&name, info, other) : listen_at(&name, info);
    freeaddrinfo(info);
    return fd;
}
