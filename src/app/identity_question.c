/* SPDX-License-Identifier: BSD-2-Clause */
/* A question is what a session has asked and waits for, or a look of this process's own: it reads
   the note, and makes or completes it where it has to. */
#include "config.h"

#include "app/identity_private.h"

#include <string.h>

#include "base/mem.h"

enum {
    /* So many answers of the cache a question takes at the most, and never longer than this. */
    QUESTION_ANSWERS = 2,
    QUESTION_MS = 5000,
};

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
            identity_take_look(identity, noted);
        talloc_free(question);
        if (first && !identity->judged && identity->state == IDENTITY_UNVERIFIED)
            identity_use_record(identity);
        return;
    }
    enum place_verdict verdict = identity_decide(identity, question, noted, &generation);
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
    else if (found == 0 && identity_may_claim(question->identity, &mine))
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
        return identity_cannot_tell(identity, "the server does not say which database it is");
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
    enum place_verdict verdict = identity_decide(identity, question, NULL, generation);
    talloc_free(question);
    return verdict;
}

void identity_init_judge(struct identity *identity)
{
    identity->judge =
        (struct postgres_judge){.judge = judge, .withdraw = withdraw, .data = identity};
}

void identity_look_at_note(struct identity *identity)
{
    if (!identity->has_record || identity->look != NULL || !cache_is_up(identity->cache))
        return;
    identity->look = question_new(identity, &identity->record.known);
    identity->look->is_look = true;
    ask_cache(identity->look);
}
