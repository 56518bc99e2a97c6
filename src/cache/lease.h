/* SPDX-License-Identifier: BSD-2-Clause */
/* Single flight across processes and hosts: who holds a key's lease runs its
   query. The lease is a key that holds the leader's token while
   a fill is under way, and for a short while after a fill that stored nothing, a
   mark that answers the crowd (docs/redis.md). Every outcome is published, so that waiters neither
   poll nor miss it: they watch first and look afterwards (cache/cache.h). */
#ifndef LEEWAY_CACHE_LEASE_H
#define LEEWAY_CACHE_LEASE_H

#include <stdint.h>

enum {
    LEASE_MS = 2000,      /* a dead leader is replaced after this */
    LEASE_RENEW_MS = 600, /* how often a living one renews */
    LEASE_FAILED_MS = 1000,
    LEASE_TOO_LARGE_MS = 10000,
    LEASE_TOKEN_BYTES = 32,
};

struct lease {
    const char *base; /* borrowed; must outlive the lease */
    char token[LEASE_TOKEN_BYTES + 1];
    int64_t held_at_us; /* monotonic: it was ours for certain, for Redis has said so since */
};

enum lease_state {
    LEASE_WON,
    LEASE_HELD,      /* by another */
    LEASE_FAILED,    /* a query failed within the last second */
    LEASE_TOO_LARGE, /* the response was too large to store: run without a lease */
    LEASE_AWAY,      /* the cache is away or refuses writes */
};

struct stored;

/* Borrowed for the call that passes it; `stored` as in cache_look_up_fn. */
struct lease_answer {
    enum lease_state state;
    struct lease lease;    /* LEASE_WON: it, with the base that was passed */
    int64_t left_ms;       /* LEASE_HELD: until it ends unless renewed, at most LEASE_MS */
    int failed_status;     /* LEASE_FAILED: the status to answer with */
    struct stored *stored; /* the entry as it was right after; never NULL */
};

/* What became of it with a command that ended or renewed it. A lease is lost when it was purged, or
   when it ran out and another took over. */
enum lease_end {
    LEASE_UNKNOWN, /* the cache is away, or refuses, or does not say in time */
    LEASE_LOST,    /* it was not ours any more: nothing was done */
    LEASE_KEPT,    /* it was ours to the end; nothing was stored */
    LEASE_STORED,
};

/* What a lease that ends without a store leaves behind for the crowd. */
struct lease_mark {
    enum { LEASE_MARK_NONE, LEASE_MARK_FAILED, LEASE_MARK_TOO_LARGE } kind;
    int status;      /* LEASE_MARK_FAILED: 400 to 599, for LEASE_FAILED_MS at least */
    int64_t hold_ms; /* LEASE_MARK_FAILED: for as long as the query may still run, nobody runs it
                        again */
};

#endif
