/* SPDX-License-Identifier: BSD-2-Clause */
/* One run of a route's query and what is stored of it: used by workers for misses
   and by refreshers for jobs. */
#ifndef LEEWAY_APP_FILL_H
#define LEEWAY_APP_FILL_H

#include "app/backend.h"
#include "cache/lease.h"
#include "cache/stored.h"
#include "route/param.h"

enum fill_storing {
    FILL_STORED,
    FILL_NOT_STORED, /* the lease was lost, something newer is there, or there is no budget for it
                      */
    FILL_TOO_LARGE,  /* over max_object */
    FILL_NO_REDIS, /* no lease was asked for, or the cache did not say in time what became of it */
};

struct fill_result {
    enum query_outcome outcome;
    int status;         /* 200, 404 or 410, or the status of the failure */
    const char *detail; /* of a failure, for the client; NULL: the usual one; borrowed */
    /* QUERY_DONE, QUERY_NO_ROW; its snapshot is 0 if Redis's clock is not known. Borrowed. */
    struct stored *stored;
    int64_t sent_us; /* monotonic; the answer's age counts from here */
    enum fill_storing storing;
    /* Monotonic: an answer is for requests that came before. What came later may have come after a
       purge that refused the store, or, without a lease, after one that nobody heard of. */
    int64_t for_before_us;
    bool own;  /* the failure says nothing of the query: it is this process that could not run it */
    bool lost; /* a connection was lost while it ran */
    bool unmarked; /* the server may still run the failed query, and the key does not say so:
                      `settled` follows */
};

typedef void fill_fn(void *data, const struct fill_result *result);

struct fill_request {
    const struct route *route;
    const char *base; /* of the key; borrowed until `done`, like the values */
    const struct param_values *values;
    bool coded; /* who waits accepts the context's coding; it is made anyway of what is stored */
    const struct lease *lease; /* copied, but for its base; NULL: run without, store nothing */
    uint64_t generation;       /* of the key: another session's result is not stored */
    enum query_origin origin;  /* for metrics */
    int64_t since_us; /* monotonic: since when the request has waited that came last; as in struct
                         query_request */
    void (*lost)(void *data); /* the lease was: who comes from now on needs another answer */
    fill_fn *done;            /* called once, never from fill_start itself; see fill_leave() */
    void (*settled)(
        void *data); /* NULL, or once after a result that is `unmarked`: the query has ended */
    void *data;
};

struct fill;

/* Renews the lease while the query runs, then stores or marks, and so wakes the waiters; calls
   `done` when the cache has said what became of it, at command_timeout at the latest. A failure is
   told at once unless the server may still run the query. The fill frees itself. */
struct fill *fill_start(struct backend *backend, const struct fill_request *request);

/* The three below are for before `done`. Whether the query has been given a slot. */
bool fill_has_begun(const struct fill *fill);

/* As postgres_wait_longer(). */
void fill_wait_longer(struct fill *fill, int64_t since_us);

/* Nobody waits for it any more. One that has not begun never does: its lease is given up, the fill
   is gone and `done` is not called: true. One whose result would be stored goes on. Another is
   given up, and `done` may be called from here. */
bool fill_leave(struct fill *fill);

#endif
