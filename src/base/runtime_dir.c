/* SPDX-License-Identifier: BSD-2-Clause */
/* A file is looked at when it is open, and so cannot be exchanged any more. */
#include "config.h"

#include "base/runtime_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"

static int make_with_parents(const char *path)
{
    char part[PATH_MAX];
    size_t len = strlen(path);

    if (len >= sizeof part) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(part, path, len + 1);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        /* whether a parent that cannot be made was needed shows in the last step */
        mkdir(part, 0755);
        *slash = '/';
    }
    return mkdir(path, 0750) == -1 && errno != EEXIST ? -1 : 0;
}

int runtime_dir_make(const char *path, char *error, size_t error_size)
{
    struct stat found;

    if (make_with_parents(path) == -1 || stat(path, &found) == -1) {
        snprintf(error, error_size, "cannot make %s: %s", path, strerror(errno));
        return -1;
    }
    if (!S_ISDIR(found.st_mode)) {
        snprintf(error, error_size, "%s is no directory", path);
        return -1;
    }
    if ((found.st_mode & S_IWOTH) != 0) {
        snprintf(error, error_size, "everybody may write to %s, which must be leeway's own", path);
        return -1;
    }
    if (found.st_uid != geteuid() && found.st_uid != 0 && (found.st_mode & S_IWGRP) == 0) {
        snprintf(error, error_size,
                 "%s belongs to another user; run leeway as that one, or let its group write to it",
                 path);
        return -1;
    }
    return 0;
}

/* Who shares a directory's group could replace any file in it anyway, if the group may write. */
static bool is_trusted_owner(uid_t owner, const struct stat *directory)
{
    return owner == geteuid() || owner == 0 || owner == directory->st_uid ||
           (directory->st_mode & S_IWGRP) != 0;
}

/* NULL: nothing is wrong with it. */
static const char *find_fault(int fd, const struct stat *directory)
{
    struct stat file;

    if (fstat(fd, &file) == -1)
        return strerror(errno);
    if (!S_ISREG(file.st_mode))
        return "it is no regular file";
    if (file.st_nlink > 1)
        return "it has another name as well";
    if (!is_trusted_owner(file.st_uid, directory))
        return "it belongs to another user";
    return NULL;
}

/* Where a directory is shared by a group its files are too, whatever the umask. */
static void share(int fd, const struct stat *directory, mode_t mode)
{
    struct stat file;

    if (mode != 0 && (directory->st_mode & S_IWGRP) != 0 && fstat(fd, &file) == 0 &&
        file.st_uid == geteuid() && (file.st_mode & mode) != mode)
        fchmod(fd, mode);
}

/* errno, unless the file itself is at fault. */
static int open_in(int directory, const char *name, int flags, mode_t mode, const char **fault)
{
    struct stat found;

    *fault = NULL;
    if (fstat(directory, &found) == -1)
        return -1;
    int fd = openat(directory, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode);
    if (fd == -1) {
        if (errno == ELOOP)
            *fault = "it is a link";
        else if (errno == EISDIR || errno == ENXIO || errno == ENODEV)
            *fault = "it is no regular file";
        return -1;
    }
    *fault = find_fault(fd, &found);
    if (*fault == NULL) {
        share(fd, &found, mode);
        return fd;
    }
    close(fd);
    return -1;
}

int runtime_file_open(const char *path, const char *name, int flags, mode_t mode, char *error,
                      size_t error_size)
{
    const char *fault = NULL;
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;

    if (directory != -1)
        fd = open_in(directory, name, flags, mode, &fault);
    int problem = fault != NULL ? EPERM : errno;
    if (fd == -1 && fault != NULL)
        snprintf(error, error_size, "%s/%s is not used: %s", path, name, fault);
    else if (fd == -1)
        snprintf(error, error_size, "cannot open %s/%s: %s", path, name, strerror(problem));
    if (directory != -1)
        close(directory);
    errno = problem;
    return fd;
}

bool runtime_file_is_gone(int fd, const char *directory, const char *name)
{
    struct stat ours, there;
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (fstat(fd, &ours) == -1)
        return false;
    if (ours.st_nlink == 0)
        return true;
    if (lstat(path, &there) == -1)
        return errno == ENOENT;
    return there.st_dev != ours.st_dev || there.st_ino != ours.st_ino;
}

static int write_all(const char *directory, const char *name, const char *text, mode_t mode)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL;
    char error[256];
    size_t len = strlen(text);
    int fd = runtime_file_open(directory, name, flags, mode, error, sizeof error);

    if (fd == -1)
        return -1;
    ssize_t written = write(fd, text, len);
    int problem = written == (ssize_t)len ? 0 : written == -1 ? errno : ENOSPC;
    if (close(fd) == -1 && problem == 0)
        problem = errno;
    errno = problem;
    return problem == 0 ? 0 : -1;
}

/* Under a name that is no other process's, also of another machine or container that has the same
   directory. */
int runtime_file_replace(const char *directory, const char *name, const char *text, mode_t mode)
{
    char path[PATH_MAX], made[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/%s", directory, name);
    int made_len = snprintf(made, sizeof made, "%s.%ld.%016" PRIx64 ".new", path, (long)getpid(),
                            random_number());

    if (len < 0 || made_len >= (int)sizeof made) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int result = write_all(directory, made + strlen(directory) + 1, text, mode);
    if (result == 0)
        result = rename(made, path);
    if (result == -1) {
        int problem = errno;
        unlink(made);
        errno = problem;
    }
    return result;
}
