/* SPDX-License-Identifier: BSD-2-Clause */
/* A query on its way, shared by the pool and its sessions. */
#ifndef LEEWAY_SOURCE_QUERY_H
#define LEEWAY_SOURCE_QUERY_H

#include <sys/queue.h>

#include "source/postgres.h"
#include "source/statement.h"

struct query {
    TAILQ_ENTRY(query) link;
    struct query_request request;
    struct statement *statement;
    int slot;              /* -1: none held */
    int64_t slot_until_us; /* monotonic */
    int64_t sent_us;
    bool retried;
};

TAILQ_HEAD(query_list, query);

#endif
