/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections as small state machines. The usual request is whole when it is first
   looked at: it is peeked at, checked, and read by libfcgi from the socket itself.
   Anything else (pieces, several at once) is collected here first and replayed to
   libfcgi from memory. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/problem.h"
#include "http/transport_private.h"

enum {
    NEW_MS = 2, /* a request that is answered sooner is a hit, or nobody waited for anything */
    KEPT_INPUT_BYTES = 16 * 1024, /* of a connection with nothing to do */
    MAX_ASKED = 64,               /* management records; a web server sends one, if any */
    /* Of a long answer: what goes out with its request, and in each step behind. */
    FIRST_BYTES = 128 * 1024,
    MORE_BYTES = 64 * 1024,
};

static void handle_input(struct connection *connection);

static const struct fcgi_limits limits = {
    .max_params_bytes = TRANSPORT_MAX_PARAMS_BYTES,
    .max_stdin_bytes = TRANSPORT_MAX_STDIN_BYTES,
};

bool connection_is_idle(const struct connection *connection)
{
    return connection->state == CONNECTION_READING && connection->answered_before &&
           connection->input.len == 0;
}

/* The connection will be here for a while. The next one that stays
   is for another worker, if that is idle. */
static void stay(struct connection *connection)
{
    struct transport *transport = connection->transport;

    if (connection->stays)
        return;
    connection->stays = true;
    if (++transport->n_staying >= transport->options.staying_together)
        exclusive_yield(&transport->listener);
}

/* Watching is by need: most connections are never seen by the loop at all. */
static void watch(struct connection *connection, int events)
{
    struct ev_loop *loop = connection->transport->options.loop;

    if (events != 0)
        stay(connection);
    if (ev_is_active(&connection->io) && (connection->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(loop, &connection->io);
    ev_io_set(&connection->io, connection->fd, events);
    if (events != 0)
        ev_io_start(loop, &connection->io);
}

static void start_timer(struct connection *connection)
{
    const struct transport_options *options = &connection->transport->options;

    if (ev_is_active(&connection->timer))
        return;
    ev_now_update(options->loop);
    ev_timer_set(&connection->timer, (double)options->client_timeout_ms / 1000.0, 0.0);
    ev_timer_start(options->loop, &connection->timer);
}

static void stop_timer(struct connection *connection)
{
    ev_timer_stop(connection->transport->options.loop, &connection->timer);
}

static void end_new(struct connection *connection)
{
    struct transport *transport = connection->transport;

    if (!connection->is_new)
        return;
    TAILQ_REMOVE(&transport->new, connection, new_link);
    connection->is_new = false;
    if (TAILQ_EMPTY(&transport->new))
        ev_timer_stop(transport->options.loop, &transport->new_end);
}

static void end_request(struct connection *connection)
{
    if (connection->pool != NULL)
        pools_give_back(connection->transport->pools, connection->pool);
    connection->pool = NULL;
    connection->request = NULL;
}

static int connection_destroy(struct connection *connection)
{
    struct transport *transport = connection->transport;

    end_new(connection);
    end_request(connection);
    steps_remove(transport->options.steps, &connection->more);
    ev_io_stop(transport->options.loop, &connection->io);
    ev_timer_stop(transport->options.loop, &connection->timer);
    outgoing_end(&connection->outgoing);
    if (connection->fd != -1)
        close(connection->fd);
    TAILQ_REMOVE(&transport->connections, connection, link);
    transport->n_connections--;
    transport->n_staying -= connection->stays;
    transport_make_room(transport);
    return 0;
}

void connection_close(struct connection *connection)
{
    talloc_free(connection);
}

/* The one place where a client's disappearance is told. */
static void lose_connection(struct connection *connection)
{
    struct transport *transport = connection->transport;

    if (connection->state == CONNECTION_WAITING && connection->request != NULL)
        transport->options.on_gone(transport->options.data, connection->request);
    connection_close(connection);
}

static void await_request(struct connection *connection)
{
    struct transport *transport = connection->transport;

    connection->state = CONNECTION_READING;
    if (connection_is_idle(connection)) {
        buf_release(&connection->input, KEPT_INPUT_BYTES);
        buf_release(&connection->begun, KEPT_INPUT_BYTES);
        TAILQ_REMOVE(&transport->connections, connection, link);
        TAILQ_INSERT_TAIL(&transport->connections, connection, link);
        stop_timer(connection);
    } else {
        start_timer(connection);
    }
    watch(connection, EV_READ);
    /* what was sent behind the last request is looked at in its turn */
    if (connection->input.len > 0)
        ev_feed_event(transport->options.loop, &connection->io, EV_CUSTOM);
}

/* Takes what has come into `input`; false: the peer has left. */
static bool collect(struct connection *connection)
{
    struct transport *transport = connection->transport;
    size_t room = TRANSPORT_INPUT_BYTES - connection->input.len;

    if (room == 0) /* requests sent ahead; to read nothing would look like the peer's end */
        return true;
    ssize_t got = recv(connection->fd, transport->peeked, room, MSG_DONTWAIT);

    if (got == -1)
        return errno == EAGAIN || errno == EINTR;
    buf_append(&connection->input, transport->peeked, (size_t)got);
    return got > 0;
}

/* A web server may have put a request into a kept connection that has not been looked at yet: to
   close it would lose the request. */
static bool has_more(struct connection *connection)
{
    return connection->input.len > 0 || (collect(connection) && connection->input.len > 0);
}

/* To close while something comes that is not read would reset a TCP connection, and who has sent it
   might lose the answer. */
static void close_in_time(struct connection *connection)
{
    shutdown(connection->fd, SHUT_WR);
    connection->state = CONNECTION_CLOSING;
    buf_clear(&connection->input);
    start_timer(connection);
    watch(connection, EV_READ);
}

static void answer_taken(struct connection *connection)
{
    struct transport *transport = connection->transport;

    outgoing_end(&connection->outgoing);
    stop_timer(connection);
    if (connection->cut_off) {
        close_in_time(connection);
        return;
    }
    if (!connection->keep || (transport->stopping && !has_more(connection))) {
        connection_close(connection);
        return;
    }
    connection->answered_before = true;
    await_request(connection);
}

static bool holds_body(const struct connection *connection)
{
    return connection->state == CONNECTION_WRITING && connection->outgoing.body != NULL;
}

/* The connection that takes the same body fastest. */
static struct connection *fastest_beside(const struct connection *connection)
{
    return *unsent_note(connection->outgoing.body);
}

static void find_fastest(const struct transport *transport, int64_t now_us)
{
    struct connection *connection;

    TAILQ_FOREACH (connection, &transport->connections, link)
        if (holds_body(connection))
            *unsent_note(connection->outgoing.body) = connection;
    TAILQ_FOREACH (connection, &transport->connections, link)
        if (holds_body(connection) && outgoing_is_slower(&fastest_beside(connection)->outgoing,
                                                         &connection->outgoing, now_us))
            *unsent_note(connection->outgoing.body) = connection;
}

/* A body takes memory until the last of its clients has gone: who is fast is not to go for a crowd
   that is slow to take another, nor a crowd for one of it that is slow. */
static bool goes_before(const struct connection *a, const struct connection *b, int64_t now_us)
{
    const struct connection *of_a = fastest_beside(a), *of_b = fastest_beside(b);

    return of_a != of_b ? outgoing_is_slower(&of_a->outgoing, &of_b->outgoing, now_us)
                        : outgoing_is_slower(&a->outgoing, &b->outgoing, now_us);
}

/* NULL: there is but one body, whose clients may take their time. */
static struct connection *slowest_of_many(const struct transport *transport)
{
    struct connection *connection, *slowest = NULL;
    int64_t now_us = clock_monotonic_us();

    if (unsent_count(transport->unsent) < 2)
        return NULL;
    find_fastest(transport, now_us);
    TAILQ_FOREACH (connection, &transport->connections, link)
        if (holds_body(connection) && (slowest == NULL || goes_before(connection, slowest, now_us)))
            slowest = connection;
    return slowest;
}

/* Whoever has just been answered may be among those that are cut off. */
static void bound_unsent(struct transport *transport)
{
    struct connection *slowest;

    while (unsent_total(transport->unsent) > transport->options.max_unsent_bytes &&
           (slowest = slowest_of_many(transport)) != NULL) {
        log_event_limited(LOG_LEVEL_WARN, "a client that was slow to take its answer is cut off",
                          log_text("limit", "max_unsent"));
        transport->n_cut++;
        connection_close(slowest);
    }
}

static void send_answer(struct connection *connection, const struct answer_bytes *bytes)
{
    outgoing_begin(&connection->outgoing, connection->id, bytes);
    end_new(connection);
    int sent = outgoing_send(&connection->outgoing, connection->fd, FIRST_BYTES);
    if (sent == 0)
        outgoing_keep(&connection->outgoing, connection->transport->unsent, bytes->shared);
    end_request(connection);
    if (sent == 1) {
        answer_taken(connection);
    } else if (sent == 0) {
        connection->state = CONNECTION_WRITING;
        watch(connection, EV_WRITE);
        start_timer(connection);
        bound_unsent(connection->transport);
    } else {
        connection_close(connection);
    }
}

void request_answer(struct request *request, const struct answer_bytes *bytes)
{
    send_answer(request->connection, bytes);
}

static void send_more(void *data)
{
    struct connection *connection = data;
    int sent = outgoing_send(&connection->outgoing, connection->fd, MORE_BYTES);

    if (sent == -1)
        connection_close(connection);
    else if (sent == 1)
        answer_taken(connection);
}

/* In its turn among those that take long answers: not even many of them hold up the others. */
static void send_more_soon(struct connection *connection)
{
    if (!connection->more.is_waiting)
        steps_add(connection->transport->options.steps, &connection->more);
}

/* For a request that cannot be parsed. */
static void refuse(struct connection *connection, const struct fcgi_verdict *verdict, int status,
                   const char *detail)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(connection->transport));
    struct answer_bytes bytes = {0};

    bytes.body = problem_body(ctx, status, detail, &bytes.body_len);
    bytes.head = mem_check(talloc_asprintf(
        ctx,
        "Status: %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %zu\r\n"
        "Cache-Control: no-store\r\n\r\n",
        status, http_reason(status), bytes.body_len));
    bytes.head_len = strlen(bytes.head);
    connection->id = verdict->id;
    connection->keep = verdict->keep;
    stop_timer(connection);
    send_answer(connection, &bytes);
    talloc_free(ctx);
}

static void hand_over(struct connection *connection, struct request *request,
                      const struct fcgi_verdict *verdict)
{
    struct transport *transport = connection->transport;

    connection->request = request;
    request->connection = connection;
    connection->id = verdict->id;
    connection->keep = verdict->keep;
    connection->state = CONNECTION_WAITING;
    if (connection->keep) /* before it is answered: its client may connect again at once */
        stay(connection);
    stop_timer(connection);
    if (TAILQ_EMPTY(&transport->new)) {
        ev_timer_set(&transport->new_end, NEW_MS / 1000.0, 0.0);
        ev_timer_start(transport->options.loop, &transport->new_end);
    }
    TAILQ_INSERT_TAIL(&transport->new, connection, new_link);
    connection->is_new = true;
    transport->options.on_request(transport->options.data, request);
}

void connection_on_new_end(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct transport *transport = timer->data;
    struct connection *connection;

    (void)loop;
    (void)events;
    while ((connection = TAILQ_FIRST(&transport->new)) != NULL) {
        end_new(connection);
        watch(connection, EV_READ);
    }
}

static void read_from_socket(struct connection *connection, const struct fcgi_verdict *verdict)
{
    const struct transport *transport = connection->transport;
    bool closed;

    connection->pool = pools_take(transport->pools);
    struct request *request =
        parser_read(transport->parser, connection->pool, connection->fd, &closed);
    if (request == NULL) {
        if (closed)
            connection->fd = -1;
        connection_close(connection);
        return;
    }
    hand_over(connection, request, verdict);
}

/* NULL: libfcgi has refused. */
static struct request *parse_in_memory(struct connection *connection, const struct buf *bytes,
                                       size_t len)
{
    const struct transport *transport = connection->transport;
    struct request *request = NULL;
    bool closed = false;
    int fd = memfd_create("leeway-request", MFD_CLOEXEC);

    connection->pool = pools_take(transport->pools);
    if (fd != -1 && write(fd, bytes->data, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0)
        request = parser_read(transport->parser, connection->pool, fd, &closed);
    if (fd != -1 && !closed)
        close(fd);
    return request;
}

static void read_from_memory(struct connection *connection, const struct fcgi_verdict *verdict)
{
    struct request *request = parse_in_memory(connection, &connection->input, verdict->length);

    if (request == NULL) {
        connection_close(connection);
        return;
    }
    buf_consume(&connection->input, verdict->length);
    hand_over(connection, request, verdict);
}

/* A request whose body alone is too large is handed over without it: what it deserves depends on
   its method. */
static void read_without_body(struct connection *connection)
{
    unsigned char end[FCGI_STDIN_END_BYTES];

    fcgi_stdin_end(connection->too_large.id, end);
    buf_append(&connection->begun, end, sizeof end);
    struct request *request =
        parse_in_memory(connection, &connection->begun, connection->begun.len);
    if (request == NULL) {
        connection_close(connection);
        return;
    }
    request->body_too_large = true;
    hand_over(connection, request, &connection->too_large);
}

static void answer_too_large(struct connection *connection)
{
    if (connection->too_large.state == FCGI_CHECK_STDIN_TOO_LARGE)
        read_without_body(connection);
    else
        refuse(connection, &connection->too_large, 431, "The request's header is over 64 KiB.");
}

/* FCGI_GET_VALUES and its like are answered at once; the reply is a few bytes. */
static void answer_management(struct connection *connection, const struct fcgi_verdict *verdict)
{
    unsigned char reply[FCGI_MANAGEMENT_REPLY_BYTES];
    size_t len = fcgi_management_reply((const unsigned char *)connection->input.data,
                                       verdict->length, reply, sizeof reply);

    buf_consume(&connection->input, verdict->length);
    if (++connection->asked > MAX_ASKED ||
        send(connection->fd, reply, len, MSG_NOSIGNAL) != (ssize_t)len)
        connection_close(connection);
    else
        await_request(connection);
}

static void await_more(struct connection *connection)
{
    watch(connection, EV_READ);
    start_timer(connection);
}

/* It is answered behind its end, like any other, so that no web server has to hear of an answer
   while it sends, and the next request begins where this one has ended. */
static void pass_rest(struct connection *connection)
{
    size_t passed;
    enum fcgi_rest_state state =
        fcgi_rest_pass(&connection->rest, (const unsigned char *)connection->input.data,
                       connection->input.len, &passed);

    buf_consume(&connection->input, passed);
    switch (state) {
    case FCGI_REST_MORE:
        await_more(connection);
        break;
    case FCGI_REST_END:
        answer_too_large(connection);
        break;
    case FCGI_REST_ABORT:
    case FCGI_REST_BAD:
        connection_close(connection);
        break;
    }
}

static void begin_passing(struct connection *connection, const struct fcgi_verdict *verdict)
{
    connection->state = CONNECTION_PASSING;
    connection->too_large = *verdict;
    fcgi_rest_begin(&connection->rest, verdict);
    buf_clear(&connection->begun);
    buf_append(&connection->begun, connection->input.data, verdict->length);
    buf_consume(&connection->input, verdict->length);
    pass_rest(connection);
}

static void handle_input(struct connection *connection)
{
    struct fcgi_verdict verdict;

    if (connection->input.len == 0) {
        await_request(connection);
        return;
    }
    fcgi_check((const unsigned char *)connection->input.data, connection->input.len, &limits,
               &verdict);
    switch (verdict.state) {
    case FCGI_CHECK_MORE:
        if (connection->input.len >= TRANSPORT_INPUT_BYTES)
            connection_close(connection);
        else
            await_more(connection);
        break;
    case FCGI_CHECK_WHOLE:
        read_from_memory(connection, &verdict);
        break;
    case FCGI_CHECK_MANAGEMENT:
        answer_management(connection, &verdict);
        break;
    case FCGI_CHECK_PARAMS_TOO_LARGE:
    case FCGI_CHECK_STDIN_TOO_LARGE:
        begin_passing(connection, &verdict);
        break;
    case FCGI_CHECK_ABORT:
    case FCGI_CHECK_BAD:
        connection_close(connection);
        break;
    }
}

/* The first look at a request. */
static void peek(struct connection *connection)
{
    struct transport *transport = connection->transport;
    struct fcgi_verdict verdict;
    ssize_t got =
        recv(connection->fd, transport->peeked, sizeof transport->peeked, MSG_PEEK | MSG_DONTWAIT);

    if (got == -1 && (errno == EAGAIN || errno == EINTR)) {
        await_request(connection);
        return;
    }
    if (got <= 0) {
        connection_close(connection);
        return;
    }
    fcgi_check(transport->peeked, (size_t)got, &limits, &verdict);
    if (verdict.state == FCGI_CHECK_WHOLE && verdict.length == (size_t)got)
        read_from_socket(connection, &verdict);
    else if (collect(connection))
        handle_input(connection);
    else
        connection_close(connection);
}

/* While the answer is computed, input is an end, an abort, or a request sent ahead. */
static void listen_while_waiting(struct connection *connection)
{
    struct fcgi_verdict verdict;

    if (!collect(connection)) {
        lose_connection(connection);
        return;
    }
    if (connection->input.len == 0)
        return;
    fcgi_check((const unsigned char *)connection->input.data, connection->input.len, &limits,
               &verdict);
    if (verdict.state == FCGI_CHECK_ABORT)
        lose_connection(connection);
    else if (connection->input.len >= TRANSPORT_INPUT_BYTES)
        watch(connection, 0);
}

static void throw_away(struct connection *connection)
{
    ssize_t got = recv(connection->fd, connection->transport->peeked,
                       sizeof connection->transport->peeked, MSG_DONTWAIT);

    if (got == 0 || (got == -1 && errno != EAGAIN && errno != EINTR))
        connection_close(connection);
}

static void on_io(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct connection *connection = watcher->data;

    (void)loop;
    switch (connection->state) {
    case CONNECTION_READING:
        if ((events & EV_READ) == 0)
            handle_input(connection);
        else if (connection->input.len == 0)
            peek(connection);
        else if (collect(connection))
            handle_input(connection);
        else
            connection_close(connection);
        break;
    case CONNECTION_PASSING:
        if (collect(connection))
            pass_rest(connection);
        else
            connection_close(connection);
        break;
    case CONNECTION_WAITING:
        listen_while_waiting(connection);
        break;
    case CONNECTION_WRITING:
        send_more_soon(connection);
        break;
    case CONNECTION_CLOSING:
        throw_away(connection);
        break;
    }
}

/* Who is still sending what will be refused hears of it now. */
static void cut_off_rest(struct connection *connection)
{
    connection->cut_off = true;
    connection->too_large.keep = false;
    answer_too_large(connection);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct connection *connection = timer->data;

    (void)loop;
    (void)events;
    if (connection->state == CONNECTION_PASSING)
        cut_off_rest(connection);
    else
        connection_close(connection);
}

static struct connection *new_connection(struct transport *transport, int fd)
{
    struct connection *connection = mem_check(talloc_zero(transport, struct connection));

    connection->transport = transport;
    connection->fd = fd;
    buf_init(&connection->input, connection, 0);
    buf_init(&connection->begun, connection, 0);
    ev_init(&connection->io, on_io);
    ev_init(&connection->timer, on_timer);
    connection->io.data = connection->timer.data = connection->more.data = connection;
    connection->more.fn = send_more;
    TAILQ_INSERT_TAIL(&transport->connections, connection, link);
    transport->n_connections++;
    talloc_set_destructor(connection, connection_destroy);
    return connection;
}

void connection_begin(struct transport *transport, int fd)
{
    peek(new_connection(transport, fd));
}

void connection_drop(struct connection *connection)
{
    if (has_more(connection))
        await_request(connection);
    else
        connection_close(connection);
}
