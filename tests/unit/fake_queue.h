/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue whose driver does what the test says, when it says so. It has no jobs of its own: the
   test gives them. */
#ifndef LEEWAY_TESTS_FAKE_QUEUE_H
#define LEEWAY_TESTS_FAKE_QUEUE_H

#include "refresh/queue.h"

struct fake_queue;

/* Freed with `ctx`, also while something is under way. */
struct fake_queue *fake_queue_new(TALLOC_CTX *ctx);

/* What is to be tested with. */
struct queue *fake_queue_get(struct fake_queue *fake);

enum fake_queued {
    FAKE_Q_OFFER,
    FAKE_Q_JOB, /* queue_take() */
    FAKE_Q_SETTLE,
    FAKE_Q_COUNT_FAILURE,
    FAKE_Q_BACK_OFF,
    FAKE_Q_BEAT,
    FAKE_Q_REAP,
    FAKE_Q_SWEEP,
    FAKE_Q_LEAVE,
    FAKE_Q_LOOK,
    FAKE_Q_MARK,
    FAKE_Q_KINDS,
};

/* Of a kind: how many have been asked for, are under way, and were cancelled. */
size_t fake_queue_count(const struct fake_queue *fake, enum fake_queued kind);
size_t fake_queue_under_way(const struct fake_queue *fake, enum fake_queued kind);
size_t fake_queue_cancelled(const struct fake_queue *fake, enum fake_queued kind);

/* What the last of a kind was about; "" where there is none. Borrowed until the next. */
const char *fake_queue_base(const struct fake_queue *fake, enum fake_queued kind);
const char *fake_queue_job(const struct fake_queue *fake, enum fake_queued kind);
int64_t fake_queue_ms(const struct fake_queue *fake, enum fake_queued kind);

enum { FAKE_ASIDE = 1000 };

/* Answers the oldest of a kind; fails the test if there is none. `result` as its callback gets it:
   an enum, a count, whether it is done. A take is answered with 0 or -1, a look with NULL, a
   reaping with the jobs that were put back, -1, or FAKE_ASIDE: one of the route "r" was set aside.
 */
void fake_queue_answer(struct fake_queue *fake, enum fake_queued kind, int64_t result);

/* Answers the oldest take with a job. */
void fake_queue_give(struct fake_queue *fake, const char *job);

#endif
