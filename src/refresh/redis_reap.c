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

/* KEYS: heartbeat, processing, jobs, registry. ARGV: the refresher's name. */
static const char reap_script[] =
    "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end "
    "local count = 0 "
    "while redis.call('LMOVE', KEYS[2], KEYS[3], 'RIGHT', 'RIGHT') do count = count + 1 end "
    "redis.call('SREM', KEYS[4], ARGV[1]) "
    "return count";

/* One turn looks at so many keys, which keeps Redis busy for a millisecond or two. */
#define SCAN_COUNT "1000"
enum { SCAN_STEPS = 4 };

/* ---- Heartbeats */

static void on_enrolled(struct errand *errand, enum redis_outcome outcome,
                        struct redis_reply *reply)
{
    (void)reply;
    errand_end_done(errand, outcome == REDIS_REPLIED);
}

/* Enrolled after the heartbeat is there, so that nobody is found dead at birth. */
static void on_beaten(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    const struct redis_part parts[] = {redis_text("SADD"), redis_text(errand->queue->registry),
                                       redis_text(errand->queue->name)};

    (void)reply;
    if (outcome == REDIS_REPLIED)
        errand_send(errand, parts, 3, on_enrolled);
    else
        errand_end_done(errand, false);
}

struct queue_request *redis_queue_beat(struct queue *queue, queue_done_fn *fn, void *data)
{
    struct errand *errand = errand_new(queue, sizeof *errand, data);
    struct redis_digits ms;
    const struct redis_part parts[] = {redis_text("SET"), redis_text(errand->queue->alive),
                                       redis_text("1"), redis_text("PX"),
                                       redis_number(&ms, QUEUE_ALIVE_MS)};

    errand->fn.done = fn;
    errand_send(errand, parts, 5, on_beaten);
    return fn != NULL ? errand_handle(errand) : NULL;
}

/* ---- Reaping */

static void reap_one(struct errand *errand, const char *name, errand_answered *answered)
{
    struct redis_queue *queue = errand->queue;
    TALLOC_CTX *ctx = mem_check(talloc_new(errand));
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        redis_text(reap_script),
        redis_text("4"),
        redis_text(key_of_queue(ctx, queue->prefix, "alive", name)),
        redis_text(key_of_queue(ctx, queue->prefix, "processing", name)),
        redis_text(queue->jobs),
        redis_text(queue->registry),
        redis_text(name),
    };

    errand_send(errand, parts, 8, answered);
    talloc_free(ctx);
}

/* One refresher's round: those that are enrolled, then those whose lists a search finds. */
struct round {
    struct errand errand;
    int64_t moved;
    int steps;                 /* of the search that are still to be done */
    struct redis_reply *names; /* an array, of names or of lists' keys */
    size_t next;               /* of them */
    size_t name_at;            /* in each of them, behind what all such keys begin with */
};

static void go_on(struct round *round);

static void on_reaped(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct round *round = (struct round *)errand;
    int64_t count = errand_number(outcome, reply);

    if (count == -1) {
        errand_end_count(errand, -1);
        return;
    }
    round->moved += count;
    go_on(round);
}

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
    errand_end_count(&round->errand, round->moved);
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
        errand_end_count(errand, -1);
        return;
    }
    snprintf(queue->cursor, sizeof queue->cursor, "%s", cursor->text);
    round->steps = strcmp(queue->cursor, "0") == 0 ? 0 : round->steps - 1;
    take_names(round, reply->elements[1], strlen(queue->processing) - strlen(queue->name));
    go_on(round);
}

/* The set of names may have been lost, by eviction or by hand; the lists themselves are what
   counts. Among many keys the search goes on in the next turn. */
static void search(struct round *round)
{
    struct redis_queue *queue = round->errand.queue;
    const struct redis_part parts[] = {
        redis_text("SCAN"),       redis_text(queue->cursor), redis_text("MATCH"),
        redis_text(queue->lists), redis_text("COUNT"),       redis_text(SCAN_COUNT),
        redis_text("TYPE"),       redis_text("list"),
    };

    errand_send(&round->errand, parts, 8, on_found);
}

static const char *next_name(struct round *round)
{
    while (round->names != NULL && round->next < round->names->n_elements) {
        const struct redis_reply *name = round->names->elements[round->next++];
        if (name->kind == REDIS_TEXT && name->len > round->name_at)
            return name->text + round->name_at;
    }
    return NULL;
}

static void go_on(struct round *round)
{
    const char *name = next_name(round);

    if (name != NULL)
        reap_one(&round->errand, name, on_reaped);
    else if (round->steps > 0)
        search(round);
    else
        errand_end_count(&round->errand, round->moved);
}

static void on_listed(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct round *round = (struct round *)errand;

    if (outcome != REDIS_REPLIED || reply->kind != REDIS_ARRAY) {
        errand_end_count(errand, -1);
        return;
    }
    take_names(round, reply, 0);
    go_on(round);
}

static void on_turn(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    const struct redis_part parts[] = {redis_text("SMEMBERS"), redis_text(errand->queue->registry)};

    if (outcome != REDIS_REPLIED)
        errand_end_count(errand, -1);
    else if (!redis_reply_is(reply, "OK"))
        errand_end_count(errand, 0); /* another's */
    else
        errand_send(errand, parts, 2, on_listed);
}

struct queue_request *redis_queue_reap(struct queue *queue, queue_count_fn *fn, void *data)
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
    errand->fn.count = fn;
    errand_send(errand, parts, 6, on_turn);
    return fn != NULL ? errand_handle(errand) : NULL;
}

/* ---- Leaving */

static void on_left(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    (void)reply;
    errand_end_done(errand, outcome == REDIS_REPLIED);
}

static void on_unseen(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    (void)reply;
    if (outcome == REDIS_REPLIED)
        reap_one(errand, errand->queue->name, on_left);
    else
        errand_end_done(errand, false);
}

struct queue_request *redis_queue_leave(struct queue *queue, queue_done_fn *fn, void *data)
{
    struct errand *errand = errand_new(queue, sizeof *errand, data);
    const struct redis_part parts[] = {redis_text("DEL"), redis_text(errand->queue->alive)};

    errand->fn.done = fn;
    errand_send(errand, parts, 2, on_unseen);
    return fn != NULL ? errand_handle(errand) : NULL;
}
