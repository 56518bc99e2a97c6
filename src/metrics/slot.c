/* SPDX-License-Identifier: BSD-2-Clause */
/* Files, locks and mappings. */
#include "config.h"

#include "metrics/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/* The size tells layouts apart that differ by a counter. */
static void make_magic(char magic[16])
{
    memset(magic, 0, 16);
    snprintf(magic, 16, "lwm1-%zu", sizeof(struct series));
}

static bool is_ours(const struct slot_memory *memory)
{
    char magic[16];

    make_magic(magic);
    return memcmp(memory->magic, magic, sizeof magic) == 0 && memory->n_series <= SLOT_OTHER;
}

static int open_slot(const char *directory, int number, int flags)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/metrics.%d", directory, number);

    if (len < 0 || (size_t)len >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags | O_CLOEXEC, 0640);
}

static bool lock(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_OFD_SETLK, &whole) == 0;
}

static bool is_locked(int fd)
{
    struct flock whole = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

/* Takes room on the file system for a part of the slot: writing to a mapping that has none would
   end the process. 0, or -1 and errno. */
static int reserve(int fd, size_t at, size_t len)
{
    int problem = posix_fallocate(fd, (off_t)at, (off_t)len);

    errno = problem;
    return problem == 0 ? 0 : -1;
}

static size_t place_of(uint32_t series)
{
    return offsetof(struct slot_memory, series) + series * sizeof(struct series);
}

/* A file never shrinks, so that no reader loses what it has mapped. */
static int map_ours(struct slot *slot)
{
    struct stat found;
    int prot = PROT_READ | PROT_WRITE;

    if (fstat(slot->fd, &found) == -1 ||
        (found.st_size < (off_t)sizeof *slot->memory &&
         ftruncate(slot->fd, sizeof *slot->memory) == -1) ||
        reserve(slot->fd, 0, place_of(0)) == -1 ||
        reserve(slot->fd, place_of(SLOT_OTHER), sizeof(struct series)) == -1)
        return -1;
    void *memory = mmap(NULL, sizeof *slot->memory, prot, MAP_SHARED, slot->fd, 0);
    if (memory == MAP_FAILED)
        return -1;
    slot->memory = memory;
    if (is_ours(slot->memory))
        return 0;
    if (slot->memory->magic[0] != '\0')
        log_message(LOG_LEVEL_WARN, "metrics of another version are dropped");
    slot->memory->n_series = 0;
    memset(&slot->memory->series[SLOT_OTHER], 0, sizeof(struct series));
    make_magic(slot->memory->magic);
    return 0;
}

int slot_claim(struct slot *slot, const char *directory, char *error, size_t error_size)
{
    *slot = (struct slot){.fd = -1};
    for (int i = 0; i < SLOT_MAX; i++) {
        slot->fd = open_slot(directory, i, O_RDWR | O_CREAT);
        if (slot->fd == -1)
            break;
        if (lock(slot->fd)) {
            if (map_ours(slot) == 0)
                return 0;
            break;
        }
        close(slot->fd);
        slot->fd = -1;
        errno = EBUSY;
    }
    snprintf(error, error_size, "no slot for metrics in %s: %s", directory, strerror(errno));
    if (slot->fd != -1)
        close(slot->fd);
    slot->fd = -1;
    return -1;
}

int slot_read(struct slot *slot, const char *directory, int number)
{
    struct stat found;

    *slot = (struct slot){.fd = open_slot(directory, number, O_RDONLY)};
    if (slot->fd == -1)
        return errno == ENOENT ? -1 : 0;
    if (fstat(slot->fd, &found) == 0 && found.st_size >= (off_t)sizeof *slot->memory) {
        void *memory = mmap(NULL, sizeof *slot->memory, PROT_READ, MAP_SHARED, slot->fd, 0);
        slot->memory = memory != MAP_FAILED ? memory : NULL;
    }
    if (slot->memory == NULL || !is_ours(slot->memory)) {
        slot_close(slot);
        return 0;
    }
    slot->alive = is_locked(slot->fd);
    return 1;
}

void slot_close(struct slot *slot)
{
    if (slot->memory != NULL)
        munmap(slot->memory, sizeof *slot->memory);
    if (slot->fd != -1)
        close(slot->fd);
    *slot = (struct slot){.fd = -1};
}

struct series *slot_series(struct slot *slot, const char *pattern)
{
    struct slot_memory *memory = slot->memory;
    uint32_t count = memory->n_series;

    for (uint32_t i = 0; i < count; i++)
        if (strncmp(memory->series[i].pattern, pattern, SLOT_PATTERN_BYTES - 1) == 0)
            return &memory->series[i];
    if (count >= SLOT_OTHER || reserve(slot->fd, place_of(count), sizeof(struct series)) == -1) {
        struct series *other = &memory->series[SLOT_OTHER];
        snprintf(other->pattern, sizeof other->pattern, "(other)");
        return other;
    }
    struct series *series = &memory->series[count];
    memset(series, 0, sizeof *series);
    snprintf(series->pattern, sizeof series->pattern, "%s", pattern);
    /* counted only once it is whole: readers look at this number first */
    atomic_store_explicit(&memory->n_series, count + 1, memory_order_release);
    return series;
}
