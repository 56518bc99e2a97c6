/* SPDX-License-Identifier: BSD-2-Clause */
/* Who waits for something that is given to groups in turn: next is the group that was served
   longest ago, and of a group who has waited longest. Knows nothing of what is waited for; no
   clock, no I/O. */
#ifndef LEEWAY_SOURCE_TURNS_H
#define LEEWAY_SOURCE_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <talloc.h>

/* Part of what waits, which must stay where it is until it is removed. The fields are the module's
   own, to be read by others. */
struct turn {
    TAILQ_ENTRY(turn) link;
    size_t group;
    int64_t since_us;
    bool again;
};

struct turns;

/* For groups 0 to n_groups - 1. */
struct turns *turns_new(TALLOC_CTX *ctx, size_t n_groups);

bool turns_are_empty(const struct turns *turns);

/* Behind those of its group that are there. */
void turns_add(struct turns *turns, struct turn *turn, size_t group, int64_t since_us);

/* It has had its turn, and what came of that does not count: it goes before all others. Its group
   and time are as they were when it was removed. */
void turns_add_again(struct turns *turns, struct turn *turn);

void turns_remove(struct turns *turns, struct turn *turn);

/* Of a group, by this process or another; an earlier time than is known changes nothing. */
void turns_note_served(struct turns *turns, size_t group, int64_t at_us);

/* In the order of their turns, `after` one that was returned (NULL: the first): all that wait
   again, then the first of each group. NULL: there are no more. */
struct turn *turns_next(const struct turns *turns, const struct turn *after);

/* One after another all that wait, in no order that matters. `after` may not be removed before. */
struct turn *turns_each(const struct turns *turns, const struct turn *after);

#endif
