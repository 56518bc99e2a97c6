/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions are judged by the note in Redis. Without Redis, by what this host has verified before.
 */
#include "config.h"

#include "app/identity.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/old_note.h"

enum {
    /* How often an unverified process tries again, and how often a verified one sees whether its
       server is back, and still the same. */
    RETRY_MS = 250,
    RECONNECT_TICKS = 5,
    SIGNAL_CHECK_MS = 20,
    /* Keys may also be strange for reasons that no session can mend, as after a deploy. */
    RENEW_US = 10 * 1000 * 1000,
    RENEWALS_MAX = 6, /* the wait has doubled so often at the most */
    /* Behind a pooler every transaction may be of another generation. */
    HOLD_US = 10 * 1000 * 1000,
};

/* The generation of no session: all are outdated. */
#define NO_GENERATION UINT64_MAX

enum identity_state {
    IDENTITY_UNVERIFIED, /* nobody has said anything, or it cannot be told */
    IDENTITY_VERIFIED,
    IDENTITY_REFUSED, /* it is another database */
};

struct identity {
    struct ev_loop *loop;
    const struct application *app;
    struct old_redis *redis;
    struct postgres *postgres;
    struct postgres_judge judge;
    bool speaks;
    enum identity_state state;
    char problem[256];
    bool complained;      /* of it, in the log */
    bool refused_by_note; /* and not for what a server says */
    bool overruled; /* the last note that was read is of something else than what this host has
                       seen: it makes no note, and its record says nothing without one */
    bool judged;    /* a session has come to be */
    const char *note_key;
    /* What a session of this host has verified, now or before; `has_record` false: none has. */
    struct identity_record record;
    bool has_record;
    bool is_kept; /* the file says the same */
    bool keeping_failed;
    uint64_t generation;                       /* 0: none yet */
    int64_t switched_us;                       /* when a session changed it; 0: none has */
    char (*fingerprints)[FINGERPRINT_HEX + 1]; /* by route index */
    unsigned ticks;
    int64_t renew_at_us; /* not before */
    unsigned renewals;   /* in vain, in a row */
    ev_timer retry;      /* while unverified */
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

static void make_fingerprints(struct identity *identity)
{
    const struct application *app = identity->app;

    for (size_t i = 0; i < app->config->n_routes; i++)
        fingerprint_of_generation(app->rules[i].fingerprint, identity->generation,
                                  identity->fingerprints[i]);
}

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

static void log_state(struct identity *identity)
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

/* Every change of state goes through here. `problem` "": it is verified. */
static void enter(struct identity *identity, enum identity_state state, const char *problem)
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
        log_state(identity);
}

/* What the record says is so from now on. */
static void use_record(struct identity *identity)
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
    enter(identity, IDENTITY_VERIFIED, "");
}

static const char *or_unknown(const char *text)
{
    return text[0] != '\0' ? text : "(unknown)";
}

/* `who` has seen what is not noted. */
static void refuse(struct identity *identity, const struct identity_note *noted, const char *who,
                   const struct identity_note *seen)
{
    char problem[256];

    snprintf(problem, sizeof problem,
             "noted is cluster %s, database OID %s; %s has cluster %s, database OID %s",
             or_unknown(noted->system), or_unknown(noted->database), who, or_unknown(seen->system),
             or_unknown(seen->database));
    enter(identity, IDENTITY_REFUSED, problem);
}

/* A record that a note has spoken against must not be there for a start without Redis. */
static void overrule(struct identity *identity, bool overruled)
{
    if (overruled && !identity->overruled && identity->has_record) {
        identity_file_remove(identity->app->config->settings.runtime_dir, &identity->record);
        identity->is_kept = false;
    }
    identity->overruled = overruled;
}

/* A note that is lost is made again by who agreed with it, or by who has seen nothing else. */
static bool may_claim(const struct identity *identity, const struct identity_note *mine)
{
    return !identity->overruled &&
           (!identity->has_record || identity_note_agrees(&identity->record.known, mine));
}

/* What is noted, once `mine` is if nothing was, completed by what this host knows and by `mine`.
   `is_now`: a server says so now, whatever was accepted since. -1: Redis cannot say. A Redis that
   takes no writes will do where there is a note. */
static int read_or_claim(const struct identity *identity, const struct identity_note *mine,
                         bool is_now, struct identity_note *noted)
{
    struct old_redis *redis = identity->redis;
    struct identity_note claim = *mine;
    int found = old_redis_is_up(redis) ? identity_note_read(redis, identity->note_key, noted) : -1;

    if (found == 0)
        return may_claim(identity, mine)
                   ? identity_note_claim(redis, identity->note_key, mine, noted)
                   : -1;
    if (found == -1)
        return -1;
    bool lacks_system = noted->system[0] == '\0';
    bool lacks_accepts = noted->accepts < mine->accepts;
    if (identity->has_record)
        identity_note_complete(noted, &identity->record.known);
    if (!identity_note_agrees(noted, mine))
        return 0;
    if (is_now && noted->accepts > claim.accepts)
        claim.accepts = noted->accepts;
    identity_note_complete(noted, &claim);
    strcpy(claim.system, noted->system);
    if (lacks_accepts || (lacks_system && noted->system[0] != '\0')) {
        struct identity_note now;
        if (identity_note_claim(redis, identity->note_key, &claim, &now) == 0)
            *noted = now;
        else if (lacks_accepts)
            return -1;
    }
    return 0;
}

/* One cluster is known, and `found` agrees but for not telling which cluster it is of. */
static bool lacks_proof(const struct identity_note *known, const struct identity_note *found)
{
    return known->system[0] != '\0' && found->system[0] == '\0';
}

static enum place_verdict cannot_tell(struct identity *identity, const char *problem)
{
    enter(identity, IDENTITY_UNVERIFIED, problem);
    return PLACE_UNKNOWN;
}

static const char no_proof[] =
    "the server does not say which cluster it is, and one is known (grant pg_control_system)";

/* While there is no note to be read: by what this host knows, unless the last one spoke against
   it. */
static enum place_verdict compare_with_record(struct identity *identity,
                                              const struct identity_note *found,
                                              struct identity_note *known)
{
    if (!identity->has_record || identity->overruled)
        return cannot_tell(
            identity,
            "Redis cannot be asked which database is meant, or does not know it any more");
    *known = identity->record.known;
    if (!identity_note_agrees(known, found)) {
        refuse(identity, known, "the server", found);
        return PLACE_WRONG;
    }
    return lacks_proof(known, found) ? cannot_tell(identity, no_proof) : PLACE_RIGHT;
}

/* By the note, which is made if there is none. PLACE_RIGHT and what is known of the place, or why
   not. */
static enum place_verdict compare(struct identity *identity, const struct postgres_place *place,
                                  struct identity_note *known)
{
    const struct identity_note *mine = &identity->record.known;
    struct identity_note found;

    if (identity_note_set(&found, place->system_identifier, place->database_oid, "0") == -1 ||
        found.database[0] == '\0')
        return cannot_tell(identity, "the server does not say which database it is");
    if (!identity->has_record)
        mine = &found;
    else if (identity_note_agrees(mine, &found))
        found.accepts = mine->accepts;
    if (read_or_claim(identity, &found, true, known) == -1)
        return compare_with_record(identity, &found, known);
    overrule(identity, !identity_note_agrees(known, mine));
    if (!identity_note_agrees(known, &found)) {
        /* what this host has verified is there, and the note is of something else */
        identity->refused_by_note = identity->has_record && identity_note_agrees(mine, &found);
        refuse(identity, known, "the server", &found);
        return PLACE_WRONG;
    }
    return lacks_proof(known, &found) ? cannot_tell(identity, no_proof) : PLACE_RIGHT;
}

static bool is_same_note(const struct identity_note *a, const struct identity_note *b)
{
    return strcmp(a->system, b->system) == 0 && strcmp(a->database, b->database) == 0 &&
           a->accepts == b->accepts;
}

/* Going to and fro with every transaction would close all sessions and find nothing stored. */
static bool is_passing(const struct identity *identity, const struct postgres_place *place,
                       uint64_t session)
{
    return place->recurring && identity->state == IDENTITY_VERIFIED &&
           identity->record.session != session && identity->switched_us != 0 &&
           clock_monotonic_us() - identity->switched_us < HOLD_US;
}

static void take_session(struct identity *identity, const struct postgres_place *place,
                         uint64_t session)
{
    struct identity_record *record = &identity->record;

    if (identity->has_record && record->session != session) {
        identity->switched_us = clock_monotonic_us();
        log_event_limited(LOG_LEVEL_WARN,
                          "a session has another user or search_path than those before",
                          log_text("identity", record->identity), log_text("user", place->user),
                          log_text("search_path", place->search_path));
    }
    record->session = session;
}

static enum place_verdict judge(void *data, const struct postgres_place *place,
                                uint64_t *generation)
{
    struct identity *identity = data;
    struct identity_record *record = &identity->record;
    uint64_t session = identity_session_hash(place->user, place->search_path);
    struct identity_note known;
    enum place_verdict verdict = compare(identity, place, &known);

    identity->judged = true;
    if (verdict != PLACE_RIGHT)
        return verdict;
    if (is_passing(identity, place, session)) {
        *generation = identity_generation_of(session, &known);
        return PLACE_RIGHT;
    }
    if (!identity->has_record || record->session != session ||
        !is_same_note(&record->known, &known))
        identity->is_kept = false;
    take_session(identity, place, session);
    record->known = known;
    identity->overruled = false; /* the record is what is noted */
    identity->has_record = true;
    use_record(identity);
    *generation = identity->generation;
    return PLACE_RIGHT;
}

/* What is noted now, compared with what this host knows. */
static void look_at_note(struct identity *identity)
{
    struct identity_note *known = &identity->record.known, noted;

    /* one that was lost, or noted anew by a host that knew of fewer accepts, is mended */
    if (!identity->has_record || read_or_claim(identity, known, false, &noted) == -1)
        return;
    overrule(identity, !identity_note_agrees(&noted, known));
    if (identity->overruled) {
        if (identity->state == IDENTITY_REFUSED)
            return;
        identity->refused_by_note = true;
        refuse(identity, &noted, "this host", known);
        return;
    }
    bool news = !is_same_note(&noted, known);
    *known = noted;
    if (news)
        identity->is_kept = false;
    bool mended = identity->state == IDENTITY_REFUSED && identity->refused_by_note;
    if (mended || (news && identity->state == IDENTITY_VERIFIED))
        use_record(identity);
}

static bool can_be_judged(const struct identity *identity)
{
    return old_redis_is_up(identity->redis) || identity->has_record;
}

/* What is not kept yet is, at the most once for each look, however often it has changed; and what
   was, and somebody has taken the file away. */
static void tend_record(struct identity *identity)
{
    const char *directory = identity->app->config->settings.runtime_dir;

    if (identity->has_record && !identity->overruled &&
        (!identity->is_kept || (identity->state == IDENTITY_VERIFIED &&
                                !identity_file_exists(directory, identity->app->identity))))
        keep_record(identity);
}

void identity_tick(struct identity *identity)
{
    look_at_note(identity);
    tend_record(identity);
    bool verified = identity->state == IDENTITY_VERIFIED;
    bool due = !verified || identity->ticks++ % RECONNECT_TICKS == 0;
    if (identity->postgres == NULL || !can_be_judged(identity) || !due)
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

const struct postgres_judge *identity_judge(const struct identity *identity)
{
    return &identity->judge;
}

/* TERM, INT and HUP are held back while a child starts; it acts on them as soon as it has. */
static bool is_signal_pending(void)
{
    sigset_t pending;

    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

static void on_signal_check(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
}

/* Until a session has been judged, or could not be made. `renewing`: a session that there is does
   not count, and is closed as soon as it is idle. `stopping`: NULL, or what ends it early. */
static void await_judgement(struct identity *identity, bool renewing, const bool *stopping)
{
    int64_t limit_ms = identity->app->config->settings.postgres.connect_timeout_ms;
    int64_t until_us = clock_monotonic_us() + limit_ms * 1000;
    ev_timer check;

    ev_timer_init(&check, on_signal_check, SIGNAL_CHECK_MS / 1000.0, SIGNAL_CHECK_MS / 1000.0);
    ev_timer_start(identity->loop, &check);
    /* once judged, until it can be used: a query would open another */
    while (can_be_judged(identity) && (!identity->judged || postgres_is_busy(identity->postgres)) &&
           postgres_is_up(identity->postgres) && clock_monotonic_us() < until_us &&
           !is_signal_pending() && (stopping == NULL || !*stopping)) {
        if (renewing && !identity->judged) {
            postgres_use_generation(identity->postgres, NO_GENERATION);
            postgres_connect(identity->postgres);
        }
        ev_run(identity->loop, EVRUN_ONCE);
    }
    ev_timer_stop(identity->loop, &check);
}

void identity_start(struct identity *identity, struct postgres *postgres)
{
    identity->postgres = postgres;
    if (identity->generation != 0)
        postgres_use_generation(postgres, identity->generation);
    identity_tick(identity);
    await_judgement(identity, false, NULL);
    tend_record(identity);
    if (!identity_is_verified(identity) && !identity->complained)
        log_state(identity);
}

void identity_await(struct identity *identity, int64_t limit_ms)
{
    int64_t until_us = clock_monotonic_us() + limit_ms * 1000;
    ev_timer check;

    ev_timer_init(&check, on_signal_check, SIGNAL_CHECK_MS / 1000.0, SIGNAL_CHECK_MS / 1000.0);
    ev_timer_start(identity->loop, &check);
    /* once verified, until the session can be used, as at the start */
    while ((!identity_is_verified(identity) || postgres_is_busy(identity->postgres)) &&
           clock_monotonic_us() < until_us && !is_signal_pending())
        ev_run(identity->loop, EVRUN_ONCE);
    ev_timer_stop(identity->loop, &check);
    tend_record(identity);
}

void identity_renew(struct identity *identity, const bool *stopping)
{
    int64_t now_us = clock_monotonic_us();

    if (identity->state != IDENTITY_VERIFIED || now_us < identity->renew_at_us)
        return;
    identity->renew_at_us = now_us + ((int64_t)RENEW_US << identity->renewals);
    if (identity->renewals < RENEWALS_MAX)
        identity->renewals++;
    identity->judged = false;
    await_judgement(identity, true, stopping);
    /* in vain: sessions of the generation that is in force are as good as before */
    if (identity->state == IDENTITY_VERIFIED)
        postgres_use_generation(identity->postgres, identity->generation);
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
    look_at_note(identity);
    if (identity->state != IDENTITY_REFUSED)
        use_record(identity);
}

static int identity_destroy(struct identity *identity)
{
    ev_timer_stop(identity->loop, &identity->retry);
    if (identity->has_record && !identity->is_kept && !identity->overruled)
        keep_record(identity);
    return 0;
}

struct identity *identity_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct application *app,
                              struct old_redis *redis, bool speaks)
{
    struct identity *identity = mem_check(talloc_zero(ctx, struct identity));

    identity->loop = loop;
    identity->app = app;
    identity->redis = redis;
    identity->speaks = speaks;
    identity->judge = (struct postgres_judge){.judge = judge, .data = identity};
    identity->note_key =
        identity_note_key(identity, app->config->settings.redis.prefix, app->identity);
    strcpy(identity->record.identity, app->identity);
    identity_configuration(app, identity->record.configuration);
    identity->record.destination = app->destination;
    identity->fingerprints = mem_check(
        talloc_zero_size(identity, (app->config->n_routes + 1) * sizeof *identity->fingerprints));
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
