/* SPDX-License-Identifier: BSD-2-Clause */
/* IP addresses and networks in CIDR notation, and the clients that belong to them. Pure. */
#ifndef LEEWAY_BASE_NETWORK_H
#define LEEWAY_BASE_NETWORK_H

#include <stdbool.h>
#include <stddef.h>

/* An IPv4 address is held as IPv6 maps it (RFC 4291, section 2.5.5.2), so that both spellings are
   one. */
struct network {
    unsigned char address[16];
    unsigned bits; /* of the prefix, 0 to 128; from 96 on it can be one of IPv4 */
    bool is_unix;  /* no address: a client at a Unix socket, "unix:" */
};

struct networks {
    size_t count;
    struct network items[];
};

/* "192.0.2.0/24", "2001:db8::/32", an address without a prefix, or "unix:". NULL and *network, or
   what is wrong: "is not ...". */
const char *network_parse(const char *text, struct network *network)
    __attribute__((warn_unused_result));

/* What an address stands for where clients are told apart: an IPv4 address for itself, in either
   spelling, one of IPv6 for its /64, which is one customer's. A port behind it is not the client's
   own and does not count, nor do the brackets of "[2001:db8::1]". false: it is no address. */
enum { NETWORK_CLIENT_BYTES = 16 };
bool network_client(const char *client, unsigned char out[NETWORK_CLIENT_BYTES]);

bool network_equals(const struct network *a, const struct network *b);

/* Whether one of them holds the client, which is written as in REMOTE_ADDR. What is no address
   belongs to none. */
bool networks_contain(const struct networks *networks, const char *client);

#endif
