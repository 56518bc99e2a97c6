/* SPDX-License-Identifier: BSD-2-Clause */
/* How a connection begins, goes down and comes up again, and ends. */
#include "config.h"

#include "redis/connection_private.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    /* A connection that ends before and has answered nothing has not worked. */
    WORKED_US = 1000 * 1000,
    /* What is between may forget a connection on which nothing is said, and tell nobody. One with
       subscriptions is where messages are waited for; the others are needed with the next
       request. */
    LOOK_AFTER_S = 1,
    QUIET_SUBSCRIBED_US = 1000 * 1000,
    QUIET_US = 5 * 1000 * 1000,
};

/* The connection itself outlives its owner while it is in use. */
struct connection_tie {
    struct redis_connection *connection;
};

void redis_connection_set_timer(struct redis_connection *connection, ev_timer *timer,
                                double seconds)
{
    ev_now_update(connection->loop);
    ev_timer_stop(connection->loop, timer);
    ev_timer_set(timer, seconds > 0 ? seconds : 0.0, 0.0);
    ev_timer_start(connection->loop, timer);
}

void redis_connection_set_state(struct redis_connection *connection, enum connection_state to)
{
    assert(to == CONNECTION_WAITING || to == connection->state + 1);
    connection->state = to;
}

/* ---- Ends */

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

void redis_connection_destroy(struct redis_connection *connection)
{
    drop_socket(connection);
    ev_timer_stop(connection->loop, &connection->soon);
    talloc_free(connection);
}

static int untie(struct connection_tie *tie)
{
    struct redis_connection *connection = tie->connection;

    connection->is_closed = true;
    connection->tie = NULL;
    if (connection->n_handlers == 0)
        redis_connection_destroy(connection);
    else
        drop_socket(connection);
    return 0;
}

/* ---- Down and up */

static bool has_worked(const struct redis_connection *connection)
{
    return connection->state == CONNECTION_UP &&
           (connection->has_answered ||
            clock_monotonic_us() - connection->up_since_us >= WORKED_US);
}

void redis_connection_take_down(struct redis_connection *connection, const char *problem)
{
    char why[256];
    bool worked = has_worked(connection);
    uint64_t written = connection->written;
    struct redis_requests owed = redis_connection_take_all_owed(connection);
    struct redis_requests kept = redis_requests_take_all(&connection->kept);

    snprintf(why, sizeof why, "%s", problem); /* it may be in what is dropped now */
    drop_socket(connection);
    redis_connection_wait_for_attempt(connection, worked);
    connection->is_quiet = false;
    /* who is told now may well ask again */
    connection->keeps = worked && connection->options.wanted;
    redis_connection_end_owed(connection, owed, written);
    redis_connection_refuse_kept(connection, kept);
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

void redis_connection_take_end(struct redis_connection *connection, const char *problem)
{
    if (!is_idle(connection) || !has_worked(connection) || connection->options.on_push != NULL) {
        redis_connection_take_down(connection, problem);
        return;
    }
    redis_connection_keep_owed(connection);
    drop_socket(connection);
    redis_connection_wait_for_attempt(connection, true);
    connection->is_quiet = connection->keeps = true;
    redis_connection_set_deadline(connection);
}

void redis_connection_take_stuck(struct redis_connection *connection)
{
    static const char problem[] = "no answer in time";

    bool only_ours = connection->probe != NULL && connection->owed.count == 1 &&
                     connection->owed.first == connection->probe;
    struct redis_request *request = only_ours ? redis_connection_take_owed(connection) : NULL;

    if (request == NULL) {
        redis_connection_take_down(connection, problem);
        return;
    }
    redis_connection_recycle(connection, request);
    redis_connection_take_end(connection, problem);
}

void redis_connection_come_up(struct redis_connection *connection)
{
    ev_timer_stop(connection->loop, &connection->attempt);
    redis_connection_set_state(connection, CONNECTION_UP);
    connection->is_quiet = connection->keeps = false;
    connection->up_since_us = connection->heard_us = clock_monotonic_us();
    ev_timer_again(connection->loop, &connection->quiet);
    connection->has_answered = false;
    redis_connection_send_kept(connection);
    if (connection->options.on_up != NULL)
        connection->options.on_up(connection->options.data, &connection->greeting.result);
}

/* ---- Silence */

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

/* ---- For its owner */

static void init_watchers(struct redis_connection *connection)
{
    ev_init(&connection->readable, redis_connection_on_readable);
    ev_init(&connection->writable, redis_connection_on_writable);
    ev_init(&connection->flush, redis_connection_on_flush);
    ev_init(&connection->attempt, redis_connection_on_attempt);
    ev_init(&connection->deadline, redis_connection_on_deadline);
    ev_init(&connection->soon, redis_connection_on_soon);
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
    redis_connection_set_state(connection, CONNECTION_WAITING);
    redis_connection_retry_in(connection, 0);
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
    redis_connection_retry_in(connection, 0);
}

void redis_connection_restart(struct redis_connection *connection, const char *problem)
{
    if (connection->state == CONNECTION_WAITING)
        return;
    connection->restart_problem = problem;
    redis_connection_do_soon(connection);
}
