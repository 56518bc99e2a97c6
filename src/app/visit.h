/* SPDX-License-Identifier: BSD-2-Clause */
/* A request on its way through a worker: what it asks for, and whether it waits. */
#ifndef LEEWAY_APP_VISIT_H
#define LEEWAY_APP_VISIT_H

#include <sys/queue.h>

#include "app/backend.h"
#include "http/accept_encoding.h"
#include "http/request.h"
#include "route/param.h"

struct flight;
struct server;

/* Who has it next. */
enum visit_state {
    VISIT_NEW,        /* nobody: it is being handled */
    VISIT_LOOKING_UP, /* its response is looked up */
    VISIT_WAITING,    /* for a fill */
};

struct visit {
    TAILQ_ENTRY(visit) link; /* LOOKING_UP: the server's list; WAITING: its flight's */
    enum visit_state state;
    struct server *server;
    struct backend *backend;
    struct request *request; /* talloc parent of the visit: both go together */
    const struct route *route;
    const struct route_rules *rules;
    struct param_values values;
    const char *base;              /* of the key */
    uint64_t generation;           /* of the key */
    struct acceptance accepts;     /* of a response in its context's coding */
    bool is_disabled;              /* its route's cache is, by an operator */
    bool expired;                  /* an entry past its budget was found */
    unsigned too_old;              /* answers that were past the budget when they came */
    struct cache_request *look_up; /* LOOKING_UP */
    struct flight *flight;         /* WAITING */
};

TAILQ_HEAD(visit_list, visit);

#endif
