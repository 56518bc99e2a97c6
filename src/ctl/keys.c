/* SPDX-License-Identifier: BSD-2-Clause */
/* runtime_dir first, then a session of our own. */
#include "config.h"

#include "ctl/keys.h"

#include <stdio.h>
#include <string.h>

#include "app/identity.h"
#include "base/clock.h"
#include "base/mem.h"
#include "ctl/await.h"
#include "metrics/totals.h"
#include "source/postgres.h"

/* How often a look is taken at whether the server has answered. */
#define LOOK_S 0.05

struct asking {
    TALLOC_CTX *ctx;
    struct ctl_place *place;
    bool told;
};

/* Writes down what it is told, and lets no session go on. */
static enum place_verdict write_down(void *data, const struct postgres_place *place,
                                     const struct place_asker *asker,
                                     struct place_question **question, uint64_t *generation)
{
    struct asking *asking = data;

    (void)asker;
    (void)question;
    (void)generation;
    asking->told = identity_note_set(&asking->place->seen, place->system_identifier,
                                     place->database_oid, "0") == 0 &&
                   asking->place->seen.database[0] != '\0';
    asking->place->user = mem_check(talloc_strdup(asking->ctx, place->user));
    asking->place->search_path = mem_check(talloc_strdup(asking->ctx, place->search_path));
    return PLACE_UNKNOWN;
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
}

int ctl_place(struct ctl *ctl, TALLOC_CTX *ctx, struct ctl_place *place)
{
    const struct config *config = ctl->app->config;
    int64_t until_us =
        clock_monotonic_us() + 2 * config->settings.postgres.connect_timeout_ms * 1000;
    struct asking asking = {.ctx = ctx, .place = place};
    const struct postgres_judge judge = {.judge = write_down, .data = &asking};
    struct ev_loop *loop = ctl_loop(ctl);
    struct steps *steps = steps_new(NULL, loop);
    struct postgres *postgres = postgres_new(NULL, loop, steps, config, NULL, &judge);
    ev_timer look;

    ev_timer_init(&look, on_look, LOOK_S, LOOK_S);
    ev_timer_start(loop, &look);
    postgres_connect(postgres);
    while (postgres_is_up(postgres) && clock_monotonic_us() < until_us)
        ev_run(loop, EVRUN_ONCE);
    ev_timer_stop(loop, &look);
    talloc_free(postgres);
    talloc_free(steps);
    return asking.told ? 0 : -1;
}

bool ctl_goes_where(const struct ctl *ctl, const struct destination *daemons)
{
    const struct destination *ours = &ctl->app->destination;

    return strcmp(ours->hosts, daemons->hosts) == 0 &&
           strcmp(ours->database, daemons->database) == 0;
}

/* Running daemons, which may not have noticed yet. */
static bool daemons_miss_postgres(const struct ctl *ctl)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    const struct totals *totals = totals_read(ctx, ctl->app->config->settings.runtime_dir);
    bool miss = totals->any_alive && !totals->postgres_up;

    talloc_free(ctx);
    return miss;
}

enum ctl_reach ctl_reach_postgres(struct ctl *ctl)
{
    const struct ctl_keys *keys = ctl_keys(ctl);
    const struct destination *daemons = &keys->record.destination;
    struct ctl_place place = {.user = NULL};
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));

    if (daemons_miss_postgres(ctl)) {
        talloc_free(ctx);
        return CTL_REACHES_NOT;
    }
    /* also one that does not say which database it is has been reached */
    bool reached = ctl_place(ctl, ctx, &place) == 0 || place.user != NULL;
    talloc_free(ctx);
    if (reached)
        return CTL_REACHES;
    bool as_they_do =
        !ctl_keys_known(keys) ||
        (ctl_goes_where(ctl, daemons) && strcmp(ctl->app->destination.user, daemons->user) == 0);
    return as_they_do ? CTL_REACHES_NOT : CTL_REACH_UNKNOWN;
}

static void say_difference(const char *what, const char *daemons, const char *ours)
{
    if (strcmp(daemons, ours) != 0)
        fprintf(stderr, "leewayctl: the daemons' %s is '%s'; of this command it would be '%s'\n",
                what, daemons, ours);
}

/* A daemon has run with this configuration, but by another user or in another environment. */
static void take_others(const struct ctl *ctl, struct ctl_keys *keys,
                        const struct identity_record *record)
{
    const struct destination *ours = &ctl->app->destination, *theirs = &record->destination;

    say_difference("user", theirs->user, ours->user);
    say_difference("database", theirs->database, ours->database);
    say_difference("hosts", theirs->hosts, ours->hosts);
    say_difference("options", theirs->options, ours->options);
    keys->record = *record;
    keys->kept = true;
}

static void say_several(struct ctl_keys *keys, const struct identity_record *records, size_t count)
{
    fprintf(stderr, "leewayctl: daemons have run with this configuration as several users or in "
                    "several environments; say whose keys are meant by running as one of them:\n");
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "leewayctl:   user '%s', database '%s', hosts '%s', options '%s'\n",
                records[i].destination.user, records[i].destination.database,
                records[i].destination.hosts, records[i].destination.options);
    keys->status = CTL_BAD;
}

static void say_not_kept(const char *directory, const char *what)
{
    char *obstacle = identity_file_obstacle(NULL, directory);

    if (obstacle != NULL)
        fprintf(stderr, "leewayctl: %s: what daemons have verified is not known%s\n", obstacle,
                what);
    else
        fprintf(stderr, "leewayctl: no daemon has verified this configuration in %s%s\n", directory,
                what);
    talloc_free(obstacle);
}

/* As a daemon would make them that connected as we do. */
static void take_ours(struct ctl *ctl, struct ctl_keys *keys)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    const char *directory = ctl->app->config->settings.runtime_dir;
    struct identity_record *record = &keys->record;
    struct ctl_place place;

    if (ctl_place(ctl, ctx, &place) == -1) {
        say_not_kept(directory, ", and the server cannot be asked: keys are not known");
        keys->status = CTL_UNREACHABLE;
    } else {
        strcpy(record->identity, ctl->app->identity);
        record->destination = ctl->app->destination;
        record->session = identity_session_hash(place.user, place.search_path);
        record->known = place.seen;
        if (!destination_names_user(ctl->app->config->settings.postgres.conninfo)) {
            char *what = mem_check(
                talloc_asprintf(ctx, ": keys are those of user '%s'", record->destination.user));
            say_not_kept(directory, what);
            keys->status = CTL_BAD;
        }
    }
    talloc_free(ctx);
}

/* The database may have been accepted anew since this host's daemons kept what they knew. */
static void take_accepts(struct ctl *ctl, struct ctl_keys *keys)
{
    struct identity_note *known = &keys->record.known, noted;
    int found = ctl_read_note(ctl, keys->record.identity, &noted);

    if (found == -1) {
        fprintf(stderr, "leewayctl: Redis cannot be asked what is noted of the database: keys may "
                        "be those of before it was accepted anew\n");
        keys->status = CTL_UNREACHABLE;
    } else if (found == 1 && identity_note_agrees(&noted, known) &&
               noted.accepts > known->accepts) {
        known->accepts = noted.accepts;
    }
}

const struct ctl_keys *ctl_keys(struct ctl *ctl)
{
    const char *directory = ctl->app->config->settings.runtime_dir;
    char configuration[CONFIGURATION_HEX + 1];
    struct identity_record *records;

    if (ctl->keys != NULL)
        return ctl->keys;
    struct ctl_keys *keys = mem_check(talloc_zero(NULL, struct ctl_keys));
    ctl->keys = keys;
    identity_configuration(ctl->app, configuration);
    if (identity_file_read(keys, directory, ctl->app->identity, &keys->record) == 1) {
        keys->kept = true;
    } else {
        size_t count = identity_file_find(keys, directory, configuration, &records);
        if (count == 1)
            take_others(ctl, keys, &records[0]);
        else if (count > 1)
            say_several(keys, records, count);
        else
            take_ours(ctl, keys);
    }
    if (ctl_keys_known(keys)) {
        take_accepts(ctl, keys);
        keys->generation = identity_generation_of(keys->record.session, &keys->record.known);
    }
    return keys;
}

char *ctl_kept_identity(TALLOC_CTX *ctx, struct ctl *ctl)
{
    TALLOC_CTX *records_ctx = mem_check(talloc_new(NULL));
    const char *directory = ctl->app->config->settings.runtime_dir;
    const char *identity = ctl->app->identity;
    char configuration[CONFIGURATION_HEX + 1];
    struct identity_record own, *others;

    identity_configuration(ctl->app, configuration);
    if (identity_file_read(records_ctx, directory, identity, &own) != 1 &&
        identity_file_find(records_ctx, directory, configuration, &others) == 1)
        identity = others[0].identity;
    char *copy = mem_check(talloc_strdup(ctx, identity));
    talloc_free(records_ctx);
    return copy;
}

bool ctl_keys_known(const struct ctl_keys *keys)
{
    return keys->record.identity[0] != '\0';
}
