/* SPDX-License-Identifier: BSD-2-Clause */
/* From checked FastCGI records to a request: the only user of libfcgi. */
#ifndef LEEWAY_HTTP_PARSE_H
#define LEEWAY_HTTP_PARSE_H

#include "http/request.h"

struct parser;

/* One per process. `variables` as in transport_options. */
struct parser *parser_new(TALLOC_CTX *ctx, const char *const *variables);

/* Reads one request, known to be whole and well-formed, from `fd`, and drains its STDIN.
   A child of `ctx`; or NULL: libfcgi refused, and `fd` must be closed. *closed says that
   libfcgi has closed it already. */
struct request *parser_read(struct parser *parser, TALLOC_CTX *ctx, int fd, bool *closed)
    __attribute__((warn_unused_result));

#endif
