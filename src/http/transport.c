/* SPDX-License-Identifier: BSD-2-Clause */
/* The listener: who is accepted when, and the end of it all. */
#include "config.h"

#include "http/transport.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "http/transport_private.h"

enum {
    ACCEPTS_PER_TURN = 8,
    REQUEST_POOL_BYTES = 4096,
#ifdef SANITIZERS
    SPARE_POOLS = 0, /* who uses a request that has ended is to be found */
#else
    SPARE_POOLS = 16,
#endif
    ACCEPT_PAUSE_MS = 100,
    LONGEST_BACKLOG = SOMAXCONN,
};

static void listen_again(struct transport *transport)
{
    if (!transport->stopping)
        exclusive_resume(&transport->listener);
}

void transport_make_room(struct transport *transport)
{
    listen_again(transport);
    if (transport->behind && !ev_is_active(&transport->accept_pause)) {
        ev_timer_set(&transport->accept_pause, 0.0, 0.0);
        ev_timer_start(transport->options.loop, &transport->accept_pause);
    }
}

static struct connection *first_idle(const struct transport *transport)
{
    struct connection *connection;

    TAILQ_FOREACH (connection, &transport->connections, link)
        if (connection_is_idle(connection))
            return connection;
    return NULL;
}

/* false: none is idle. */
static bool drop_first_idle(struct transport *transport)
{
    struct connection *connection = first_idle(transport);

    if (connection == NULL)
        return false;
    connection_drop(connection);
    return true;
}

/* Out of descriptors, or at the cap with nothing idle: the backlog has to wait. */
static void pause_accepting(struct transport *transport)
{
    ev_now_update(transport->options.loop);
    exclusive_pause(&transport->listener);
    ev_timer_stop(transport->options.loop, &transport->accept_pause);
    ev_timer_set(&transport->accept_pause, ACCEPT_PAUSE_MS / 1000.0, 0.0);
    ev_timer_start(transport->options.loop, &transport->accept_pause);
}

/* Whether the request of the connection just accepted at `fd` waits for its answer, and the
   connection will then be closed. */
static bool is_passing(const struct transport *transport, int fd)
{
    const struct connection *last = TAILQ_LAST(&transport->new, connection_list);

    return last != NULL && last->fd == fd && !last->keep;
}

/* true: there may be more to accept in this turn. Of connections that will be kept a worker takes
   one a turn, so that they spread over all workers. */
static bool accept_one(struct transport *transport)
{
    if (transport->n_connections >= transport->options.max_connections)
        drop_first_idle(transport);
    if (transport->n_connections >= transport->options.max_connections) {
        pause_accepting(transport);
        return false;
    }
    int fd = accept4(transport->options.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd != -1) {
        connection_begin(transport, fd);
        return is_passing(transport, fd);
    }
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        log_event(LOG_LEVEL_ERROR, "cannot accept", log_text("error", strerror(errno)));
        pause_accepting(transport);
    }
    return false;
}

/* To ask first is cheaper by far than an accept4() in vain, for which the kernel makes a socket. */
static bool is_acceptable(const struct transport *transport)
{
    struct pollfd listener = {.fd = transport->options.listen_fd, .events = POLLIN};

    return poll(&listener, 1, 0) == 1;
}

static void on_acceptable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct transport *transport = watcher->data;
    int accepted = 0;

    (void)loop;
    (void)events;
    while (accept_one(transport) && ++accepted < ACCEPTS_PER_TURN && is_acceptable(transport))
        continue;
}

/* Whoever has connected so far may have sent a request that nobody else will take. At the cap the
   rest of them has to wait until one of the others has gone. */
static void accept_pending(struct transport *transport)
{
    const struct transport_options *options = &transport->options;

    transport->behind = false;
    for (; transport->backlog > 0; transport->backlog--) {
        if (transport->n_connections >= options->max_connections) {
            transport->behind = true;
            return;
        }
        int fd = accept4(options->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd == -1)
            return;
        connection_begin(transport, fd);
    }
}

static void on_accept_pause(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct transport *transport = timer->data;

    (void)loop;
    (void)events;
    listen_again(transport);
    if (transport->behind)
        accept_pending(transport);
}

void transport_stop_accepting(struct transport *transport)
{
    exclusive_pause(&transport->listener);
    transport->stopping = true;
    transport->backlog = LONGEST_BACKLOG;
    ev_timer_stop(transport->options.loop, &transport->accept_pause);
    while (drop_first_idle(transport))
        ;
    accept_pending(transport);
}

bool transport_is_idle(const struct transport *transport)
{
    const struct connection *connection;

    if (transport->behind)
        return false;
    TAILQ_FOREACH (connection, &transport->connections, link)
        if (!connection_is_idle(connection))
            return false;
    return true;
}

uint64_t transport_take_cut(struct transport *transport)
{
    uint64_t cut = transport->n_cut;

    transport->n_cut = 0;
    return cut;
}

static int transport_destroy(struct transport *transport)
{
    struct ev_loop *loop = transport->options.loop;

    transport->stopping = true;
    transport->behind = false;
    exclusive_stop(&transport->listener);
    ev_timer_stop(loop, &transport->accept_pause);
    /* while there is something to give pools back to */
    while (!TAILQ_EMPTY(&transport->connections))
        connection_close(TAILQ_FIRST(&transport->connections));
    ev_timer_stop(loop, &transport->new_end);
    return 0;
}

struct transport *transport_new(TALLOC_CTX *ctx, const struct transport_options *options)
{
    struct transport *transport = mem_check(talloc_zero(ctx, struct transport));

    transport->options = *options;
    TAILQ_INIT(&transport->connections);
    TAILQ_INIT(&transport->new);
    ev_init(&transport->new_end, connection_on_new_end);
    transport->new_end.data = transport;
    transport->parser = parser_new(transport, options->variables);
    transport->unsent = unsent_new(transport);
    transport->pools = pools_new(transport, REQUEST_POOL_BYTES, SPARE_POOLS);
    /* accepted sockets inherit it; on a Unix socket it is refused and not needed */
    setsockopt(options->listen_fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    ev_init(&transport->accept_pause, on_accept_pause);
    transport->accept_pause.data = transport;
    talloc_set_destructor(transport, transport_destroy);
    exclusive_start(&transport->listener, options->loop, options->listen_fd, on_acceptable,
                    transport);
    return transport;
}
