/* SPDX-License-Identifier: BSD-2-Clause */
/* Which content coding a client wants (RFC 9110, section 12.5.3). Pure. */
#ifndef LEEWAY_HTTP_ACCEPT_ENCODING_H
#define LEEWAY_HTTP_ACCEPT_ENCODING_H

#include <stdbool.h>

/* What a client accepts of a response that there is as it is and in one coding. */
struct acceptance {
    bool plain;         /* without a coding ("identity") */
    bool coded;         /* in the coding */
    bool prefers_coded; /* not less than without one, if it accepts both */
};

/* `field` is Accept-Encoding, its lines joined with ','; NULL: absent, which would allow anything,
   but no client that wants a coding leaves it out: it gets none. `coding` is a name in lower case;
   NULL: there is none. "*" speaks for what is not named; without it only what is named is accepted,
   and what has no coding, with the least preference. An alias ("x-gzip") is its name. What cannot
   be read of an element is no element; the first of two of the same name counts. */
struct acceptance accept_encoding(const char *field, const char *coding);

#endif
