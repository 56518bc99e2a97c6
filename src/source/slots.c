/* SPDX-License-Identifier: BSD-2-Clause */
/* One lock byte a slot. */
#include "config.h"

#include "source/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct slots {
    int fd;
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
    char *path = mem_check(talloc_asprintf(ctx, "%s/slots", runtime_dir));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);

    if (fd == -1) {
        snprintf(error, error_size, "cannot open %s: %s", path, strerror(errno));
        talloc_free(path);
        return NULL;
    }
    talloc_free(path);
    struct slots *slots = mem_check(talloc_zero(ctx, struct slots));
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

int slots_take(struct slots *slots)
{
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
