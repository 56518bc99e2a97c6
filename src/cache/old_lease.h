/* SPDX-License-Identifier: BSD-2-Clause */
/* Single flight across processes and hosts: who holds a key's lease runs its
   query. The lease is the key "<base>:lease"; it holds the leader's token while
   a fill is under way, and for a short while after a fill that stored nothing, a
   marker that answers the crowd (docs/redis.md). Every outcome is published on
   "<base>:done", so that waiters neither poll nor miss it: they subscribe first
   and look afterwards. */
#ifndef LEEWAY_CACHE_OLD_LEASE_H
#define LEEWAY_CACHE_OLD_LEASE_H

#include "cache/old_store.h"

enum {
    OLD_LEASE_MS = 2000,      /* a dead leader is replaced after this */
    OLD_LEASE_RENEW_MS = 600, /* how often a living one renews */
    OLD_LEASE_FAILED_MS = 1000,
    OLD_LEASE_TOO_LARGE_MS = 10000,
    OLD_LEASE_TOKEN_BYTES = 32,
};

struct old_lease {
    const char *base; /* borrowed; must outlive the lease */
    char token[OLD_LEASE_TOKEN_BYTES + 1];
    int64_t held_at_us; /* monotonic: it was ours for certain, for Redis has said so since */
};

enum old_lease_state {
    OLD_LEASE_WON,
    OLD_LEASE_HELD,      /* by another */
    OLD_LEASE_FAILED,    /* a query failed within the last second */
    OLD_LEASE_TOO_LARGE, /* the response was too large to store: run without a lease */
    OLD_LEASE_AWAY,      /* Redis is away or refuses writes */
};

struct old_lease_answer {
    enum old_lease_state state;
    int64_t left_ms;          /* OLD_LEASE_HELD: until it ends unless renewed */
    int failed_status;        /* OLD_LEASE_FAILED: the status to answer with */
    struct old_stored stored; /* the entry as it was right after; free it. reply NULL: none */
};

/* What became of it with a command that ended or renewed it. A lease is lost when it was purged, or
   when it ran out and another took over. */
enum old_lease_end {
    OLD_LEASE_UNKNOWN, /* Redis is away, or refuses */
    OLD_LEASE_LOST,    /* it was not ours any more: nothing was done */
    OLD_LEASE_KEPT,    /* it was ours to the end; nothing was stored */
    OLD_LEASE_STORED,
};

/* Tries to take the lease of `base` and reads the entry behind it, in one round
   trip: what another stored since the caller's look-up is not queried again. Redis's clock is
   measured with it, as with everything below. */
void lease_take(TALLOC_CTX *ctx, struct old_redis *redis, const char *base, struct old_lease *lease,
                struct old_lease_answer *answer);

/* The same without taking it: OLD_LEASE_WON means that it is free, and left_ms is how long whatever
   it holds lasts. */
void lease_look(TALLOC_CTX *ctx, struct old_redis *redis, const char *base,
                struct old_lease_answer *answer);

/* OLD_LEASE_KEPT: renewed. */
enum old_lease_end lease_renew(TALLOC_CTX *ctx, struct old_redis *redis, struct old_lease *lease)
    __attribute__((warn_unused_result));

/* Stores `entry`, ends the lease and wakes the waiters in one step. OLD_LEASE_KEPT: a newer
   snapshot is there already. */
enum old_lease_end lease_store(TALLOC_CTX *ctx, struct old_redis *redis,
                               const struct old_lease *lease, struct old_redis_part entry,
                               int64_t expiry_ms) __attribute__((warn_unused_result));

/* The ways to end a lease without storing; each wakes the waiters, and each does
   nothing if the lease is no longer ours. */
enum old_lease_end lease_give_up(TALLOC_CTX *ctx, struct old_redis *redis,
                                 const struct old_lease *lease);
/* `hold_ms`: for as long as the failed query may still run, nobody runs it again. */
enum old_lease_end lease_fail(TALLOC_CTX *ctx, struct old_redis *redis,
                              const struct old_lease *lease, int status, int64_t hold_ms);
/* The query that failed so at `failed_us` (monotonic) has ended: it may be run again after the
   usual time, and not only after `hold_ms`. */
void lease_settle(TALLOC_CTX *ctx, struct old_redis *redis, const char *base, int status,
                  int64_t failed_us);
enum old_lease_end lease_too_large(TALLOC_CTX *ctx, struct old_redis *redis,
                                   const struct old_lease *lease);

/* The channel on which a lease's end is published. A child of `ctx`. */
char *lease_channel(TALLOC_CTX *ctx, const char *base);

#endif
