/* SPDX-License-Identifier: BSD-2-Clause */
/* The cache in Redis: what its parts share. Only for them and, of this, cache_redis() for the
   queue, which is in the same Redis.

   Nearly every question is one command: an `ask`. The request is freed before its owner is called,
   so that the owner may free whatever it likes, the cache among it. */
#ifndef LEEWAY_CACHE_REDIS_CACHE_H
#define LEEWAY_CACHE_REDIS_CACHE_H

#include "cache/driver.h"
#include "redis/redis.h"

/* What a cache that was opened by cache_open() talks to. Borrowed. */
struct redis *cache_redis(struct cache *cache);

struct redis_cache {
    struct cache cache;
    struct ev_loop *loop;
    struct redis *redis;
    const char *prefix;
    void (*on_change)(void *data, enum cache_change change);
    void *data;
    /* The turn of the loop in which the clock was last seen to. */
    bool clock_seen_to;
    unsigned clock_seen_to_in;
    int64_t writes_again_us;   /* 0, or until when no lease is asked for (redis_take.c) */
    int64_t unheard_logged_us; /* 0, or when it was logged that nobody could be woken */
};

static inline struct redis_cache *redis_cache_of(struct cache *cache)
{
    return (struct redis_cache *)cache;
}

/* A question that is one command, until it is answered or cancelled. */
struct ask;
typedef void ask_answered(const struct ask *ask, enum redis_outcome outcome,
                          struct redis_reply *reply);

struct ask {
    struct cache_request request;
    struct redis_cache *cache;
    struct redis_request *sent;
    int64_t sent_us;        /* monotonic, before it was sent; where Redis tells its time */
    uint64_t key;           /* of the entry that is asked for */
    bool writes;            /* as of struct redis_command */
    ask_answered *answered; /* called with a copy */
    union {                 /* the owner's */
        cache_look_up_fn *look_up;
        cache_lease_fn *lease;
        cache_measured_fn *measured;
        cache_purged_fn *purged;
        cache_note_fn *note;
        cache_switches_fn *switches;
        cache_info_fn *info;
        cache_count_fn *count;
        cache_list_fn *list;
    } fn;
    void *data;
};

/* A child of the cache; keys may be its children. To be sent. */
struct ask *ask_new(struct cache *cache, ask_answered *answered, void *data);
/* The same for a command that writes. */
struct ask *ask_new_write(struct cache *cache, ask_answered *answered, void *data);

/* The owner's handle. */
struct cache_request *ask_send(struct ask *ask, const struct redis_part *parts, size_t count,
                               const char *key);

/* Whether the reply to a script or command is there; with any reply Redis's time is taken in if it
   ends with it. */
bool ask_was_done(const struct ask *ask, enum redis_outcome outcome,
                  const struct redis_reply *reply);

/* A part of scripts. What redis.pcall() has read into `held` may be of another type, which is as
   good as nothing there. Any other error is the script's. */
#define REDIS_CACHE_UNLESS_REFUSED                                                                 \
    "if type(held) == 'table' and string.sub(held.err, 1, 9) ~= 'WRONGTYPE' then return held end "

/* ---- redis_lease.c */

void redis_cache_make_token(char token[LEASE_TOKEN_BYTES + 1]);
struct cache_request *redis_cache_renew(struct cache *cache, const struct lease *lease,
                                        cache_lease_fn *fn, void *data);
struct cache_request *redis_cache_store(struct cache *cache, const struct lease *lease,
                                        const char *bytes, size_t len, int64_t expiry_ms,
                                        cache_lease_fn *fn, void *data);
void redis_cache_shorten_mark(struct cache *cache, const char *base, int status, int64_t left_ms);
struct cache_request *redis_cache_end(struct cache *cache, const struct lease *lease,
                                      const struct lease_mark *mark, cache_lease_fn *fn,
                                      void *data);

/* What the lease's key held as somebody found it: LEASE_HELD, or a mark. */
enum lease_state redis_cache_read_holder(const struct redis_reply *holder, int *failed_status);

/* ---- redis_take.c */

struct cache_request *redis_cache_take(struct cache *cache, const char *base, bool only_look,
                                       cache_take_fn *fn, void *data);

/* What has become of a command that writes: after one that was refused, as a server refuses all
   writes, or not answered in time, no lease is asked for during WRITES_PAUSE_US, or until one has
   been done. Then one tries again, and the others wait for what it finds. */
enum { WRITES_PAUSE_US = 1000 * 1000 };
void redis_cache_note_write(struct redis_cache *cache, enum redis_outcome outcome,
                            const struct redis_reply *reply);

/* ---- redis_watch.c, redis_note.c, redis_list.c */

struct cache_watch *redis_cache_watch(TALLOC_CTX *ctx, struct cache *cache, const char *base,
                                      cache_watch_fn *fn, void *data);

struct cache_request *redis_cache_note(struct cache *cache, enum cache_note_act act,
                                       const char *identity, const struct identity_note *mine,
                                       cache_note_fn *fn, void *data);

/* redis_switch.c */
struct cache_request *redis_cache_switches(struct cache *cache, const char *identity,
                                           enum cache_switch_act act,
                                           const struct cache_switch *off, cache_switches_fn *fn,
                                           void *data);

struct cache_request *redis_cache_count(struct cache *cache, cache_count_fn *fn, void *data);
struct cache_request *redis_cache_list(struct cache *cache, const char *pattern, const char *cursor,
                                       cache_list_fn *fn, void *data);

#endif
