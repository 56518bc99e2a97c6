/* SPDX-License-Identifier: BSD-2-Clause */
/* The right to run one query, counted over all workers of a host: byte ranges
   of one file in runtime_dir, locked by open file descriptions, so that the
   kernel frees what a process held when it dies. */
#ifndef LEEWAY_SOURCE_SLOTS_H
#define LEEWAY_SOURCE_SLOTS_H

#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

struct slots;

/* What a query holds while it runs. */
struct slots_place {
    int slot;  /* -1: none */
    int share; /* of its route's own; -1: none */
    size_t route;
};

enum slots_taken {
    SLOTS_TAKEN,
    SLOTS_NO_SHARE, /* the route has all that it may have */
    SLOTS_NONE,     /* all are taken, or another process's turn is before */
};

/* Opens (and makes) `runtime_dir`/slots, see base/runtime_dir.h; the directory exists. To be called
   in the process that will hold the slots. NULL and a sentence in `error` on failure. */
struct slots *slots_open(TALLOC_CTX *ctx, const char *runtime_dir, size_t count, char *error,
                         size_t error_size) __attribute__((warn_unused_result));

/* To be called about once a second, for slots_look is not called by who holds all it needs: if the
   file was removed or replaced, opens or makes the one that others use from now on, with all slots
   that are held here. Until every process has done so more may be held than there are. */
void slots_tend(struct slots *slots);

/* ---- By routes, in turn over all processes */

/* The next route, from index 0 on, by a name that all processes know it by, and how many slots it
   may have at once; 0: as many as there are. */
void slots_add_route(struct slots *slots, const char *name, size_t share);

/* To be called before a round of the two below: what other processes wait for by now. */
void slots_look(struct slots *slots);

/* When a process last got a slot for the route, monotonic. */
int64_t slots_served_us(const struct slots *slots, size_t route);

/* A place for a query of that route, on account of somebody who has waited since then. Never waits.
   Where there is none others are told that somebody waits; to be tried again every
   CLAIMS_RENEW_MS. */
enum slots_taken slots_take_place(struct slots *slots, size_t route, int64_t since_us,
                                  struct slots_place *place) __attribute__((warn_unused_result));

/* Of a place that holds nothing nothing is given back. */
void slots_give_place_back(struct slots *slots, struct slots_place *place);

/* Nobody waits here any more. */
void slots_stop_waiting(struct slots *slots);

#endif
