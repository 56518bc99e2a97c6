/* SPDX-License-Identifier: BSD-2-Clause */
/* Long work in steps between which the loop serves others: one step a turn, in the order in which
   they were added, whosever work they are of. A step should take less than 0.3 ms. */
#ifndef LEEWAY_BASE_STEPS_H
#define LEEWAY_BASE_STEPS_H

#include <ev.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <talloc.h>

struct steps;

/* Embedded in whatever has work to do; zeroed but for `fn` and `data`. */
struct step {
    TAILQ_ENTRY(step) link;
    bool is_waiting;
    void (*fn)(void *data);
    void *data;
};

struct steps *steps_new(TALLOC_CTX *ctx, struct ev_loop *loop);

/* step->fn is called once, by the loop: whoever has more to do then adds it again. Not to be called
   for one that waits. */
void steps_add(struct steps *steps, struct step *step);

/* It is not called; nothing happens if it does not wait. */
void steps_remove(struct steps *steps, struct step *step);

#endif
