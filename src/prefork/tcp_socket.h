/* SPDX-License-Identifier: BSD-2-Clause */
/* A listening TCP socket. */
#ifndef LEEWAY_PREFORK_TCP_SOCKET_H
#define LEEWAY_PREFORK_TCP_SOCKET_H

#include <stddef.h>

/* Listens at `name`, which is "HOST:PORT", or "[ADDRESS]:PORT" for IPv6, with a port from 1 to
   65535. A process listens on one socket, so that a host name of several addresses is refused. The
   descriptor is non-blocking and close-on-exec; or -1 and a sentence in `error`. */
int tcp_socket_listen(const char *name, char *error, size_t error_size)
    __attribute__((warn_unused_result));

#endif
