/* SPDX-License-Identifier: BSD-2-Clause */
/* What is verified, the record of it and the generation of keys that follows from both. */
#include "config.h"

#include "app/identity_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/log.h"
#include "base/mem.h"

enum {
    /* How often an unverified process tries again, and how often a verified one sees whether its
       server is back, and still the same. */
    RETRY_MS = 250,
    RECONNECT_TICKS = 5,
};

bool identity_is_verified(const struct identity *identity)
{
    return identity->state == IDENTITY_VERIFIED;
}

const char *identity_problem(const struct identity *identity)
{
    return identity->problem[0] != '\0' ? identity->problem : NULL;
}

uint64_t identity_generation(const struct identity *identity)
{
    return identity->generation;
}

const char *identity_fingerprint(const struct identity *identity, const struct route *route)
{
    return identity->fingerprints[route->index];
}

const struct postgres_judge *identity_judge(const struct identity *identity)
{
    return &identity->judge;
}

uint64_t identity_session_hash(const char *user, const char *search_path)
{
    XXH64_hash_t of_user = XXH3_64bits(user, strlen(user));

    return XXH3_64bits_withSeed(search_path, strlen(search_path), of_user);
}

uint64_t identity_generation_of(uint64_t session, const struct identity_note *known)
{
    char text[sizeof known->system + sizeof known->database + 32];
    int len = snprintf(text, sizeof text, "%s/%s/%" PRId64, known->system, known->database,
                       known->accepts);
    uint64_t generation = XXH3_64bits_withSeed(text, (size_t)len, session);

    return generation == 0 || generation == NO_GENERATION ? 1 : generation;
}

void identity_configuration(const struct application *app, char out[CONFIGURATION_HEX + 1])
{
    const struct settings *settings = &app->config->settings;
    char *written = destination_as_written(NULL, settings->postgres.conninfo);
    const struct destination as_written = {
        .hosts = "", .database = written, .user = "", .options = ""};

    destination_hash(&as_written, settings->redis.namespace, out);
    talloc_free(written);
}

/* ---- States */

static void make_fingerprints(struct identity *identity)
{
    const struct application *app = identity->app;

    for (size_t i = 0; i < app->config->n_routes; i++)
        fingerprint_of_generation(app->rules[i].fingerprint, identity->generation,
                                  identity->fingerprints[i]);
}

void identity_log_state(struct identity *identity)
{
    static const char *const messages[] = {
        [IDENTITY_UNVERIFIED] = "the database is not verified, nothing is served",
        [IDENTITY_VERIFIED] = "the database is verified",
        [IDENTITY_REFUSED] = "another database is refused, nothing is served",
    };
    enum log_level level = identity->state == IDENTITY_REFUSED      ? LOG_LEVEL_ERROR
                           : identity->state == IDENTITY_UNVERIFIED ? LOG_LEVEL_WARN
                                                                    : LOG_LEVEL_INFO;

    /* at a start it is the same for all of a kind; later each may have come to another server */
    bool silent =
        identity->state == IDENTITY_UNVERIFIED && !identity->has_record && !identity->speaks;

    /* that all is well is news only after it was not */
    if (identity->state != IDENTITY_VERIFIED && !silent)
        log_event_limited(level, messages[identity->state],
                          log_text("identity", identity->app->identity),
                          log_text("problem", identity->problem));
    else if (identity->complained && !silent)
        log_event_limited(level, messages[identity->state],
                          log_text("identity", identity->app->identity));
    identity->complained = identity->state != IDENTITY_VERIFIED && !silent;
}

void identity_enter(struct identity *identity, enum identity_state state, const char *problem)
{
    bool news = state != identity->state || strcmp(problem, identity->problem) != 0;

    identity->state = state;
    snprintf(identity->problem, sizeof identity->problem, "%s", problem);
    if (state == IDENTITY_VERIFIED)
        ev_timer_stop(identity->loop, &identity->retry);
    else if (!ev_is_active(&identity->retry))
        ev_timer_again(identity->loop, &identity->retry);
    if (identity->postgres != NULL && state != IDENTITY_VERIFIED)
        postgres_use_generation(identity->postgres, NO_GENERATION);
    if (news)
        identity_log_state(identity);
}

void identity_use_record(struct identity *identity)
{
    const struct identity_record *record = &identity->record;
    uint64_t generation = identity_generation_of(record->session, &record->known);

    if (generation != identity->generation) {
        identity->generation = generation;
        identity->renewals = 0;
        make_fingerprints(identity);
    }
    if (identity->postgres != NULL)
        postgres_use_generation(identity->postgres, generation);
    identity_enter(identity, IDENTITY_VERIFIED, "");
}

/* ---- The record */

static void keep_record(struct identity *identity)
{
    const char *directory = identity->app->config->settings.runtime_dir;
    bool failed = identity_file_write(directory, &identity->record) == -1;

    if (failed && !identity->keeping_failed)
        log_event(LOG_LEVEL_WARN, "the verified identity cannot be kept",
                  log_text("runtime_dir", directory), log_text("error", strerror(errno)));
    identity->keeping_failed = failed;
    identity->is_kept = !failed;
}

void identity_tend_record(struct identity *identity)
{
    const char *directory = identity->app->config->settings.runtime_dir;

    if (identity->has_record && !identity->overruled &&
        (!identity->is_kept || (identity->state == IDENTITY_VERIFIED &&
                                !identity_file_exists(directory, identity->app->identity))))
        keep_record(identity);
}

/* The file's word, until a session gives its own. */
static void load_record(struct identity *identity)
{
    const struct application *app = identity->app;
    struct identity_record kept;

    if (identity_file_read(identity, app->config->settings.runtime_dir, app->identity, &kept) == 0)
        return;
    identity->record.known = kept.known;
    identity->record.session = kept.session;
    identity->has_record = true;
    /* another text that leads to the same place is how the operator's tool finds it from now on */
    identity->is_kept = strcmp(kept.configuration, identity->record.configuration) == 0;
    identity_look_at_note(identity);
    if (identity->look != NULL)
        identity->look->is_first = true;
    else
        identity_use_record(identity);
}

/* ---- Course */

bool identity_can_be_judged(const struct identity *identity)
{
    return cache_is_up(identity->cache) || identity->has_record;
}

void identity_tick(struct identity *identity)
{
    identity_look_at_note(identity);
    identity_tend_record(identity);
    bool verified = identity->state == IDENTITY_VERIFIED;
    bool due = !verified || identity->ticks++ % RECONNECT_TICKS == 0;
    if (identity->postgres == NULL || !identity_can_be_judged(identity) || !due)
        return;
    /* one that was not idle yet when it was refused would keep others from being made */
    if (!verified)
        postgres_use_generation(identity->postgres, NO_GENERATION);
    postgres_connect(identity->postgres);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    identity_tick(timer->data);
}

static int identity_destroy(struct identity *identity)
{
    ev_timer_stop(identity->loop, &identity->retry);
    ev_timer_stop(identity->loop, &identity->renewal.check);
    if (identity->has_record && !identity->is_kept && !identity->overruled)
        keep_record(identity);
    return 0;
}

struct identity *identity_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct application *app,
                              struct cache *cache, bool speaks)
{
    struct identity *identity = mem_check(talloc_zero(ctx, struct identity));

    identity->loop = loop;
    identity->app = app;
    identity->cache = cache;
    identity->speaks = speaks;
    identity_init_judge(identity);
    strcpy(identity->record.identity, app->identity);
    identity_configuration(app, identity->record.configuration);
    identity->record.destination = app->destination;
    identity->fingerprints = mem_check(
        talloc_zero_size(identity, (app->config->n_routes + 1) * sizeof *identity->fingerprints));
    ev_init(&identity->renewal.check, identity_on_renewal_check);
    identity->renewal.check.data = identity;
    ev_init(&identity->retry, on_retry);
    identity->retry.repeat = RETRY_MS / 1000.0;
    identity->retry.data = identity;
    talloc_set_destructor(identity, identity_destroy);
    snprintf(identity->problem, sizeof identity->problem,
             "no session of this host has said which database it is");
    ev_timer_again(loop, &identity->retry);
    load_record(identity);
    return identity;
}
