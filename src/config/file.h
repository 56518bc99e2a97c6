/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole files into memory, and paths relative to the file that names them. */
#ifndef LEEWAY_CONFIG_FILE_H
#define LEEWAY_CONFIG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <talloc.h>

/* The file's bytes, without a byte-order mark of UTF-8 in front, and a NUL; a child of `ctx`. NULL:
   *problem is the end of a sentence that begins with the file's name; a child of `ctx` too. Only
   regular files of at most `max` bytes are read. */
char *config_file_read(TALLOC_CTX *ctx, const char *path, size_t max, size_t *len,
                       const char **problem) __attribute__((warn_unused_result));

/* The same of a file with a secret; *open_to_others: whether everybody may read it. */
char *config_file_read_secret(TALLOC_CTX *ctx, const char *path, size_t max, size_t *len,
                              bool *open_to_others, const char **problem)
    __attribute__((warn_unused_result));

/* `path` as it is meant in `file`: as it stands if absolute, else in that file's
   directory. A child of `ctx`. */
char *config_file_beside(TALLOC_CTX *ctx, const char *file, const char *path);

#endif
