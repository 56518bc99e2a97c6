/* SPDX-License-Identifier: BSD-2-Clause */
/* Refreshers show that they live, put back what the dead had taken, and leave. Each is a short
   sequence of commands, one after another; of refreshers there are few. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cache/keys.h"
#include "refresh/redis_queue.h"

/* KEYS: heartbeat, registry, processing. ARGV: the refresher's name, the heartbeat's milliseconds,
   those of the others. Enrolled when the heartbeat is there, so that nobody is found dead at birth.
 */
static const char beat_script[] = "redis.call('SET', KEYS[1], '1', 'PX', ARGV[2]) "
                                  "redis.call('SADD', KEYS[2], ARGV[1]) "
                                  "redis.call('PEXPIRE', KEYS[2], ARGV[3]) "
                                  "redis.call('PEXPIRE', KEYS[3], ARGV[3]) "
                                  "return redis.call('LLEN', KEYS[3])";

/* A job that a dead refresher has in hand, or a number: there is none, and it is enrolled no more.
   KEYS: heartbeat, processing, registry. ARGV: its name. */
static const char look_script[] = "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end "
                                  "local job = redis.call('LINDEX', KEYS[2], -1) "
                                  "if job then return job end "
                                  "redis.call('SREM', KEYS[3], ARGV[1]) "
                                  "return 0";

/* That job is put back: 1, or set aside: 2; or 0: it is another's meanwhile. KEYS: heartbeat,
   processing, jobs, lists, deaths, aside, mark. ARGV: job, the list's name, for how long it is
   kept, at how many deaths it is set aside (0: nobody has died of it), for how long, how many are
   kept. Nothing is taken away before it is in the other place, and a death is not counted again
   where a job cannot be moved. Deaths are of the key's, not of the job's alone: that of a short
   budget is over when it has been put back, and the next is a new one.
 */
static const char put_back_script[] =
    "if redis.call('EXISTS', KEYS[1]) == 1 "
    "or redis.call('LINDEX', KEYS[2], -1) ~= ARGV[1] then return 0 end "
    "local limit = tonumber(ARGV[4]) "
    "if limit > 0 then "
    "local deaths = redis.call('HINCRBY', KEYS[5], KEYS[7], 1) "
    "redis.call('PEXPIRE', KEYS[5], math.max(ARGV[3], ARGV[5])) "
    "if deaths >= limit then "
    "local now = redis.call('TIME') "
    "now = now[1] * 1000 + math.floor(now[2] / 1000) "
    "redis.call('SET', KEYS[7], '1', 'PX', ARGV[5]) "
    "redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', now) "
    "redis.call('ZADD', KEYS[6], now + ARGV[5], ARGV[1]) "
    "redis.call('ZREMRANGEBYRANK', KEYS[6], 0, -1 - ARGV[6]) "
    "redis.call('PEXPIRE', KEYS[6], ARGV[5]) "
    "redis.call('LREM', KEYS[2], -1, ARGV[1]) "
    "redis.call('HDEL', KEYS[5], KEYS[7]) "
    "return 2 end end "
    "local moved = redis.pcall('LMOVE', KEYS[2], KEYS[3], 'RIGHT', 'RIGHT') "
    "if type(moved) == 'table' then "
    "if limit > 0 then redis.call('HINCRBY', KEYS[5], KEYS[7], -1) end "
    "return moved end " KEEP_LIST("3", "4", "2", "3") "return 1";

/* Processing lists of other configurations, of which nobody may be left: Redis may have made one
   for a refresher that lost its power before it could say when the list ends. A living one says so
   again each second. KEYS: the lists. ARGV: milliseconds. */
static const char let_expire_script[] = "for _, key in ipairs(KEYS) do "
                                        "redis.call('PEXPIRE', key, ARGV[1], 'NX') end";

/* One turn looks at so many keys, which keeps Redis busy for a millisecond or two. */
#define SCAN_COUNT "1000"
enum { SCAN_STEPS = 4 };

/* ---- Heartbeats */

static void on_beaten(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    errand_end_count(errand, errand_number(outcome, reply));
}

struct queue_request *redis_queue_beat(struct queue *queue, queue_count_fn *fn, void *data)
{
    struct errand *errand = errand_new(queue, sizeof *errand, data);
    struct redis_queue *mine = errand->queue;
    struct redis_digits alive, keep;
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        redis_text(beat_script),
        redis_text("3"),
        redis_text(mine->alive),
        redis_text(mine->registry),
        redis_text(mine->processing),
        redis_text(mine->name),
        redis_number(&alive, QUEUE_ALIVE_MS),
        redis_number(&keep, mine->keep_ms),
    };

    errand->fn.count = fn;
    errand_send(errand, parts, 9, on_beaten);
    return fn != NULL ? errand_handle(errand) : NULL;
}

/* ---- The jobs of one */

/* One refresher's round: those that are enrolled, then those whose lists a search finds; or what it
   has in hand itself, as it leaves. */
struct round {
    struct errand errand;
    struct queue_reaped reaped;
    int steps;                 /* of the search that are still to be done */
    struct redis_reply *names; /* an array, of names or of lists' keys */
    size_t next;               /* of them */
    size_t name_at;            /* in each of them, behind what all such keys begin with */
    const char *name;          /* whose jobs are looked at: one of `names`, or its own */
    bool leaving;
    struct job job; /* the one in question; its texts are children of `job_ctx` */
    bool job_known;
    TALLOC_CTX *job_ctx;
};

static void go_on(struct round *round);
static void reap_one(struct round *round);

/* The one end. */
static void end_round(struct round *round, bool done)
{
    queue_reap_fn *reap = round->errand.fn.reap;
    void *data = round->errand.data;

    if (round->leaving) {
        errand_end_done(&round->errand, done);
        return;
    }
    struct queue_reaped reaped = round->reaped;
    TALLOC_CTX *held = mem_check(talloc_new(NULL));
    talloc_steal(held, reaped.aside);
    talloc_free(round);
    if (reap != NULL)
        reap(data, done ? &reaped : NULL);
    talloc_free(held);
}

static void note_aside(struct round *round)
{
    struct queue_reaped *reaped = &round->reaped;

    reaped->aside = mem_check(
        talloc_realloc(round, reaped->aside, const char *, (unsigned)reaped->n_aside + 1));
    reaped->aside[reaped->n_aside++] =
        round->job_known ? mem_check(talloc_strdup(reaped->aside, round->job.route)) : "";
}

static void on_put_back(struct errand *errand, enum redis_outcome outcome,
                        struct redis_reply *reply)
{
    struct round *round = (struct round *)errand;
    int64_t number = errand_number(outcome, reply);

    if (number == -1) {
        end_round(round, false);
        return;
    }
    round->reaped.put_back += number == 1;
    if (number == 2)
        note_aside(round);
    if (number == 0) /* who had it is not dead */
        go_on(round);
    else
        reap_one(round);
}

static char *mark_of(struct round *round, TALLOC_CTX *ctx)
{
    const struct redis_queue *queue = round->errand.queue;
    const struct route route = {.name = round->job.route};

    if (!round->job_known)
        return key_of_queue(ctx, queue->prefix, queue->list, "mark", "unknown");
    char *base = key_base(ctx, queue->prefix, &route, round->job.fingerprint, &round->job.values);
    return key_of_queue(ctx, queue->prefix, queue->list, "mark", base);
}

static char *key_of(const struct round *round, TALLOC_CTX *ctx, const char *kind)
{
    const struct redis_queue *queue = round->errand.queue;

    return key_of_queue(ctx, queue->prefix, queue->list, kind, round->name);
}

static void put_back(struct round *round, const struct redis_reply *job)
{
    const struct redis_queue *queue = round->errand.queue;
    TALLOC_CTX *ctx = round->job_ctx;
    struct redis_digits keep, deaths, aside, most;

    round->job_known = job_decode(ctx, job->text, job->len, &round->job) == 0;
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        redis_text(put_back_script),
        redis_text("7"),
        redis_text(key_of(round, ctx, "alive")),
        redis_text(key_of(round, ctx, "processing")),
        redis_text(queue->jobs),
        redis_text(queue->lists),
        redis_text(queue->deaths),
        redis_text(queue->aside),
        redis_text(mark_of(round, ctx)),
        {.data = job->text, .len = job->len},
        redis_text(queue->list),
        redis_number(&keep, queue->keep_ms),
        redis_number(&deaths, round->leaving ? 0 : QUEUE_DEATHS),
        redis_number(&aside, QUEUE_ASIDE_MS),
        redis_number(&most, QUEUE_ASIDE_MAX),
    };
    errand_send(&round->errand, parts, sizeof parts / sizeof parts[0], on_put_back);
}

static void on_hand(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct round *round = (struct round *)errand;

    if (outcome != REDIS_REPLIED)
        end_round(round, false);
    else if (reply->kind == REDIS_TEXT)
        put_back(round, reply);
    else
        go_on(round);
}

static void reap_one(struct round *round)
{
    const struct redis_queue *queue = round->errand.queue;

    talloc_free(round->job_ctx);
    round->job_ctx = mem_check(talloc_new(round));
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        redis_text(look_script),
        redis_text("3"),
        redis_text(key_of(round, round->job_ctx, "alive")),
        redis_text(key_of(round, round->job_ctx, "processing")),
        redis_text(queue->registry),
        redis_text(round->name),
    };
    errand_send(&round->errand, parts, 7, on_hand);
}

/* ---- Reaping */

static void take_names(struct round *round, struct redis_reply *names, size_t name_at)
{
    talloc_free(round->names);
    round->names = talloc_steal(round, names);
    round->next = 0;
    round->name_at = name_at;
}

/* It is not needed as long as nobody loses the set of names. */
static void do_without_search(struct round *round, const char *refusal)
{
    log_event(LOG_LEVEL_WARN, "jobs of unlisted refreshers are not looked for",
              log_text("refused", "SCAN"), log_text("error", refusal));
    round->errand.queue->scan_refused = true;
    end_round(round, true);
}

static bool begins_with(const struct redis_reply *key, const char *text, size_t len)
{
    return key->kind == REDIS_TEXT && key->len > len && memcmp(key->text, text, len) == 0;
}

static size_t name_at(const struct redis_queue *queue)
{
    return strlen(queue->processing) - strlen(queue->name);
}

static bool is_foreign(const struct redis_queue *queue, const struct redis_reply *key)
{
    return begins_with(key, queue->hands, strcspn(queue->hands, "*")) &&
           !begins_with(key, queue->processing, name_at(queue));
}

static void on_expiring(struct errand *errand, enum redis_outcome outcome,
                        struct redis_reply *reply)
{
    (void)outcome;
    (void)reply;
    talloc_free(errand);
}

/* What comes of it is looked at in another turn. */
static void let_foreign_expire(struct redis_queue *queue, const struct redis_reply *keys)
{
    struct errand *errand = errand_new(&queue->queue, sizeof *errand, NULL);
    struct redis_part *parts =
        mem_check(talloc_zero_array(errand, struct redis_part, 4 + (unsigned)keys->n_elements));
    struct redis_digits number, ms;
    size_t count = 3;

    for (size_t i = 0; i < keys->n_elements; i++)
        if (is_foreign(queue, keys->elements[i]))
            parts[count++] =
                (struct redis_part){.data = keys->elements[i]->text, .len = keys->elements[i]->len};
    if (count == 3) {
        talloc_free(errand);
        return;
    }
    parts[0] = redis_text("EVAL");
    parts[1] = redis_text(let_expire_script);
    parts[2] = redis_number(&number, (int64_t)count - 3);
    parts[count++] = redis_number(&ms, queue->keep_ms);
    errand_send(errand, parts, count, on_expiring);
}

static void on_found(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct round *round = (struct round *)errand;
    struct redis_queue *queue = errand->queue;
    enum redis_refusal refusal =
        outcome == REDIS_REFUSED ? redis_refusal_of(reply) : REDIS_NOT_REFUSED;

    if (refusal == REDIS_NO_RIGHT || refusal == REDIS_OTHER_ERROR) {
        do_without_search(round, redis_refusal_name(refusal));
        return;
    }
    const struct redis_reply *cursor = NULL;
    if (outcome == REDIS_REPLIED)
        cursor = redis_reply_element(reply, 0, REDIS_TEXT);
    if (cursor == NULL || redis_reply_element(reply, 1, REDIS_ARRAY) == NULL) {
        end_round(round, false);
        return;
    }
    snprintf(queue->cursor, sizeof queue->cursor, "%s", cursor->text);
    round->steps = strcmp(queue->cursor, "0") == 0 ? 0 : round->steps - 1;
    let_foreign_expire(queue, reply->elements[1]);
    take_names(round, reply->elements[1], name_at(queue));
    go_on(round);
}

/* The set of names may have been lost, by eviction or by hand; the lists themselves are what
   counts. Among many keys the search goes on in the next turn. */
static void search(struct round *round)
{
    struct redis_queue *queue = round->errand.queue;
    const struct redis_part parts[] = {
        redis_text("SCAN"),       redis_text(queue->cursor), redis_text("MATCH"),
        redis_text(queue->hands), redis_text("COUNT"),       redis_text(SCAN_COUNT),
        redis_text("TYPE"),       redis_text("list"),
    };

    errand_send(&round->errand, parts, 8, on_found);
}

static const char *next_name(struct round *round)
{
    while (round->names != NULL && round->next < round->names->n_elements) {
        const struct redis_reply *name = round->names->elements[round->next++];
        if (begins_with(name, round->errand.queue->processing, round->name_at))
            return name->text + round->name_at;
    }
    return NULL;
}

static void go_on(struct round *round)
{
    round->name = next_name(round);
    if (round->name != NULL)
        reap_one(round);
    else if (round->steps > 0)
        search(round);
    else
        end_round(round, true);
}

static void on_listed(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct round *round = (struct round *)errand;

    if (outcome != REDIS_REPLIED || reply->kind != REDIS_ARRAY) {
        end_round(round, false);
        return;
    }
    take_names(round, reply, 0);
    go_on(round);
}

static void on_turn(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct round *round = (struct round *)errand;
    const struct redis_part parts[] = {redis_text("SMEMBERS"), redis_text(errand->queue->registry)};

    if (outcome != REDIS_REPLIED)
        end_round(round, false);
    else if (!redis_reply_is(reply, "OK"))
        end_round(round, true); /* another's */
    else
        errand_send(errand, parts, 2, on_listed);
}

struct queue_request *redis_queue_reap(struct queue *queue, queue_reap_fn *fn, void *data)
{
    struct errand *errand = errand_new(queue, sizeof(struct round), data);
    struct round *round = (struct round *)errand;
    struct redis_digits ms;
    const struct redis_part parts[] = {
        redis_text("SET"),
        redis_text(errand->queue->turn),
        redis_text(errand->queue->name),
        redis_text("NX"),
        redis_text("PX"),
        redis_number(&ms, QUEUE_BEAT_MS - 100),
    };

    round->steps = errand->queue->scan_refused ? 0 : SCAN_STEPS;
    errand->fn.reap = fn;
    errand_send(errand, parts, 6, on_turn);
    return fn != NULL ? errand_handle(errand) : NULL;
}

/* ---- Leaving */

static void on_unseen(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct round *round = (struct round *)errand;

    (void)reply;
    if (outcome == REDIS_REPLIED)
        reap_one(round);
    else
        end_round(round, false);
}

struct queue_request *redis_queue_leave(struct queue *queue, queue_done_fn *fn, void *data)
{
    struct errand *errand = errand_new(queue, sizeof(struct round), data);
    struct round *round = (struct round *)errand;
    const struct redis_part parts[] = {redis_text("DEL"), redis_text(errand->queue->alive)};

    round->leaving = true;
    round->name = errand->queue->name;
    errand->fn.done = fn;
    errand_send(errand, parts, 2, on_unseen);
    return fn != NULL ? errand_handle(errand) : NULL;
}
