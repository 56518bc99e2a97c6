/* SPDX-License-Identifier: BSD-2-Clause */
/* A look at a libpq connection string or URI before it is used: nothing is resolved, and nothing is
   connected to. What libpq itself says of one that is malformed quotes it, the password included.
 */
#ifndef LEEWAY_SOURCE_CONNINFO_H
#define LEEWAY_SOURCE_CONNINFO_H

#include <stdbool.h>
#include <stddef.h>

/* 0, and *has_password: whether it carries a password of its own. -1: it is malformed, or host
   or port are such as a part of a password becomes when it is not escaped in a URI; `error` is a
   sentence about it, which holds no piece of it but for keywords of libpq that stand before what
   is wrong. Characters are counted from 1. */
int conninfo_check(const char *conninfo, bool *has_password, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* Whether libpq may come to hold a password with this conninfo, whichever way: in itself, from the
   environment, from a service or from a password file. */
bool conninfo_leads_to_password(const char *conninfo);

#endif
