/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether the configured user has the rights of the table. Runs the loop, for leewayctl. */
#ifndef LEEWAY_CACHE_REDIS_RIGHTS_H
#define LEEWAY_CACHE_REDIS_RIGHTS_H

#include "cache/cache.h"
#include "cache/rights.h"

enum rights_verdict {
    RIGHTS_GRANTED,
    RIGHTS_MISSING,
    RIGHTS_UNKNOWN, /* the server does not tell */
};

/* One user's rights. The server is asked whether it would allow a command (ACL DRYRUN). If it does
   not tell, or the user may not ask, the command is sent: where nothing of it is done, or to keys
   and a channel of its own. Nothing in Redis is changed. */
struct redis_rights;

/* `cache` as cache_open() makes it, and up; it and `settings` must outlive this. */
struct redis_rights *redis_rights_new(TALLOC_CTX *ctx, struct cache *cache,
                                      const struct redis_settings *settings);

enum rights_verdict redis_rights_try(struct redis_rights *rights, const struct right *right);

/* What the server said when a right remained unknown, without what it quoted; "": nothing. */
const char *redis_rights_said(const struct redis_rights *rights);

#endif
