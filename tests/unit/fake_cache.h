/* SPDX-License-Identifier: BSD-2-Clause */
/* A cache in memory whose driver does what the test says, when it says so. What is asked of it
   waits in order until the test answers; it has entries, leases, notes and a clock of its own. To
   be linked with fake_time.c, whose clock leases run out by. */
#ifndef LEEWAY_TESTS_FAKE_CACHE_H
#define LEEWAY_TESTS_FAKE_CACHE_H

#include "cache/cache.h"

struct fake_cache;

/* Up, with its clock measured. Freed with `ctx`, also while something is under way. */
struct fake_cache *fake_cache_new(TALLOC_CTX *ctx, struct ev_loop *loop);

/* What is to be tested with. */
struct cache *fake_cache_get(struct fake_cache *fake);

enum fake_asked {
    FAKE_NOTHING, /* nothing is under way */
    FAKE_LOOK_UP,
    FAKE_TAKE,
    FAKE_LOOK_AT_LEASE,
    FAKE_RENEW,
    FAKE_STORE,
    FAKE_END,
    FAKE_MEASURE,
    FAKE_PURGE,
    FAKE_READ_NOTE,
    FAKE_CLAIM_NOTE,
    FAKE_ACCEPT_NOTE,
    FAKE_INFO,
    FAKE_SHORTEN, /* done at once */
};

/* ---- What was asked, oldest first */

struct fake_record {
    enum fake_asked asked;
    const char *base; /* or the identity of a note; "" where there is none */
    int64_t asked_us;
    bool has_handle; /* somebody waits for the answer */
    bool answered;   /* the callback was called, or there was none and it is done */
    bool cancelled;
    int64_t expiry_ms;      /* FAKE_STORE */
    struct lease_mark mark; /* FAKE_END; FAKE_SHORTEN, with how long is left in hold_ms */
};

size_t fake_cache_count(const struct fake_cache *fake, enum fake_asked asked);
/* The `n`th of those of a kind, from 0; NULL: there were not as many. */
const struct fake_record *fake_cache_record(const struct fake_cache *fake, enum fake_asked asked,
                                            size_t n);
/* The oldest that is under way. */
enum fake_asked fake_cache_next(const struct fake_cache *fake);
size_t fake_cache_under_way(const struct fake_cache *fake);
/* All that was asked so far is forgotten, but not what is under way. */
void fake_cache_forget_records(struct fake_cache *fake);

/* ---- Answers */

enum fake_way {
    FAKE_DONE,
    FAKE_AWAY,      /* it is not done, and nothing is known of it */
    FAKE_REFUSED,   /* likewise, by a cache that is up */
    FAKE_UNCERTAIN, /* it is done, and nobody is told so in time */
};

/* Answers the oldest under way; there must be one. */
void fake_cache_answer_next(struct fake_cache *fake, enum fake_way way);

/* The oldest of a kind. false: there is none, as below. */
bool fake_cache_answer(struct fake_cache *fake, enum fake_asked asked, enum fake_way way);

/* Does the oldest of a kind that is not done; its answer is still to come, with FAKE_DONE or
   FAKE_UNCERTAIN. */
bool fake_cache_do(struct fake_cache *fake, enum fake_asked asked);

/* Answers until nothing is under way. */
void fake_cache_answer_all(struct fake_cache *fake);

/* From now on all is answered by itself so long after it was asked; -1: it is not, as at first. */
void fake_cache_answer_after(struct fake_cache *fake, int64_t ms);

/* From now on requests of a kind are answered so, where nothing else is said; FAKE_DONE at first.
 */
void fake_cache_set_way(struct fake_cache *fake, enum fake_asked asked, enum fake_way way);

/* What it says of itself. Nothing else changes with it. */
void fake_cache_set_up(struct fake_cache *fake, bool up);

/* ---- Watches */

/* How many there are for `base`. */
size_t fake_cache_watches(const struct fake_cache *fake, const char *base);

/* Tells each of them. */
void fake_cache_tell(struct fake_cache *fake, const char *base, enum cache_news news);

/* ---- Contents */

/* The cache's own time. */
int64_t fake_cache_now_us(const struct fake_cache *fake);

/* It goes on by so much more than this machine's, as while that stood still; nobody has measured it
   yet. */
void fake_cache_shift(struct fake_cache *fake, int64_t us);

void fake_cache_put(struct fake_cache *fake, const char *base, int64_t snapshot_us, int status,
                    const char *body);
/* The body of what is stored, or NULL. Borrowed until the next call of anything here. */
const char *fake_cache_body(struct fake_cache *fake, const char *base);

/* A token, "!503", "!too-large"; NULL takes it away. */
void fake_cache_put_lease(struct fake_cache *fake, const char *base, const char *value, int64_t ms);
/* What the lease's key holds, or NULL. Borrowed likewise. */
const char *fake_cache_lease(struct fake_cache *fake, const char *base);

/* Somebody deletes entry and lease. */
void fake_cache_purge(struct fake_cache *fake, const char *base);

/* NULL: there is none. */
void fake_cache_put_note(struct fake_cache *fake, const char *identity,
                         const struct identity_note *note);
const struct identity_note *fake_cache_note(const struct fake_cache *fake, const char *identity);

void fake_cache_put_info(struct fake_cache *fake, const char *info);

#endif
