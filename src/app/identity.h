/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether this process may serve and store: only what comes from the database that its identity
   means, as a session of this host has verified (docs/redis.md, "Identity"); and the fingerprints
   of keys, which carry the generation of the sessions' answers. */
#ifndef LEEWAY_APP_IDENTITY_H
#define LEEWAY_APP_IDENTITY_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/application.h"
#include "app/identity_file.h"
#include "cache/cache.h"
#include "source/postgres.h"

struct identity;

/* Takes what runtime_dir keeps, if the note in Redis does not contradict it: where `cache` is up
   that is known after a look, for which identity_start() waits. `cache` outlives it. `speaks` as
   for backend_new(). */
struct identity *identity_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct application *app,
                              struct cache *cache, bool speaks);

/* For postgres_new(); what that has made is then to be given to identity_start(). */
const struct postgres_judge *identity_judge(const struct identity *identity);

/* Opens a session and runs the loop until it has been judged or could not be made: where the server
   can be reached, what it says counts and not what was kept. Ends early on a signal that is held
   back. */
void identity_start(struct identity *identity, struct postgres *postgres);

/* Runs the loop until it is verified and its session can be used, for up to `limit_ms`, or until a
   signal is held back. */
void identity_await(struct identity *identity, int64_t limit_ms);

/* Starts a look at the note, and sees to it that there is a session. To be called once a second,
   and when Redis has come up. */
void identity_tick(struct identity *identity);

/* Called once, from the loop; not at all once it is stopped. */
typedef void identity_renewed_fn(void *data);

/* Somebody's keys are of another generation: makes the sessions anew, lest they are from before a
   change, and calls `fn` when one has been judged or could not be made. Does so after 10 s at the
   earliest, and ever more rarely while it changes nothing; false: it is not time, and `fn` is not
   called. One at a time. */
bool identity_renew(struct identity *identity, identity_renewed_fn *fn, void *data);

/* It is not waited for any more, if it was. */
void identity_stop_renewing(struct identity *identity);

/* Whether anything may be served or stored. */
bool identity_is_verified(const struct identity *identity);

/* NULL, or a sentence that says why not; it changes with the next look. */
const char *identity_problem(const struct identity *identity);

/* What keys carry from now on; meaningless unless verified. */
uint64_t identity_generation(const struct identity *identity);

/* The fingerprint of `route` in keys of that generation; its text changes with it. */
const char *identity_fingerprint(const struct identity *identity, const struct route *route);

/* What a session's user and search_path add to keys. Pure. */
uint64_t identity_session_hash(const char *user, const char *search_path);

/* What keys carry for such a session of the database that is known. Never 0. Pure. */
uint64_t identity_generation_of(uint64_t session, const struct identity_note *known);

/* Under which `app` finds its files again, whatever its user and environment. */
void identity_configuration(const struct application *app, char out[CONFIGURATION_HEX + 1]);

#endif
