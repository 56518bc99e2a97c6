/* SPDX-License-Identifier: BSD-2-Clause */
/* What a child shows its parent while it works: memory that both share. It counts the turns of its
   loop, and names the route that it works at, so that a child that hangs or crashes names it. */
#ifndef LEEWAY_PREFORK_PULSE_H
#define LEEWAY_PREFORK_PULSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

struct pulse;

/* To be made before the fork; freed by talloc_free in each process. NULL: there is no memory. */
struct pulse *pulse_new(TALLOC_CTX *ctx) __attribute__((warn_unused_result));

/* ---- The child's side; `pulse` NULL: nobody looks. No system call. */

/* The loop turns. */
void pulse_turn(struct pulse *pulse);

/* It is at this route from now on; the pattern is cut off where it is too long. */
void pulse_at(struct pulse *pulse, const char *pattern);

/* ---- The parent's side */

uint32_t pulse_turns(const struct pulse *pulse);

/* The route that the child was at last; "": none yet. Cut off where it is not whole. */
void pulse_route(const struct pulse *pulse, char *out, size_t size);

/* ---- Judging it, pure */

enum {
    /* A parent looks so often, */
    PULSE_LOOK_MS = 1000,
    /* and a child hangs whose loop has not turned between so many looks. */
    PULSE_LOOKS = 10,
};

/* What a parent knows of a child from its looks. It counts its own looks and no time: while it
   stood still, with its machine or without, nobody hangs. */
struct pulse_watch {
    uint32_t turns;
    int silent; /* looks at which it had not turned, one after another */
};

/* One more look; `excused`: a debugger holds the child, which may take as long as it likes. true:
   it hangs. */
bool pulse_look(struct pulse_watch *watch, uint32_t turns, bool excused);

#endif
