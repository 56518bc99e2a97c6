/* SPDX-License-Identifier: BSD-2-Clause */
/* Notes by the blocking client. */
#ifndef LEEWAY_CACHE_OLD_NOTE_H
#define LEEWAY_CACHE_OLD_NOTE_H

#include <talloc.h>

#include "cache/identity_note.h"
#include "cache/old_redis.h"

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
