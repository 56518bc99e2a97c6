/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes in, replies out: the library that parses Redis's protocol, within bounds. It touches no
   socket. */
#ifndef LEEWAY_REDIS_READER_H
#define LEEWAY_REDIS_READER_H

#include <stddef.h>
#include <talloc.h>

#include "redis/reply.h"

enum {
    REDIS_READER_DEPTH = 7, /* of arrays in arrays */
    REDIS_READER_ELEMENTS = 1024 * 1024,
    REDIS_READER_BYTES = 128 * 1024 * 1024,
    REDIS_READER_LINE_BYTES = 64 * 1024, /* of a status, a number or an error */
};

struct redis_reader;

struct redis_reader *redis_reader_new(TALLOC_CTX *ctx);

/* Takes in as much of the bytes as is good at once, and returns how much: what is left of them once
   a reply is complete would be moved about. Then redis_reader_next until it returns 0. */
size_t redis_reader_feed(struct redis_reader *reader, const char *bytes, size_t len);

/* 1: *reply is the next one, a child of `ctx`. 0: the bytes of the next one are not all there. -1:
   they are not of the protocol, or beyond the bounds, and the reader is of no more use. */
int redis_reader_next(struct redis_reader *reader, TALLOC_CTX *ctx, struct redis_reply **reply)
    __attribute__((warn_unused_result));

/* What is wrong, after -1. Borrowed. */
const char *redis_reader_problem(const struct redis_reader *reader);

#endif
