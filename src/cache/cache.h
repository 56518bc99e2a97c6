/* SPDX-License-Identifier: BSD-2-Clause */
/* The cache that all processes share: stored responses, the leases under which they are made, and
   the clock that they are judged by. What stands behind it is not this header's affair
   (cache/driver.h). Nothing here blocks.

   Every question has a callback, which is called exactly once, never from within the call that asks
   and not at all once the request is cancelled or the cache freed. A callback may ask, cancel, and
   free anything of its own. A request's handle is good until its callback is called. Keys are named
   by their base (cache/keys.h); texts and bytes that are passed in are copied or sent at once. */
#ifndef LEEWAY_CACHE_CACHE_H
#define LEEWAY_CACHE_CACHE_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "cache/identity_note.h"
#include "cache/lease.h"
#include "cache/stored.h"
#include "cache/switch.h"
#include "config/settings.h"
#include "redis/clock.h"

struct cache;
struct cache_request;

enum cache_change {
    CACHE_UP,     /* again, with what it had stored */
    CACHE_UP_NEW, /* at first, or another server has taken the place: it is to be known anew */
    CACHE_DOWN,
};

struct cache_options {
    const struct redis_settings *settings; /* borrowed */
    const char *client_name;               /* no spaces */
    bool speaks;                           /* it logs what all processes of its kind see */
    /* NULL, or called at each change; never from cache_open. */
    void (*on_change)(void *data, enum cache_change change);
    void *data;
};

/* The one in Redis. Starts connecting; closed by talloc_free. */
struct cache *cache_open(TALLOC_CTX *ctx, struct ev_loop *loop,
                         const struct cache_options *options);

bool cache_is_up(const struct cache *cache);

/* Why it is not; NULL: it is, or nothing has failed yet. Borrowed until the next call. */
const char *cache_problem(const struct cache *cache);

/* Its clock, by which snapshots are made and ages are judged. It is measured before anything is
   answered that was asked for, at the latest a second ago, as long as the cache is up. */
const struct redis_clock *cache_clock(const struct cache *cache);

/* The run id of the server whose clock that is; "": it does not say. Borrowed until the next call.
 */
const char *cache_server_id(const struct cache *cache);

/* What is asked has no effect on the cache, or none that matters, if it is cancelled: a lease that
   is won afterwards is given up. NULL is allowed. */
void cache_cancel(struct cache_request *request);

/* ---- Stored responses */

enum cache_found {
    CACHE_FOUND,
    CACHE_NOTHING, /* no entry, or none that can be read: a key of another type, another version,
                      another key's */
    CACHE_AWAY,    /* it cannot be asked, does not answer in time or refuses */
};

/* `stored->bytes` is freed after the call unless it is stolen. */
typedef void cache_look_up_fn(void *data, enum cache_found found, struct stored *stored);

/* What is asked in one turn of the loop goes out together. */
struct cache_request *cache_look_up(struct cache *cache, const char *base, cache_look_up_fn *fn,
                                    void *data);

/* ---- Leases: who holds a key's runs its query (cache/lease.h) */

typedef void cache_take_fn(void *data, struct lease_answer *answer);

/* Tries to take the lease and reads the entry behind it, in one step: what another stored since
   the caller's look-up is not queried again. A lease without an expiry, or with one beyond what
   anybody sets, and keys of another type are taken over. */
struct cache_request *cache_take(struct cache *cache, const char *base, cache_take_fn *fn,
                                 void *data);

/* The same without taking it: LEASE_WON means that it is free, and left_ms is how long whatever it
   holds lasts. */
struct cache_request *cache_look_at_lease(struct cache *cache, const char *base, cache_take_fn *fn,
                                          void *data);

/* `asked_us` on the monotonic clock: with LEASE_KEPT and LEASE_STORED it was held then. */
typedef void cache_lease_fn(void *data, enum lease_end end, int64_t asked_us);

/* LEASE_KEPT: it lasts for LEASE_MS from now on. */
struct cache_request *cache_renew(struct cache *cache, const struct lease *lease,
                                  cache_lease_fn *fn, void *data);

/* Stores `len` bytes of an encoded entry until `expiry_ms` (PXAT, by the cache's clock), ends the
   lease and wakes who waits, in one step. LEASE_KEPT: a newer snapshot is there already. What was
   stored is LEASE_STORED even if nobody could be woken. */
struct cache_request *cache_store(struct cache *cache, const struct lease *lease, const char *bytes,
                                  size_t len, int64_t expiry_ms, cache_lease_fn *fn, void *data);

/* Ends a lease without storing and wakes who waits; nothing is done if it is not ours any more.
   `fn` NULL: nobody wants to know, and there is no handle (NULL). */
struct cache_request *cache_end(struct cache *cache, const struct lease *lease,
                                const struct lease_mark *mark, cache_lease_fn *fn, void *data);

/* The query whose failure was marked with `status` has ended: its mark lasts for `left_ms` from now
   on, if it is still there. */
void cache_shorten_mark(struct cache *cache, const char *base, int status, int64_t left_ms);

/* ---- Waiting for another's lease */

struct cache_watch;

enum cache_news {
    CACHE_LOOK_NOW, /* the lease has ended; or what happened until now was not told */
    CACHE_NOT_TOLD, /* nothing will be told, as without the right or a connection to be, until the
                       next CACHE_LOOK_NOW: look now and then */
};

/* It may end the watch. */
typedef void cache_watch_fn(void *data, enum cache_news news);

/* Ended by talloc_free, also of `ctx`. While the cache is away nothing is called: the caller has a
   deadline of its own. */
struct cache_watch *cache_watch(TALLOC_CTX *ctx, struct cache *cache, const char *base,
                                cache_watch_fn *fn, void *data);

/* ---- The clock, purges, notes */

/* Measures the clock now; `up` false: it could not be. */
typedef void cache_measured_fn(void *data, bool up);
struct cache_request *cache_measure(struct cache *cache, cache_measured_fn *fn, void *data);

/* Deletes entry and lease in one step, so that a fill under way is refused. 1: something was
   deleted, 0: nothing was there, -1: away or refused. */
typedef void cache_purged_fn(void *data, int deleted);
struct cache_request *cache_purge(struct cache *cache, const char *base, cache_purged_fn *fn,
                                  void *data);

/* 1 and *noted, 0: there is none, -1: away, refused or not understood; then *noted says nothing,
   but is there. */
typedef void cache_note_fn(void *data, int found, const struct identity_note *noted);
struct cache_request *cache_read_note(struct cache *cache, const char *identity, cache_note_fn *fn,
                                      void *data);

/* Notes `mine` if nothing is noted, or completes what agrees with it (cache/identity_note.h);
 *noted is what is there then. Never 0. */
struct cache_request *cache_claim_note(struct cache *cache, const char *identity,
                                       const struct identity_note *mine, cache_note_fn *fn,
                                       void *data);

/* Notes `mine` in any case, accepted once more. Never 0. */
struct cache_request *cache_accept_note(struct cache *cache, const char *identity,
                                        const struct identity_note *mine, cache_note_fn *fn,
                                        void *data);

/* What operators have switched off for all hosts, by the cache's clock (cache/switch.h). NULL:
   away or not understood, or refused, with what Redis said as `refusal`. Borrowed. */
typedef void cache_switches_fn(void *data, const struct switch_list *list, const char *refusal);
struct cache_request *cache_read_switches(struct cache *cache, const char *identity,
                                          cache_switches_fn *fn, void *data);

/* Switches `off->name` off until `off->until_ms`, or on again. The list is as it is afterwards; one
   that has not taken it was full. */
struct cache_request *cache_switch_off(struct cache *cache, const char *identity,
                                       const struct cache_switch *off, cache_switches_fn *fn,
                                       void *data);
struct cache_request *cache_switch_on(struct cache *cache, const char *identity,
                                      const struct cache_switch *on, cache_switches_fn *fn,
                                      void *data);

/* What the server says of itself (INFO); NULL: it does not. Borrowed. */
typedef void cache_info_fn(void *data, const char *info);
struct cache_request *cache_ask_info(struct cache *cache, cache_info_fn *fn, void *data);

/* ---- For operators: nothing of this is needed to serve */

/* About how many keys there are, of others too; -1: it cannot be said. */
typedef void cache_count_fn(void *data, int64_t count);
struct cache_request *cache_count(struct cache *cache, cache_count_fn *fn, void *data);

/* A part of the responses that are stored or under way. A base may come twice. */
struct cache_page {
    const char *const *bases;
    size_t n_bases;
    int64_t looked_at; /* about as many keys */
    const char *next;  /* the cursor of the next page; NULL: this was the last */
};

/* NULL: away or refused. Borrowed. */
typedef void cache_list_fn(void *data, const struct cache_page *page);

/* The page at `cursor`, NULL for the first, of what has a base like `pattern`, a glob. Page by
   page, all that is there from the first to the last is seen; what comes or goes meanwhile may be.
 */
struct cache_request *cache_list(struct cache *cache, const char *pattern, const char *cursor,
                                 cache_list_fn *fn, void *data);

#endif
