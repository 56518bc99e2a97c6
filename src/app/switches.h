/* SPDX-License-Identifier: BSD-2-Clause */
/* What operators have switched off, on this host (a file in runtime_dir) and for all hosts (a hash
   in Redis), as a process knows it: looked at once a second. What it knows it keeps while Redis is
   away, or while a list cannot be read, each until its time is over. */
#ifndef LEEWAY_APP_SWITCHES_H
#define LEEWAY_APP_SWITCHES_H

#include <stdbool.h>
#include <talloc.h>

#include "app/application.h"
#include "cache/cache.h"
#include "metrics/metrics.h"

struct switches;

/* `speaks`: it logs what changes. `refreshes`: it works for all hosts, and of routes only what the
   fleet has switched off is off for it. */
struct switches *switches_new(TALLOC_CTX *ctx, const struct application *app, struct cache *cache,
                              bool speaks, bool refreshes);

/* What is disabled for the fleet is asked for at once. */
void switches_cache_is_up(struct switches *switches);

/* To be called about once a second. */
void switches_tick(struct switches *switches);

/* Whether the route's responses are not to be cached. `switches` may be NULL: nothing is off. */
bool switches_route_is_off(const struct switches *switches, const struct route *route);

/* Whether nothing is to be refreshed; likewise. */
bool switches_refresh_is_off(const struct switches *switches);

/* Tells the metrics what is disabled now; of what the fleet has disabled, where that has ever been
   read. `switches` may be NULL: nothing is told. */
void switches_tell(const struct switches *switches, struct metrics_scrape *scrape);

/* The same for lists that somebody else has read; NULL: it is not known. */
void switches_tell_lists(const struct switch_list *host, const struct switch_list *fleet,
                         struct metrics_scrape *scrape);

/* For a reload: says in the log what was disabled in one runtime_dir, if there is another now. */
void switches_tell_moved(const char *from, const char *to);

/* Whether Redis refuses the list because something else is in its place. NULL: it does not. */
bool switches_are_broken(const char *refusal);

/* The file: all that this host has switched off. 0, or -1 with a sentence in `error` and *list left
   as it is; one that is not there is an empty list. Times are of the host's clock. */
int switches_file_read(const char *directory, struct switch_list *list, char *error,
                       size_t error_size) __attribute__((warn_unused_result));
int switches_file_write(const char *directory, const struct switch_list *list, char *error,
                        size_t error_size) __attribute__((warn_unused_result));

#endif
