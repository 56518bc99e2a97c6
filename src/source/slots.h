/* SPDX-License-Identifier: BSD-2-Clause */
/* The right to run one query, counted over all workers of a host: byte ranges
   of one file in runtime_dir, locked by open file descriptions, so that the
   kernel frees what a process held when it dies. */
#ifndef LEEWAY_SOURCE_SLOTS_H
#define LEEWAY_SOURCE_SLOTS_H

#include <stddef.h>
#include <talloc.h>

struct slots;

/* Opens (and makes) `runtime_dir`/slots, see base/runtime_dir.h; the directory exists. To be called
   in the process that will hold the slots. NULL and a sentence in `error` on failure. */
struct slots *slots_open(TALLOC_CTX *ctx, const char *runtime_dir, size_t count, char *error,
                         size_t error_size) __attribute__((warn_unused_result));

/* A slot's number, or -1: all are taken. Never waits. */
int slots_take(struct slots *slots) __attribute__((warn_unused_result));

/* To be called about once a second, for slots_take is not called by who holds all it needs: if the
   file was removed or replaced, opens or makes the one that others use from now on, with all slots
   that are held here. Until every process has done so more may be held than there are. */
void slots_tend(struct slots *slots);

void slots_give_back(struct slots *slots, int slot);

#endif
