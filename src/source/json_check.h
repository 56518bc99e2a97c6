/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether bytes that come in parts are exactly one JSON value (RFC 8259) in UTF-8, white space
   around it allowed. Each byte is looked at once: yajl reads a token that comes in parts anew with
   each of them, which takes seconds for a text of some megabytes. It also takes what is not JSON;
   apart from that a fuzz target holds both together. */
#ifndef LEEWAY_SOURCE_JSON_CHECK_H
#define LEEWAY_SOURCE_JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "base/buf.h"

struct json_check {
    unsigned char state;
    bool in_key;        /* the string that has begun is a key */
    unsigned char left; /* of an escape's digits, or of a character */
    unsigned char low, high;
    const char *word; /* what is still to come of it */
    struct buf open;  /* '[' and '{', the innermost last */
};

/* To be called once; `ctx` has the memory that nesting takes, which is as much as it is deep. */
void json_check_init(struct json_check *check, TALLOC_CTX *ctx);

/* For the next value. */
void json_check_begin(struct json_check *check);

/* false: it is not JSON, whatever follows. */
bool json_check_take(struct json_check *check, const char *bytes, size_t len)
    __attribute__((warn_unused_result));

/* All has come: whether it was one value. */
bool json_check_is_whole(const struct json_check *check);

/* How many of the bytes, from the first one on, are ASCII that stands in a string as it is. */
size_t json_plain_bytes(const char *bytes, size_t len);

#endif
