/* SPDX-License-Identifier: BSD-2-Clause */
/* The connection is watched: results are taken as they come, until those of a step are complete or
   its time is over. */
#include "config.h"

#include "source/session_state.h"

#include <poll.h>

#include "base/clock.h"
#include "source/cancel.h"

enum {
    /* Of what comes, in one turn of the loop: results, and bytes of the rows' JSON. */
    RESULTS_A_TURN = 256,
    BYTES_A_TURN = 64 * 1024,
};

void session_watch(struct session *session, int events)
{
    struct ev_loop *loop = session->options.loop;
    int fd = PQsocket(session->conn);

    if (ev_is_active(&session->io) && session->io.fd == fd &&
        (session->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(loop, &session->io);
    if (fd == -1)
        return;
    ev_io_set(&session->io, fd, events);
    ev_io_start(loop, &session->io);
}

/* ---- Results */

/* Rows are taken one by one as they come, which libpq wants to be told before the first. */
static void begin_part(struct session *session)
{
    struct step_state *now = &session->now;

    now->part++;
    now->started = false;
    if (now->part < now->packet.n_parts && now->packet.parts[now->part] == PART_QUERY)
        PQsetSingleRowMode(session->conn);
}

/* true: the step is not over, and more may be there. */
static bool take_next(struct session *session)
{
    struct step_state *now = &session->now;
    PGresult *res = PQgetResult(session->conn);

    if (res == NULL) {
        if (!now->started)
            return false;
        begin_part(session);
        return true;
    }
    session_drop_arriving(session);
    now->started = PQresultStatus(res) != PGRES_PIPELINE_SYNC;
    session_take_result(session, res);
    if (session->unfinished == res)
        return false;
    PQclear(res);
    return true;
}

static void give_up(struct session *session)
{
    if (session->query != NULL && session->worked)
        session_end_query(session);
    else
        session_lose(session);
}

/* Rows that nobody wants are not read to their end. An outdated plan's query is run anew when its
   end has come. */
static void refuse_rows(struct session *session)
{
    if (!session->outdated)
        session_go_on(session, EVENT_LATE);
    else if (session->cancel == NULL)
        session->cancel = cancel_start(PQgetCancel(session->conn));
}

static bool awaits_results(const struct session *session)
{
    return session->step != STEP_JUDGE && session->step != STEP_IDLE &&
           session->step != STEP_REJUDGE;
}

/* What is there is gone on with after others have been served; no more is read meanwhile. */
static void pause_taking(struct session *session)
{
    if (session->pause.is_waiting)
        return;
    ev_io_stop(session->options.loop, &session->io);
    steps_add(session->options.steps, &session->pause);
}

static void take_results(struct session *session)
{
    size_t before = session_length(session);
    bool paused = false;
    int count = 0;

    while (!paused && awaits_results(session) && !PQisBusy(session->conn) && take_next(session)) {
        if (session->now.unexpected) {
            give_up(session);
            return;
        }
        if (session->now.syncs == session->now.packet.syncs) {
            session_step_done(session);
            return;
        }
        paused = ++count == RESULTS_A_TURN || session_length(session) >= before + BYTES_A_TURN;
    }
    if (paused || session->unfinished != NULL)
        pause_taking(session);
    if (PQstatus(session->conn) == CONNECTION_BAD)
        session_lose(session);
    else if (session->step == STEP_EXECUTE && session->now.unwanted)
        refuse_rows(session);
}

void session_on_pause_end(void *data)
{
    struct session *session = data;

    if (!session_is_alive(session))
        return;
    if (session->unfinished != NULL)
        session_write_on(session);
    if (session->unfinished != NULL) {
        steps_add(session->options.steps, &session->pause);
        return;
    }
    session_watch(session, PQflush(session->conn) == 1 ? EV_READ | EV_WRITE : EV_READ);
    take_results(session);
}

/* Behind a pooler a neighbour may have listened; libpq keeps them until they are asked for. */
static void drop_notifications(struct session *session)
{
    PGnotify *notification;

    while ((notification = PQnotifies(session->conn)) != NULL)
        PQfreemem(notification);
}

/* The rest of the row would have to be read before the connection could be used again. The server
   may have much to do behind it: the query is given up like any other. */
static void refuse_row(struct session *session)
{
    session->spent = true;
    session_go_on(session, EVENT_LATE);
    if (session->step == STEP_CANCEL)
        session_cut(session);
}

void session_on_io(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct session *session = watcher->data;

    if (session->pause.is_waiting) {
        ev_io_stop(loop, watcher);
        return;
    }
    if ((events & EV_WRITE) != 0 && PQflush(session->conn) == 0)
        session_watch(session, EV_READ);
    if (!session_count_arriving(session)) {
        refuse_row(session);
        return;
    }
    if (PQconsumeInput(session->conn) == 0 || PQstatus(session->conn) == CONNECTION_BAD) {
        session_lose(session);
        return;
    }
    drop_notifications(session);
    /* the end of the connection is still to come: a query would be lost with it */
    if (session->is_ended && session->step == STEP_IDLE)
        session_lose(session);
    else
        take_results(session);
}

/* ---- Time */

int64_t session_left_ms(int64_t until_us)
{
    int64_t left_us = until_us - clock_monotonic_us();

    return left_us > 0 ? (left_us + 999) / 1000 : 0;
}

void session_set_deadline(struct session *session, int64_t ms)
{
    ev_now_update(session->options.loop);
    ev_timer_stop(session->options.loop, &session->deadline);
    ev_timer_set(&session->deadline, (double)ms / 1000.0, 0.0);
    ev_timer_start(session->options.loop, &session->deadline);
}

void session_stop_deadline(struct session *session)
{
    ev_timer_stop(session->options.loop, &session->deadline);
}

/* Whether the server has done its part and it is us who are late, as after the process was stopped
   or the machine had no time for it: then what has come is looked at first. */
static bool is_our_delay(struct session *session)
{
    struct pollfd fd = {.fd = session->io.fd};

    if (!ev_is_active(&session->io))
        return false;
    fd.events = (short)(((session->io.events & EV_READ) != 0 ? POLLIN : 0) |
                        ((session->io.events & EV_WRITE) != 0 ? POLLOUT : 0));
    return poll(&fd, 1, 0) == 1;
}

void session_on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct session *session = timer->data;

    (void)loop;
    (void)events;
    if (session->pause.is_waiting && session->step == STEP_EXECUTE) { /* we write what has come */
        session_set_deadline(session, SERVER_FIRST_MS);
        return;
    }
    /* once: a result that comes in drops must not go on for ever */
    if (!session->late && is_our_delay(session)) {
        session->late = true;
        session_set_deadline(session, SERVER_FIRST_MS);
        return;
    }
    if (session->step < STEP_IDLE) {
        if (!session_leave_server(session, true))
            session_end_connection(session);
        return;
    }
    if (session->step != STEP_CUT && PQstatus(session->conn) == CONNECTION_BAD) {
        session_lose(session);
        return;
    }
    if (session->step == STEP_TIDY && session->query != NULL) { /* what it has come to is known */
        session->spent = true;
        session_end_query(session);
        return;
    }
    session_go_on(session, EVENT_LATE);
}
