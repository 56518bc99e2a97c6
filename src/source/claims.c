/* SPDX-License-Identifier: BSD-2-Clause */
/* A table of times by routes, and a record for each process, whose place it holds by a lock. */
#include "config.h"

#include "source/claims.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    SETS = 64,
    IN_A_SET = 4,   /* routes; of further ones who was served longest ago is forgotten */
    RECORDS = 1024, /* processes beyond that have their turns by chance */
    SERVED_AT = 4096,
    RECORDS_AT = 8192,
    /* A claim that was not renewed for so long is over: its process has died, or is held up. Where
       processors are busy it may come to renew it only now and then. */
    FRESH_US = 200 * 1000,
    /* Of one route, for so much longer another must have waited: to pass a slot on costs a moment
       in which nobody has it. */
    LONGER_US = 100 * 1000,
};

static const off_t LOCKS_AT = (off_t)1 << 40;

/* When a route got its last slot. */
struct served {
    uint64_t key;
    int64_t at_us; /* 0: never */
};

struct record {
    int64_t renewed_us; /* 0: none */
    int64_t since_us;
    uint64_t key;
};

struct claims {
    int fd;
    int own; /* the index of our record; -1: there is none */
    bool claimed;
    int64_t now_us; /* when it was read */
    struct served served[SETS][IN_A_SET];
    struct record records[RECORDS];
    size_t n_records;
};

struct claims *claims_new(TALLOC_CTX *ctx)
{
    struct claims *claims = mem_check(talloc_zero(ctx, struct claims));

    claims->fd = claims->own = -1;
    return claims;
}

static off_t place_of(int index)
{
    return RECORDS_AT + (off_t)index * (off_t)sizeof(struct record);
}

static void write_record(const struct claims *claims, const struct record *record)
{
    if (claims->own != -1 &&
        pwrite(claims->fd, record, sizeof *record, place_of(claims->own)) == -1)
        return; /* as on a full disk: then the turn comes by chance */
}

void claims_attach(struct claims *claims, int fd)
{
    static const struct record none = {.renewed_us = 0};

    claims->fd = fd;
    claims->own = -1;
    for (int i = 0; i < RECORDS && claims->own == -1; i++) {
        struct flock lock = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCKS_AT + i, .l_len = 1};
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
            claims->own = i;
    }
    write_record(claims, &none);
    claims->claimed = false;
}

void claims_read(struct claims *claims, int64_t now_us)
{
    claims->now_us = now_us;
    memset(claims->served, 0, sizeof claims->served);
    if (pread(claims->fd, claims->served, sizeof claims->served, SERVED_AT) == -1)
        memset(claims->served, 0, sizeof claims->served);
    ssize_t len = pread(claims->fd, claims->records, sizeof claims->records, RECORDS_AT);
    claims->n_records = len > 0 ? (size_t)len / sizeof claims->records[0] : 0;
}

/* Of before the machine was started anew, it may be in the future. */
static int64_t time_of(const struct claims *claims, const struct served *served)
{
    return served->at_us <= claims->now_us ? served->at_us : 0;
}

int64_t claims_served_us(const struct claims *claims, uint64_t key)
{
    const struct served *set = claims->served[key % SETS];

    for (size_t i = 0; i < IN_A_SET; i++)
        if (set[i].key == key)
            return time_of(claims, &set[i]);
    return 0;
}

/* The route's, or that of one that was served longest ago. */
static size_t place_in_set(const struct claims *claims, uint64_t key)
{
    const struct served *set = claims->served[key % SETS];
    size_t longest_ago = 0;

    for (size_t i = 0; i < IN_A_SET; i++) {
        if (set[i].key == key)
            return i;
        if (time_of(claims, &set[i]) < time_of(claims, &set[longest_ago]))
            longest_ago = i;
    }
    return longest_ago;
}

static bool is_fresh(const struct claims *claims, const struct record *record)
{
    return record->renewed_us > claims->now_us - FRESH_US && record->renewed_us <= claims->now_us;
}

bool claims_are_before(const struct claims *claims, uint64_t key, int64_t since_us)
{
    int64_t served_us = claims_served_us(claims, key);

    for (size_t i = 0; i < claims->n_records; i++) {
        const struct record *other = &claims->records[i];
        if ((int)i == claims->own || !is_fresh(claims, other))
            continue;
        int64_t other_us = claims_served_us(claims, other->key);
        if (other_us < served_us ||
            (other_us == served_us && other->since_us + LONGER_US < since_us))
            return true;
    }
    return false;
}

void claims_make(struct claims *claims, uint64_t key, int64_t since_us, int64_t now_us)
{
    const struct record record = {.renewed_us = now_us, .since_us = since_us, .key = key};

    write_record(claims, &record);
    claims->claimed = true;
}

void claims_withdraw(struct claims *claims)
{
    static const struct record none = {.renewed_us = 0};

    if (claims->claimed)
        write_record(claims, &none);
    claims->claimed = false;
}

void claims_note_served(struct claims *claims, uint64_t key, int64_t now_us)
{
    size_t set = key % SETS, place = place_in_set(claims, key);
    struct served *served = &claims->served[set][place];

    claims->now_us = now_us;
    *served = (struct served){.key = key, .at_us = now_us};
    if (pwrite(claims->fd, served, sizeof *served,
               SERVED_AT + (off_t)((set * IN_A_SET + place) * sizeof *served)) == -1)
        return; /* as above */
}
