/* SPDX-License-Identifier: BSD-2-Clause */
/* Connects to one server after the other, and says in the log what came of it. */
#include "config.h"

#include "source/session_state.h"

#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

/* How often the log is reminded of an outage that stays the same. */
enum { REMIND_S = 60 };

/* Each process tries about once a second: once for an outage, and again when it changes. */
static void log_outage(const struct session *session, const char *error)
{
    struct session_outage *outage = session->options.outage;
    int64_t now_us = clock_monotonic_us();
    uint64_t hash = XXH3_64bits(error, strlen(error)) | 1;

    if (hash == outage->error && now_us - outage->told_us < (int64_t)REMIND_S * 1000000)
        return;
    *outage = (struct session_outage){
        .error = hash,
        .told_us = now_us,
        .since_us = outage->error != 0 && !outage->full ? outage->since_us : now_us,
        .full = session->now.refusal == REFUSAL_FULL,
    };
    log_event_limited(LOG_LEVEL_WARN, "cannot connect to postgres", log_text("error", error));
}

/* Where connections are few some sessions are refused and others not, for as long as it lasts. */
void session_end_outage(struct session *session)
{
    struct session_outage *outage = session->options.outage;

    if (outage->error == 0 || outage->full)
        return;
    outage->error = 0;
    log_event_limited(LOG_LEVEL_INFO, "postgres is back", log_text("host", PQhost(session->conn)),
                      log_number("away_ms", (clock_monotonic_us() - outage->since_us) / 1000));
}

/* Of a server that was reached, and will not do. */
static void note_failure(struct session *session, bool late)
{
    const char *why = "it did not come to work";

    if (PQstatus(session->conn) == CONNECTION_BAD)
        why = talloc_strndup(session->dial, PQerrorMessage(session->conn),
                             strcspn(PQerrorMessage(session->conn), "\n"));
    else if (late)
        why = "no answer in time";
    else if (session->in_recovery)
        why = "it is in recovery";
    else if (session->now.refused)
        why = "it is not the database that is meant, or that cannot be told";
    else if (session->now.refusal == REFUSAL_FULL)
        why = "it allows no more connections";
    dial_note(session->dial, why);
}

static void keep_refusal(struct session *session, enum verdict_refusal refusal)
{
    if (refusal > session->kept_refusal)
        session->kept_refusal = refusal;
}

static void go_on_with_next(struct session *session)
{
    ev_io_stop(session->options.loop, &session->io);
    session_stop_deadline(session);
    session_withdraw_question(session);
    PQfinish(session->conn);
    session->conn = NULL;
    keep_refusal(session, session->now.refusal);
    session->now = (struct step_state){.part = 0};
    session->spent = session->in_recovery = session->late = false;
    session->step = STEP_CONNECT;
    dial_next(session->dial);
}

bool session_leave_server(struct session *session, bool late)
{
    bool is_first = session->dial == NULL || dial_problem(session->dial)[0] == '\0';

    if (session->worked || session->conn == NULL || session->now.terminated)
        return false;
    note_failure(session, late);
    if (dial_has_next(session->dial)) {
        go_on_with_next(session);
        return true;
    }
    keep_refusal(session, session->now.refusal);
    session->now.refusal = session->kept_refusal;
    if (late || !is_first)
        log_outage(session, dial_problem(session->dial));
    return false;
}

/* None is left. */
static void fail_to_connect(struct session *session)
{
    keep_refusal(session, dial_refusal(session->dial));
    session->now.refusal = session->kept_refusal;
    log_outage(session, dial_problem(session->dial));
    session_lose(session);
}

static void on_dialled(void *data, PGconn *conn)
{
    struct session *session = data;

    if (conn == NULL) {
        fail_to_connect(session);
        return;
    }
    session->conn = conn;
    PQsetnonblocking(conn, 1);
    session_set_deadline(session, dial_left_ms(session->dial));
    session_go_on(session, PQenterPipelineMode(conn) == 1 ? EVENT_DONE : EVENT_LOST);
}

void session_connect(struct session *session)
{
    const struct dial_options options = {
        .loop = session->options.loop,
        .settings = session->options.settings,
        .application = "leeway",
        .memory = session->options.memory,
    };

    session->step = STEP_CONNECT;
    session->dial = dial_new(session, &options, on_dialled, session);
}
