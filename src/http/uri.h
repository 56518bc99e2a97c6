/* SPDX-License-Identifier: BSD-2-Clause */
/* Percent-encoding (RFC 3986, section 2.1) and the parts of a request target. */
#ifndef LEEWAY_HTTP_URI_H
#define LEEWAY_HTTP_URI_H

#include <stdbool.h>
#include <stddef.h>
#include <talloc.h>

#include "base/buf.h"

/* A borrowed piece of a request target, not NUL-terminated. */
struct slice {
    const char *data;
    size_t len;
};

enum uri_decode {
    URI_DECODE_PATH, /* '+' is itself */
    URI_DECODE_QUERY /* '+' is a space */
};

/* Decodes to NUL-terminated valid UTF-8 without NUL, a child of `ctx`.
   NULL: broken escape, NUL or invalid UTF-8. *len, if not NULL: bytes. */
char *uri_decode(TALLOC_CTX *ctx, struct slice raw, enum uri_decode how, size_t *len)
    __attribute__((warn_unused_result));

/* Appends `text` with all but RFC 3986's unreserved characters encoded, in
   upper-case hexadecimal. */
void uri_encode(struct buf *out, const char *text, size_t len);

/* Appends a path that somebody else has decoded, so that decoding it gives the same again. */
void uri_encode_path(struct buf *out, const char *path);

/* The path of an origin-form or absolute-form target, and its query without
   '?' (data NULL: there is none). false: it has a '#', and a fragment is never part of a
   target (RFC 9110, section 7.1). */
bool uri_split(const char *target, struct slice *path, struct slice *query)
    __attribute__((warn_unused_result));

/* The path below `mount` ("" or "/api/v1"), beginning with '/'; false if the
   path is not `mount` followed by '/' (or by nothing, which is "/"). What is
   percent-encoded compares as what it stands for, but "%2F" is not '/'. */
bool uri_below_mount(struct slice path, const char *mount, struct slice *below);

/* Whether `path` begins with `bytes` in the one spelling that they have there: as they are, but
   what cannot stand in a path encoded. *len: of that spelling. */
bool uri_begins_with(struct slice path, const char *bytes, size_t *len);

/* Whether a decoded segment is "." or "..". */
bool uri_is_dots(struct slice segment);

/* Iterates over the pairs of a query string separated by '&'. Start with
   *rest = the query; false at the end. Empty pieces are skipped; a piece
   without '=' has an empty value. */
bool uri_next_pair(struct slice *rest, struct slice *name, struct slice *value);

#endif
