/* SPDX-License-Identifier: BSD-2-Clause */
/* Content codings (RFC 9110, section 8.4.1) in which responses are stored and sent. One more is a
   file beside gzip.c and a row of the table in coding.c. */
#ifndef LEEWAY_CODING_CODING_H
#define LEEWAY_CODING_CODING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum { CODING_NAME_BYTES = 8 }; /* at most */

struct coding {
    const char *name; /* as in Content-Encoding and in a context's `compress` */

    /* Appends the coded form of `bytes` to `out`, if it takes at most `limit` bytes. The same bytes
       are always coded alike by one build. */
    bool (*code)(struct buf *out, const char *bytes, size_t len, size_t limit);

    /* Writes what `bytes` decode to into `out`, which has room for `out_len`: true if it is all
       there, is so long to the byte, and nothing comes behind it. */
    bool (*decode)(char *out, size_t out_len, const char *bytes, size_t len);

    /* No `len` bytes of it decode to more than `len` times as much. */
    size_t max_ratio;
};

/* Appends the coded form however long it is. */
void coding_code_anyhow(const struct coding *coding, struct buf *out, const char *bytes,
                        size_t len);

/* NULL: there is none of this name ("none" is not). */
const struct coding *coding_of(const char *name, size_t len);

/* The names, for messages: the `i`th, or NULL behind the last. */
const char *coding_name(size_t i);

#endif
