/* SPDX-License-Identifier: BSD-2-Clause */
/* What a worker works with, where nothing happens but by the test: the cache of fake_cache.h,
   queries that the test ends, answers that are noted instead of sent. Takes the place of
   postgres_query(), of all of respond.h and of what fills, flights and the server want of identity,
   metrics and backend. There is one at a time. */
#ifndef LEEWAY_TESTS_FAKE_WORKER_H
#define LEEWAY_TESTS_FAKE_WORKER_H

#include "app/visit.h"
#include "fake_cache.h"
#include "fake_time.h"

enum { FAKE_ANSWER_BYTES = 64 };

/* Who has sent a request, and what came of it. */
struct reader {
    struct request *request; /* NULL: it was answered, or its client has left */
    unsigned answers;
    /* "miss:BODY", "collapsed:BODY", ... by its row, with a star behind the row where the answer
       says that it was stored; "STATUS", or "STATUS~" for a failure that others share. */
    char answer[FAKE_ANSWER_BYTES];
    int64_t ttl_us; /* of an entry */
};

struct fake_query {
    struct query_request request;
    bool waits; /* for a slot */
    bool ended;
    bool runs_on;    /* it has ended with `hold_ms`, and not settled */
    int64_t sent_us; /* 0: not yet */
    int64_t row;     /* what it has read by then */
};

enum { FAKE_MAX_QUERIES = 64, FAKE_SCRAPE_STEPS = 3 };

struct fake_worker {
    struct ev_loop *loop;
    struct fake_cache *cache;
    struct backend *backend; /* freed before the cache */
    bool verified;
    bool away;          /* Postgres is known to be */
    bool no_slots;      /* queries that are begun now wait */
    unsigned withdrawn; /* queries of whom nobody waited any more before they had begun */
    uint64_t generation;
    int64_t row;    /* what queries read that are sent now */
    size_t padding; /* and so many spaces behind it */
    struct fake_query queries[FAKE_MAX_QUERIES];
    size_t n_queries;
    unsigned collapsed[COLLAPSE_TIMEOUT + 1];
    unsigned shed[SHED_WAITING + 1];
    unsigned counted_queries[QUERY_BYPASS + 1];
    unsigned refreshes[REFRESH_DROPPED + 1];
    unsigned texts; /* answers of respond_text_as() and the like */
};

/* With routes "/long/{id}" (a minute), "/error/{id}" (10 s, an hour on an error), "/none/{id}" (no
   budget); `settings` is further configuration. Freed by talloc_free. */
struct fake_worker *fake_worker_new(const char *settings);

/* A request of a reader's, who is a child of `ctx`. */
struct reader *fake_worker_request(struct fake_worker *worker, TALLOC_CTX *ctx);

/* The same as a visit, as if it had been looked up, of the route with that index. */
struct reader *fake_worker_visit(struct fake_worker *worker, TALLOC_CTX *ctx, size_t route,
                                 const char *base);

/* The oldest query that has not ended; NULL: there is none. */
struct fake_query *fake_worker_query(struct fake_worker *worker);

/* It is sent now, unless it was before. */
void fake_worker_send(struct fake_worker *worker, struct fake_query *query);

/* It ends so, for a session of the worker's generation. */
void fake_worker_end(struct fake_worker *worker, struct fake_query *query,
                     enum query_outcome outcome);

/* The oldest that runs on has ended at the server. false: there is none. */
bool fake_worker_settle(struct fake_worker *worker);

/* With all that the result says; what is 0 of sent_us and generation is filled in. */
void fake_worker_end_with(struct fake_worker *worker, struct fake_query *query,
                          struct query_result result);

#endif
