/* SPDX-License-Identifier: BSD-2-Clause */
/* The names of all that leeway has in Redis (docs/redis.md): nowhere else are they spelled. Each
   result is a child of `ctx`. */
#ifndef LEEWAY_CACHE_KEYS_H
#define LEEWAY_CACHE_KEYS_H

#include <talloc.h>

#include "config/model.h"
#include "route/param.h"

/* PREFIX:{NAME.FINGERPRINT:PARAMS}: the parameters joined with '&', each
   "=" and the percent-encoded value, or nothing at all for NULL. What the names of all that belongs
   to one response begin with; the braces put it into one slot of a Redis Cluster. */
char *key_base(TALLOC_CTX *ctx, const char *prefix, const struct route *route,
               const char *fingerprint, const struct param_values *values);

/* A glob for all of a route, with whatever parameters. */
char *key_base_of_route(TALLOC_CTX *ctx, const char *prefix, const char *name,
                        const char *fingerprint);

char *key_entry(TALLOC_CTX *ctx, const char *base);
char *key_lease(TALLOC_CTX *ctx, const char *base);

/* As key_entry(), for what is done often: in `room` if it fits there. */
const char *key_entry_in(char *room, size_t size, TALLOC_CTX *ctx, const char *base);

/* What begins all names whose base is like `pattern`, as a glob. */
char *key_of_any(TALLOC_CTX *ctx, const char *pattern);

/* The base of an entry's or a lease's key; NULL: it is neither. */
char *key_base_of(TALLOC_CTX *ctx, const char *key, size_t len);

/* The channel on which a lease's end is published. */
char *key_channel(TALLOC_CTX *ctx, const char *base);

/* Which database an identity means. */
char *key_note(TALLOC_CTX *ctx, const char *prefix, const char *identity);

/* What operators have switched off, for an identity. */
char *key_switches(TALLOC_CTX *ctx, const char *prefix, const char *identity);

/* The names of the processes that serve a database, and the word of one of them; all of them share
   a slot. */
char *key_peers(TALLOC_CTX *ctx, const char *prefix, const char *identity);
char *key_peer(TALLOC_CTX *ctx, const char *prefix, const char *identity, const char *name);

/* Where processes tell each other that Redis's clock was set back. */
char *key_clock(TALLOC_CTX *ctx, const char *prefix);

/* The list of jobs that wait for refreshers of one configuration, which `list` names. The keys of
   all lists share a slot. */
char *key_jobs(TALLOC_CTX *ctx, const char *prefix, const char *list);

/* What belongs to such a list: "processing", "alive", "mark" or "failures" of something, or
   "refreshers", "reaper", "deaths" or "aside" of "". */
char *key_of_queue(TALLOC_CTX *ctx, const char *prefix, const char *list, const char *kind,
                   const char *of);

/* What belongs to all lists: "lists" or "abandoned". */
char *key_of_lists(TALLOC_CTX *ctx, const char *prefix, const char *kind);

#endif
