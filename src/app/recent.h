/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys for which this process has just asked for a refresh, so that a burst of stale
   hits costs Redis one command. A small table of hashes with an expiry each: a
   collision at the worst delays a refresh by a second, and never drops one for good. */
#ifndef LEEWAY_APP_RECENT_H
#define LEEWAY_APP_RECENT_H

#include <stdbool.h>
#include <stdint.h>
#include <talloc.h>

struct recent;

struct recent *recent_new(TALLOC_CTX *ctx);

/* Whether `key` was added and has not expired; if not, it is added until `until_us`. Pure but
   for the table: `now_us` is the caller's. */
bool recent_check_and_add(struct recent *recent, const char *key, int64_t now_us, int64_t until_us);

#endif
