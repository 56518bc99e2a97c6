/* SPDX-License-Identifier: BSD-2-Clause */
/* Problem details (RFC 9457) as bodies of error responses. */
#ifndef LEEWAY_HTTP_PROBLEM_H
#define LEEWAY_HTTP_PROBLEM_H

#include <stddef.h>
#include <talloc.h>

/* The reason phrase of RFC 9110 for a status that leeway sends; "Unknown" otherwise. */
const char *http_reason(int status);

/* {"type":"about:blank","title":<reason>,"status":N,"detail":<detail>}, written
   with yajl; a child of `ctx`. `detail` is UTF-8 and may be NULL (left out). */
char *problem_body(TALLOC_CTX *ctx, int status, const char *detail, size_t *len);

#endif
