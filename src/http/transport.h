/* SPDX-License-Identifier: BSD-2-Clause */
/* FastCGI (specification 1.0) on an event loop: accepts by itself, waits until a request is
   wholly there and well-formed, has libfcgi parse it, and writes the answer in one
   gathered write. No client, silent, slow or hostile, holds up another.

   What is too large of a request is passed over, not kept, and then the request is answered; a
   kept connection goes on behind it. A connection whose request has not wholly come within
   client_timeout is closed; if the request is known to be too large it is answered first, and what
   still comes is thrown away for as long again at most, so that the answer is read. */
#ifndef LEEWAY_HTTP_TRANSPORT_H
#define LEEWAY_HTTP_TRANSPORT_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "base/steps.h"
#include "http/request.h"

enum {
    TRANSPORT_MAX_PARAMS_BYTES = 64 * 1024, /* above: 431 */
    TRANSPORT_MAX_STDIN_BYTES = 64 * 1024,  /* drained and ignored; above: body_too_large */
};

struct transport_options {
    struct ev_loop *loop;
    struct steps *steps; /* in which long answers are sent */
    int listen_fd; /* non-blocking */
    size_t max_connections;
    /* Connections that stay, kept or waiting, of which a process has so many before it lets the
       others that listen be woken first. */
    size_t staying_together;
    int64_t client_timeout_ms;
    /* For answers that were not taken at once, as they lie in memory. Beyond it the clients of the
       slowest are cut off, but not of the last: one answer may be larger. */
    size_t max_unsent_bytes;
    const char *const *variables; /* further FastCGI variables to copy; NULL-terminated, borrowed */
    void (*on_request)(void *data, struct request *request);
    /* The client of a request that is not yet answered has left: it must be forgotten now. */
    void (*on_gone)(void *data, struct request *request);
    void *data;
};

struct transport;

struct transport *transport_new(TALLOC_CTX *ctx, const struct transport_options *options);

/* The last connections are those made so far, and none is kept for a further request. */
void transport_stop_accepting(struct transport *transport);

/* How many clients were cut off for max_unsent_bytes since the last call. */
uint64_t transport_take_cut(struct transport *transport);

/* No connection is being read, waits for its answer or is being written. */
bool transport_is_idle(const struct transport *transport);

#endif
