/* SPDX-License-Identifier: BSD-2-Clause */
/* A table of times by hash, and a record for each process, whose place it holds by a lock. */
#include "config.h"

#include "source/claims.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    BUCKETS = 256,
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
    int64_t served_us[BUCKETS];
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
    memset(claims->served_us, 0, sizeof claims->served_us);
    if (pread(claims->fd, claims->served_us, sizeof claims->served_us, SERVED_AT) == -1)
        memset(claims->served_us, 0, sizeof claims->served_us);
    ssize_t len = pread(claims->fd, claims->records, sizeof claims->records, RECORDS_AT);
    claims->n_records = len > 0 ? (size_t)len / sizeof claims->records[0] : 0;
}

/* Of before the machine was started anew, it may be in the future. */
int64_t claims_served_us(const struct claims *claims, uint64_t key)
{
    int64_t served_us = claims->served_us[key % BUCKETS];

    return served_us <= claims->now_us ? served_us : 0;
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
    off_t place = SERVED_AT + (off_t)(key % BUCKETS) * (off_t)sizeof now_us;

    claims->now_us = now_us;
    claims->served_us[key % BUCKETS] = now_us;
    if (pwrite(claims->fd, &now_us, sizeof now_us, place) == -1)
        return; /* as above */
}
