/* SPDX-License-Identifier: BSD-2-Clause */
/* Files, locks and mappings. */
#include "config.h"

#include "metrics/slot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "base/runtime_dir.h"

#define NAME_PREFIX "metrics."

enum { NAME_BYTES = sizeof NAME_PREFIX + 11 };

/* The size tells layouts apart that differ by a counter. */
static void make_magic(char magic[16])
{
    memset(magic, 0, 16);
    snprintf(magic, 16, "lwm2-%zu", sizeof(struct slot_memory));
}

static bool is_ours(const struct slot_memory *memory)
{
    char magic[16];

    make_magic(magic);
    return memcmp(memory->magic, magic, sizeof magic) == 0 && memory->n_series <= SLOT_OTHER;
}

static void write_name(char name[NAME_BYTES], int number)
{
    snprintf(name, NAME_BYTES, NAME_PREFIX "%d", number);
}

static int open_slot(const char *directory, int number, int flags, char *error, size_t error_size)
{
    char name[NAME_BYTES];

    write_name(name, number);
    return runtime_file_open(directory, name, flags, 0640, error, error_size);
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
    int problem;

    do
        problem = posix_fallocate(fd, (off_t)at, (off_t)len);
    while (problem == EINTR);
    errno = problem;
    return problem == 0 ? 0 : -1;
}

static size_t place_of(uint32_t series)
{
    return offsetof(struct slot_memory, series) + series * sizeof(struct series);
}

/* A file never shrinks, so that no reader loses what it has mapped; and it has its size, by which
   readers judge it, once there is room: on a tmpfs that is full even reading what has none would
   end the process. */
static int map_ours(struct slot *slot)
{
    struct stat found;
    int prot = PROT_READ | PROT_WRITE;

    if (fstat(slot->fd, &found) == -1 || reserve(slot->fd, 0, place_of(0)) == -1 ||
        reserve(slot->fd, place_of(SLOT_OTHER), sizeof(struct series)) == -1 ||
        (found.st_size < (off_t)sizeof *slot->memory &&
         ftruncate(slot->fd, sizeof *slot->memory) == -1))
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
    for (size_t i = 0; i < PROCESS_COUNTER_COUNT; i++)
        slot->memory->process_counters[i] = 0;
    memset(&slot->memory->series[SLOT_OTHER], 0, sizeof(struct series));
    make_magic(slot->memory->magic);
    return 0;
}

/* Its holder has died: that is known from its slot alone (slot_role_died), which is left to who
   takes its place. */
static bool is_of_a_dead(const struct slot *slot, enum metrics_role other_than)
{
    return slot->memory->state == METRICS_SERVING && slot->memory->role != other_than;
}

/* 1: it is ours, 0: it is another's, -1. */
static int claim(struct slot *slot, const char *directory, enum metrics_role role, int number,
                 char *error, size_t error_size)
{
    *slot = (struct slot){
        .fd = open_slot(directory, number, O_RDWR | O_CREAT, error, error_size),
        .number = number,
    };
    /* a process of another user, with which the directory is shared, has made it for itself */
    if (slot->fd == -1)
        return errno == EACCES ? 0 : -1;
    bool locked = lock(slot->fd);
    if (locked && map_ours(slot) == 0) {
        if (!is_of_a_dead(slot, role))
            return 1;
        slot_close(slot);
        return 0;
    }
    snprintf(error, error_size, "no slot for metrics in %s: %s", directory,
             strerror(locked ? errno : EBUSY));
    slot_close(slot);
    return locked ? -1 : 0;
}

int slot_claim(struct slot *slot, const char *directory, enum metrics_role role, char *error,
               size_t error_size)
{
    int claimed = 0;

    for (int i = 0; i < SLOT_MAX && claimed == 0; i++)
        claimed = claim(slot, directory, role, i, error, error_size);
    return claimed == 1 ? 0 : -1;
}

bool slot_is_gone(const struct slot *slot, const char *directory)
{
    char name[NAME_BYTES];

    write_name(name, slot->number);
    return runtime_file_is_gone(slot->fd, directory, name);
}

static struct series *slot_other(struct slot *slot)
{
    struct series *other = &slot->memory->series[SLOT_OTHER];

    snprintf(other->pattern, sizeof other->pattern, "(other)");
    return other;
}

/* Of one series: its counters and buckets, which are all that is behind its pattern. */
static void add_cells(struct series *to, const struct series *from)
{
    enum { CELLS = (sizeof *to - offsetof(struct series, counters)) / sizeof(slot_cell) };
    slot_cell *sums = (slot_cell *)((char *)to + offsetof(struct series, counters));
    const slot_cell *more =
        (const slot_cell *)((const char *)from + offsetof(struct series, counters));

    for (size_t i = 0; i < CELLS; i++)
        atomic_fetch_add_explicit(&sums[i], more[i], memory_order_relaxed);
}

void slot_add(struct slot *slot, const struct slot *other)
{
    const struct slot_memory *memory = other->memory;

    slot->memory->role = memory->role;
    slot->memory->state = memory->state;
    slot->memory->redis_up = memory->redis_up;
    slot->memory->postgres_up = memory->postgres_up;
    for (size_t i = 0; i < PROCESS_COUNTER_COUNT; i++)
        atomic_fetch_add_explicit(&slot->memory->process_counters[i], memory->process_counters[i],
                                  memory_order_relaxed);
    for (uint32_t i = 0; i < memory->n_series; i++)
        add_cells(slot_series(slot, memory->series[i].pattern), &memory->series[i]);
    if (memory->series[SLOT_OTHER].pattern[0] != '\0')
        add_cells(slot_other(slot), &memory->series[SLOT_OTHER]);
}

/* -1: it is not the name of a slot. */
static int64_t number_of(const char *name)
{
    const size_t prefix = strlen(NAME_PREFIX);
    int64_t number;

    if (strncmp(name, NAME_PREFIX, prefix) != 0 ||
        !num_parse_i64(name + prefix, strlen(name + prefix), &number))
        return -1;
    return number < SLOT_MAX ? number : -1;
}

int slot_end(const char *directory)
{
    DIR *entries = opendir(directory);
    const struct dirent *entry;
    int end = 0;

    while (entries != NULL && (entry = readdir(entries)) != NULL)
        if (number_of(entry->d_name) >= end)
            end = (int)number_of(entry->d_name) + 1;
    if (entries != NULL)
        closedir(entries);
    return end;
}

static bool read_part(struct slot *slot, size_t at, size_t len)
{
    return pread(slot->fd, (char *)slot->memory + at, len, (off_t)at) == (ssize_t)len;
}

bool slot_fetch(struct slot *slot, uint32_t first, size_t count)
{
    return first <= SLOT_OTHER && count <= SLOT_OTHER - first &&
           read_part(slot, place_of(first), count * sizeof(struct series));
}

int slot_read(struct slot *slot, const char *directory, int number)
{
    char ignored[256];

    *slot = (struct slot){
        .fd = open_slot(directory, number, O_RDONLY, ignored, sizeof ignored),
        .number = number,
    };
    if (slot->fd == -1)
        return 0;
    void *memory = mmap(NULL, sizeof *slot->memory, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    slot->memory = memory != MAP_FAILED ? memory : NULL;
    if (slot->memory == NULL || !read_part(slot, 0, place_of(0)) ||
        !read_part(slot, place_of(SLOT_OTHER), sizeof(struct series)) || !is_ours(slot->memory)) {
        slot_close(slot);
        return 0;
    }
    slot->alive = is_locked(slot->fd);
    return 1;
}

bool slot_role_died(const char *directory, enum metrics_role role)
{
    bool died = false, alive = false;
    int end = slot_end(directory);
    struct slot slot;

    for (int i = 0; i < end && !alive; i++) {
        if (slot_read(&slot, directory, i) == 0)
            continue;
        if (slot.memory->role == role) {
            alive = slot.alive;
            died = died || (!slot.alive && slot.memory->state == METRICS_SERVING);
        }
        slot_close(&slot);
    }
    return died && !alive;
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
    if (count >= SLOT_OTHER || reserve(slot->fd, place_of(count), sizeof(struct series)) == -1)
        return slot_other(slot);
    struct series *series = &memory->series[count];
    memset(series, 0, sizeof *series);
    snprintf(series->pattern, sizeof series->pattern, "%s", pattern);
    /* counted only once it is whole: readers look at this number first */
    atomic_store_explicit(&memory->n_series, count + 1, memory_order_release);
    return series;
}
