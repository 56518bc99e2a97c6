/* SPDX-License-Identifier: BSD-2-Clause */
/* From an address to a connected socket, TLS included: each address of a name is tried in turn. */
#ifndef LEEWAY_REDIS_DIAL_H
#define LEEWAY_REDIS_DIAL_H

#include <ev.h>
#include <stdint.h>

#include "redis/address.h"
#include "redis/socket.h"

struct redis_dial;

struct redis_dial_options {
    const struct redis_address *address; /* borrowed until it ends */
    struct tls_context *tls;             /* of a tls: address; borrowed until it ends */
    const char *tls_name;                /* "": the address's host */
    int64_t timeout_ms;                  /* for the look-up, and again for each address */
    int64_t unheard_ms;                  /* as for redis_socket_open */
};

/* `socket` is the caller's, who steals it; NULL: no address could be reached, and `problem`, which
   is borrowed, says why. */
typedef void redis_dial_fn(void *data, struct redis_socket *socket, const char *problem);

/* `fn` is called exactly once, never from here. */
struct redis_dial *redis_dial_start(struct ev_loop *loop, const struct redis_dial_options *options,
                                    redis_dial_fn *fn, void *data);

/* `fn` will not be called. Not after it was. */
void redis_dial_cancel(struct redis_dial *dial);

#endif
