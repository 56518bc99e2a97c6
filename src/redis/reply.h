/* SPDX-License-Identifier: BSD-2-Clause */
/* What Redis says, as plain values: nobody outside this folder sees the library that parses it. */
#ifndef LEEWAY_REDIS_REPLY_H
#define LEEWAY_REDIS_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum redis_kind {
    REDIS_NIL,
    REDIS_TEXT, /* bulk or status */
    REDIS_NUMBER,
    REDIS_ARRAY,
    REDIS_ERROR,
};

/* A talloc chunk, its elements among its children: who steals it from the call that passes it keeps
   it, and may let others refer to it. */
struct redis_reply {
    enum redis_kind kind;
    int64_t number;                /* REDIS_NUMBER */
    size_t len;                    /* REDIS_TEXT, REDIS_ERROR: bytes */
    size_t n_elements;             /* REDIS_ARRAY */
    struct redis_reply **elements; /* none is NULL */
    char text[];                   /* any bytes, with a NUL behind them; "" for other kinds */
};

/* Why a command was refused. None of these means that the server is away. */
enum redis_refusal {
    REDIS_NOT_REFUSED,
    REDIS_NO_RIGHT,    /* NOPERM: the ACL does not allow it */
    REDIS_NO_LOGIN,    /* NOAUTH, WRONGPASS */
    REDIS_READ_ONLY,   /* READONLY: a replica */
    REDIS_FULL,        /* OOM: maxmemory, and nothing may be evicted */
    REDIS_NOT_SAVING,  /* MISCONF: a failed save stops writes */
    REDIS_NO_REPLICAS, /* NOREPLICAS: min-replicas-to-write */
    REDIS_BUSY,        /* BUSY: a script or function runs */
    REDIS_LOADING,     /* LOADING, MASTERDOWN: not yet, or not any more */
    REDIS_WRONG_TYPE,  /* WRONGTYPE: the key holds something else */
    REDIS_OTHER_ERROR,
};

enum redis_refusal redis_refusal_of(const struct redis_reply *reply);

/* "no-right", "read-only", ...: for logs and metrics. */
const char *redis_refusal_name(enum redis_refusal refusal);

/* Whether the reply is text equal to `text`. */
bool redis_reply_is(const struct redis_reply *reply, const char *text);

/* Element `index` if the reply is an array with one there of that kind; else NULL. */
const struct redis_reply *redis_reply_element(const struct redis_reply *reply, size_t index,
                                              enum redis_kind kind);

#endif
