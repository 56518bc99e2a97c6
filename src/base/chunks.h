/* SPDX-License-Identifier: BSD-2-Clause */
/* Text in chunks of one size: it grows without being copied, and takes no large room of its own. */
#ifndef LEEWAY_BASE_CHUNKS_H
#define LEEWAY_BASE_CHUNKS_H

#include <stddef.h>
#include <talloc.h>

struct chunks;

struct chunks *chunks_new(TALLOC_CTX *ctx);

void chunks_append(struct chunks *chunks, const void *bytes, size_t len);

size_t chunks_length(const struct chunks *chunks);

/* What is at position `at`, which is before the end, and how much of it lies together. */
const char *chunks_at(const struct chunks *chunks, size_t at, size_t *len);

/* Gives the room of what is before that position back, as far as it fills chunks: it must not be
   looked at again. */
void chunks_drop(struct chunks *chunks, size_t before);

/* All of it in one, which ends with a zero: a child of `ctx`. */
char *chunks_join(TALLOC_CTX *ctx, const struct chunks *chunks);

#endif
