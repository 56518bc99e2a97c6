/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands as Redis reads them. */
#ifndef LEEWAY_REDIS_COMMAND_H
#define LEEWAY_REDIS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "redis/redis.h"
#include "redis/reply.h"

/* Appends the command's bytes. */
void redis_command_encode(struct buf *out, const struct redis_part *parts, size_t count);

/* At least what that takes. */
size_t redis_command_bytes(const struct redis_part *parts, size_t count);

/* Whether a reply of that kind may be the answer to the command of that name: true where that is
   not known. */
bool redis_command_may_get(const char *name, enum redis_kind kind);

#endif
