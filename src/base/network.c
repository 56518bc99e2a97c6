/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses as 128 bits each. */
#include "config.h"

#include "base/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

enum { ADDRESS_BITS = 128, MAPPED_BITS = 96 };

static const unsigned char mapped_prefix[MAPPED_BITS / 8] = {0, 0, 0, 0, 0,   0,
                                                             0, 0, 0, 0, 255, 255};

/* *first is the bit at which a prefix of this notation begins to count. */
static bool parse_address(const char *text, unsigned char address[16], unsigned *first)
{
    *first = strchr(text, ':') != NULL ? 0 : MAPPED_BITS;
    if (*first == 0)
        return inet_pton(AF_INET6, text, address) == 1;
    memcpy(address, mapped_prefix, sizeof mapped_prefix);
    return inet_pton(AF_INET, text, address + sizeof mapped_prefix) == 1;
}

static bool same_prefix(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

static bool has_bits_behind_prefix(const struct network *network)
{
    unsigned char masked[16] = {0};

    memcpy(masked, network->address, network->bits / 8);
    if (network->bits % 8 != 0)
        masked[network->bits / 8] =
            (unsigned char)(network->address[network->bits / 8] & (0xff00 >> network->bits % 8));
    return memcmp(masked, network->address, sizeof masked) != 0;
}

static bool parse_prefix(const char *text, unsigned first, unsigned *bits)
{
    int64_t number;

    if (!num_parse_i64(text, strlen(text), &number) || text[0] == '-' ||
        (text[0] == '0' && text[1] != '\0') || number > ADDRESS_BITS - first)
        return false;
    *bits = first + (unsigned)number;
    return true;
}

const char *network_parse(const char *text, struct network *network)
{
    char address[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "/");
    unsigned first;

    *network = (struct network){.bits = ADDRESS_BITS, .is_unix = strcmp(text, "unix:") == 0};
    if (network->is_unix)
        return NULL;
    if (len >= sizeof address)
        return "is not an IPv4 or IPv6 address or network";
    memcpy(address, text, len);
    address[len] = '\0';
    if (!parse_address(address, network->address, &first))
        return "is not an IPv4 or IPv6 address or network";
    if (text[len] == '\0')
        return NULL;
    if (!parse_prefix(text + len + 1, first, &network->bits))
        return first == 0 ? "needs a prefix length from 0 to 128 behind the \"/\""
                          : "needs a prefix length from 0 to 32 behind the \"/\"";
    if (has_bits_behind_prefix(network))
        return "has an address with bits set behind its prefix";
    return NULL;
}

bool network_equals(const struct network *a, const struct network *b)
{
    return a->is_unix == b->is_unix && a->bits == b->bits &&
           memcmp(a->address, b->address, sizeof a->address) == 0;
}

/* A short IPv6 prefix is not of IPv4, though its bits are those of mapped addresses too. */
static bool contains(const struct network *network, const struct network *client)
{
    bool mapped = memcmp(client->address, mapped_prefix, sizeof mapped_prefix) == 0;

    if (network->is_unix || client->is_unix)
        return network->is_unix == client->is_unix;
    return (!mapped || network->bits >= MAPPED_BITS) &&
           same_prefix(network->address, client->address, network->bits);
}

static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits >= 1 && digits <= 5 && text[digits] == '\0';
}

/* "192.0.2.1:80", "[2001:db8::1]" and "[2001:db8::1]:443" without what is around the address.
   false: it is no such text. */
static bool unwrap(const char *client, char address[INET6_ADDRSTRLEN])
{
    bool bracketed = client[0] == '[';
    const char *begin = bracketed ? client + 1 : client;
    size_t len = strcspn(begin, bracketed ? "]" : ":");
    const char *rest = begin + len;

    if (bracketed && (*rest++ != ']' || memchr(begin, ':', len) == NULL))
        return false;
    if (len >= INET6_ADDRSTRLEN || (*rest != '\0' && (*rest != ':' || !is_port(rest + 1))))
        return false;
    memcpy(address, begin, len);
    address[len] = '\0';
    return true;
}

bool network_client(const char *client, unsigned char out[NETWORK_CLIENT_BYTES])
{
    struct network address;
    char bare[INET6_ADDRSTRLEN];

    if (unwrap(client, bare))
        client = bare;
    if (strchr(client, '/') != NULL || network_parse(client, &address) != NULL || address.is_unix)
        return false;
    memcpy(out, address.address, NETWORK_CLIENT_BYTES);
    if (memcmp(out, mapped_prefix, sizeof mapped_prefix) != 0)
        memset(out + NETWORK_CLIENT_BYTES / 2, 0, NETWORK_CLIENT_BYTES / 2);
    return true;
}

bool networks_contain(const struct networks *networks, const char *client)
{
    struct network address;

    if (strchr(client, '/') != NULL || network_parse(client, &address) != NULL)
        return false;
    for (size_t i = 0; i < networks->count; i++)
        if (contains(&networks->items[i], &address))
            return true;
    return false;
}
