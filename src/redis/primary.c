/* SPDX-License-Identifier: BSD-2-Clause */
/* Which connection a command takes, and what is made of their coming up and going down. */
#include "config.h"

#include "redis/primary.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "redis/connection.h"

enum {
    PROBLEM_BYTES = 256,
    /* How often to follow the address to another server, or to see whether there is one. */
    SEEK_US = 1000 * 1000,
};

struct redis_primary {
    struct ev_loop *loop;
    struct redis_options options;
    const char *address;
    struct redis_connection_options connecting; /* of the connections for less than everything */
    struct redis_connection *commands;
    const char *writing_name;          /* for CLIENT LIST */
    struct redis_connection *writing;  /* NULL: not needed yet */
    struct redis_connection *blocking; /* likewise */
    struct redis_connection *seeking;  /* NULL: none is under way */
    int64_t sought_us;                 /* when another server was last looked for; 0: never */
    struct redis_subscriber *subscriber;
    struct redis_clock_keeper *keeper;
    struct redis_greeting_result server; /* as it said last */
    bool is_up;                          /* and so it was told */
    double used_at;                      /* the loop's turn in which it was used last */
    char problem[PROBLEM_BYTES];         /* "": none */
    int64_t away_us;                     /* since when, monotonic, if `logged` says something */
    char logged[PROBLEM_BYTES];          /* of this outage; "": nothing */
    char other_logged[PROBLEM_BYTES];    /* of a further connection, since the first one came up */
};

/* --- outages */

/* Once, and again when the reason is another one. */
static void log_news(struct redis_primary *primary, char logged[PROBLEM_BYTES], const char *message,
                     const char *problem)
{
    if (!primary->options.speaks || strcmp(logged, problem) == 0)
        return;
    snprintf(logged, PROBLEM_BYTES, "%s", problem);
    log_event_limited(LOG_LEVEL_WARN, message, log_text("connection", primary->options.client_name),
                      log_text("address", primary->address), log_text("error", problem));
}

static void log_back(struct redis_primary *primary)
{
    if (primary->logged[0] != '\0')
        log_event_limited(LOG_LEVEL_INFO, "redis is back",
                          log_text("connection", primary->options.client_name),
                          log_text("address", primary->address),
                          log_number("away_ms", (clock_monotonic_us() - primary->away_us) / 1000));
    primary->logged[0] = '\0';
}

static void tell_change(const struct redis_primary *primary, enum redis_change change)
{
    if (primary->options.on_change != NULL)
        primary->options.on_change(primary->options.data, change);
}

/* Whether the server is the one that was here last, in the same role, as far as it tells. */
static bool is_same(const struct redis_greeting_result *before,
                    const struct redis_greeting_result *now)
{
    return now->run_id[0] != '\0' && strcmp(before->run_id, now->run_id) == 0 &&
           strcmp(before->role, now->role) == 0;
}

/* The others may be at another server, or at one that does not answer. */
static void restart_others(struct redis_primary *primary)
{
    if (primary->writing != NULL)
        redis_connection_restart(primary->writing, "another server is there");
    if (primary->blocking != NULL)
        redis_connection_restart(primary->blocking, "another server is there");
    redis_subscriber_restart(primary->subscriber, "another server is there");
}

static void hurry_others(struct redis_primary *primary)
{
    if (primary->writing != NULL)
        redis_connection_hurry(primary->writing);
    if (primary->blocking != NULL)
        redis_connection_hurry(primary->blocking);
    redis_subscriber_hurry(primary->subscriber);
}

static void on_up(void *data, const struct redis_greeting_result *greeting)
{
    struct redis_primary *primary = data;
    bool was_up = primary->is_up;
    bool same = is_same(&primary->server, greeting);
    bool is_first = primary->server.received_us == 0;

    primary->server = *greeting;
    primary->is_up = true;
    primary->problem[0] = primary->other_logged[0] = '\0';
    log_back(primary);
    redis_clock_keeper_start(primary->keeper, greeting);
    if (!same && !is_first)
        restart_others(primary);
    hurry_others(primary);
    if (!was_up || !same)
        tell_change(primary, same ? REDIS_CAME_UP : REDIS_CAME_UP_NEW);
}

static void on_down(void *data, const char *problem)
{
    struct redis_primary *primary = data;
    bool was_up = primary->is_up;

    primary->is_up = false;
    snprintf(primary->problem, sizeof primary->problem, "%s", problem);
    if (primary->logged[0] == '\0')
        primary->away_us = clock_monotonic_us();
    log_news(primary, primary->logged, "redis is away", primary->problem);
    redis_clock_keeper_stop(primary->keeper);
    if (!was_up)
        return;
    redis_subscriber_restart(primary->subscriber, "the server is away");
    tell_change(primary, REDIS_WENT_DOWN);
}

/* One of the others is down: worth a word only while the server can be reached. */
static void on_other_down(void *data, const char *problem)
{
    struct redis_primary *primary = data;

    if (primary->is_up)
        log_news(primary, primary->other_logged, "a further connection to redis is down", problem);
}

/* --- another server behind the address */

/* Now and then: where a name leads to several servers there is no end to it. */
static bool may_seek(struct redis_primary *primary)
{
    int64_t now_us = clock_monotonic_us();

    if (primary->sought_us != 0 && now_us - primary->sought_us < SEEK_US)
        return false;
    primary->sought_us = now_us;
    return true;
}

static void end_seeking(struct redis_primary *primary)
{
    redis_connection_close(primary->seeking);
    primary->seeking = NULL;
}

/* What only reads there would be read here for as long as the connection lasts. */
static void on_found(void *data, const struct redis_greeting_result *greeting)
{
    struct redis_primary *primary = data;
    bool is_replica = strcmp(greeting->role, "replica") == 0;
    bool is_another = !is_replica && !is_same(&primary->server, greeting);

    end_seeking(primary);
    if (is_another)
        redis_connection_restart(primary->commands, "another server is there");
}

static void on_not_found(void *data, const char *problem)
{
    (void)problem;
    end_seeking(data);
}

/* A primary that was replaced may go on as a replica without closing its connections, while its
   address leads to another: a new connection tells. */
static void on_refused(void *data, enum redis_refusal refusal)
{
    struct redis_primary *primary = data;
    struct redis_connection_options options = primary->connecting;

    if (refusal != REDIS_READ_ONLY || primary->seeking != NULL || !may_seek(primary))
        return;
    options.greeting.step_key = redis_clock_keeper_step_key(primary->keeper);
    options.on_up = on_found;
    options.on_down = on_not_found;
    primary->seeking = redis_connection_new(primary, primary->loop, &options);
}

/* Redis closes idle connections one by one: the one for writes may come to another server while
   the rest stay, and then nothing that is stored would be found. */
static void on_writing_up(void *data, const struct redis_greeting_result *greeting)
{
    struct redis_primary *primary = data;
    bool is_known = greeting->run_id[0] != '\0' && primary->server.run_id[0] != '\0';

    if (is_known && strcmp(greeting->run_id, primary->server.run_id) != 0 && may_seek(primary))
        redis_connection_restart(primary->commands, "another server is there");
}

/* --- commands */

/* One that is opened now if it was not needed before. */
static struct redis_connection *further(struct redis_primary *primary,
                                        struct redis_connection **connection)
{
    struct redis_connection_options options;

    if (*connection != NULL)
        return *connection;
    options = primary->connecting;
    options.wanted = true;
    options.on_refused = on_refused;
    if (connection == &primary->writing) {
        options.greeting.client_name = primary->writing_name;
        options.greeting.step_key = redis_clock_keeper_step_key(primary->keeper);
        options.on_up = on_writing_up;
    }
    *connection = redis_connection_new(primary, primary->loop, &options);
    return *connection;
}

static struct redis_connection *connection_for(struct redis_primary *primary,
                                               const struct redis_command *command)
{
    /* while the server is away all are */
    if (!redis_primary_is_up(primary))
        return primary->commands;
    if (command->block_ms > 0)
        return further(primary, &primary->blocking);
    return command->writes ? further(primary, &primary->writing) : primary->commands;
}

struct redis_request *redis_primary_send(struct redis_primary *primary,
                                         const struct redis_command *command, redis_fn *fn,
                                         void *data)
{
    double now = ev_now(primary->loop);

    if (now != primary->used_at)
        redis_clock_keeper_use(primary->keeper);
    primary->used_at = now;
    return redis_connection_send(connection_for(primary, command), command, fn, data);
}

/* What the keeper asks is no use of the server. */
static void send_for_keeper(void *data, const struct redis_command *command, redis_fn *fn,
                            void *fn_data)
{
    struct redis_primary *primary = data;

    redis_connection_send(connection_for(primary, command), command, fn, fn_data);
}

struct redis_primary *redis_primary_new(TALLOC_CTX *ctx, struct ev_loop *loop, const char *address,
                                        const struct redis_options *options)
{
    struct redis_primary *primary = mem_check(talloc_zero(ctx, struct redis_primary));
    const struct redis_clock_keeper_options keeping = {
        .client_name = options->client_name,
        .step_key = options->clock_key,
        .speaks = options->speaks,
        .send = send_for_keeper,
        .data = primary,
    };

    primary->loop = loop;
    primary->options = *options;
    primary->address = mem_check(talloc_strdup(primary, address));
    primary->writing_name = mem_check(talloc_asprintf(primary, "%s-writes", options->client_name));
    primary->keeper = redis_clock_keeper_new(primary, loop, &keeping);
    primary->connecting = (struct redis_connection_options){
        .greeting = {.settings = options->settings, .client_name = options->client_name},
        .on_down = on_other_down,
        .data = primary,
    };
    /* the configuration has looked at it */
    if (redis_address_parse(address, &primary->connecting.address) == -1)
        log_event(LOG_LEVEL_ERROR, "redis's address is malformed", log_text("address", address));

    struct redis_connection_options commands = primary->connecting;
    commands.greeting.step_key = redis_clock_keeper_step_key(primary->keeper);
    commands.on_up = on_up;
    commands.on_down = on_down;
    primary->commands = redis_connection_new(primary, loop, &commands);
    primary->subscriber = redis_subscriber_new(primary, loop, &primary->connecting);
    return primary;
}

bool redis_primary_is_up(const struct redis_primary *primary)
{
    return redis_connection_is_up(primary->commands);
}

const char *redis_primary_problem(const struct redis_primary *primary)
{
    return primary->problem[0] != '\0' ? primary->problem : NULL;
}

struct redis_server redis_primary_server(const struct redis_primary *primary)
{
    const struct redis_greeting_result *server = &primary->server;

    return (struct redis_server){
        .name = server->name,
        .version = server->version,
        .mode = server->mode,
        .run_id = server->run_id,
        .role = server->role,
    };
}

struct redis_clock_keeper *redis_primary_clock_keeper(const struct redis_primary *primary)
{
    return primary->keeper;
}

struct redis_subscriber *redis_primary_subscriber(const struct redis_primary *primary)
{
    return primary->subscriber;
}
