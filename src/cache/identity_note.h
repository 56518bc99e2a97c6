/* SPDX-License-Identifier: BSD-2-Clause */
/* Which cluster and database an identity means: noted in Redis by the first who has seen it, for
   all others to compare with (docs/redis.md). */
#ifndef LEEWAY_CACHE_IDENTITY_NOTE_H
#define LEEWAY_CACHE_IDENTITY_NOTE_H

#include <stdbool.h>
#include <stdint.h>

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

#endif
