/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of what Redis holds about one response (docs/redis.md). */
#ifndef LEEWAY_ROUTE_KEY_H
#define LEEWAY_ROUTE_KEY_H

#include <stdint.h>
#include <talloc.h>

#include "config/model.h"
#include "route/param.h"

enum { FINGERPRINT_HEX = 16 };

/* What must differ between two deployments for their entries to be kept apart. */
struct key_scope {
    const char *prefix;   /* redis.prefix */
    const char *identity; /* of the database that queries go to: destination_hash() */
    int entry_version;
};

/* XXH3 over SQL, shape, parameter declarations and scope, in lower-case
   hexadecimal. NUL-terminated. */
void key_fingerprint(const struct route *route, const struct key_scope *scope,
                     char out[FINGERPRINT_HEX + 1]);

/* What keys carry in the place of `fingerprint` for answers of a generation: what a session's
   answers depend on beside the query. NUL-terminated. */
void key_of_generation(const char *fingerprint, uint64_t generation, char out[FINGERPRINT_HEX + 1]);

/* PREFIX:{NAME.FINGERPRINT:PARAMS}: the parameters joined with '&', each
   "=" and the percent-encoded value, or nothing at all for NULL. A child of `ctx`.
   Append ":entry" or ":lease". */
char *key_base(TALLOC_CTX *ctx, const char *prefix, const struct route *route,
               const char *fingerprint, const struct param_values *values);

#endif
