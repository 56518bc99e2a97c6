/* SPDX-License-Identifier: BSD-2-Clause */
/* One answer on its way to a client, in as many pieces as the client takes it. */
#ifndef LEEWAY_HTTP_OUTGOING_H
#define LEEWAY_HTTP_OUTGOING_H

#include <stdbool.h>
#include <stdint.h>
#include <talloc.h>

#include "http/fcgi_record.h"
#include "http/request.h"
#include "http/unsent.h"

struct outgoing {
    struct fcgi_frame frame; /* points into what the caller, `head` or `body` holds */
    uint64_t written;
    int64_t begun_us;         /* monotonic; once it is kept */
    char *head;               /* NULL: nothing is kept */
    struct chunks *chunks;    /* NULL: the body is in one; what has been sent of it is dropped */
    struct unsent_body *body; /* NULL: likewise, or there is none */
};

/* `bytes` is borrowed until outgoing_keep(). */
void outgoing_begin(struct outgoing *outgoing, uint16_t id, const struct answer_bytes *bytes);

/* Sends what is left, `limit` bytes of it at the most. 1: all of it has been sent, 0: there is
   more, for when the client takes it, -1: it has gone. */
int outgoing_send(struct outgoing *outgoing, int fd, size_t limit)
    __attribute__((warn_unused_result));

/* Keeps what has not been taken alive beyond the caller; `shared` as in struct answer_bytes. */
void outgoing_keep(struct outgoing *outgoing, struct unsent *unsent, void *shared);

/* Whether `a` is taken more slowly than `b` since they were begun. Both are kept. */
bool outgoing_is_slower(const struct outgoing *a, const struct outgoing *b, int64_t now_us);

/* What was kept is let go, if anything was. */
void outgoing_end(struct outgoing *outgoing);

#endif
