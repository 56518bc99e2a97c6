/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that have not been answered, in the order in which their replies will come. Knows no
   socket and no clock. */
#ifndef LEEWAY_REDIS_REQUESTS_H
#define LEEWAY_REDIS_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redis/redis.h"

struct redis_connection;

struct redis_request {
    struct redis_request *next;
    struct redis_connection *connection;
    redis_fn *fn; /* NULL: its owner has been told, or does not want to be */
    void *data;
    int64_t due_us;   /* when the owner is told that there is no reply */
    int64_t stuck_us; /* when the connection goes if it is the first */
    int64_t block_ms;
    uint64_t end;  /* of its bytes, counted from the connection's first */
    size_t len;    /* of its bytes */
    char *bytes;   /* of one that waits for the connection to be up, else NULL */
    char name[16]; /* the command's, for the log; "": it is not logged */
};

struct redis_requests {
    struct redis_request *first;
    struct redis_request **last; /* where the next one goes */
    size_t count;
};

void redis_requests_init(struct redis_requests *requests);
void redis_requests_add(struct redis_requests *requests, struct redis_request *request);

/* NULL: there is none. */
struct redis_request *redis_requests_take(struct redis_requests *requests);

/* All of them, which leaves none. */
struct redis_requests redis_requests_take_all(struct redis_requests *requests);

/* The first one's owner is told: once, unless it was cancelled. */
void redis_request_tell(struct redis_request *request, enum redis_outcome outcome,
                        struct redis_reply *reply);

/* Its time is over: it is told REDIS_UNCERTAIN, and the log says so. */
void redis_request_tell_late(struct redis_request *request);

#endif
