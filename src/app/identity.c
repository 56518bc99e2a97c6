/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions are judged by the note in Redis. Without Redis, by what this host has verified before.
   A question is what a session has asked and waits for, or a look of this process's own. */
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

enum {
    /* How often an unverified process tries again, and how often a verified one sees whether its
       server is back, and still the same. */
    RETRY_MS = 250,
    RECONNECT_TICKS = 5,
    SIGNAL_CHECK_MS = 20,
    /* So many answers of the cache a question takes at the most, and never longer than this. */
    QUESTION_ANSWERS = 2,
    QUESTION_MS = 5000,
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

enum question_state {
    QUESTION_READS,     /* the note */
    QUESTION_CLAIMS,    /* there is none: it makes it */
    QUESTION_COMPLETES, /* one that lacks something */
};

struct place_question {
    struct identity *identity;
    enum question_state state;
    struct cache_request *request; /* NULL: none */
    ev_timer limit;
    struct identity_note found; /* what the server says; of a look: what this host knows */
    struct identity_note noted; /* QUESTION_COMPLETES */
    bool lacks_accepts;         /* likewise: it is of no use if it cannot be completed */
    bool is_look;               /* nobody is told */
    bool is_first;              /* it decides whether what runtime_dir has kept is used */
    struct place_asker asker;
    const char *user;
    const char *search_path;
    bool recurring;
};

struct renewal {
    identity_renewed_fn *fn; /* NULL: none is under way */
    void *data;
    int64_t until_us;
    ev_timer check;
};

struct identity {
    struct ev_loop *loop;
    const struct application *app;
    struct cache *cache;
    struct place_question *look; /* NULL: none is under way */
    struct renewal renewal;
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

/* By what is noted; NULL: the cache cannot say. PLACE_RIGHT and what is known of the place, or why
   not. */
static enum place_verdict compare(struct identity *identity, const struct identity_note *found,
                                  const struct identity_note *noted, struct identity_note *known)
{
    const struct identity_note *mine = identity->has_record ? &identity->record.known : found;

    if (noted == NULL)
        return compare_with_record(identity, found, known);
    *known = *noted;
    overrule(identity, !identity_note_agrees(known, mine));
    if (!identity_note_agrees(known, found)) {
        /* what this host has verified is there, and the note is of something else */
        identity->refused_by_note = identity->has_record && identity_note_agrees(mine, found);
        refuse(identity, known, "the server", found);
        return PLACE_WRONG;
    }
    return lacks_proof(known, found) ? cannot_tell(identity, no_proof) : PLACE_RIGHT;
}

static bool is_same_note(const struct identity_note *a, const struct identity_note *b)
{
    return strcmp(a->system, b->system) == 0 && strcmp(a->database, b->database) == 0 &&
           a->accepts == b->accepts;
}

/* Going to and fro with every transaction would close all sessions and find nothing stored. */
static bool is_passing(const struct identity *identity, const struct place_question *question,
                       uint64_t session)
{
    return question->recurring && identity->state == IDENTITY_VERIFIED &&
           identity->record.session != session && identity->switched_us != 0 &&
           clock_monotonic_us() - identity->switched_us < HOLD_US;
}

static void take_session(struct identity *identity, const struct place_question *question,
                         uint64_t session)
{
    struct identity_record *record = &identity->record;

    if (identity->has_record && record->session != session) {
        identity->switched_us = clock_monotonic_us();
        log_event_limited(LOG_LEVEL_WARN,
                          "a session has another user or search_path than those before",
                          log_text("identity", record->identity), log_text("user", question->user),
                          log_text("search_path", question->search_path));
    }
    record->session = session;
}

/* What a session has asked. */
static enum place_verdict decide(struct identity *identity, const struct place_question *question,
                                 const struct identity_note *noted, uint64_t *generation)
{
    struct identity_record *record = &identity->record;
    uint64_t session = identity_session_hash(question->user, question->search_path);
    struct identity_note known;
    enum place_verdict verdict = compare(identity, &question->found, noted, &known);

    identity->judged = true;
    if (verdict != PLACE_RIGHT)
        return verdict;
    if (is_passing(identity, question, session)) {
        *generation = identity_generation_of(session, &known);
        return PLACE_RIGHT;
    }
    if (!identity->has_record || record->session != session ||
        !is_same_note(&record->known, &known))
        identity->is_kept = false;
    take_session(identity, question, session);
    record->known = known;
    identity->overruled = false; /* the record is what is noted */
    identity->has_record = true;
    use_record(identity);
    *generation = identity->generation;
    return PLACE_RIGHT;
}

/* What is noted now, compared with what this host knows. One that was lost, or noted anew by a host
   that knew of fewer accepts, has been mended. */
static void take_look(struct identity *identity, const struct identity_note *noted)
{
    struct identity_note *known = &identity->record.known;

    overrule(identity, !identity_note_agrees(noted, known));
    if (identity->overruled) {
        if (identity->state == IDENTITY_REFUSED)
            return;
        identity->refused_by_note = true;
        refuse(identity, noted, "this host", known);
        return;
    }
    bool news = !is_same_note(noted, known);
    *known = *noted;
    if (news)
        identity->is_kept = false;
    bool mended = identity->state == IDENTITY_REFUSED && identity->refused_by_note;
    if (mended || (news && identity->state == IDENTITY_VERIFIED))
        use_record(identity);
}

/* ---- Questions */

static int question_destroy(struct place_question *question)
{
    struct identity *identity = question->identity;

    if (identity->look == question)
        identity->look = NULL;
    ev_timer_stop(identity->loop, &question->limit);
    cache_cancel(question->request);
    return 0;
}

static void withdraw(struct place_question *question)
{
    talloc_free(question);
}

/* The one end of a question; `noted` NULL: the cache cannot say. Who has asked may do anything. */
static void conclude(struct place_question *question, const struct identity_note *noted)
{
    struct identity *identity = question->identity;
    const struct place_asker asker = question->asker;
    uint64_t generation = 0;

    if (question->is_look) {
        bool first = question->is_first;
        if (noted != NULL)
            take_look(identity, noted);
        talloc_free(question);
        if (first && !identity->judged && identity->state == IDENTITY_UNVERIFIED)
            use_record(identity);
        return;
    }
    enum place_verdict verdict = decide(identity, question, noted, &generation);
    talloc_free(question);
    asker.told(asker.session, verdict, generation);
}

static void on_claimed(void *data, int found, const struct identity_note *noted)
{
    struct place_question *question = data;
    bool completes = question->state == QUESTION_COMPLETES && !question->lacks_accepts;
    const struct identity_note had = question->noted;

    question->request = NULL;
    /* a Redis that takes no writes will do where there is a note */
    conclude(question, found == 1 ? noted : completes ? &had : NULL);
}

static void claim(struct place_question *question, enum question_state state,
                  const struct identity_note *mine)
{
    struct identity *identity = question->identity;

    question->state = state;
    question->request =
        cache_claim_note(identity->cache, identity->app->identity, mine, on_claimed, question);
}

/* What this host would note: of a session's place, with the accepts that this host knows of. */
static struct identity_note note_of(const struct place_question *question)
{
    const struct identity *identity = question->identity;
    struct identity_note mine = question->found;

    if (identity->has_record && identity_note_agrees(&identity->record.known, &mine))
        mine.accepts = identity->record.known.accepts;
    return mine;
}

/* There is a note: it is completed by what this host knows and by what the server says now,
   whatever was accepted since. */
static void take_note(struct place_question *question, const struct identity_note *read)
{
    const struct identity *identity = question->identity;
    const struct identity_note mine = note_of(question);
    struct identity_note *noted = &question->noted, told = mine;

    *noted = *read;
    bool lacks_system = noted->system[0] == '\0';
    question->lacks_accepts = noted->accepts < mine.accepts;
    if (identity->has_record)
        identity_note_complete(noted, &identity->record.known);
    if (identity_note_agrees(noted, &mine)) {
        if (!question->is_look && noted->accepts > told.accepts)
            told.accepts = noted->accepts;
        identity_note_complete(noted, &told);
        strcpy(told.system, noted->system);
        if (question->lacks_accepts || (lacks_system && noted->system[0] != '\0')) {
            claim(question, QUESTION_COMPLETES, &told);
            return;
        }
    }
    const struct identity_note known = *noted;
    conclude(question, &known);
}

static void on_read(void *data, int found, const struct identity_note *noted)
{
    struct place_question *question = data;
    const struct identity_note mine = note_of(question);

    question->request = NULL;
    if (found == 1)
        take_note(question, noted);
    else if (found == 0 && may_claim(question->identity, &mine))
        claim(question, QUESTION_CLAIMS, &mine);
    else
        conclude(question, NULL);
}

/* As without the cache. */
static void on_limit(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct place_question *question = timer->data;

    (void)loop;
    (void)events;
    cache_cancel(question->request);
    on_claimed(question, -1, NULL);
}

static struct place_question *question_new(struct identity *identity,
                                           const struct identity_note *found)
{
    struct place_question *question = mem_check(talloc_zero(identity, struct place_question));
    int64_t limit_ms = QUESTION_ANSWERS * identity->app->config->settings.redis.command_timeout_ms;

    question->identity = identity;
    question->found = *found;
    ev_now_update(identity->loop);
    ev_timer_init(&question->limit, on_limit,
                  (double)(limit_ms < QUESTION_MS ? limit_ms : QUESTION_MS) / 1000.0, 0.0);
    question->limit.data = question;
    talloc_set_destructor(question, question_destroy);
    return question;
}

static void ask_cache(struct place_question *question)
{
    struct identity *identity = question->identity;

    ev_timer_start(identity->loop, &question->limit);
    question->request =
        cache_read_note(identity->cache, identity->app->identity, on_read, question);
}

static enum place_verdict judge(void *data, const struct postgres_place *place,
                                const struct place_asker *asker, struct place_question **asked,
                                uint64_t *generation)
{
    struct identity *identity = data;
    struct identity_note found;

    if (identity_note_set(&found, place->system_identifier, place->database_oid, "0") == -1 ||
        found.database[0] == '\0') {
        identity->judged = true;
        return cannot_tell(identity, "the server does not say which database it is");
    }
    struct place_question *question = question_new(identity, &found);
    question->asker = *asker;
    question->user = mem_check(talloc_strdup(question, place->user));
    question->search_path = mem_check(talloc_strdup(question, place->search_path));
    question->recurring = place->recurring;
    if (cache_is_up(identity->cache)) {
        *asked = question;
        ask_cache(question);
        return PLACE_ASKED;
    }
    enum place_verdict verdict = decide(identity, question, NULL, generation);
    talloc_free(question);
    return verdict;
}

/* One at a time. */
static void look_at_note(struct identity *identity)
{
    if (!identity->has_record || identity->look != NULL || !cache_is_up(identity->cache))
        return;
    identity->look = question_new(identity, &identity->record.known);
    identity->look->is_look = true;
    ask_cache(identity->look);
}

static bool can_be_judged(const struct identity *identity)
{
    return cache_is_up(identity->cache) || identity->has_record;
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

/* A session may still be judged; once it has been, until it can be used: a query would open
   another. */
static bool is_judgement_due(const struct identity *identity, int64_t until_us)
{
    return can_be_judged(identity) && (!identity->judged || postgres_is_busy(identity->postgres)) &&
           postgres_is_up(identity->postgres) && clock_monotonic_us() < until_us;
}

/* Until a session has been judged, or could not be made; and what was kept has been compared. */
static void await_judgement(struct identity *identity)
{
    int64_t limit_ms = identity->app->config->settings.postgres.connect_timeout_ms;
    int64_t until_us = clock_monotonic_us() + limit_ms * 1000;
    ev_timer check;

    ev_timer_init(&check, on_signal_check, SIGNAL_CHECK_MS / 1000.0, SIGNAL_CHECK_MS / 1000.0);
    ev_timer_start(identity->loop, &check);
    while ((identity->look != NULL || is_judgement_due(identity, until_us)) && !is_signal_pending())
        ev_run(identity->loop, EVRUN_ONCE);
    ev_timer_stop(identity->loop, &check);
}

void identity_start(struct identity *identity, struct postgres *postgres)
{
    identity->postgres = postgres;
    if (identity->generation != 0)
        postgres_use_generation(postgres, identity->generation);
    identity_tick(identity);
    await_judgement(identity);
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

void identity_stop_renewing(struct identity *identity)
{
    ev_timer_stop(identity->loop, &identity->renewal.check);
    identity->renewal.fn = NULL;
}

/* A session that there is does not count, and is closed as soon as it is idle. */
static void on_renewal_check(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct identity *identity = timer->data;
    const struct renewal renewal = identity->renewal;

    (void)loop;
    (void)events;
    if (is_judgement_due(identity, renewal.until_us)) {
        if (!identity->judged) {
            postgres_use_generation(identity->postgres, NO_GENERATION);
            postgres_connect(identity->postgres);
        }
        return;
    }
    identity_stop_renewing(identity);
    /* in vain: sessions of the generation that is in force are as good as before */
    if (identity->state == IDENTITY_VERIFIED)
        postgres_use_generation(identity->postgres, identity->generation);
    renewal.fn(renewal.data);
}

bool identity_renew(struct identity *identity, identity_renewed_fn *fn, void *data)
{
    struct renewal *renewal = &identity->renewal;
    int64_t limit_ms = identity->app->config->settings.postgres.connect_timeout_ms;
    int64_t now_us = clock_monotonic_us();

    if (identity->state != IDENTITY_VERIFIED || now_us < identity->renew_at_us)
        return false;
    identity->renew_at_us = now_us + ((int64_t)RENEW_US << identity->renewals);
    if (identity->renewals < RENEWALS_MAX)
        identity->renewals++;
    identity->judged = false;
    renewal->fn = fn;
    renewal->data = data;
    renewal->until_us = now_us + limit_ms * 1000;
    ev_timer_set(&renewal->check, 0.0, SIGNAL_CHECK_MS / 1000.0);
    ev_timer_start(identity->loop, &renewal->check);
    return true;
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
    if (identity->look != NULL)
        identity->look->is_first = true;
    else
        use_record(identity);
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
    identity->judge =
        (struct postgres_judge){.judge = judge, .withdraw = withdraw, .data = identity};
    strcpy(identity->record.identity, app->identity);
    identity_configuration(app, identity->record.configuration);
    identity->record.destination = app->destination;
    identity->fingerprints = mem_check(
        talloc_zero_size(identity, (app->config->n_routes + 1) * sizeof *identity->fingerprints));
    ev_init(&identity->renewal.check, on_renewal_check);
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
