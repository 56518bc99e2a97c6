/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue as an operator sees it: a few reads, one after another, none of which changes
   anything. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/keys.h"
#include "refresh/redis_queue.h"

struct look {
    struct errand errand;
    struct queue_view *view;
    bool refreshers;
    size_t next;               /* of them, or of the names */
    struct redis_reply *names; /* of lists */
};

static void end_look(struct look *look, bool seen)
{
    queue_view_fn *fn = look->errand.fn.view;
    void *data = look->errand.data;
    TALLOC_CTX *held = mem_check(talloc_new(NULL));
    struct queue_view *view = seen ? talloc_steal(held, look->view) : NULL;

    talloc_free(look);
    fn(data, view);
    talloc_free(held);
}

static int64_t now_ms(const struct look *look)
{
    const struct redis_clock *clock = cache_clock(look->errand.queue->cache);

    return redis_clock_latest(clock, clock_monotonic_us()) / 1000;
}

static void ask(struct look *look, const char *command, const char *key, const char *more,
                errand_answered *answered)
{
    const struct redis_part parts[] = {redis_text(command), redis_text(key),
                                       redis_text(more != NULL ? more : "")};

    errand_send(&look->errand, parts, more != NULL ? 3 : 2, answered);
}

static bool is_a(enum redis_outcome outcome, const struct redis_reply *reply, enum redis_kind kind)
{
    return outcome == REDIS_REPLIED && reply->kind == kind;
}

/* The end of a list, a job or nothing. */
static bool is_last(enum redis_outcome outcome, const struct redis_reply *reply)
{
    return is_a(outcome, reply, REDIS_TEXT) || is_a(outcome, reply, REDIS_NIL);
}

/* ---- Others' lists */

static void look_at_list(struct look *look);

static void on_others_length(struct errand *errand, enum redis_outcome outcome,
                             struct redis_reply *reply)
{
    struct look *look = (struct look *)errand;

    if (!is_a(outcome, reply, REDIS_NUMBER)) {
        end_look(look, false);
        return;
    }
    look->view->n_others += reply->number > 0;
    look->view->others_length += reply->number;
    look_at_list(look);
}

static void look_at_list(struct look *look)
{
    const struct redis_queue *queue = look->errand.queue;

    while (look->next < look->names->n_elements) {
        const struct redis_reply *name = redis_reply_element(look->names, look->next++, REDIS_TEXT);
        if (name == NULL || strcmp(name->text, queue->list) == 0)
            continue;
        char *list = key_jobs(look, queue->prefix, name->text);
        ask(look, "LLEN", list, NULL, on_others_length);
        talloc_free(list);
        return;
    }
    end_look(look, true);
}

static void on_lists(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct look *look = (struct look *)errand;

    if (!is_a(outcome, reply, REDIS_ARRAY)) {
        end_look(look, false);
        return;
    }
    look->names = talloc_steal(look, reply);
    look->next = 0;
    look_at_list(look);
}

/* ---- What was set aside */

/* Jobs and until when, in turn. */
static void take_aside(struct look *look, const struct redis_reply *reply)
{
    struct queue_view *view = look->view;
    size_t count = reply->n_elements / 2;

    view->aside = mem_check(talloc_zero_array(view, struct queue_aside, (unsigned)count + 1));
    for (size_t i = 0; i < count; i++) {
        const struct redis_reply *job = redis_reply_element(reply, 2 * i, REDIS_TEXT);
        const struct redis_reply *until = redis_reply_element(reply, 2 * i + 1, REDIS_TEXT);
        if (job == NULL || until == NULL)
            continue;
        int64_t left_ms = (int64_t)strtod(until->text, NULL) - now_ms(look);
        struct queue_aside *aside = &view->aside[view->n_aside];
        if (left_ms <= 0)
            continue;
        aside->known = job_decode(view, job->text, job->len, &aside->job) == 0;
        aside->left_ms = left_ms;
        view->n_aside++;
    }
}

static void on_aside(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct look *look = (struct look *)errand;
    const struct redis_part parts[] = {redis_text("ZRANGE"), redis_text(errand->queue->lists),
                                       redis_text("0"), redis_text("-1")};

    if (!is_a(outcome, reply, REDIS_ARRAY)) {
        end_look(look, false);
        return;
    }
    take_aside(look, reply);
    errand_send(errand, parts, 4, on_lists);
}

static void look_at_aside(struct look *look)
{
    const struct redis_part parts[] = {redis_text("ZRANGE"), redis_text(look->errand.queue->aside),
                                       redis_text("0"), redis_text("-1"), redis_text("WITHSCORES")};

    errand_send(&look->errand, parts, 5, on_aside);
}

/* ---- Refreshers */

static void look_at_next(struct look *look);

static void on_hand(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct look *look = (struct look *)errand;
    struct queue_refresher *refresher = &look->view->refreshers[look->next];

    if (!is_last(outcome, reply)) {
        end_look(look, false);
        return;
    }
    refresher->in_hand = reply->kind == REDIS_TEXT;
    refresher->known =
        refresher->in_hand && job_decode(look->view, reply->text, reply->len, &refresher->job) == 0;
    look->next++;
    look_at_next(look);
}

static void on_alive(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct look *look = (struct look *)errand;
    struct queue_refresher *refresher = &look->view->refreshers[look->next];

    if (!is_a(outcome, reply, REDIS_NUMBER)) {
        end_look(look, false);
        return;
    }
    refresher->alive = reply->number == 1;
    char *list = key_of_queue(look, errand->queue->prefix, errand->queue->list, "processing",
                              refresher->name);
    ask(look, "LINDEX", list, "-1", on_hand);
    talloc_free(list);
}

static void look_at_next(struct look *look)
{
    const struct queue_view *view = look->view;

    const struct redis_queue *queue = look->errand.queue;

    if (look->next == view->n_refreshers) {
        look_at_aside(look);
        return;
    }
    char *alive =
        key_of_queue(look, queue->prefix, queue->list, "alive", view->refreshers[look->next].name);
    ask(look, "EXISTS", alive, NULL, on_alive);
    talloc_free(alive);
}

static void on_names(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct look *look = (struct look *)errand;
    struct queue_view *view = look->view;

    if (!is_a(outcome, reply, REDIS_ARRAY)) {
        end_look(look, false);
        return;
    }
    view->refreshers =
        mem_check(talloc_zero_array(view, struct queue_refresher, (unsigned)reply->n_elements + 1));
    for (size_t i = 0; i < reply->n_elements; i++) {
        const struct redis_reply *name = redis_reply_element(reply, i, REDIS_TEXT);
        if (name != NULL)
            view->refreshers[view->n_refreshers++].name =
                mem_check(talloc_strdup(view, name->text));
    }
    look_at_next(look);
}

/* ---- What waits */

static int64_t waited_ms(const struct look *look, const struct job *job)
{
    int64_t ms = now_ms(look) - job->queued_ms;

    return ms > 0 ? ms : 0;
}

/* Who may not know does without. */
static void on_abandoned(struct errand *errand, enum redis_outcome outcome,
                         struct redis_reply *reply)
{
    struct look *look = (struct look *)errand;

    if (outcome != REDIS_REPLIED && outcome != REDIS_REFUSED) {
        end_look(look, false);
        return;
    }
    if (outcome == REDIS_REPLIED)
        look->view->abandoned = reply->kind == REDIS_TEXT ? strtoll(reply->text, NULL, 10) : 0;
    if (look->refreshers)
        ask(look, "SMEMBERS", errand->queue->registry, NULL, on_names);
    else
        end_look(look, true);
}

static void on_oldest(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct look *look = (struct look *)errand;
    TALLOC_CTX *ctx = mem_check(talloc_new(look));
    struct job job;

    if (!is_last(outcome, reply)) {
        end_look(look, false);
        return;
    }
    if (reply->kind == REDIS_TEXT && job_decode(ctx, reply->text, reply->len, &job) == 0)
        look->view->oldest_ms = waited_ms(look, &job);
    talloc_free(ctx);
    ask(look, "GET", errand->queue->abandoned, NULL, on_abandoned);
}

static void on_length(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct look *look = (struct look *)errand;

    if (!is_a(outcome, reply, REDIS_NUMBER)) {
        end_look(look, false);
        return;
    }
    look->view->length = reply->number;
    ask(look, "LINDEX", errand->queue->jobs, "-1", on_oldest);
}

struct queue_request *redis_queue_look(struct queue *queue, bool refreshers, queue_view_fn *fn,
                                       void *data)
{
    struct errand *errand = errand_new(queue, sizeof(struct look), data);
    struct look *look = (struct look *)errand;

    look->refreshers = refreshers;
    errand->only_reads = true;
    look->view = mem_check(talloc_zero(look, struct queue_view));
    look->view->list = mem_check(talloc_strdup(look->view, errand->queue->list));
    look->view->oldest_ms = -1;
    look->view->abandoned = -1;
    errand->fn.view = fn;
    ask(look, "LLEN", errand->queue->jobs, NULL, on_length);
    return errand_handle(errand);
}

/* ---- Marks */

static void on_left_ms(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    int64_t ms = errand_number(outcome, reply);

    errand_end_count(errand, outcome != REDIS_REPLIED ? -1 : ms > 0 ? ms : 0);
}

struct queue_request *redis_queue_look_at_mark(struct queue *queue, const char *base,
                                               queue_count_fn *fn, void *data)
{
    struct errand *errand = errand_new(queue, sizeof(struct look), data);
    struct look *look = (struct look *)errand;

    errand->only_reads = true;
    errand->fn.count = fn;
    ask(look, "PTTL", key_of_queue(look, errand->queue->prefix, errand->queue->list, "mark", base),
        NULL, on_left_ms);
    return errand_handle(errand);
}
