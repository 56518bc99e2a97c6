/* SPDX-License-Identifier: BSD-2-Clause */
/* One answer on its way to a client, in as many pieces as the client takes it. */
#ifndef LEEWAY_HTTP_OUTGOING_H
#define LEEWAY_HTTP_OUTGOING_H

#include <stdint.h>
#include <talloc.h>

#include "http/fcgi_record.h"
#include "http/request.h"

struct outgoing {
    struct fcgi_frame frame; /* points into what the caller or `pending` holds or refers to */
    uint64_t written;
    TALLOC_CTX *pending; /* NULL: nothing is kept */
};

/* `bytes` is borrowed until outgoing_keep(). */
void outgoing_begin(struct outgoing *outgoing, uint16_t id, const struct answer_bytes *bytes);

/* Sends what is left; 1: all of it, 0: the client does not take more now, -1: it has gone. */
int outgoing_send(struct outgoing *outgoing, int fd) __attribute__((warn_unused_result));

/* Keeps what has not been taken alive beyond the caller, as a child of `ctx`; `shared` as in struct
   answer_bytes. */
void outgoing_keep(struct outgoing *outgoing, TALLOC_CTX *ctx, void *shared);

/* What was kept is let go. */
void outgoing_end(struct outgoing *outgoing);

#endif
