/* SPDX-License-Identifier: BSD-2-Clause */
/* The stored response (docs/redis.md): one line of fixed width, then the static
   header lines, an empty line and the body, as they go out. */
#ifndef LEEWAY_CACHE_ENTRY_H
#define LEEWAY_CACHE_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    ENTRY_VERSION = 1,
    ENTRY_ETAG_BYTES = 34, /* 32 hexadecimal digits in double quotes */
    ENTRY_PREFIX_BYTES = 77,
    ENTRY_SNAPSHOT_AT = 4, /* offset of the snapshot's 16 digits, which sort as text */
    ENTRY_SNAPSHOT_DIGITS = 16,
    ENTRY_MAX_BODY_BYTES = 999999999,
};

struct cache_entry {
    int64_t snapshot_us;             /* Redis's clock, at the latest when the query was sent */
    int status;                      /* 200, 404 or 410 */
    char etag[ENTRY_ETAG_BYTES + 1]; /* strong; "" for a 404 or 410, which have none */
    const char *head;                /* header lines, each ended by CR LF, then CR LF; borrowed */
    size_t head_len;
    const char *body; /* behind `head`; borrowed */
    size_t body_len;
};

/* Appends the entry of `body` to `out`: the tag is made from the body, the type from
   the status (that of a 404 or 410 is a problem document). The body has at most
   ENTRY_MAX_BODY_BYTES; a snapshot that 16 digits cannot hold is brought to the nearest. */
void entry_encode(struct buf *out, int64_t snapshot_us, int status, const char *body,
                  size_t body_len);

/* 0, or -1: not an entry of this version, or damaged. The body is not hashed anew.
   Slices point into `bytes`. */
int entry_decode(const char *bytes, size_t len, struct cache_entry *entry)
    __attribute__((warn_unused_result));

#endif
