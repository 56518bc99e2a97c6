/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes addresses apart. */
#include "config.h"

#include "redis/address.h"

#include <stdbool.h>
#include <string.h>
#include <sys/un.h>

#include "base/num.h"

static int take_path(const char *path, struct redis_address *address)
{
    size_t len = strlen(path);

    if (path[0] != '/' || len >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return -1;
    address->transport = REDIS_OVER_UNIX;
    memcpy(address->host, path, len + 1);
    return 0;
}

static int take_port(const char *text, struct redis_address *address)
{
    int64_t port;

    if (!num_parse_i64(text, strlen(text), &port) || text[0] == '-' || port < 1 ||
        port > UINT16_MAX)
        return -1;
    address->port = (uint16_t)port;
    return 0;
}

static int take_host(const char *host, size_t len, struct redis_address *address)
{
    bool bracketed = len > 2 && host[0] == '[' && host[len - 1] == ']';

    if (bracketed) {
        host++;
        len -= 2;
    }
    /* without brackets a colon could be the port's */
    if (len == 0 || len >= sizeof address->host || (!bracketed && memchr(host, ':', len) != NULL) ||
        memchr(host, '[', len) != NULL || memchr(host, ']', len) != NULL)
        return -1;
    memcpy(address->host, host, len);
    address->host[len] = '\0';
    return 0;
}

int redis_address_parse(const char *text, struct redis_address *address)
{
    *address = (struct redis_address){0};
    if (strncmp(text, "unix:", 5) == 0)
        return take_path(text + 5, address);
    if (strncmp(text, "tcp:", 4) != 0 && strncmp(text, "tls:", 4) != 0)
        return -1;
    address->transport = text[1] == 'c' ? REDIS_OVER_TCP : REDIS_OVER_TLS;

    const char *host = text + 4;
    const char *colon = strrchr(host, ':');
    if (colon == NULL || take_host(host, (size_t)(colon - host), address) == -1)
        return -1;
    return take_port(colon + 1, address);
}
