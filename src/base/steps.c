/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue, of which each turn of the loop takes one. */
#include "config.h"

#include "base/steps.h"

#include <assert.h>

#include "base/mem.h"

struct steps {
    struct ev_loop *loop;
    TAILQ_HEAD(, step) waiting;
    ev_check next; /* behind what else is to be done in a turn, */
    ev_idle busy;  /* and the next turn does not wait */
};

static void stop_if_empty(struct steps *steps)
{
    if (!TAILQ_EMPTY(&steps->waiting))
        return;
    ev_check_stop(steps->loop, &steps->next);
    ev_idle_stop(steps->loop, &steps->busy);
}

void steps_add(struct steps *steps, struct step *step)
{
    assert(!step->is_waiting);
    TAILQ_INSERT_TAIL(&steps->waiting, step, link);
    step->is_waiting = true;
    ev_check_start(steps->loop, &steps->next);
    ev_idle_start(steps->loop, &steps->busy);
}

void steps_remove(struct steps *steps, struct step *step)
{
    if (!step->is_waiting)
        return;
    TAILQ_REMOVE(&steps->waiting, step, link);
    step->is_waiting = false;
    stop_if_empty(steps);
}

static void on_next(struct ev_loop *loop, ev_check *check, int events)
{
    struct steps *steps = check->data;
    struct step *step = TAILQ_FIRST(&steps->waiting);

    (void)loop;
    (void)events;
    TAILQ_REMOVE(&steps->waiting, step, link);
    step->is_waiting = false;
    step->fn(step->data);
    stop_if_empty(steps);
}

/* It is there so that the loop does not wait between two steps. */
static void on_idle(struct ev_loop *loop, ev_idle *idle, int events)
{
    (void)loop;
    (void)idle;
    (void)events;
}

static int steps_destroy(struct steps *steps)
{
    ev_check_stop(steps->loop, &steps->next);
    ev_idle_stop(steps->loop, &steps->busy);
    return 0;
}

struct steps *steps_new(TALLOC_CTX *ctx, struct ev_loop *loop)
{
    struct steps *steps = mem_check(talloc_zero(ctx, struct steps));

    steps->loop = loop;
    TAILQ_INIT(&steps->waiting);
    ev_check_init(&steps->next, on_next);
    ev_set_priority(&steps->next, EV_MINPRI);
    ev_idle_init(&steps->busy, on_idle);
    ev_set_priority(&steps->busy, EV_MINPRI);
    steps->next.data = steps;
    talloc_set_destructor(steps, steps_destroy);
    return steps;
}
