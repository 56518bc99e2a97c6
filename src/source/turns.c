/* SPDX-License-Identifier: BSD-2-Clause */
/* A list per group, and a list of the groups of whom somebody waits. */
#include "config.h"

#include "source/turns.h"

#include <assert.h>

#include "base/mem.h"

TAILQ_HEAD(turn_list, turn);

struct group {
    TAILQ_ENTRY(group) link; /* in `waiting`, while it has turns */
    struct turn_list turns;
    int64_t served_us; /* 0: never */
};

TAILQ_HEAD(group_list, group);

struct turns {
    struct group *groups;
    size_t n_groups;
    struct group_list waiting;
    struct turn_list again;
};

struct turns *turns_new(TALLOC_CTX *ctx, size_t n_groups)
{
    struct turns *turns = mem_check(talloc_zero(ctx, struct turns));

    turns->groups = mem_check(talloc_zero_array(turns, struct group, n_groups + 1));
    turns->n_groups = n_groups;
    for (size_t i = 0; i < n_groups; i++)
        TAILQ_INIT(&turns->groups[i].turns);
    TAILQ_INIT(&turns->waiting);
    TAILQ_INIT(&turns->again);
    return turns;
}

bool turns_are_empty(const struct turns *turns)
{
    return TAILQ_EMPTY(&turns->waiting) && TAILQ_EMPTY(&turns->again);
}

void turns_add(struct turns *turns, struct turn *turn, size_t group, int64_t since_us)
{
    struct group *to = &turns->groups[group];

    assert(group < turns->n_groups);
    turn->group = group;
    turn->since_us = since_us;
    turn->again = false;
    if (TAILQ_EMPTY(&to->turns))
        TAILQ_INSERT_TAIL(&turns->waiting, to, link);
    TAILQ_INSERT_TAIL(&to->turns, turn, link);
}

void turns_add_again(struct turns *turns, struct turn *turn)
{
    turn->again = true;
    TAILQ_INSERT_HEAD(&turns->again, turn, link);
}

void turns_remove(struct turns *turns, struct turn *turn)
{
    struct group *from = &turns->groups[turn->group];

    if (turn->again) {
        TAILQ_REMOVE(&turns->again, turn, link);
        return;
    }
    TAILQ_REMOVE(&from->turns, turn, link);
    if (TAILQ_EMPTY(&from->turns))
        TAILQ_REMOVE(&turns->waiting, from, link);
}

void turns_note_served(struct turns *turns, size_t group, int64_t at_us)
{
    if (turns->groups[group].served_us < at_us)
        turns->groups[group].served_us = at_us;
}

/* Groups that were never served, or at the same time, by who has waited longest there; no two are
   equal. */
static bool precedes(const struct group *a, const struct group *b)
{
    if (a->served_us != b->served_us)
        return a->served_us < b->served_us;
    int64_t a_us = TAILQ_FIRST(&a->turns)->since_us, b_us = TAILQ_FIRST(&b->turns)->since_us;
    return a_us != b_us ? a_us < b_us : a < b;
}

static struct turn *next_group(const struct turns *turns, const struct group *after)
{
    const struct group *group, *next = NULL;

    TAILQ_FOREACH (group, &turns->waiting, link)
        if ((after == NULL || precedes(after, group)) && (next == NULL || precedes(group, next)))
            next = group;
    return next != NULL ? TAILQ_FIRST(&next->turns) : NULL;
}

struct turn *turns_next(const struct turns *turns, const struct turn *after)
{
    struct turn *again = after == NULL  ? TAILQ_FIRST(&turns->again)
                         : after->again ? TAILQ_NEXT(after, link)
                                        : NULL;

    if (again != NULL)
        return again;
    return next_group(turns, after == NULL || after->again ? NULL : &turns->groups[after->group]);
}

struct turn *turns_each(const struct turns *turns, const struct turn *after)
{
    struct turn *turn = after != NULL ? TAILQ_NEXT(after, link) : TAILQ_FIRST(&turns->again);

    if (turn != NULL)
        return turn;
    const struct group *group = after == NULL || after->again
                                    ? TAILQ_FIRST(&turns->waiting)
                                    : TAILQ_NEXT(&turns->groups[after->group], link);
    return group != NULL ? TAILQ_FIRST(&group->turns) : NULL;
}
