/* SPDX-License-Identifier: BSD-2-Clause */
/* Where Redis listens: "unix:PATH", "tcp:HOST:PORT" or "tls:HOST:PORT", with brackets around an
   IPv6 address. Pure. */
#ifndef LEEWAY_REDIS_ADDRESS_H
#define LEEWAY_REDIS_ADDRESS_H

#include <stdint.h>

enum redis_transport { REDIS_OVER_UNIX, REDIS_OVER_TCP, REDIS_OVER_TLS };

struct redis_address {
    enum redis_transport transport;
    char host[256]; /* without brackets; the path of a socket */
    uint16_t port;  /* not of a socket */
};

/* 0, or -1: it is none of these. */
int redis_address_parse(const char *text, struct redis_address *address)
    __attribute__((warn_unused_result));

#endif
