/* SPDX-License-Identifier: BSD-2-Clause */
/* Which packet each step is. */
#include "config.h"

#include "source/session_state.h"

#include <stdio.h>

#include "base/clock.h"

/* No two sessions' names are alike: should a pooler mix their connections up, there is an error and
   not somebody else's statement. */
static void name_plan(const struct session *session, unsigned number, char name[PACKET_NAME_BYTES])
{
    snprintf(name, PACKET_NAME_BYTES, "leeway_%08x_%zu_%u", session->nonce,
             session->query->statement->route->index, number);
}

static struct packet_limits limits_of(const struct session *session)
{
    const struct query *query = session->query;
    int64_t pinned_ms = session->options.settings->statement_timeout_ms;

    return (struct packet_limits){
        .execution_ms = query != NULL ? query->request.limit_ms : pinned_ms,
        .pinned_ms = pinned_ms,
        .watched = session->watched,
    };
}

static void send_prepare(struct session *session)
{
    const struct query *query = session->query;
    const struct packet_limits limits = limits_of(session);
    size_t index = query->statement->route->index;
    unsigned before = session->named[index]; /* also of a preparation that was broken off */
    char name[PACKET_NAME_BYTES], name_before[PACKET_NAME_BYTES];

    name_plan(session, query->plan->number, name);
    name_plan(session, before, name_before);
    packet_prepare(&session->now.packet, session->conn, &limits, query->plan, name,
                   before != 0 ? name_before : NULL);
    session->prepared[index] = 0;
    session->named[index] = query->plan->number;
}

static void send_execute(struct session *session)
{
    const struct query *query = session->query;
    const struct packet_limits limits = limits_of(session);
    bool named = !session->pooled && !query->is_trial;
    char name[PACKET_NAME_BYTES];

    name_plan(session, query->plan->number, name);
    const struct packet_query sent = {
        .plan = query->plan,
        .values = query->request.values,
        .name = named ? name : NULL,
        .pooled = session->pooled,
        .may_read_database = session->may_read_database,
    };
    /* age counts from before anything that can make the server take the snapshot */
    session->result.sent_us = clock_monotonic_us();
    packet_execute(&session->now.packet, session->conn, &limits, &sent);
}

void session_send_step(struct session *session)
{
    struct packet *packet = &session->now.packet;
    const struct packet_limits limits = limits_of(session);

    switch (session->step) {
    case STEP_CONNECT:
        break;
    case STEP_PLACE:
        packet_place(packet, session->conn, session->options.settings);
        break;
    case STEP_IDENTIFY:
        packet_identify(packet, session->conn, session->options.settings,
                        session->may_read_database,
                        session->place[PLACE_MAY_READ_SYSTEM][0] == 't');
        break;
    case STEP_PIN:
        packet_pin(packet, session->conn, &limits);
        break;
    case STEP_TRY:
        packet_try(packet, session->conn);
        break;
    case STEP_DESCRIBE:
        packet_describe(packet, session->conn, &limits, session->query->statement->route,
                        session->pooled, session->may_read_database);
        break;
    case STEP_PREPARE:
        send_prepare(session);
        break;
    case STEP_EXECUTE:
        send_execute(session);
        break;
    case STEP_TIDY:
        packet_tidy(packet, session->conn, session->pooled);
        break;
    case STEP_JUDGE:
    case STEP_IDLE:
    case STEP_REJUDGE:
    case STEP_CANCEL:
    case STEP_CUT:
    case STEP_CLOSED:
        break;
    }
}
