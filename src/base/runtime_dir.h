/* SPDX-License-Identifier: BSD-2-Clause */
/* The directory of the files that processes of one instance share. What somebody else may have put
   there is not used: it could be a name for a file of theirs or of ours that lies elsewhere. */
#ifndef LEEWAY_BASE_RUNTIME_DIR_H
#define LEEWAY_BASE_RUNTIME_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Makes the directory, and its parents, if it is missing. One that everybody may write to is
   refused, and one of another user but root, unless its group may write: who shares it is trusted
   then. -1 and a sentence in `error`. */
int runtime_dir_make(const char *path, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* open(2) of a file in the directory, close-on-exec and without waiting for anything. In a
   directory that its group may write to, a file of ours gets all of `mode`, whatever the umask.
   Refused unless it is a regular file with that one name which belongs to us, to root, or to whom
   the directory is trusted to. The descriptor; or -1, errno (EPERM: refused) and a sentence in
   `error`. */
int runtime_file_open(const char *directory, const char *name, int flags, mode_t mode, char *error,
                      size_t error_size) __attribute__((warn_unused_result));

/* Puts a file with that text in the place of `name`, whole or not at all: it is written under a
   name of the process's own and renamed. 0, or -1 and errno. */
int runtime_file_replace(const char *directory, const char *name, const char *text, mode_t mode)
    __attribute__((warn_unused_result));

/* Whether the open file is no longer the one of that name: it was removed, or something else is in
   its place. false if that cannot be told. */
bool runtime_file_is_gone(int fd, const char *directory, const char *name);

#endif
