/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking up a host's addresses without stopping the loop: getaddrinfo() honours the machine's own
   configuration (nsswitch.conf) and blocks, so it runs in a thread. */
#ifndef LEEWAY_BASE_RESOLVER_H
#define LEEWAY_BASE_RESOLVER_H

#include <ev.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { RESOLVER_MAX = 16 };

struct resolver_address {
    struct sockaddr_storage address;
    socklen_t len;
};

/* One look-up under way. */
struct resolver;

/* `count` 0: nothing was found, and `problem` says why ("no answer in time", or as getaddrinfo()
   does). The addresses are in the order in which they should be tried; borrowed. */
typedef void resolver_fn(void *data, const struct resolver_address *addresses, size_t count,
                         const char *problem);

/* Looks `host` (a name or a numeric address) up; `fn` is called exactly once, after at most
   `timeout_ms`, and never from here. A thread that hangs in a look-up is left to itself; of those
   there are at most a bounded number in a process, and beyond it look-ups fail. */
struct resolver *resolver_start(struct ev_loop *loop, const char *host, uint16_t port,
                                int64_t timeout_ms, resolver_fn *fn, void *data);

/* `fn` will not be called. Not after it was. */
void resolver_cancel(struct resolver *resolver);

#endif
