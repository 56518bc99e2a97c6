/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes out over the socket, and whom the replies that come in are for. */
#include "config.h"

#include "redis/connection_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "redis/command.h"

enum {
    READ_BYTES = 64 * 1024,
    READS_A_TURN = 16,
};

static void fail_socket(struct redis_connection *connection, enum socket_result result)
{
    const char *problem = result == SOCKET_CLOSED ? "the server closed the connection"
                                                  : redis_socket_problem(connection->socket);

    if (connection->state == CONNECTION_GREETING && connection->greeting.problem[0] != '\0')
        problem = connection->greeting.problem;
    redis_connection_take_end(connection, problem);
}

/* ---- Output */

/* While the socket is never quite ahead. */
static void drop_written(struct redis_connection *connection)
{
    if (connection->out_at < OUT_KEEPS_BYTES || connection->out_at < connection->out.len / 2)
        return;
    buf_consume(&connection->out, connection->out_at);
    connection->out_at = 0;
}

void redis_connection_write_out(struct redis_connection *connection)
{
    struct buf *out = &connection->out;

    while (connection->out_at < out->len) {
        size_t done;
        enum socket_result result =
            redis_socket_write(connection->socket, out->data + connection->out_at,
                               out->len - connection->out_at, &done);
        connection->out_at += done;
        connection->written += done;
        if (result == SOCKET_DONE)
            continue;
        drop_written(connection);
        if (result == SOCKET_WANTS_WRITE)
            ev_io_start(connection->loop, &connection->writable);
        else if (result == SOCKET_WANTS_READ)
            connection->wrote_wants_read = true;
        else if (connection->state != CONNECTION_GREETING)
            fail_socket(connection, result);
        /* else what the server has said before it closed is read first */
        return;
    }
    buf_release(out, OUT_KEEPS_BYTES);
    connection->out_at = 0;
    ev_io_stop(connection->loop, &connection->writable);
}

void redis_connection_on_flush(struct ev_loop *loop, ev_prepare *watcher, int events)
{
    struct redis_connection *connection = watcher->data;

    (void)events;
    ev_prepare_stop(loop, watcher);
    redis_connection_enter(connection);
    if (connection->socket != NULL && !ev_is_active(&connection->writable))
        redis_connection_write_out(connection);
    redis_connection_leave(connection);
}

/* ---- Input */

static bool is_message(const struct redis_connection *connection, const struct redis_reply *reply)
{
    return connection->options.on_push != NULL && reply->kind == REDIS_ARRAY &&
           reply->n_elements == 3 && redis_reply_is(reply->elements[0], "message");
}

static void take_reply(struct redis_connection *connection, struct redis_reply *reply)
{
    if (connection->state == CONNECTION_GREETING) {
        redis_connection_take_greeting(connection, reply);
        return;
    }
    if (is_message(connection, reply)) {
        connection->options.on_push(connection->options.data, reply);
        return;
    }
    /* if one was lost, or came twice, all that follow are those of others */
    if (connection->owed.first != NULL &&
        !redis_command_may_get(connection->owed.first->name, reply->kind)) {
        redis_connection_take_down(connection, "a reply came that is another command's");
        return;
    }
    struct redis_request *request = redis_connection_take_owed(connection);
    if (request == NULL) {
        redis_connection_take_down(connection, "a reply came that nobody asked for");
        return;
    }
    connection->has_answered = true;
    if (reply->kind == REDIS_ERROR && connection->options.on_refused != NULL)
        connection->options.on_refused(connection->options.data, redis_refusal_of(reply));
    redis_connection_tell(connection, request,
                          reply->kind == REDIS_ERROR ? REDIS_REFUSED : REDIS_REPLIED, reply);
}

/* false: the connection is another one, or none. */
static bool take_replies(struct redis_connection *connection)
{
    unsigned generation = connection->generation;

    while (connection->generation == generation) {
        /* whoever is told may steal the reply */
        TALLOC_CTX *holder = mem_check(talloc_named_const(NULL, 0, "reply"));
        struct redis_reply *reply;
        int found = redis_reader_next(connection->reader, holder, &reply);
        if (found == 1)
            take_reply(connection, reply);
        else if (found == -1)
            redis_connection_take_down(connection, redis_reader_problem(connection->reader));
        talloc_free(holder);
        if (found == 0)
            return true;
    }
    return false;
}

/* true: there may be more to read now. */
static bool read_in(struct redis_connection *connection)
{
    static char room[READ_BYTES];
    size_t got;
    enum socket_result result = redis_socket_read(connection->socket, room, sizeof room, &got);

    if (result == SOCKET_WANTS_WRITE)
        ev_io_start(connection->loop, &connection->writable);
    else if (result == SOCKET_CLOSED || result == SOCKET_FAILED)
        fail_socket(connection, result);
    if (result != SOCKET_DONE)
        return false;
    connection->heard_us = clock_monotonic_us();
    for (size_t at = 0; at < got;) {
        at += redis_reader_feed(connection->reader, room + at, got - at);
        if (!take_replies(connection))
            return false;
    }
    /* what TLS holds is not seen by the loop */
    return got == sizeof room || redis_socket_holds_input(connection->socket);
}

static void read_all(struct redis_connection *connection)
{
    int reads = 0;

    while (read_in(connection) &&
           (++reads < READS_A_TURN || redis_socket_holds_input(connection->socket)))
        ;
}

void redis_connection_on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct redis_connection *connection = watcher->data;
    unsigned generation = connection->generation;

    (void)loop;
    (void)events;
    redis_connection_enter(connection);
    if (connection->wrote_wants_read) {
        connection->wrote_wants_read = false;
        redis_connection_write_out(connection);
    }
    if (connection->generation == generation)
        read_all(connection);
    redis_connection_leave(connection);
}

void redis_connection_on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct redis_connection *connection = watcher->data;
    unsigned generation = connection->generation;

    (void)events;
    redis_connection_enter(connection);
    ev_io_stop(loop, watcher);
    redis_connection_write_out(connection);
    /* TLS may have had to write before it could read */
    if (connection->generation == generation && redis_socket_holds_input(connection->socket))
        read_all(connection);
    redis_connection_leave(connection);
}
