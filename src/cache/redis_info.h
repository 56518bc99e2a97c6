/* SPDX-License-Identifier: BSD-2-Clause */
/* What INFO says of a Redis server, and whether it suits. Pure. */
#ifndef LEEWAY_CACHE_REDIS_INFO_H
#define LEEWAY_CACHE_REDIS_INFO_H

#include <stdbool.h>
#include <stddef.h>

/* Copies the value of the line "NAME:VALUE" of INFO's reply, cut off at `size` - 1. false: there is
   no such line, and `out` is "". */
bool redis_info_find(const char *info, const char *name, char *out, size_t size);

/* What is wrong with this server for us, for a log line; NULL: nothing that shows. `problem` counts
   from 0 up to the first NULL. */
const char *redis_info_problem(const char *info, size_t problem);

#endif
