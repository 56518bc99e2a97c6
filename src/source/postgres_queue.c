/* SPDX-License-Identifier: BSD-2-Clause */
/* Queries wait for a slot, which routes are given in turn; then they get an idle session or a new
   one. */
#include "config.h"

#include "source/postgres_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "source/claims.h"

enum {
    /* Other processes' slots are freed without a word: look again this often while
       queries wait. */
    SLOT_RETRY_MS = CLAIMS_RENEW_MS,
};

const struct slots_place postgres_no_place = {.slot = -1, .share = -1};

static void pump_after(struct postgres *postgres, int64_t ms)
{
    ev_now_update(postgres->loop);
    ev_timer_stop(postgres->loop, &postgres->pump);
    ev_timer_set(&postgres->pump, (double)ms / 1000.0, 0.0);
    ev_timer_start(postgres->loop, &postgres->pump);
}

static void pump_if_needed(struct postgres *postgres)
{
    if (!turns_are_empty(postgres->waiting))
        pump_after(postgres, 0);
}

void postgres_give_place_back(struct postgres *postgres, struct slots_place *place)
{
    if (place->slot == -1)
        return;
    slots_give_place_back(postgres->slots, place);
    pump_if_needed(postgres);
}

/* ---- What becomes of a query */

void postgres_answer(struct postgres *postgres, struct query *query,
                     const struct query_result *result)
{
    postgres_give_place_back(postgres, &query->place);
    query->request.done(query->request.data, result);
    talloc_free(query);
    pump_if_needed(postgres);
}

void postgres_answer_without_result(struct postgres *postgres, struct query *query,
                                    enum query_outcome outcome)
{
    const struct query_result result = {.outcome = outcome, .lost = query->resends > 0};

    postgres_answer(postgres, query, &result);
}

void postgres_queue_again(struct postgres *postgres, struct query *query)
{
    query->session = NULL;
    turns_add_again(postgres->waiting, &query->turn);
    pump_after(postgres, 0);
}

/* ---- Turns */

static struct query *query_of(struct turn *turn)
{
    return turn != NULL ? (struct query *)((char *)turn - offsetof(struct query, turn)) : NULL;
}

/* A place that it got stays with it. */
static enum slots_taken take_place(struct postgres *postgres, struct query *query)
{
    if (postgres->slots == NULL || query->place.slot != -1)
        return SLOTS_TAKEN;
    return slots_take_place(postgres->slots, query->turn.group, query->turn.since_us,
                            &query->place);
}

static struct query *find_overdue(const struct postgres *postgres)
{
    int64_t now_us = clock_monotonic_us();
    struct turn *turn;

    for (turn = turns_each(postgres->waiting, NULL); turn != NULL;
         turn = turns_each(postgres->waiting, turn))
        if (query_of(turn)->waits_until_us <= now_us && !query_is_held(query_of(turn)))
            break;
    return query_of(turn);
}

static void answer_overdue(struct postgres *postgres, enum query_outcome outcome)
{
    struct query *query;

    while ((query = find_overdue(postgres)) != NULL) {
        turns_remove(postgres->waiting, &query->turn);
        postgres_answer_without_result(postgres, query, outcome);
    }
}

/* What those wait for who wait on. */
enum lack { LACK_NOTHING, LACK_SESSION, LACK_SHARE, LACK_SLOT };

static enum lack find_lack(struct postgres *postgres, struct query *query, bool needs_new)
{
    if (needs_new && postgres_is_full(postgres))
        return LACK_SESSION;
    switch (take_place(postgres, query)) {
    case SLOTS_TAKEN:
        break;
    case SLOTS_NO_SHARE:
        return LACK_SHARE;
    case SLOTS_NONE:
        return LACK_SLOT;
    }
    return LACK_NOTHING;
}

/* Who is next and can be run, with a place; or turned away, as no session is to be had. NULL: there
   is nobody. */
static struct query *next_to_run(struct postgres *postgres, enum lack *lack)
{
    struct turn *turn;

    *lack = LACK_NOTHING;
    for (turn = turns_next(postgres->waiting, NULL); turn != NULL;
         turn = turns_next(postgres->waiting, turn)) {
        struct query *query = query_of(turn);
        query_look_at_cancel(query);
        if (query_is_held(query))
            continue;
        bool needs_new = postgres_session_for(postgres, query) == NULL;
        if (query_ends_held(query) || (needs_new && postgres_is_away(postgres)))
            return query;
        *lack = find_lack(postgres, query, needs_new);
        if (*lack == LACK_NOTHING)
            return query;
        if (*lack != LACK_SHARE)
            break;
    }
    return NULL;
}

/* What other processes wait for, and which routes they have run. */
static void look_at_others(struct postgres *postgres)
{
    struct turn *turn;

    if (postgres->slots == NULL)
        return;
    slots_look(postgres->slots);
    for (turn = turns_each(postgres->waiting, NULL); turn != NULL;
         turn = turns_each(postgres->waiting, turn))
        turns_note_served(postgres->waiting, turn->group,
                          slots_served_us(postgres->slots, turn->group));
}

static void run_or_turn_away(struct postgres *postgres, struct query *query)
{
    struct session *session = postgres_session_for(postgres, query);

    turns_remove(postgres->waiting, &query->turn);
    if (query_ends_held(query) || (session == NULL && postgres_is_away(postgres))) {
        postgres_answer_without_result(postgres, query, QUERY_AWAY);
        return;
    }
    turns_note_served(postgres->waiting, query->turn.group, clock_monotonic_us());
    query->session = session != NULL ? session : postgres_open_session(postgres);
    session_run(query->session, query);
}

void postgres_on_pump(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct postgres *postgres = timer->data;
    struct query *query;
    enum lack lack;

    (void)loop;
    (void)events;
    look_at_others(postgres);
    while ((query = next_to_run(postgres, &lack)) != NULL)
        run_or_turn_away(postgres, query);
    answer_overdue(postgres, lack == LACK_SESSION ? QUERY_FULL : QUERY_NO_SLOT);
    if (postgres->slots != NULL && (lack != LACK_SLOT || turns_are_empty(postgres->waiting)))
        slots_stop_waiting(postgres->slots);
    if (!turns_are_empty(postgres->waiting))
        pump_after(postgres, SLOT_RETRY_MS);
}

/* ---- Requests */

static int query_destroy(struct query *query)
{
    query_end_cancel(query);
    plan_release(query->plan);
    return 0;
}

struct query *postgres_query(struct postgres *postgres, const struct query_request *request)
{
    struct query *query = mem_check(talloc_zero(postgres, struct query));

    talloc_set_destructor(query, query_destroy);
    query->request = *request;
    query->statement = &postgres->statements[request->route->index];
    query->place = postgres_no_place;
    postgres_wait_longer(postgres, query, request->since_us);
    turns_add(postgres->waiting, &query->turn, request->route->index, request->since_us);
    pump_after(postgres, 0);
    return query;
}

bool postgres_has_begun(const struct query *query)
{
    return query->session != NULL || query_is_held(query);
}

bool postgres_holds_lost(const struct postgres *postgres)
{
    struct turn *turn;

    for (turn = turns_each(postgres->waiting, NULL); turn != NULL;
         turn = turns_each(postgres->waiting, turn))
        if (query_is_held(query_of(turn)))
            return true;
    return false;
}

void postgres_wait_longer(const struct postgres *postgres, struct query *query, int64_t since_us)
{
    int64_t until_us = since_us + postgres->settings->slot_timeout_ms * 1000;

    query->is_left = false;
    if (until_us > query->waits_until_us)
        query->waits_until_us = until_us;
}

bool postgres_leave(struct postgres *postgres, struct query *query, bool cancel)
{
    if (query_is_held(query)) {
        query->is_left = query->is_left || cancel;
        return false;
    }
    if (query->session == NULL) {
        turns_remove(postgres->waiting, &query->turn);
    } else if (!session_take_back(query->session)) {
        if (cancel)
            session_give_up(query->session);
        return false;
    }
    postgres_give_place_back(postgres, &query->place);
    talloc_free(query);
    return true;
}
