/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers those who wait for a flight with what its query has come to. */
#ifndef LEEWAY_APP_FLIGHT_ANSWER_H
#define LEEWAY_APP_FLIGHT_ANSWER_H

#include "app/fill.h"
#include "app/visit.h"
#include "cache/answer.h"

enum visit_end {
    VISIT_ANSWERED,    /* it is gone */
    VISIT_COMES_LATER, /* it has to be looked for again */
    VISIT_TIMED_OUT,   /* it has been too old too often */
};

/* `result` is an answer, and no failure; `row` says what it is to this visit. */
enum visit_end flight_answer(struct visit *visit, const struct fill_result *result,
                             enum answer_row row) __attribute__((warn_unused_result));

#endif
