/* SPDX-License-Identifier: BSD-2-Clause */
/* A cancelled query keeps its session, and its slot, until the server has ended it. */
#include "config.h"

#include "source/session_state.h"

#include "base/clock.h"
#include "source/cancel.h"

enum {
    /* By this much the server may be late with ending a query that is past its limit. */
    END_MARGIN_MS = 1000,
    /* A cancelled query that goes on for this long has its connection closed, if the server then
       notices; which it does within a second, and a bit. */
    CANCEL_MS = 1000,
    NOTICE_MS = 1500,
};

/* The server would have said by now that the limit is over; what waits in front of it, for a lock
   while it is prepared or for a pooler's connection, tells nothing of the server. */
static bool is_server_hung(const struct session *session)
{
    return session->result.outcome == QUERY_TIMED_OUT && !session->pooled &&
           session->now.part == 0 && !session->now.started &&
           clock_monotonic_us() - session->step_us >= session->query->request.limit_ms * 1000;
}

/* Behind a pooler it may have waited for a server until now, and be given one as long as the
   connection is there; the time of a query that is begun then has only begun too. */
static bool may_begin_yet(const struct session *session)
{
    return session->pooled && session->now.part == 0 && !session->now.started;
}

/* A server that looks whether its client is there ends any query soon after the connection was
   closed. Else it is the statement's limit that ends it, unless its SQL catches that. */
static void set_hold(struct session *session)
{
    bool at_once = may_begin_yet(session);
    int64_t now_us = clock_monotonic_us();
    int64_t cancel_ms = at_once ? 0 : CANCEL_MS;
    int64_t noticed_us = now_us + (cancel_ms + NOTICE_MS) * 1000;
    int64_t begun_us = at_once ? now_us : session->step_us;
    int64_t limit_us = begun_us + (session->query->request.limit_ms + END_MARGIN_MS) * 1000;

    session->hold_until_us = session->watched ? noticed_us : limit_us;
    session_set_deadline(session,
                         at_once || session->watched ? cancel_ms : session_left_ms(limit_us));
}

/* The connection was lost without a word of the server. What is between may have ended our side of
   it alone, so that the server has nothing to notice: the query is cancelled, and held to its limit
   unless the server is known to have been told. A pooler answers whatever comes of a request. Where
   nobody listens any more there is no server, or it is about to notice. */
void session_hold_lost(struct session *session, struct query *query)
{
    query->held_until_us =
        session->step_us + (query->request.limit_ms + END_MARGIN_MS) * (int64_t)1000;
    query->ends_held = true;
    query->ends_if_answered = session->direct;
    query->ends_if_refused = session->watched;
    if (session->cancel == NULL)
        session->cancel = cancel_start(session->request);
    else
        PQfreeCancel(session->request);
    query->cancel = session->cancel;
    session->request = NULL;
    session->cancel = NULL;
}

static bool tells_end(const struct query *query, enum cancel_outcome outcome)
{
    return (outcome == CANCEL_ANSWERED && query->ends_if_answered) ||
           (outcome == CANCEL_REFUSED && query->ends_if_refused);
}

void query_look_at_cancel(struct query *query)
{
    enum cancel_outcome outcome =
        query->cancel != NULL ? cancel_outcome(query->cancel) : CANCEL_UNDER_WAY;
    int64_t until_us = clock_monotonic_us() + NOTICE_MS * (int64_t)1000;

    if (outcome == CANCEL_UNDER_WAY)
        return;
    query_end_cancel(query);
    if (!tells_end(query, outcome))
        return;
    if (until_us < query->held_until_us)
        query->held_until_us = until_us;
    query->ends_held = !query_may_be_sent_anew(query);
}

void query_end_cancel(struct query *query)
{
    if (query->cancel != NULL)
        cancel_end(query->cancel);
    query->cancel = NULL;
}

/* Answers the query, of which nothing more is wanted, and waits for its end. */
void session_give_query_up(struct session *session)
{
    struct query *query = session->query;

    /* nothing is answered from a place that has not been judged */
    if (session->result.outcome == QUERY_DONE || session->question != NULL)
        session->result =
            (struct query_result){.outcome = QUERY_TIMED_OUT, .sent_us = session->result.sent_us};
    session_end_question(session);
    session->hung = is_server_hung(session);
    session->spent = session->spent || session->hung || session->step == STEP_PREPARE;
    set_hold(session);
    if (session->cancel == NULL)
        session->cancel = cancel_start(PQgetCancel(session->conn));
    struct query_result result = session->result;
    result.generation = session->generation;
    result.hold_ms = session_left_ms(session->hold_until_us);
    session_log_if_slow(session, query, &result);
    session->query = NULL;
    session_forget_result(session);
    session->step = STEP_CANCEL;
    session->options.events->ended(session->options.pool, session, query, &result);
}

/* What was given up has ended. */
void session_settle(struct session *session)
{
    session_stop_deadline(session);
    session->step = STEP_IDLE;
    session->idle_since_us = clock_monotonic_us();
    session_watch(session, EV_READ);
    session->options.events->settled(session->options.pool, session);
}

/* Then the server's next attempt to send fails, or it looks whether anybody is there. */
void session_cut(struct session *session)
{
    ev_io_stop(session->options.loop, &session->io);
    PQfinish(session->conn);
    session->conn = NULL;
    session->step = STEP_CUT;
    session_set_deadline(session, session_left_ms(session->hold_until_us));
}

/* One that is still on its way would hit the next query. */
void session_end_cancel(struct session *session)
{
    if (session->cancel != NULL && !cancel_end(session->cancel))
        session->spent = true;
    session->cancel = NULL;
}
