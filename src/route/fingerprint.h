/* SPDX-License-Identifier: BSD-2-Clause */
/* What must differ between two responses beside their parameters, as a hash. Pure. */
#ifndef LEEWAY_ROUTE_FINGERPRINT_H
#define LEEWAY_ROUTE_FINGERPRINT_H

#include <stdint.h>

#include "config/model.h"
#include "route/param.h"

enum { FINGERPRINT_HEX = 16 };

/* What must differ between two deployments for their entries to be kept apart. */
struct fingerprint_scope {
    const char *prefix;   /* redis.prefix */
    const char *identity; /* of the database that queries go to: destination_hash() */
    int entry_version;
};

/* XXH3 over SQL, shape, parameter declarations and scope, in lower-case
   hexadecimal. NUL-terminated. */
void fingerprint_of_route(const struct route *route, const struct fingerprint_scope *scope,
                          char out[FINGERPRINT_HEX + 1]);

/* What keys carry in the place of `fingerprint` for answers of a generation: what a session's
   answers depend on beside the query. NUL-terminated. */
void fingerprint_of_generation(const char *fingerprint, uint64_t generation,
                               char out[FINGERPRINT_HEX + 1]);

#endif
