/* SPDX-License-Identifier: BSD-2-Clause */
/* The FastCGI listening socket, wherever it comes from. */
#ifndef LEEWAY_PREFORK_LISTENER_H
#define LEEWAY_PREFORK_LISTENER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "prefork/unix_socket.h"

struct listener_options {
    const char *address; /* "unix:PATH" or "tcp:HOST:PORT", HOST may be "[::1]"; NULL: inherited */
    mode_t mode;         /* of the file of a Unix socket, */
    int64_t group;       /* and its group; -1: unchanged */
};

/* Made for the address, else from LISTEN_FDS (sd_listen_fds(3): descriptor 3, if LISTEN_PID is
   ours), else descriptor 0. Descriptor, non-blocking, close-on-exec unless it is descriptor 0; or
   -1 and a sentence in `error`. */
int listener_open(const struct listener_options *options, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* After a change of the configuration: gives the socket that listener_open made there the mode and
   group of `options` too. 0, also if it made none, or -1 and a sentence in `error`. */
int listener_adjust(const struct listener_options *options, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* For a program that has executed itself anew on the socket that it made for `address`: its file
   counts as made by this process, if it still has the mark that listener_mark() gave before. NULL:
   a release before this one has given none. */
void listener_mark(char mark[UNIX_SOCKET_MARK_BYTES]);
void listener_adopt(const char *address, const char *mark);

/* Removes the socket file that listener_open made for `address`, if it is still that. */
void listener_unlink(const char *address);

#endif
