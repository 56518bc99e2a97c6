/* SPDX-License-Identifier: BSD-2-Clause */
/* What a supervisor does next about one of the places that it fills. Pure. */
#ifndef LEEWAY_PREFORK_POST_H
#define LEEWAY_PREFORK_POST_H

#include <stdbool.h>
#include <stdint.h>

/* A place among the children and who fills it: one of the configuration in force, and one from
   before until that is ready. None of them drains. */
struct post {
    bool current;
    bool current_ready;
    bool former;
    bool other_starting; /* any child is, at whatever place */
    int64_t start_at_us; /* by the back-off; nobody is started there earlier */
};

enum post_action { POST_REST, POST_START, POST_DRAIN_FORMER };

/* What is to be done, and from when on: INT64_MAX with POST_REST, for only a change of the post can
   make something else of it. */
struct post_step {
    enum post_action action;
    int64_t at_us;
};

/* Successors of those that work start one at a time. */
struct post_step next_action(const struct post *post);

#endif
