/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets, greetings and requests put together. */
#include "config.h"

#include "redis/connection.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/tls.h"
#include "redis/command.h"
#include "redis/dial.h"
#include "redis/reader.h"
#include "redis/requests.h"
#include "redis/socket.h"

enum {
    /* Redis may answer a blocking command this much later than it was asked to. */
    BLOCK_OVERRUN_MS = 500,
    /* A connection on which nothing comes goes after so many times command_timeout. */
    STUCK_TIMES = 4,
    STUCK_LEAST_MS = 1000,
    RETRY_LEAST_MS = 50,
    RETRY_DOUBLES = 3, /* to 400 ms */
    /* A connection that ends before and has answered nothing has not worked. */
    WORKED_US = 1000 * 1000,
    MAX_REQUESTS = 65536,
    MAX_OUT_BYTES = 128 * 1024 * 1024,
    OUT_KEEPS_BYTES = 256 * 1024,
    READ_BYTES = 64 * 1024,
    READS_A_TURN = 16,
    /* What is between may forget a connection on which nothing is said, and tell nobody. One with
       subscriptions is where messages are waited for; the others are needed with the next
       request. */
    LOOK_AFTER_S = 1,
    QUIET_SUBSCRIBED_US = 1000 * 1000,
    QUIET_US = 5 * 1000 * 1000,
};

enum connection_state {
    CONNECTION_WAITING, /* for the next attempt */
    CONNECTION_DIALLING,
    CONNECTION_GREETING,
    CONNECTION_UP,
};

struct redis_connection {
    struct ev_loop *loop;
    struct redis_connection_options options;
    enum connection_state state;
    bool keeps;          /* requests, until it is up or has failed to be */
    bool is_quiet;       /* nobody has been told that it is not up */
    bool is_closed;      /* freed when the last handler is left */
    unsigned n_handlers; /* under way */
    unsigned generation; /* of the socket, the reader and what is owed */
    unsigned n_failed;   /* attempts in a row */
    int64_t up_since_us;
    int64_t heard_us;        /* when something came last */
    bool has_answered;       /* something beyond the greeting */
    struct tls_context *tls; /* NULL: none */
    struct redis_dial *dial;
    struct redis_socket *socket;
    struct redis_reader *reader;
    struct redis_greeting greeting;
    struct redis_requests owed;    /* sent, or about to be */
    struct redis_requests kept;    /* until it is up */
    struct redis_requests refused; /* to be told so in the loop's next turn */
    struct redis_request *probe;   /* the last PING of ours that was not answered in time, or yet */
    struct redis_request *untold;  /* the first of `owed` whose time may not be over */
    struct redis_requests spare;
    int64_t blocks_ms; /* all of `owed` together */
    struct buf out;
    size_t out_at;    /* what of `out` has been written */
    uint64_t written; /* up to out_at, since the socket was opened */
    bool wrote_wants_read;
    int64_t now_us; /* when this turn's first request was sent */
    struct connection_tie *tie;
    ev_io readable;
    ev_io writable;
    ev_prepare flush;
    ev_timer attempt;            /* the next one, or the greeting's deadline */
    ev_timer deadline;           /* the requests' */
    ev_timer quiet;              /* looks whether the server is still there */
    ev_timer soon;               /* tells `refused`, and restarts */
    const char *restart_problem; /* NULL: it is not to be restarted */
};

/* The connection itself outlives its owner while it is in use. */
struct connection_tie {
    struct redis_connection *connection;
};

static void take_down(struct redis_connection *connection, const char *problem);
static void retry_in(struct redis_connection *connection, int64_t ms);

static void set_timer(struct redis_connection *connection, ev_timer *timer, double seconds)
{
    ev_now_update(connection->loop);
    ev_timer_stop(connection->loop, timer);
    ev_timer_set(timer, seconds > 0 ? seconds : 0.0, 0.0);
    ev_timer_start(connection->loop, timer);
}

/* --- ends */

static void drop_socket(struct redis_connection *connection)
{
    ev_io_stop(connection->loop, &connection->readable);
    ev_io_stop(connection->loop, &connection->writable);
    ev_prepare_stop(connection->loop, &connection->flush);
    ev_timer_stop(connection->loop, &connection->attempt);
    ev_timer_stop(connection->loop, &connection->deadline);
    ev_timer_stop(connection->loop, &connection->quiet);
    connection->probe = NULL;
    if (connection->dial != NULL)
        redis_dial_cancel(connection->dial);
    connection->dial = NULL;
    TALLOC_FREE(connection->socket);
    TALLOC_FREE(connection->reader);
    buf_release(&connection->out, OUT_KEEPS_BYTES);
    connection->out_at = 0;
    connection->written = 0;
    connection->wrote_wants_read = false;
    connection->restart_problem = NULL;
    connection->generation++;
}

static void destroy(struct redis_connection *connection)
{
    drop_socket(connection);
    ev_timer_stop(connection->loop, &connection->soon);
    talloc_free(connection);
}

static void enter_handler(struct redis_connection *connection)
{
    connection->n_handlers++;
}

static void leave_handler(struct redis_connection *connection)
{
    if (--connection->n_handlers == 0 && connection->is_closed)
        destroy(connection);
}

static int untie(struct connection_tie *tie)
{
    struct redis_connection *connection = tie->connection;

    connection->is_closed = true;
    connection->tie = NULL;
    if (connection->n_handlers == 0)
        destroy(connection);
    else
        drop_socket(connection);
    return 0;
}

/* --- requests */

static void recycle(struct redis_connection *connection, struct redis_request *request)
{
    TALLOC_FREE(request->bytes);
    redis_requests_add(&connection->spare, request);
}

/* Only from a handler. */
static void tell(struct redis_connection *connection, struct redis_request *request,
                 enum redis_outcome outcome, struct redis_reply *reply)
{
    redis_request_tell(request, outcome, reply);
    recycle(connection, request);
}

static void do_soon(struct redis_connection *connection)
{
    if (!ev_is_active(&connection->soon))
        set_timer(connection, &connection->soon, 0.0);
}

static void refuse(struct redis_connection *connection, struct redis_request *request)
{
    redis_requests_add(&connection->refused, request);
    do_soon(connection);
}

static void on_soon(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct redis_connection *connection = timer->data;
    struct redis_requests refused = redis_requests_take_all(&connection->refused);
    struct redis_request *request;

    (void)loop;
    (void)events;
    enter_handler(connection);
    while (!connection->is_closed && (request = redis_requests_take(&refused)) != NULL)
        tell(connection, request, REDIS_NOT_SENT, NULL);
    if (!connection->is_closed && connection->restart_problem != NULL)
        take_down(connection, connection->restart_problem);
    leave_handler(connection);
}

static int64_t stuck_ms_of(const struct redis_connection *connection)
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
    request->stuck_us = from_us + stuck_ms_of(connection) * 1000;
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

static void set_deadline(struct redis_connection *connection)
{
    int64_t next_us = next_deadline(connection);

    if (next_us == INT64_MAX)
        ev_timer_stop(connection->loop, &connection->deadline);
    else
        set_timer(connection, &connection->deadline,
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
        set_deadline(connection);
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
        set_deadline(connection);
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

static void send_kept(struct redis_connection *connection)
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

/* The first of `owed` is answered. */
static struct redis_request *take_owed(struct redis_connection *connection)
{
    struct redis_request *request = redis_requests_take(&connection->owed);

    if (request == NULL)
        return NULL;
    if (connection->untold == request)
        connection->untold = request->next;
    connection->blocks_ms -= request->block_ms;
    return request;
}

/* --- deadlines */

static void tell_late(struct redis_connection *connection, int64_t now_us)
{
    unsigned generation = connection->generation;
    struct redis_request *request;

    while (!connection->is_closed && (request = connection->kept.first) != NULL &&
           request->due_us <= now_us)
        tell(connection, redis_requests_take(&connection->kept), REDIS_NOT_SENT, NULL);
    while (connection->generation == generation && (request = connection->untold) != NULL &&
           request->due_us <= now_us) {
        connection->untold = request->next;
        redis_request_tell_late(request);
    }
}

static void take_stuck(struct redis_connection *connection);

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct redis_connection *connection = timer->data;
    int64_t now_us = clock_monotonic_us();

    (void)loop;
    (void)events;
    enter_handler(connection);
    tell_late(connection, now_us);
    if (!connection->is_closed && connection->owed.first != NULL &&
        connection->owed.first->stuck_us <= now_us)
        take_stuck(connection);
    if (!connection->is_closed)
        set_deadline(connection);
    leave_handler(connection);
}

/* --- down and up */

static void refuse_kept(struct redis_connection *connection, struct redis_requests kept)
{
    struct redis_request *request;

    while (!connection->is_closed && (request = redis_requests_take(&kept)) != NULL)
        tell(connection, request, REDIS_NOT_SENT, NULL);
}

/* What was not written out whole has not been done and will not be. */
static void end_owed(struct redis_connection *connection, struct redis_requests owed,
                     uint64_t written)
{
    struct redis_request *request;

    while (!connection->is_closed && (request = redis_requests_take(&owed)) != NULL)
        tell(connection, request, request->end > written ? REDIS_NOT_SENT : REDIS_UNCERTAIN, NULL);
}

static struct redis_requests take_all_owed(struct redis_connection *connection)
{
    connection->untold = NULL;
    connection->blocks_ms = 0;
    return redis_requests_take_all(&connection->owed);
}

static bool has_worked(const struct redis_connection *connection)
{
    return connection->state == CONNECTION_UP &&
           (connection->has_answered ||
            clock_monotonic_us() - connection->up_since_us >= WORKED_US);
}

/* With jitter, so that many workers do not come at once. */
static int64_t back_off_ms(unsigned n_failed)
{
    int64_t most_ms = (int64_t)RETRY_LEAST_MS
                      << (n_failed - 1 < RETRY_DOUBLES ? n_failed - 1 : RETRY_DOUBLES);

    return most_ms / 2 + (uint32_t)random_number() % (most_ms + 1);
}

static void wait_for_attempt(struct redis_connection *connection, bool worked)
{
    connection->n_failed = worked ? 0 : connection->n_failed + 1;
    connection->state = CONNECTION_WAITING;
    retry_in(connection, worked ? 0 : back_off_ms(connection->n_failed));
}

/* The one way down: every failure of a connection or an attempt comes through here. */
static void take_down(struct redis_connection *connection, const char *problem)
{
    char why[256];
    bool worked = has_worked(connection);
    uint64_t written = connection->written;
    struct redis_requests owed = take_all_owed(connection);
    struct redis_requests kept = redis_requests_take_all(&connection->kept);

    snprintf(why, sizeof why, "%s", problem); /* it may be in what is dropped now */
    drop_socket(connection);
    wait_for_attempt(connection, worked);
    connection->is_quiet = false;
    /* who is told now may well ask again */
    connection->keeps = worked && connection->options.wanted;
    end_owed(connection, owed, written);
    refuse_kept(connection, kept);
    if (!connection->is_closed && connection->options.on_down != NULL)
        connection->options.on_down(connection->options.data, why);
}

/* Whether nothing was sent that is not answered. */
static bool is_idle(const struct redis_connection *connection)
{
    const struct redis_request *first = connection->owed.first;

    return connection->state == CONNECTION_UP &&
           (first == NULL || first->end - first->len >= connection->written);
}

/* They go over the next connection. */
static void keep_owed(struct redis_connection *connection)
{
    struct redis_requests owed = take_all_owed(connection);
    struct redis_request *request;

    while ((request = redis_requests_take(&owed)) != NULL) {
        size_t at = connection->out_at + (size_t)(request->end - connection->written);
        request->bytes = mem_check(
            talloc_memdup(connection, connection->out.data + at - request->len, request->len));
        redis_requests_add(&connection->kept, request);
    }
}

/* While nothing is under way a server may well close a connection (`timeout`): that is worth no
   word unless no other one comes up. Not so where messages may be missed. */
static void take_end(struct redis_connection *connection, const char *problem)
{
    if (!is_idle(connection) || !has_worked(connection) || connection->options.on_push != NULL) {
        take_down(connection, problem);
        return;
    }
    keep_owed(connection);
    drop_socket(connection);
    wait_for_attempt(connection, true);
    connection->is_quiet = connection->keeps = true;
    set_deadline(connection);
}

/* Where only our own question got no answer nobody misses anything. */
static void take_stuck(struct redis_connection *connection)
{
    static const char problem[] = "no answer in time";

    bool only_ours = connection->probe != NULL && connection->owed.count == 1 &&
                     connection->owed.first == connection->probe;
    struct redis_request *request = only_ours ? take_owed(connection) : NULL;

    if (request == NULL) {
        take_down(connection, problem);
        return;
    }
    recycle(connection, request);
    take_end(connection, problem);
}

static void come_up(struct redis_connection *connection)
{
    ev_timer_stop(connection->loop, &connection->attempt);
    connection->state = CONNECTION_UP;
    connection->is_quiet = connection->keeps = false;
    connection->up_since_us = connection->heard_us = clock_monotonic_us();
    ev_timer_again(connection->loop, &connection->quiet);
    connection->has_answered = false;
    send_kept(connection);
    if (connection->options.on_up != NULL)
        connection->options.on_up(connection->options.data, &connection->greeting.result);
}

/* --- input and output */

static void fail_socket(struct redis_connection *connection, enum socket_result result)
{
    const char *problem = result == SOCKET_CLOSED ? "the server closed the connection"
                                                  : redis_socket_problem(connection->socket);

    if (connection->state == CONNECTION_GREETING && connection->greeting.problem[0] != '\0')
        problem = connection->greeting.problem;
    take_end(connection, problem);
}

/* While the socket is never quite ahead. */
static void drop_written(struct redis_connection *connection)
{
    if (connection->out_at < OUT_KEEPS_BYTES || connection->out_at < connection->out.len / 2)
        return;
    buf_consume(&connection->out, connection->out_at);
    connection->out_at = 0;
}

static void write_out(struct redis_connection *connection)
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

static void on_flush(struct ev_loop *loop, ev_prepare *watcher, int events)
{
    struct redis_connection *connection = watcher->data;

    (void)events;
    ev_prepare_stop(loop, watcher);
    enter_handler(connection);
    if (connection->socket != NULL && !ev_is_active(&connection->writable))
        write_out(connection);
    leave_handler(connection);
}

static void greet(struct redis_connection *connection)
{
    enum redis_greeting_verdict verdict =
        redis_greeting_write(&connection->greeting, &connection->out);

    if (verdict == GREETING_DONE)
        come_up(connection);
    else
        write_out(connection);
}

static void take_greeting(struct redis_connection *connection, const struct redis_reply *reply)
{
    switch (redis_greeting_take(&connection->greeting, reply)) {
    case GREETING_WAITS:
        return;
    case GREETING_SPEAKS:
        greet(connection);
        return;
    case GREETING_DONE:
        come_up(connection);
        return;
    case GREETING_FAILED:
        take_down(connection, connection->greeting.problem);
    }
}

static bool is_message(const struct redis_connection *connection, const struct redis_reply *reply)
{
    return connection->options.on_push != NULL && reply->kind == REDIS_ARRAY &&
           reply->n_elements == 3 && redis_reply_is(reply->elements[0], "message");
}

static void take_reply(struct redis_connection *connection, struct redis_reply *reply)
{
    if (connection->state == CONNECTION_GREETING) {
        take_greeting(connection, reply);
        return;
    }
    if (is_message(connection, reply)) {
        connection->options.on_push(connection->options.data, reply);
        return;
    }
    /* if one was lost, or came twice, all that follow are those of others */
    if (connection->owed.first != NULL &&
        !redis_command_may_get(connection->owed.first->name, reply->kind)) {
        take_down(connection, "a reply came that is another command's");
        return;
    }
    struct redis_request *request = take_owed(connection);
    if (request == NULL) {
        take_down(connection, "a reply came that nobody asked for");
        return;
    }
    connection->has_answered = true;
    if (reply->kind == REDIS_ERROR && connection->options.on_refused != NULL)
        connection->options.on_refused(connection->options.data, redis_refusal_of(reply));
    tell(connection, request, reply->kind == REDIS_ERROR ? REDIS_REFUSED : REDIS_REPLIED, reply);
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
            take_down(connection, redis_reader_problem(connection->reader));
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

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct redis_connection *connection = watcher->data;
    unsigned generation = connection->generation;

    (void)loop;
    (void)events;
    enter_handler(connection);
    if (connection->wrote_wants_read) {
        connection->wrote_wants_read = false;
        write_out(connection);
    }
    if (connection->generation == generation)
        read_all(connection);
    leave_handler(connection);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct redis_connection *connection = watcher->data;
    unsigned generation = connection->generation;

    (void)events;
    enter_handler(connection);
    ev_io_stop(loop, watcher);
    write_out(connection);
    /* TLS may have had to write before it could read */
    if (connection->generation == generation && redis_socket_holds_input(connection->socket))
        read_all(connection);
    leave_handler(connection);
}

/* --- quiet */

/* That it is refused is an answer, too. */
static void on_pong(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct redis_connection *connection = data;

    (void)reply;
    if (outcome == REDIS_REPLIED || outcome == REDIS_REFUSED)
        connection->probe = NULL;
}

/* What is owed has deadlines of its own. */
static void on_quiet(struct ev_loop *loop, ev_timer *timer, int events)
{
    static const struct redis_part parts[] = {{"PING", 4}};
    static const struct redis_command ping = {.parts = parts, .count = 1, .is_a_trial = true};
    struct redis_connection *connection = timer->data;
    bool subscribed = connection->options.on_push != NULL;
    int64_t quiet_us = clock_monotonic_us() - connection->heard_us;

    (void)loop;
    (void)events;
    if (connection->owed.first != NULL || quiet_us < (subscribed ? QUIET_SUBSCRIBED_US : QUIET_US))
        return;
    connection->probe = redis_connection_send(connection, &ping, on_pong, connection);
}

/* --- attempts */

static void on_dialled(void *data, struct redis_socket *sock, const char *problem)
{
    struct redis_connection *connection = data;
    const struct redis_settings *settings = connection->options.greeting.settings;

    enter_handler(connection);
    connection->dial = NULL;
    if (sock == NULL) {
        take_down(connection, problem);
        leave_handler(connection);
        return;
    }
    connection->socket = talloc_steal(connection, sock);
    connection->reader = redis_reader_new(connection);
    connection->state = CONNECTION_GREETING;
    ev_io_set(&connection->readable, redis_socket_descriptor(sock), EV_READ);
    ev_io_set(&connection->writable, redis_socket_descriptor(sock), EV_WRITE);
    ev_io_start(connection->loop, &connection->readable);
    set_timer(connection, &connection->attempt,
              (double)(settings->connect_timeout_ms + settings->command_timeout_ms) / 1000.0);
    redis_greeting_begin(&connection->greeting, &connection->options.greeting);
    greet(connection);
    leave_handler(connection);
}

/* Anew for each attempt: certificates are replaced while processes go on. false: they cannot be
   used, and this attempt has failed. */
static bool load_tls(struct redis_connection *connection)
{
    const struct redis_settings *settings = connection->options.greeting.settings;
    const struct tls_files files = {settings->tls_ca, settings->tls_cert, settings->tls_key};
    char problem[256];

    if (connection->options.address.transport != REDIS_OVER_TLS)
        return true;
    talloc_free(connection->tls);
    connection->tls = tls_context_new(connection, &files, problem, sizeof problem);
    if (connection->tls == NULL)
        take_down(connection, problem);
    return connection->tls != NULL;
}

static void dial(struct redis_connection *connection)
{
    const struct redis_settings *settings = connection->options.greeting.settings;

    if (!load_tls(connection))
        return;
    const struct redis_dial_options options = {
        .address = &connection->options.address,
        .tls = connection->tls,
        .tls_name = settings->tls_name,
        .timeout_ms = settings->connect_timeout_ms,
        .unheard_ms = stuck_ms_of(connection),
    };
    connection->state = CONNECTION_DIALLING;
    connection->dial = redis_dial_start(connection->loop, &options, on_dialled, connection);
}

static void on_attempt(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct redis_connection *connection = timer->data;

    (void)loop;
    (void)events;
    enter_handler(connection);
    if (connection->state == CONNECTION_WAITING)
        dial(connection);
    else if (connection->state == CONNECTION_GREETING)
        take_down(connection, "no answer in time");
    leave_handler(connection);
}

static void retry_in(struct redis_connection *connection, int64_t ms)
{
    set_timer(connection, &connection->attempt, (double)ms / 1000.0);
}

static void init_watchers(struct redis_connection *connection)
{
    ev_init(&connection->readable, on_readable);
    ev_init(&connection->writable, on_writable);
    ev_init(&connection->flush, on_flush);
    ev_init(&connection->attempt, on_attempt);
    ev_init(&connection->deadline, on_deadline);
    ev_init(&connection->soon, on_soon);
    ev_timer_init(&connection->quiet, on_quiet, 0.0, LOOK_AFTER_S);
    /* after a standstill of this process what has come meanwhile is read before it counts as late
     */
    ev_set_priority(&connection->attempt, EV_MINPRI);
    ev_set_priority(&connection->deadline, EV_MINPRI);
    connection->readable.data = connection->writable.data = connection->flush.data = connection;
    connection->attempt.data = connection->deadline.data = connection->soon.data = connection;
    connection->quiet.data = connection;
}

struct redis_connection *redis_connection_new(TALLOC_CTX *ctx, struct ev_loop *loop,
                                              const struct redis_connection_options *options)
{
    struct redis_connection *connection = mem_check(talloc_zero(NULL, struct redis_connection));
    struct connection_tie *tie = mem_check(talloc_zero(ctx, struct connection_tie));

    connection->loop = loop;
    connection->options = *options;
    connection->keeps = options->wanted;
    redis_requests_init(&connection->owed);
    redis_requests_init(&connection->kept);
    redis_requests_init(&connection->refused);
    redis_requests_init(&connection->spare);
    buf_init(&connection->out, connection, 0);
    init_watchers(connection);
    connection->tie = tie;
    tie->connection = connection;
    talloc_set_destructor(tie, untie);
    connection->state = CONNECTION_WAITING;
    retry_in(connection, 0);
    return connection;
}

void redis_connection_close(struct redis_connection *connection)
{
    talloc_free(connection->tie);
}

bool redis_connection_is_up(const struct redis_connection *connection)
{
    return connection->state == CONNECTION_UP || connection->is_quiet;
}

void redis_connection_hurry(struct redis_connection *connection)
{
    if (connection->state != CONNECTION_WAITING)
        return;
    connection->keeps = true;
    retry_in(connection, 0);
}

void redis_connection_restart(struct redis_connection *connection, const char *problem)
{
    if (connection->state == CONNECTION_WAITING)
        return;
    connection->restart_problem = problem;
    do_soon(connection);
}
