/* SPDX-License-Identifier: BSD-2-Clause */
/* The FastCGI listening socket, wherever it comes from. */
#ifndef LEEWAY_PREFORK_LISTENER_H
#define LEEWAY_PREFORK_LISTENER_H

#include <sys/types.h>

/* From `address` ("unix:PATH" or "tcp:HOST:PORT", HOST may be "[::1]"), else from
   LISTEN_FDS (sd_listen_fds(3): descriptor 3, if LISTEN_PID is ours), else
   descriptor 0. A stale socket file is replaced, one that still answers is not.
   Descriptor, non-blocking, close-on-exec unless it is descriptor 0; or -1 and a
   sentence in `error`. */
int listener_open(const char *address, mode_t mode, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* Removes the socket file that listener_open made from `address`. */
void listener_unlink(const char *address);

#endif
