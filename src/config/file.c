/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads whole files, bounded, and never anything but a regular file: a
   directory would end libConfuse's lexer with an exit, a FIFO would block. */
#include "config.h"

#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static const char *refuse_kind(TALLOC_CTX *ctx, int fd, size_t max, struct stat *status)
{
    if (fstat(fd, status) == -1)
        return mem_check(talloc_asprintf(ctx, "cannot be read: %s", strerror(errno)));
    if (S_ISDIR(status->st_mode))
        return "is a directory, not a file";
    if (!S_ISREG(status->st_mode))
        return "is not a regular file";
    if ((uintmax_t)status->st_size > max)
        return mem_check(talloc_asprintf(ctx, "is larger than %zu bytes", max));
    return NULL;
}

static char *read_bytes(TALLOC_CTX *ctx, int fd, size_t size, size_t *len, const char **problem)
{
    char *bytes = mem_check(talloc_array(ctx, char, size + 1));

    for (*len = 0; *len < size;) {
        ssize_t got = read(fd, bytes + *len, size - *len);
        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1) {
            *problem = mem_check(talloc_asprintf(ctx, "cannot be read: %s", strerror(errno)));
            talloc_free(bytes);
            return NULL;
        }
        if (got == 0)
            break;
        *len += (size_t)got;
    }
    bytes[*len] = '\0';
    return bytes;
}

/* Editors on Windows begin a file with it, and no parser of ours knows it. */
static void drop_byte_order_mark(char *bytes, size_t *len)
{
    static const char mark[] = "\xef\xbb\xbf";

    if (strncmp(bytes, mark, sizeof mark - 1) != 0)
        return;
    *len -= sizeof mark - 1;
    memmove(bytes, bytes + sizeof mark - 1, *len + 1);
}

static char *read_file(TALLOC_CTX *ctx, const char *path, size_t max, size_t *len,
                       struct stat *status, const char **problem)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char *bytes = NULL;

    if (fd == -1) {
        *problem = mem_check(talloc_asprintf(ctx, "cannot be opened: %s", strerror(errno)));
        return NULL;
    }
    *problem = refuse_kind(ctx, fd, max, status);
    if (*problem == NULL)
        bytes = read_bytes(ctx, fd, (size_t)status->st_size, len, problem);
    if (bytes != NULL)
        drop_byte_order_mark(bytes, len);
    close(fd);
    return bytes;
}

char *config_file_read(TALLOC_CTX *ctx, const char *path, size_t max, size_t *len,
                       const char **problem)
{
    struct stat status;

    return read_file(ctx, path, max, len, &status, problem);
}

char *config_file_read_secret(TALLOC_CTX *ctx, const char *path, size_t max, size_t *len,
                              bool *open_to_others, const char **problem)
{
    struct stat status;
    char *bytes = read_file(ctx, path, max, len, &status, problem);

    *open_to_others = bytes != NULL && (status.st_mode & S_IROTH) != 0;
    return bytes;
}

char *config_file_beside(TALLOC_CTX *ctx, const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');

    if (path[0] == '/' || slash == NULL)
        return mem_check(talloc_strdup(ctx, path));
    return mem_check(talloc_asprintf(ctx, "%.*s/%s", (int)(slash - file), file, path));
}
