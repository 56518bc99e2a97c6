/* SPDX-License-Identifier: BSD-2-Clause */
/* An attempt to connect: certificates, address, greeting. After one that has failed the next one
   waits. */
#include "config.h"

#include "redis/connection_private.h"

#include "base/random.h"

enum {
    RETRY_LEAST_MS = 50,
    RETRY_DOUBLES = 3, /* to 400 ms */
};

static void greet(struct redis_connection *connection)
{
    enum redis_greeting_verdict verdict =
        redis_greeting_write(&connection->greeting, &connection->out);

    if (verdict == GREETING_DONE)
        redis_connection_come_up(connection);
    else
        redis_connection_write_out(connection);
}

void redis_connection_take_greeting(struct redis_connection *connection,
                                    const struct redis_reply *reply)
{
    switch (redis_greeting_take(&connection->greeting, reply)) {
    case GREETING_WAITS:
        return;
    case GREETING_SPEAKS:
        greet(connection);
        return;
    case GREETING_DONE:
        redis_connection_come_up(connection);
        return;
    case GREETING_FAILED:
        redis_connection_take_down(connection, connection->greeting.problem);
    }
}

static void on_dialled(void *data, struct redis_socket *sock, const char *problem)
{
    struct redis_connection *connection = data;
    const struct redis_settings *settings = connection->options.greeting.settings;

    redis_connection_enter(connection);
    connection->dial = NULL;
    if (sock == NULL) {
        redis_connection_take_down(connection, problem);
        redis_connection_leave(connection);
        return;
    }
    connection->socket = talloc_steal(connection, sock);
    connection->reader = redis_reader_new(connection);
    redis_connection_set_state(connection, CONNECTION_GREETING);
    ev_io_set(&connection->readable, redis_socket_descriptor(sock), EV_READ);
    ev_io_set(&connection->writable, redis_socket_descriptor(sock), EV_WRITE);
    ev_io_start(connection->loop, &connection->readable);
    redis_connection_set_timer(
        connection, &connection->attempt,
        (double)(settings->connect_timeout_ms + settings->command_timeout_ms) / 1000.0);
    redis_greeting_begin(&connection->greeting, &connection->options.greeting);
    greet(connection);
    redis_connection_leave(connection);
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
        redis_connection_take_down(connection, problem);
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
        .unheard_ms = redis_connection_stuck_ms(connection),
    };
    redis_connection_set_state(connection, CONNECTION_DIALLING);
    connection->dial = redis_dial_start(connection->loop, &options, on_dialled, connection);
}

void redis_connection_on_attempt(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct redis_connection *connection = timer->data;

    (void)loop;
    (void)events;
    redis_connection_enter(connection);
    if (connection->state == CONNECTION_WAITING)
        dial(connection);
    else if (connection->state == CONNECTION_GREETING)
        redis_connection_take_down(connection, "no answer in time");
    redis_connection_leave(connection);
}

void redis_connection_retry_in(struct redis_connection *connection, int64_t ms)
{
    redis_connection_set_timer(connection, &connection->attempt, (double)ms / 1000.0);
}

/* With jitter, so that many workers do not come at once. */
static int64_t back_off_ms(unsigned n_failed)
{
    int64_t most_ms = (int64_t)RETRY_LEAST_MS
                      << (n_failed - 1 < RETRY_DOUBLES ? n_failed - 1 : RETRY_DOUBLES);

    return most_ms / 2 + (uint32_t)random_number() % (most_ms + 1);
}

void redis_connection_wait_for_attempt(struct redis_connection *connection, bool worked)
{
    connection->n_failed = worked ? 0 : connection->n_failed + 1;
    redis_connection_set_state(connection, CONNECTION_WAITING);
    redis_connection_retry_in(connection, worked ? 0 : back_off_ms(connection->n_failed));
}
