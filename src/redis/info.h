/* SPDX-License-Identifier: BSD-2-Clause */
/* What a Redis server says of itself, and whether it suits; and what of its words may be repeated.
   Pure. */
#ifndef LEEWAY_REDIS_INFO_H
#define LEEWAY_REDIS_INFO_H

#include <stdbool.h>
#include <stddef.h>

/* Copies the value of the line "NAME:VALUE" of INFO's reply, cut off at `size` - 1. false: there is
   no such line, and `out` is "". */
bool redis_info_find(const char *info, const char *name, char *out, size_t size);

/* What is wrong with this server for us, for a log line; NULL: nothing that shows. `problem` counts
   from 0 up to the first NULL. */
const char *redis_info_problem(const char *info, size_t problem);

/* An error reply for the log, cut off at `size` - 1 and never empty: without the arguments that
   Redis quotes of a command that it does not know, for they are keys, values of clients and
   passwords. */
void redis_info_error(const char *reply, char *out, size_t size);

#endif
