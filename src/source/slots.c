/* SPDX-License-Identifier: BSD-2-Clause */
/* One lock byte a slot. */
#include "config.h"

#include "source/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/runtime_dir.h"

#define FILE_NAME "slots"

struct slots {
    const char *directory;
    int fd;
    bool complained; /* that the file is gone and cannot be made */
    size_t count;
    bool *held; /* by this process: its own locks never conflict */
};

static int slots_destroy(struct slots *slots)
{
    close(slots->fd);
    return 0;
}

struct slots *slots_open(TALLOC_CTX *ctx, const char *runtime_dir, size_t count, char *error,
                         size_t error_size)
{
    int fd = runtime_file_open(runtime_dir, FILE_NAME, O_RDWR | O_CREAT, 0660, error, error_size);

    if (fd == -1)
        return NULL;
    struct slots *slots = mem_check(talloc_zero(ctx, struct slots));
    slots->directory = mem_check(talloc_strdup(slots, runtime_dir));
    slots->fd = fd;
    slots->count = count;
    slots->held = mem_check(talloc_zero_array(slots, bool, count));
    talloc_set_destructor(slots, slots_destroy);
    return slots;
}

static bool lock_byte(int fd, size_t at, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)at, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* *made: by this process, and not by another one before it. */
static int open_again(const struct slots *slots, bool *made, char *error, size_t error_size)
{
    const char *directory = slots->directory;

    if (runtime_dir_make(directory, error, error_size) == -1)
        return -1;
    int fd =
        runtime_file_open(directory, FILE_NAME, O_RDWR | O_CREAT | O_EXCL, 0660, error, error_size);
    *made = fd != -1;
    if (fd == -1 && errno == EEXIST)
        fd = runtime_file_open(directory, FILE_NAME, O_RDWR, 0, error, error_size);
    return fd;
}

void slots_tend(struct slots *slots)
{
    char error[256];
    bool made;

    if (!runtime_file_is_gone(slots->fd, slots->directory, FILE_NAME))
        return;
    int fd = open_again(slots, &made, error, sizeof error);
    if (fd == -1) {
        if (!slots->complained)
            log_event(LOG_LEVEL_ERROR, "the slots are gone and cannot be made anew",
                      log_text("error", error));
        slots->complained = true;
        return;
    }
    /* one that another process has taken meanwhile is held twice until either query ends */
    for (size_t i = 0; i < slots->count; i++)
        if (slots->held[i])
            lock_byte(fd, i, F_WRLCK);
    close(slots->fd);
    slots->fd = fd;
    slots->complained = false;
    if (made)
        log_event(LOG_LEVEL_WARN, "the slots were removed and have been made anew",
                  log_text("directory", slots->directory));
}

int slots_take(struct slots *slots)
{
    slots_tend(slots);
    for (size_t i = 0; i < slots->count; i++) {
        if (slots->held[i] || !lock_byte(slots->fd, i, F_WRLCK))
            continue;
        slots->held[i] = true;
        return (int)i;
    }
    return -1;
}

void slots_give_back(struct slots *slots, int slot)
{
    slots->held[slot] = false;
    lock_byte(slots->fd, (size_t)slot, F_UNLCK);
}
