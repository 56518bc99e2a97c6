/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands as Redis reads them. */
#ifndef LEEWAY_REDIS_COMMAND_H
#define LEEWAY_REDIS_COMMAND_H

#include <stddef.h>

#include "base/buf.h"
#include "redis/redis.h"

/* Appends the command's bytes. */
void redis_command_encode(struct buf *out, const struct redis_part *parts, size_t count);

/* At least what that takes. */
size_t redis_command_bytes(const struct redis_part *parts, size_t count);

#endif
