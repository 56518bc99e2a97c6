/* SPDX-License-Identifier: BSD-2-Clause */
/* A listening Unix socket and its file. */
#ifndef LEEWAY_PREFORK_UNIX_SOCKET_H
#define LEEWAY_PREFORK_UNIX_SOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { UNIX_SOCKET_MARK_BYTES = 48 };

/* Listens at `path`, with that mode and, unless it is -1, that group, both before anybody can
   connect. A socket that nobody listens on any more is replaced; one that somebody does, or of
   which that cannot be told, is left alone, and so is what is no socket. Of several processes that
   start at once one gets it. The descriptor is non-blocking and close-on-exec; or -1 and a
   sentence in `error`. */
int unix_socket_listen(const char *path, mode_t mode, int64_t group, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* Gives the file that this process made, if it has made one, that mode and, unless it is -1, that
   group. 0, or -1 and a sentence in `error`, also if it is no longer there. */
int unix_socket_adjust(const char *path, mode_t mode, int64_t group, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* What unix_socket_adopt wants to know: of the file that this process made, or "". */
void unix_socket_mark(char mark[UNIX_SOCKET_MARK_BYTES]);

/* From now on the socket that is there counts as made by this process, if it has that mark; NULL:
   whatever it has. Another that has taken its place belongs to somebody else. */
void unix_socket_adopt(const char *path, const char *mark);

/* Removes the file that this process made with unix_socket_listen; another one of the same name is
   left alone. */
void unix_socket_unlink(const char *path);

#endif
