/* SPDX-License-Identifier: BSD-2-Clause */
/* One lock byte a slot. */
#include "config.h"

#include "source/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/runtime_dir.h"
#include "source/claims.h"

#define FILE_NAME "slots"

/* The slots of all are at the beginning; those of a route are a range of its own, far behind what
   is in the file, by a hash of its name: processes of another configuration agree on it. */
enum { MAX_SHARE = 1024, RANGE_BITS = 40 };
static const off_t RANGES_AT = (off_t)1 << 52;

struct range {
    off_t start;
    size_t count; /* 0: no bound */
    bool *held;   /* by this process: its own locks never conflict */
};

struct slots_route {
    uint64_t key;
    struct range share;
};

struct slots {
    const char *directory;
    int fd;
    bool complained; /* that the file is gone and cannot be made */
    struct range all;
    struct slots_route *routes;
    size_t n_routes;
    struct claims *claims;
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
    slots->all.count = count;
    slots->all.held = mem_check(talloc_zero_array(slots, bool, count));
    slots->claims = claims_new(slots);
    claims_attach(slots->claims, fd);
    talloc_set_destructor(slots, slots_destroy);
    return slots;
}

static bool lock_byte(int fd, off_t at, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

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

static void hold_anew(const struct range *range, int fd)
{
    for (size_t i = 0; i < range->count; i++)
        if (range->held[i])
            lock_byte(fd, range->start + (off_t)i, F_WRLCK);
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
    hold_anew(&slots->all, fd);
    for (size_t i = 0; i < slots->n_routes; i++)
        hold_anew(&slots->routes[i].share, fd);
    claims_attach(slots->claims, fd);
    close(slots->fd);
    slots->fd = fd;
    slots->complained = false;
    if (made)
        log_event(LOG_LEVEL_WARN, "the slots were removed and have been made anew",
                  log_text("directory", slots->directory));
}

static int take_of(const struct range *range, int fd)
{
    for (size_t i = 0; i < range->count; i++) {
        if (range->held[i] || !lock_byte(fd, range->start + (off_t)i, F_WRLCK))
            continue;
        range->held[i] = true;
        return (int)i;
    }
    return -1;
}

static void give_back_to(const struct range *range, int fd, int index)
{
    range->held[index] = false;
    lock_byte(fd, range->start + index, F_UNLCK);
}

/* ---- By routes */

void slots_add_route(struct slots *slots, const char *name, size_t share)
{
    uint64_t key = XXH3_64bits(name, strlen(name));
    uint64_t range = key >> (64 - RANGE_BITS);

    slots->routes =
        mem_check(talloc_realloc(slots, slots->routes, struct slots_route, slots->n_routes + 1));
    struct slots_route *route = &slots->routes[slots->n_routes++];
    *route = (struct slots_route){.key = key};
    if (share == 0)
        return;
    route->share.start = RANGES_AT + (off_t)(range * MAX_SHARE);
    route->share.count = share;
    route->share.held = mem_check(talloc_zero_array(slots, bool, share));
}

void slots_look(struct slots *slots)
{
    slots_tend(slots);
    claims_read(slots->claims, clock_monotonic_us());
}

int64_t slots_served_us(const struct slots *slots, size_t route)
{
    return claims_served_us(slots->claims, slots->routes[route].key);
}

enum slots_taken slots_take_place(struct slots *slots, size_t route, int64_t since_us,
                                  struct slots_place *place)
{
    const struct slots_route *of = &slots->routes[route];
    int64_t now_us = clock_monotonic_us();

    *place = (struct slots_place){.slot = -1, .share = -1, .route = route};
    if (of->share.count > 0 && (place->share = take_of(&of->share, slots->fd)) == -1)
        return SLOTS_NO_SHARE;
    if (!claims_are_before(slots->claims, of->key, since_us))
        place->slot = take_of(&slots->all, slots->fd);
    if (place->slot != -1) {
        claims_note_served(slots->claims, of->key, now_us);
        return SLOTS_TAKEN;
    }
    slots_give_place_back(slots, place);
    claims_make(slots->claims, of->key, since_us, now_us);
    return SLOTS_NONE;
}

void slots_give_place_back(struct slots *slots, struct slots_place *place)
{
    if (place->share != -1)
        give_back_to(&slots->routes[place->route].share, slots->fd, place->share);
    if (place->slot != -1)
        give_back_to(&slots->all, slots->fd, place->slot);
    place->share = place->slot = -1;
}

void slots_stop_waiting(struct slots *slots)
{
    claims_withdraw(slots->claims);
}
