/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared memory of one process: a file "metrics.N" in runtime_dir, mapped. A slot is claimed by a
   lock that the kernel frees; its next holder counts on where the last one stopped, so that nothing
   is ever folded, and counters never go backwards. Only the holder writes. */
#ifndef LEEWAY_METRICS_SLOT_H
#define LEEWAY_METRICS_SLOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "metrics/metrics.h"

enum {
    SLOT_MAX = 1024,
    SLOT_MAX_SERIES = 16384,
    SLOT_OTHER = SLOT_MAX_SERIES - 1, /* counts what there is no room for; not in n_series */
    SLOT_PATTERN_BYTES = 256,
    RESPONSE_BUCKETS = 23, /* the last one is +Inf */
    AGE_BUCKETS = 16,
};

enum metrics_counter {
#define COUNTER(id, name, label, value, help) COUNTER_##id,
#include "metrics/metrics.def"
    COUNTER_COUNT
};

/* Those that have no route. */
enum process_counter {
#define PROCESS_COUNTER(id, name, help) PROCESS_COUNTER_##id,
#include "metrics/metrics.def"
    PROCESS_COUNTER_COUNT
};

/* Which of the histograms of a route a response belongs to. */
enum response_kind { RESPONSE_COMPUTED, RESPONSE_HIT, RESPONSE_STALE_HIT, RESPONSE_KINDS };

typedef _Atomic uint64_t slot_cell;

/* Everything that is counted of one route. Buckets are not cumulative. */
struct series {
    char pattern[SLOT_PATTERN_BYTES];
    slot_cell counters[COUNTER_COUNT];
    slot_cell response_buckets[RESPONSE_KINDS][RESPONSE_BUCKETS];
    slot_cell response_micros[RESPONSE_KINDS];
    slot_cell age_buckets[AGE_BUCKETS];
    slot_cell age_micros;
};

struct slot_memory {
    char magic[16];
    _Atomic uint32_t role;
    _Atomic uint32_t state;
    _Atomic uint32_t redis_up;
    _Atomic uint32_t postgres_up;
    _Atomic uint32_t n_series;
    slot_cell process_counters[PROCESS_COUNTER_COUNT];
    struct series
        series[SLOT_MAX_SERIES]; /* the file is sparse: what is not used takes no memory */
};

struct slot {
    struct slot_memory *memory;
    int fd;
    int number; /* of the file */
    bool alive; /* slot_read: somebody holds it */
};

/* Claims a free slot for a process of that role, to which those of its dead are left; `directory`
   exists. -1 and a sentence in `error`. */
int slot_claim(struct slot *slot, const char *directory, enum metrics_role role, char *error,
               size_t error_size) __attribute__((warn_unused_result));

/* Whether its file was removed or replaced, so that nobody can read it. */
bool slot_is_gone(const struct slot *slot, const char *directory);

/* Adds all that another slot of ours has counted, and takes over what else it says. */
void slot_add(struct slot *slot, const struct slot *other);

/* One more than the highest number of a slot in the directory. */
int slot_end(const char *directory) __attribute__((warn_unused_result));

/* A copy of what slot `number` says, but of its routes, which slot_fetch() adds. It is not mapped:
   a part of the file that has no room on its file system, as another release may leave it, would
   end who reads it. 1, or 0: there is none (or it is not of this version). */
int slot_read(struct slot *slot, const char *directory, int number)
    __attribute__((warn_unused_result));

/* Reads series from `first` on, which are below `n_series`. false: they cannot be read. */
bool slot_fetch(struct slot *slot, uint32_t first, size_t count)
    __attribute__((warn_unused_result));

/* Whether processes of that role that shared the directory have died without being stopped, and
   none works there now. */
bool slot_role_died(const char *directory, enum metrics_role role);

void slot_close(struct slot *slot);

/* The series of `pattern` in a slot that is ours, made if it is new; never NULL: when there is no
   room, in the slot or on its file system, that of SLOT_OTHER, whose pattern is "(other)". */
struct series *slot_series(struct slot *slot, const char *pattern);

#endif
