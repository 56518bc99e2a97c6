/* SPDX-License-Identifier: BSD-2-Clause */
/* A request as it came through FastCGI, and the one answer it gets. */
#ifndef LEEWAY_HTTP_REQUEST_H
#define LEEWAY_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "base/chunks.h"

struct connection;

/* Everything in it lives until it is answered. The struct is a talloc context of
   its own. */
struct request {
    const char *method;
    const char *target;      /* REQUEST_URI, raw; NULL: the server did not send one */
    const char *script_name; /* decoded by the server; "" if absent, like those below */
    const char *path_info;
    const char *query_string;
    const char *if_none_match;   /* NULL: absent */
    const char *accept_encoding; /* likewise */
    const char *remote_addr;
    /* A variable that came twice with different values: the request must be refused. NULL: none of
       those above, CONTENT_LENGTH and those of transport_options. */
    const char *ambiguous;
    const char **variables;        /* in the order of transport_options.variables; NULL: absent */
    bool body_too_large;           /* over the transport's cap: only to be refused */
    int64_t received_us;           /* monotonic, when the last byte had come */
    struct connection *connection; /* the transport's own */
    void *owner;                   /* for whoever answers it; NULL at first */
};

/* What is sent: `head` is complete but for the STDOUT framing, "Status: ..." first, and
   includes the empty line unless `body` begins with further header lines. */
struct answer_bytes {
    const char *head;
    size_t head_len;
    const char *body;
    struct chunks
        *chunks; /* NULL; else the body, which `body` is not then: dropped as it is sent */
    size_t body_len;
    /* NULL: what the client does not take at once is copied. Else the talloc chunk that holds
       the body: it is kept by a reference instead, as chunks always are. */
    void *shared;
};

/* Answers and ends the request; `request` is gone when it returns. */
void request_answer(struct request *request, const struct answer_bytes *bytes);

#endif
