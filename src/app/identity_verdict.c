/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions are judged by the note in Redis; without Redis, by what this host has verified. */
#include "config.h"

#include "app/identity_private.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    /* Behind a pooler every transaction may be of another generation. */
    HOLD_US = 10 * 1000 * 1000,
};

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
    identity_enter(identity, IDENTITY_REFUSED, problem);
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

bool identity_may_claim(const struct identity *identity, const struct identity_note *mine)
{
    return !identity->overruled &&
           (!identity->has_record || identity_note_agrees(&identity->record.known, mine));
}

/* One cluster is known, and `found` agrees but for not telling which cluster it is of. */
static bool lacks_proof(const struct identity_note *known, const struct identity_note *found)
{
    return known->system[0] != '\0' && found->system[0] == '\0';
}

enum place_verdict identity_cannot_tell(struct identity *identity, const char *problem)
{
    identity_enter(identity, IDENTITY_UNVERIFIED, problem);
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
        return identity_cannot_tell(
            identity,
            "Redis cannot be asked which database is meant, or does not know it any more");
    *known = identity->record.known;
    if (!identity_note_agrees(known, found)) {
        refuse(identity, known, "the server", found);
        return PLACE_WRONG;
    }
    return lacks_proof(known, found) ? identity_cannot_tell(identity, no_proof) : PLACE_RIGHT;
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
    return lacks_proof(known, found) ? identity_cannot_tell(identity, no_proof) : PLACE_RIGHT;
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

enum place_verdict identity_decide(struct identity *identity, const struct place_question *question,
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
    identity_use_record(identity);
    *generation = identity->generation;
    return PLACE_RIGHT;
}

void identity_take_look(struct identity *identity, const struct identity_note *noted)
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
        identity_use_record(identity);
}
