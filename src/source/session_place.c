/* SPDX-License-Identifier: BSD-2-Clause */
/* What the server says of itself, and the verdict on it. */
#include "config.h"

#include "source/session_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

void session_withdraw_question(struct session *session)
{
    if (session->question != NULL)
        session->options.judge.withdraw(session->question);
    session->question = NULL;
}

/* Where nobody waits for the verdict any more, nobody knows what the session is good for. */
void session_end_question(struct session *session)
{
    session->spent = session->spent || session->question != NULL;
    session_withdraw_question(session);
}

/* Whoever waits for it goes on. Results that are still to come find it when they have. */
static void take_judgement(void *data, enum place_verdict verdict, uint64_t generation)
{
    struct session *session = data;

    session->question = NULL;
    session->now.refused = verdict != PLACE_RIGHT;
    if (verdict == PLACE_RIGHT)
        session->generation = generation;
    if (session->step == STEP_JUDGE) {
        session_set_deadline(session, session->options.settings->connect_timeout_ms);
        session_go_on(session, session->now.refused ? EVENT_FAILED : EVENT_DONE);
    } else if (session->step == STEP_REJUDGE) {
        session_go_on(session, EVENT_DONE);
    }
}

/* Whether the answers of this server may be used. What is not known at once is told later. */
void session_ask_judge(struct session *session)
{
    const struct postgres_judge *judge = &session->options.judge;
    const struct place_asker asker = {.told = take_judgement, .session = session};
    const struct postgres_place place = {
        .system_identifier = session->place[PLACE_SYSTEM],
        .database_oid = session->place[PLACE_DATABASE],
        .user = session->place[PLACE_USER],
        .search_path = session->place[PLACE_SEARCH_PATH],
        .recurring = session->pooled,
    };

    session->now.refused = false;
    if (judge->judge == NULL)
        return;
    session_withdraw_question(session);
    enum place_verdict verdict =
        judge->judge(judge->data, &place, &asker, &session->question, &session->generation);
    session->now.refused = verdict == PLACE_WRONG || verdict == PLACE_UNKNOWN;
}

static void note_place(struct session *session, const PGresult *res)
{
    int n_columns = session->worked ? PLACE_RECURRING : PLACE_COLUMNS;

    for (int i = 0; i < n_columns; i++) {
        talloc_free(session->place[i]);
        session->place[i] = mem_check(talloc_strdup(session, PQgetvalue(res, 0, i)));
    }
    session->in_recovery = session->place[PLACE_IN_RECOVERY][0] == 't';
}

static bool is_same(const struct session *session, const PGresult *res, enum place_column column)
{
    return strcmp(session->place[column], PQgetvalue(res, 0, column)) == 0;
}

void session_log_recovery(void)
{
    log_event_limited(LOG_LEVEL_WARN, "postgres is in recovery",
                      log_text("action", "it is not asked, for its lag cannot be bounded"));
}

/* What a query's transaction says of where it runs: through a pooler it may have come to another
   server, and a path may change under a session, by the server's file or by a schema that is made.
 */
static void compare_place(struct session *session, const PGresult *res)
{
    bool moved = !is_same(session, res, PLACE_STARTED) || !is_same(session, res, PLACE_NAME) ||
                 (session->pooled && !is_same(session, res, PLACE_DATABASE));
    bool changed = !is_same(session, res, PLACE_USER) || !is_same(session, res, PLACE_SEARCH_PATH);

    note_place(session, res);
    if (session->in_recovery) {
        session->result.outcome = QUERY_AWAY;
        session_log_recovery();
    } else if (moved) /* another server: a new session asks which one */
    {
        session->now.terminated = true;
    } else if (changed) {
        session_ask_judge(session);
    }
}

/* A pooler tells a process id of its own, or has another server for the second transaction. */
static bool is_direct(const struct session *session)
{
    const char *backend = session->place[PLACE_BACKEND];

    return strcmp(backend, session->first_backend) == 0 &&
           strtoll(backend, NULL, 10) == PQbackendPID(session->conn);
}

static bool is_to_be_pooled(const struct session *session)
{
    const struct postgres_settings *settings = session->options.settings;

    return !settings->prepared || settings->pooler == POOLER_TRANSACTION ||
           (settings->pooler == POOLER_AUTO && !session->direct);
}

/* Two transactions, of which the second tells all. */
void session_take_place(struct session *session, const PGresult *res)
{
    if (PQntuples(res) != 1) {
        session->spent = true;
    } else if (session->worked) {
        compare_place(session, res);
    } else if (session->step == STEP_PLACE) {
        note_place(session, res);
        session->may_read_database = session->place[PLACE_MAY_READ_DATABASE][0] == 't';
        talloc_free(session->first_backend);
        session->first_backend = mem_check(talloc_strdup(session, session->place[PLACE_BACKEND]));
    } else {
        note_place(session, res);
        session->direct = is_direct(session) && session->options.settings->pooler == POOLER_AUTO;
        session->pooled = is_to_be_pooled(session);
    }
}
