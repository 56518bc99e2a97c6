/* SPDX-License-Identifier: BSD-2-Clause */
/* All names are looked up at once; when the last is known the lists are made. */
#include "config.h"

#include "source/hosts.h"

#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/resolver.h"
#include "source/destination.h"

struct host {
    struct hosts_look_up *look_up;
    const struct destination_host *given;
    struct resolver *resolver; /* NULL: it is not being looked up, or not any more */
    bool by_name;
    size_t n_addresses;
    char addresses[RESOLVER_MAX][NI_MAXHOST];
};

struct hosts_look_up {
    hosts_fn *fn;
    void *data;
    struct host *hosts;
    size_t n_hosts;
    size_t under_way;
    char *problem; /* of the last that was not found */
};

static void add_pair(struct buf *lists, bool first, const struct destination_host *given,
                     const char *address)
{
    const char *const fields[] = {given->name, address, given->port};

    for (size_t i = 0; i < 3; i++) {
        buf_append_str(&lists[i], first ? "" : ",");
        buf_append_str(&lists[i], fields[i]);
    }
}

/* Whether there is any. */
static bool make_lists(TALLOC_CTX *ctx, const struct hosts_look_up *look_up, struct hosts *hosts)
{
    struct buf lists[3];
    size_t count = 0;

    for (size_t i = 0; i < 3; i++)
        buf_init(&lists[i], ctx, 128);
    for (size_t i = 0; i < look_up->n_hosts; i++) {
        const struct host *host = &look_up->hosts[i];
        if (!host->by_name)
            add_pair(lists, count++ == 0, host->given, host->given->address);
        for (size_t j = 0; j < host->n_addresses; j++)
            add_pair(lists, count++ == 0, host->given, host->addresses[j]);
    }
    *hosts = (struct hosts){lists[0].data, lists[1].data, lists[2].data};
    return count > 0;
}

/* The owner may do anything, so that it is called when nothing of this is left. */
static void end(struct hosts_look_up *look_up)
{
    TALLOC_CTX *held = mem_check(talloc_new(NULL));
    const char *problem = talloc_steal(held, look_up->problem);
    struct hosts hosts;
    bool found = make_lists(held, look_up, &hosts);
    hosts_fn *fn = look_up->fn;
    void *data = look_up->data;

    talloc_free(look_up);
    fn(data, found ? &hosts : NULL, found ? NULL : problem);
    talloc_free(held);
}

static void take_addresses(struct host *host, const struct resolver_address *addresses,
                           size_t count)
{
    for (size_t i = 0; i < count && host->n_addresses < RESOLVER_MAX; i++) {
        char *room = host->addresses[host->n_addresses];
        if (getnameinfo((const struct sockaddr *)&addresses[i].address, addresses[i].len, room,
                        NI_MAXHOST, NULL, 0, NI_NUMERICHOST) == 0)
            host->n_addresses++;
    }
}

static void on_resolved(void *data, const struct resolver_address *addresses, size_t count,
                        const char *problem)
{
    struct host *host = data;
    struct hosts_look_up *look_up = host->look_up;

    host->resolver = NULL;
    take_addresses(host, addresses, count);
    if (host->n_addresses == 0) {
        talloc_free(look_up->problem);
        look_up->problem = mem_check(
            talloc_asprintf(look_up, "could not translate host name \"%s\" to address: %s",
                            host->given->name, problem != NULL ? problem : "it has none"));
    }
    if (--look_up->under_way == 0)
        end(look_up);
}

static int look_up_destroy(struct hosts_look_up *look_up)
{
    for (size_t i = 0; i < look_up->n_hosts; i++)
        if (look_up->hosts[i].resolver != NULL)
            resolver_cancel(look_up->hosts[i].resolver);
    return 0;
}

static void start(struct hosts_look_up *look_up, struct ev_loop *loop, int64_t timeout_ms)
{
    talloc_set_destructor(look_up, look_up_destroy);
    for (size_t i = 0; i < look_up->n_hosts; i++) {
        struct host *host = &look_up->hosts[i];
        if (!host->by_name)
            continue;
        look_up->under_way++;
        host->resolver =
            resolver_start(loop, host->given->name, 0,
                           look_up->n_hosts > 1 ? timeout_ms / 2 : timeout_ms, on_resolved, host);
    }
}

struct hosts_look_up *hosts_look_up(TALLOC_CTX *ctx, struct ev_loop *loop, const char *conninfo,
                                    int64_t timeout_ms, hosts_fn *fn, void *data)
{
    struct hosts_look_up *look_up = mem_check(talloc_zero(ctx, struct hosts_look_up));
    const struct destination_host *given;
    bool any = false;

    look_up->fn = fn;
    look_up->data = data;
    look_up->n_hosts = destination_hosts(look_up, conninfo, &given);
    look_up->hosts =
        mem_check(talloc_zero_array(look_up, struct host, (unsigned)look_up->n_hosts + 1));
    for (size_t i = 0; i < look_up->n_hosts; i++) {
        struct host *host = &look_up->hosts[i];
        host->look_up = look_up;
        host->given = &given[i];
        host->by_name = destination_is_by_name(&given[i]);
        any = any || host->by_name;
    }
    if (!any) {
        talloc_free(look_up);
        return NULL;
    }
    start(look_up, loop, timeout_ms);
    return look_up;
}
