/* SPDX-License-Identifier: BSD-2-Clause */
/* Looks up, connects, secures; goes on to the next address where the one does not work. */
#include "config.h"

#include "redis/dial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/mem.h"
#include "base/resolver.h"

enum dial_state {
    DIAL_RESOLVING, /* or, of a socket's path, about to connect */
    DIAL_CONNECTING,
    DIAL_SECURING,
    DIAL_ENDED,
};

struct redis_dial {
    struct ev_loop *loop;
    struct redis_dial_options options;
    redis_dial_fn *fn;
    void *data;
    enum dial_state state;
    struct resolver *resolver; /* while it is resolving a name */
    struct resolver_address addresses[RESOLVER_MAX];
    size_t count;
    size_t at; /* the one that is tried, counted from 1 */
    struct redis_socket *socket;
    ev_io ready;
    ev_timer timer;
    char problem[512];
};

static void try_next(struct redis_dial *dial);

static void set_timer(struct redis_dial *dial, int64_t ms)
{
    ev_now_update(dial->loop);
    ev_timer_stop(dial->loop, &dial->timer);
    ev_timer_set(&dial->timer, (double)ms / 1000.0, 0.0);
    ev_timer_start(dial->loop, &dial->timer);
}

/* The one place that changes the state. */
static void enter(struct redis_dial *dial, enum dial_state state)
{
    dial->state = state;
    if (state == DIAL_CONNECTING)
        set_timer(dial, dial->options.timeout_ms);
    if (state != DIAL_ENDED)
        return;
    ev_io_stop(dial->loop, &dial->ready);
    ev_timer_stop(dial->loop, &dial->timer);
    if (dial->resolver != NULL)
        resolver_cancel(dial->resolver);
    dial->resolver = NULL;
}

/* The one end but for cancelling. */
static void end(struct redis_dial *dial)
{
    enter(dial, DIAL_ENDED);
    dial->fn(dial->data, dial->socket, dial->problem);
    talloc_free(dial);
}

static void give_up_address(struct redis_dial *dial, const char *problem)
{
    snprintf(dial->problem, sizeof dial->problem, "%s", problem);
    ev_io_stop(dial->loop, &dial->ready);
    TALLOC_FREE(dial->socket);
    try_next(dial);
}

static void watch(struct redis_dial *dial, int events)
{
    ev_io_stop(dial->loop, &dial->ready);
    ev_io_set(&dial->ready, redis_socket_descriptor(dial->socket), events);
    ev_io_start(dial->loop, &dial->ready);
}

static void secure(struct redis_dial *dial)
{
    switch (redis_socket_secure(dial->socket)) {
    case SOCKET_DONE:
        end(dial);
        return;
    case SOCKET_WANTS_READ:
        watch(dial, EV_READ);
        return;
    case SOCKET_WANTS_WRITE:
        watch(dial, EV_WRITE);
        return;
    case SOCKET_CLOSED:
        give_up_address(dial, "TLS: the server closed the connection: it may not speak TLS here");
        return;
    case SOCKET_FAILED:
        give_up_address(dial, redis_socket_problem(dial->socket));
    }
}

static void finish(struct redis_dial *dial)
{
    const struct redis_dial_options *options = &dial->options;

    if (redis_socket_finish(dial->socket) != SOCKET_DONE) {
        give_up_address(dial, redis_socket_problem(dial->socket));
        return;
    }
    if (options->address->transport != REDIS_OVER_TLS) {
        end(dial);
        return;
    }
    enter(dial, DIAL_SECURING);
    redis_socket_start_tls(dial->socket, options->tls,
                           options->tls_name[0] != '\0' ? options->tls_name
                                                        : options->address->host);
    secure(dial);
}

static void on_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct redis_dial *dial = watcher->data;

    (void)loop;
    (void)events;
    if (dial->state == DIAL_CONNECTING)
        finish(dial);
    else
        secure(dial);
}

static void try_next(struct redis_dial *dial)
{
    while (dial->at < dial->count) {
        const struct resolver_address *address = &dial->addresses[dial->at++];
        dial->socket = redis_socket_open(dial, (const struct sockaddr *)&address->address,
                                         address->len, dial->options.unheard_ms);
        if (dial->socket != NULL) {
            enter(dial, DIAL_CONNECTING);
            watch(dial, EV_WRITE);
            return;
        }
        snprintf(dial->problem, sizeof dial->problem, "%s", strerror(errno));
    }
    end(dial);
}

static void on_resolved(void *data, const struct resolver_address *addresses, size_t count,
                        const char *problem)
{
    struct redis_dial *dial = data;

    dial->resolver = NULL;
    for (size_t i = 0; i < count; i++)
        dial->addresses[i] = addresses[i];
    dial->count = count;
    if (count == 0)
        snprintf(dial->problem, sizeof dial->problem, "%s: %s", dial->options.address->host,
                 problem);
    try_next(dial);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct redis_dial *dial = timer->data;

    (void)loop;
    (void)events;
    if (dial->state == DIAL_RESOLVING)
        try_next(dial);
    else
        give_up_address(
            dial, dial->state == DIAL_CONNECTING
                      ? "no answer in time"
                      : "TLS: no answer in time: the server hangs, or does not speak TLS here");
}

static void take_path(struct redis_dial *dial)
{
    const char *host = dial->options.address->host;
    struct sockaddr_un path = {.sun_family = AF_UNIX};

    /* its length was checked with the address */
    memcpy(path.sun_path, host, strnlen(host, sizeof path.sun_path - 1));
    memcpy(&dial->addresses[0].address, &path, sizeof path);
    dial->addresses[0].len = sizeof path;
    dial->count = 1;
    set_timer(dial, 0);
}

struct redis_dial *redis_dial_start(struct ev_loop *loop, const struct redis_dial_options *options,
                                    redis_dial_fn *fn, void *data)
{
    struct redis_dial *dial = mem_check(talloc_zero(NULL, struct redis_dial));

    dial->loop = loop;
    dial->options = *options;
    dial->fn = fn;
    dial->data = data;
    ev_init(&dial->ready, on_ready);
    ev_init(&dial->timer, on_timer);
    ev_set_priority(&dial->timer, EV_MINPRI); /* what has come is looked at first */
    dial->ready.data = dial->timer.data = dial;
    if (options->address->transport == REDIS_OVER_UNIX)
        take_path(dial);
    else
        dial->resolver = resolver_start(loop, options->address->host, options->address->port,
                                        options->timeout_ms, on_resolved, dial);
    return dial;
}

void redis_dial_cancel(struct redis_dial *dial)
{
    enter(dial, DIAL_ENDED);
    talloc_free(dial);
}
