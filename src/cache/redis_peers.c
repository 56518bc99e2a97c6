/* SPDX-License-Identifier: BSD-2-Clause */
/* A word is a key of its own, so that it ends with its process. A set lists their names: a name
   that is there costs nothing to be added again, neither memory nor replication. Who reads takes
   some of them at random, so that a trouble of a whole fleet does not make each of its processes
   read all others. */
#include "config.h"

#include "cache/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "cache/keys.h"
#include "cache/peer_word.h"
#include "cache/redis_cache.h"

enum {
    WORD_MS = 3000,
    /* Of an answer that was read. */
    KNOWN_US = 3000 * 1000,
    /* What another was without counts if it said so for so long after it began here: a trouble of
       all is not found by all in the same moment. */
    LATER_US = 1500 * 1000,
    /* A word that ends later than any is said to, if it ends at all, is nobody's. */
    ENDS_MS = 2 * WORD_MS,
    /* Names looked at, at once. Where most are of the dead, as when a fleet has gone without a
       word, more are looked at in the same beat, until those that are left are mostly alive. */
    SAMPLE = 64,
    FURTHER_SAMPLE = 1024,
    ROUNDS = 8,
    /* Also a process that is well looks now and then, to take away the names of the dead. */
    SWEEP_BEATS = 60,
    LIST_MS = 3600 * 1000,
};

struct peers {
    struct redis *redis;
    struct peer_word mine;
    char *list;
    char *key;
    char *name;
    const char *prefix, *identity;
    unsigned beats;
    bool refused;
    unsigned free_of;               /* codes that others are without */
    int64_t since_us[PEER_N_CODES]; /* when each of mine began */
    int64_t read_us;                /* when that was read; 0: never */
    struct redis_request *saying, *enrolling, *listing, *reading;
    struct redis_reply *names, *words; /* that are being read */
    size_t next;                       /* of them */
    size_t dead;                       /* of them */
    unsigned rounds;                   /* of this beat */
    unsigned said;                     /* by the one whose time is asked for, */
    int64_t heard_ms;                  /* and since when Postgres had answered it then */
    unsigned found;                    /* of free_of, so far */
};

static int peers_destroy(struct peers *peers)
{
    redis_cancel(peers->saying);
    redis_cancel(peers->enrolling);
    redis_cancel(peers->listing);
    redis_cancel(peers->reading);
    return 0;
}

static void name_host(struct peers *peers, const char *instance)
{
    char host[48] = "";

    gethostname(host, sizeof host - 1);
    peer_text_clean(host);
    snprintf(peers->mine.host, sizeof peers->mine.host, "%s.%016llx", host,
             (unsigned long long)XXH3_64bits(instance, strlen(instance)));
}

struct peers *peers_new(TALLOC_CTX *ctx, const struct peers_options *options)
{
    struct peers *peers = mem_check(talloc_zero(ctx, struct peers));
    unsigned random = (unsigned)random_number();

    peers->redis = cache_redis(options->cache);
    peers->prefix = options->prefix;
    peers->identity = options->identity;
    peers->mine.is_worker = options->is_worker;
    snprintf(peers->mine.version, sizeof peers->mine.version, "%s", PACKAGE_VERSION);
    name_host(peers, options->instance);
    peers->name =
        mem_check(talloc_asprintf(peers, "%s.%ld.%08x", peers->mine.host, (long)getpid(), random));
    peers->list = key_peers(peers, options->prefix, options->identity);
    peers->key = key_peer(peers, options->prefix, options->identity, peers->name);
    /* so that not all of a pool look in the same second */
    peers->beats = random % SWEEP_BEATS;
    talloc_set_destructor(peers, peers_destroy);
    return peers;
}

static struct redis_request *send_parts(struct peers *peers, const struct redis_part *parts,
                                        size_t count, bool writes, redis_fn *fn)
{
    const struct redis_command command = {
        .parts = parts,
        .count = count,
        .key = peers->list,
        .writes = writes,
        .is_a_trial = true,
    };

    return redis_send(peers->redis, &command, fn, peers);
}

/* These may be called when the peers are gone. */
static void ignore(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    (void)data;
    (void)outcome;
    (void)reply;
}

/* A missing right is no trouble of the host's: it is an older ACL. */
static bool takes_no_writes(const struct redis_reply *reply)
{
    switch (redis_refusal_of(reply)) {
    case REDIS_READ_ONLY:
    case REDIS_FULL:
    case REDIS_NOT_SAVING:
    case REDIS_NO_REPLICAS:
        return true;
    default:
        return false;
    }
}

static void on_said(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct peers *peers = data;

    peers->saying = NULL;
    peers->refused = outcome == REDIS_REFUSED && takes_no_writes(reply);
}

static void keep_list(struct peers *peers)
{
    struct redis_digits ms;
    const struct redis_part keep[] = {redis_text("PEXPIRE"), redis_text(peers->list),
                                      redis_number(&ms, LIST_MS)};

    send_parts(peers, keep, 3, true, ignore);
}

/* Once it is there, the set may be a new one, as in a Redis that was restarted. */
static void on_enrolled(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct peers *peers = data;

    peers->enrolling = NULL;
    if (outcome == REDIS_REPLIED && reply->kind == REDIS_NUMBER && reply->number == 1)
        keep_list(peers);
}

static void say(struct peers *peers)
{
    char word[PEER_WORD_BYTES];
    struct redis_digits ms;
    const struct redis_part enrol[] = {redis_text("SADD"), redis_text(peers->list),
                                       redis_text(peers->name)};

    if (peers->saying != NULL) /* Redis is slow, and will hear it with the next */
        return;
    peer_word_write(&peers->mine, word);
    const struct redis_part parts[] = {redis_text("SET"), redis_text(peers->key), redis_text(word),
                                       redis_text("PX"), redis_number(&ms, WORD_MS)};
    peers->saying = send_parts(peers, parts, 5, true, on_said);
    if (peers->enrolling == NULL)
        peers->enrolling = send_parts(peers, enrol, 3, true, on_enrolled);
}

/* ---- Reading */

/* Names without a word. An owner may be alive and only late: then it is back within a second. */
static void strike_off(struct peers *peers, const struct redis_reply *words)
{
    struct redis_part parts[2 + FURTHER_SAMPLE] = {redis_text("SREM"), redis_text(peers->list)};
    const struct redis_reply *names = peers->names;
    size_t count = 2;

    for (size_t i = 0; i < words->n_elements && i < names->n_elements; i++)
        if (words->elements[i]->kind == REDIS_NIL)
            parts[count++] = (struct redis_part){.data = names->elements[i]->text,
                                                 .len = names->elements[i]->len};
    peers->dead = count - 2;
    if (peers->dead > 0)
        send_parts(peers, parts, count, true, ignore);
}

static void end_reading(struct peers *peers, unsigned free_of)
{
    peers->free_of = free_of;
    peers->read_us = clock_monotonic_us();
    TALLOC_FREE(peers->words);
}

/* Those of `codes` that began long enough before `said_us`. Who has nothing to ask Postgres for
   does not find out for some seconds that it is silent: what counts is when it has answered. */
static unsigned known_by(const struct peers *peers, unsigned codes, int64_t said_us)
{
    for (size_t i = 0; i < PEER_N_CODES; i++) {
        int64_t seen_us = 1U << i == PEER_POSTGRES ? said_us - peers->heard_ms * 1000 : said_us;
        if (seen_us < peers->since_us[i] + LATER_US)
            codes &= ~(1U << i);
    }
    return codes;
}

static void ask_for_names(struct peers *peers, int64_t count);

/* Nothing is left to be learnt of these. */
static void end_round(struct peers *peers)
{
    bool is_worth_more = peers->dead * 2 > peers->names->n_elements && ++peers->rounds < ROUNDS;

    if (is_worth_more && (peers->mine.codes == 0 || (peers->mine.codes & ~peers->found) != 0))
        ask_for_names(peers, FURTHER_SAMPLE);
    else
        end_reading(peers, peers->found);
}

static void look_on(struct peers *peers);

static void on_left_ms(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct peers *peers = data;

    peers->reading = NULL;
    if (outcome != REDIS_REPLIED || reply->kind != REDIS_NUMBER) {
        end_reading(peers, 0);
        return;
    }
    int64_t left_ms = reply->number;
    int64_t said_us = clock_monotonic_us() - (left_ms < WORD_MS ? WORD_MS - left_ms : 0) * 1000;
    if (left_ms > 0 && left_ms <= ENDS_MS)
        peers->found |= known_by(peers, peers->said, said_us);
    look_on(peers);
}

/* What this word says that matters and is not known yet. */
static unsigned news(struct peers *peers, const struct redis_reply *text)
{
    struct peer_word word;

    if (text->kind != REDIS_TEXT || peer_word_read(text->text, text->len, &word) == -1)
        return 0;
    peers->heard_ms = word.heard_ms;
    return peer_free_of(&peers->mine, &word) & peers->mine.codes & ~peers->found;
}

static char *key_of(struct peers *peers, TALLOC_CTX *ctx, size_t i)
{
    return key_peer(ctx, peers->prefix, peers->identity, peers->names->elements[i]->text);
}

/* Mostly the first that says something has said it just now. */
static void look_on(struct peers *peers)
{
    while (peers->next < peers->words->n_elements && peers->next < peers->names->n_elements) {
        size_t i = peers->next++;
        peers->said = news(peers, peers->words->elements[i]);
        if (peers->said == 0)
            continue;
        char *key = key_of(peers, peers, i);
        const struct redis_part parts[] = {redis_text("PTTL"), redis_text(key)};
        peers->reading = send_parts(peers, parts, 2, false, on_left_ms);
        talloc_free(key);
        return;
    }
    end_round(peers);
}

static void on_words(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct peers *peers = data;

    peers->reading = NULL;
    if (outcome != REDIS_REPLIED || reply->kind != REDIS_ARRAY) {
        end_reading(peers, 0);
        return;
    }
    strike_off(peers, reply);
    talloc_free(peers->words);
    peers->words = talloc_steal(peers, reply);
    peers->next = 0;
    look_on(peers);
}

static void read_words(struct peers *peers)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(peers));
    struct redis_part parts[1 + FURTHER_SAMPLE] = {redis_text("MGET")};
    size_t count = 1;

    for (size_t i = 0; i < peers->names->n_elements && count <= FURTHER_SAMPLE; i++)
        parts[count++] = redis_text(key_of(peers, ctx, i));
    if (count > 1)
        peers->reading = send_parts(peers, parts, count, false, on_words);
    talloc_free(ctx);
}

static void on_names(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct peers *peers = data;

    peers->listing = NULL;
    if (outcome != REDIS_REPLIED || reply->kind != REDIS_ARRAY) {
        peers->free_of = 0;
        return;
    }
    talloc_free(peers->names);
    peers->names = talloc_steal(peers, reply);
    read_words(peers);
}

static void ask_for_names(struct peers *peers, int64_t count)
{
    struct redis_digits digits;
    const struct redis_part list[] = {redis_text("SRANDMEMBER"), redis_text(peers->list),
                                      redis_number(&digits, count)};

    peers->listing = send_parts(peers, list, 3, false, on_names);
}

static void look_around(struct peers *peers)
{
    if (peers->beats % SWEEP_BEATS == 0)
        keep_list(peers);
    if (peers->listing != NULL || peers->reading != NULL)
        return;
    peers->rounds = peers->found = 0;
    ask_for_names(peers, SAMPLE);
}

void peers_beat(struct peers *peers, const struct peers_state *state)
{
    int64_t now_us = clock_monotonic_us();

    if (peers == NULL)
        return;
    for (size_t i = 0; i < PEER_N_CODES; i++)
        if ((state->codes & ~peers->mine.codes & 1U << i) != 0)
            peers->since_us[i] = now_us;
    peers->mine.codes = state->codes;
    peers->mine.doubts = state->doubts;
    peers->mine.heard_ms = (now_us - state->heard_us) / 1000;
    say(peers);
    peers->beats++;
    if (state->codes != 0 || peers->beats % SWEEP_BEATS == 0)
        look_around(peers);
}

bool peers_are_refused(const struct peers *peers)
{
    return peers != NULL && peers->refused;
}

unsigned peers_own(const struct peers *peers, unsigned codes)
{
    if (peers == NULL || peers->read_us == 0 || clock_monotonic_us() - peers->read_us > KNOWN_US)
        return 0;
    return codes & peers->free_of;
}
