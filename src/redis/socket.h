/* SPDX-License-Identifier: BSD-2-Clause */
/* A socket to Redis that never blocks, in the clear or by TLS. */
#ifndef LEEWAY_REDIS_SOCKET_H
#define LEEWAY_REDIS_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <talloc.h>

struct redis_socket;
struct tls_context;

enum socket_result {
    SOCKET_DONE,
    SOCKET_WANTS_READ,  /* again, once it is readable */
    SOCKET_WANTS_WRITE, /* again, once it is writable */
    SOCKET_CLOSED,      /* in order, by the other side */
    SOCKET_FAILED,
};

/* Begins to connect; NULL: it cannot, and errno says why. What is sent and not acknowledged for
   `unheard_ms` ends a TCP connection. Once it is writable, redis_socket_finish says how it went. */
struct redis_socket *redis_socket_open(TALLOC_CTX *ctx, const struct sockaddr *address,
                                       socklen_t len, int64_t unheard_ms);

int redis_socket_descriptor(const struct redis_socket *socket);

/* SOCKET_DONE: it is connected. */
enum socket_result redis_socket_finish(struct redis_socket *socket);

/* Goes on by TLS: `name` is whom the other side's certificate must be for, a name or an IP address.
   Then redis_socket_secure, as often as it wants to, until it is done. */
void redis_socket_start_tls(struct redis_socket *socket, struct tls_context *context,
                            const char *name);
enum socket_result redis_socket_secure(struct redis_socket *socket);

/* *done is 0 unless SOCKET_DONE. */
enum socket_result redis_socket_read(struct redis_socket *socket, char *room, size_t size,
                                     size_t *done);
enum socket_result redis_socket_write(struct redis_socket *socket, const char *bytes, size_t len,
                                      size_t *done);

/* Whether something can be read without the descriptor's being readable. */
bool redis_socket_holds_input(const struct redis_socket *socket);

/* What failed. Borrowed until the next call. */
const char *redis_socket_problem(const struct redis_socket *socket);

#endif
