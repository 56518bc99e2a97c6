/* SPDX-License-Identifier: BSD-2-Clause */
/* A request on its way through a worker: what it asks for, and whether it waits. */
#ifndef LEEWAY_APP_VISIT_H
#define LEEWAY_APP_VISIT_H

#include <sys/queue.h>

#include "app/backend.h"
#include "http/request.h"
#include "route/param.h"

struct flight;

struct visit {
    TAILQ_ENTRY(visit) link; /* a look-up's, serve_turn_end's or a flight's list: who has it next */
    struct backend *backend;
    struct request *request; /* talloc parent of the visit: both go together */
    const struct route *route;
    const struct route_rules *rules;
    struct param_values values;
    const char *base;      /* of the key */
    uint64_t generation;   /* of the key */
    bool expired;          /* an entry past its budget was found */
    bool looking_up;       /* it waits for the turn's end */
    unsigned too_old;      /* answers that Redis's clock did not allow */
    struct flight *flight; /* NULL: it does not wait for a fill */
};

TAILQ_HEAD(visit_list, visit);

#endif
