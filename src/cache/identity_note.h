/* SPDX-License-Identifier: BSD-2-Clause */
/* Which cluster and database an identity means: noted in Redis by the first who has seen it, for
   all others to compare with (docs/redis.md). The only module that touches these notes. */
#ifndef LEEWAY_CACHE_IDENTITY_NOTE_H
#define LEEWAY_CACHE_IDENTITY_NOTE_H

#include <stdbool.h>
#include <stdint.h>
#include <talloc.h>

#include "cache/old_redis.h"

struct identity_note {
    char system[24];   /* the cluster's system identifier, decimal; "": it may not be read */
    char database[16]; /* OID, decimal */
    int64_t accepts;   /* how often an operator has accepted the database anew */
};

/* Digits as Postgres and notes have them. `system` and `database` may be NULL, and then are "".
   0, or -1: anything else, or too long. */
int identity_note_set(struct identity_note *note, const char *system, const char *database,
                      const char *accepts) __attribute__((warn_unused_result));

/* Whether both mean the same database: a system identifier that one of them lacks is not compared,
   and accepts are not. Pure. */
bool identity_note_agrees(const struct identity_note *a, const struct identity_note *b);

/* Gives `note` the system identifier that it lacks and `by` has, if both agree. Not that of an
   earlier accept: another cluster may have been accepted since. Pure. */
void identity_note_complete(struct identity_note *note, const struct identity_note *by);

/* PREFIX:identity:IDENTITY, a child of `ctx`. */
char *identity_note_key(TALLOC_CTX *ctx, const char *prefix, const char *identity);

/* 1 and *noted, 0: nothing is noted, -1: Redis is away or refuses, or it cannot be read. */
int identity_note_read(struct old_redis *redis, const char *key, struct identity_note *noted)
    __attribute__((warn_unused_result));

/* Notes `mine` unless something is noted; a note that agrees with it is completed by it
   (identity_note_complete()), and the greater number of accepts stays. 0 and *noted, as it is now;
   or -1. */
int identity_note_claim(struct old_redis *redis, const char *key, const struct identity_note *mine,
                        struct identity_note *noted) __attribute__((warn_unused_result));

/* Notes `mine` whatever is noted, with one accept more than there were. 0 and *noted, or -1. */
int identity_note_accept(struct old_redis *redis, const char *key, const struct identity_note *mine,
                         struct identity_note *noted) __attribute__((warn_unused_result));

#endif
