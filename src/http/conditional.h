/* SPDX-License-Identifier: BSD-2-Clause */
/* Conditional requests (RFC 9110, section 13). */
#ifndef LEEWAY_HTTP_CONDITIONAL_H
#define LEEWAY_HTTP_CONDITIONAL_H

#include <stdbool.h>

/* Whether If-None-Match (section 13.1.2) names `etag`, which is quoted: a list
   or "*", compared weakly. What web servers append inside the quotes when they compress, "-gzip" or
   ";gzip" (and br, zstd, deflate), is ignored. NULL is an absent field. A field that is malformed
   matches as far as it could be read. */
bool conditional_none_match(const char *if_none_match, const char *etag);

#endif
