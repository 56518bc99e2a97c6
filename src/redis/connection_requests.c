/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests are sent at once, or kept until the connection is up, and told what has come of them in
   time. */
#include "config.h"

#include "redis/connection_private.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "redis/command.h"

enum {
    /* Redis may answer a blocking command this much later than it was asked to. */
    BLOCK_OVERRUN_MS = 500,
    /* A connection on which nothing comes goes after so many times command_timeout. */
    STUCK_TIMES = 4,
    STUCK_LEAST_MS = 1000,
    MAX_REQUESTS = 65536,
    MAX_OUT_BYTES = 128 * 1024 * 1024,
};

void redis_connection_recycle(struct redis_connection *connection, struct redis_request *request)
{
    TALLOC_FREE(request->bytes);
    redis_requests_add(&connection->spare, request);
}

void redis_connection_tell(struct redis_connection *connection, struct redis_request *request,
                           enum redis_outcome outcome, struct redis_reply *reply)
{
    redis_request_tell(request, outcome, reply);
    redis_connection_recycle(connection, request);
}

void redis_connection_do_soon(struct redis_connection *connection)
{
    if (!ev_is_active(&connection->soon))
        redis_connection_set_timer(connection, &connection->soon, 0.0);
}

static void refuse(struct redis_connection *connection, struct redis_request *request)
{
    redis_requests_add(&connection->refused, request);
    redis_connection_do_soon(connection);
}

void redis_connection_on_soon(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct redis_connection *connection = timer->data;
    struct redis_requests refused = redis_requests_take_all(&connection->refused);
    struct redis_request *request;

    (void)loop;
    (void)events;
    redis_connection_enter(connection);
    while (!connection->is_closed && (request = redis_requests_take(&refused)) != NULL)
        redis_connection_tell(connection, request, REDIS_NOT_SENT, NULL);
    if (!connection->is_closed && connection->restart_problem != NULL)
        redis_connection_take_down(connection, connection->restart_problem);
    redis_connection_leave(connection);
}

/* ---- Sending */

int64_t redis_connection_stuck_ms(const struct redis_connection *connection)
{
    int64_t ms = connection->options.greeting.settings->command_timeout_ms * STUCK_TIMES;

    return ms > STUCK_LEAST_MS ? ms : STUCK_LEAST_MS;
}

static struct redis_request *new_request(struct redis_connection *connection,
                                         const struct redis_command *command, redis_fn *fn,
                                         void *data)
{
    int64_t timeout_ms = connection->options.greeting.settings->command_timeout_ms;
    int64_t block_ms = command->block_ms > 0 ? command->block_ms + BLOCK_OVERRUN_MS : 0;
    struct redis_request *request = redis_requests_take(&connection->spare);

    if (request == NULL)
        request = mem_check(talloc(connection, struct redis_request));
    *request = (struct redis_request){
        .connection = connection, .fn = fn, .data = data, .block_ms = block_ms};
    size_t name_len = command->parts[0].len;
    if (!command->is_a_trial)
        memcpy(request->name, command->parts[0].data,
               name_len < sizeof request->name ? name_len : sizeof request->name - 1);
    /* one that blocks waits for those before it */
    int64_t from_us = connection->now_us + (block_ms + connection->blocks_ms) * 1000;
    request->due_us = from_us + timeout_ms * 1000;
    request->stuck_us = from_us + redis_connection_stuck_ms(connection) * 1000;
    return request;
}

/* When something has to be done about requests next; INT64_MAX: never. */
static int64_t next_deadline(const struct redis_connection *connection)
{
    int64_t next_us = INT64_MAX;

    if (connection->untold != NULL)
        next_us = connection->untold->due_us;
    if (connection->owed.first != NULL && connection->owed.first->stuck_us < next_us)
        next_us = connection->owed.first->stuck_us;
    if (connection->kept.first != NULL && connection->kept.first->due_us < next_us)
        next_us = connection->kept.first->due_us;
    return next_us;
}

void redis_connection_set_deadline(struct redis_connection *connection)
{
    int64_t next_us = next_deadline(connection);

    if (next_us == INT64_MAX)
        ev_timer_stop(connection->loop, &connection->deadline);
    else
        redis_connection_set_timer(connection, &connection->deadline,
                                   (double)(next_us - clock_monotonic_us()) / 1000000.0);
}

/* Its `len` bytes are at the end of `out`. */
static void owe(struct redis_connection *connection, struct redis_request *request, size_t len)
{
    request->len = len;
    request->end = connection->written + (connection->out.len - connection->out_at);
    connection->blocks_ms += request->block_ms;
    redis_requests_add(&connection->owed, request);
    if (connection->untold == NULL)
        connection->untold = request;
    if (!ev_is_active(&connection->deadline))
        redis_connection_set_deadline(connection);
}

static void keep(struct redis_connection *connection, struct redis_request *request,
                 const struct redis_command *command)
{
    struct buf bytes;

    buf_init(&bytes, connection, redis_command_bytes(command->parts, command->count));
    redis_command_encode(&bytes, command->parts, command->count);
    request->bytes = bytes.data;
    request->len = bytes.len;
    redis_requests_add(&connection->kept, request);
    if (!ev_is_active(&connection->deadline))
        redis_connection_set_deadline(connection);
}

static bool has_room(const struct redis_connection *connection, const struct redis_command *command)
{
    size_t waiting = connection->out.len - connection->out_at;

    if (connection->owed.count + connection->kept.count >= MAX_REQUESTS)
        return false;
    return waiting == 0 ||
           waiting + redis_command_bytes(command->parts, command->count) <= MAX_OUT_BYTES;
}

static void flush_soon(struct redis_connection *connection)
{
    if (!ev_is_active(&connection->flush))
        ev_prepare_start(connection->loop, &connection->flush);
}

struct redis_request *redis_connection_send(struct redis_connection *connection,
                                            const struct redis_command *command, redis_fn *fn,
                                            void *data)
{
    bool is_up = connection->state == CONNECTION_UP;

    /* the others of a turn are sent at the same time */
    if (!ev_is_active(&connection->flush) || connection->owed.first == NULL)
        connection->now_us = clock_monotonic_us();
    struct redis_request *request = new_request(connection, command, fn, data);
    if ((!is_up && !connection->keeps) || !has_room(connection, command)) {
        refuse(connection, request);
        return request;
    }
    if (!is_up) {
        keep(connection, request, command);
        return request;
    }
    size_t before = connection->out.len;
    redis_command_encode(&connection->out, command->parts, command->count);
    owe(connection, request, connection->out.len - before);
    flush_soon(connection);
    return request;
}

void redis_cancel(struct redis_request *request)
{
    if (request != NULL)
        request->fn = NULL;
}

/* ---- What is sent, and what is kept */

void redis_connection_send_kept(struct redis_connection *connection)
{
    struct redis_request *request;

    while ((request = redis_requests_take(&connection->kept)) != NULL) {
        buf_append(&connection->out, request->bytes, request->len);
        TALLOC_FREE(request->bytes);
        owe(connection, request, request->len);
    }
    if (connection->owed.first != NULL)
        flush_soon(connection);
}

struct redis_request *redis_connection_take_owed(struct redis_connection *connection)
{
    struct redis_request *request = redis_requests_take(&connection->owed);

    if (request == NULL)
        return NULL;
    if (connection->untold == request)
        connection->untold = request->next;
    connection->blocks_ms -= request->block_ms;
    return request;
}

struct redis_requests redis_connection_take_all_owed(struct redis_connection *connection)
{
    connection->untold = NULL;
    connection->blocks_ms = 0;
    return redis_requests_take_all(&connection->owed);
}

void redis_connection_keep_owed(struct redis_connection *connection)
{
    struct redis_requests owed = redis_connection_take_all_owed(connection);
    struct redis_request *request;

    while ((request = redis_requests_take(&owed)) != NULL) {
        size_t at = connection->out_at + (size_t)(request->end - connection->written);
        request->bytes = mem_check(
            talloc_memdup(connection, connection->out.data + at - request->len, request->len));
        redis_requests_add(&connection->kept, request);
    }
}

void redis_connection_refuse_kept(struct redis_connection *connection, struct redis_requests kept)
{
    struct redis_request *request;

    while (!connection->is_closed && (request = redis_requests_take(&kept)) != NULL)
        redis_connection_tell(connection, request, REDIS_NOT_SENT, NULL);
}

void redis_connection_end_owed(struct redis_connection *connection, struct redis_requests owed,
                               uint64_t written)
{
    struct redis_request *request;

    while (!connection->is_closed && (request = redis_requests_take(&owed)) != NULL)
        redis_connection_tell(connection, request,
                              request->end > written ? REDIS_NOT_SENT : REDIS_UNCERTAIN, NULL);
}

/* ---- Deadlines */

static void tell_late(struct redis_connection *connection, int64_t now_us)
{
    unsigned generation = connection->generation;
    struct redis_request *request;

    while (!connection->is_closed && (request = connection->kept.first) != NULL &&
           request->due_us <= now_us)
        redis_connection_tell(connection, redis_requests_take(&connection->kept), REDIS_NOT_SENT,
                              NULL);
    while (connection->generation == generation && (request = connection->untold) != NULL &&
           request->due_us <= now_us) {
        connection->untold = request->next;
        redis_request_tell_late(request);
    }
}

void redis_connection_on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct redis_connection *connection = timer->data;
    int64_t now_us = clock_monotonic_us();

    (void)loop;
    (void)events;
    redis_connection_enter(connection);
    tell_late(connection, now_us);
    if (!connection->is_closed && connection->owed.first != NULL &&
        connection->owed.first->stuck_us <= now_us)
        redis_connection_take_stuck(connection);
    if (!connection->is_closed)
        redis_connection_set_deadline(connection);
    redis_connection_leave(connection);
}
