/* SPDX-License-Identifier: BSD-2-Clause */
/* Looks the hosts up and has libpq connect, and says in the log what came of it. */
#include "config.h"

#include "source/session_state.h"

#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "source/verdict.h"

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
    *outage = (struct session_outage){.error = hash, .told_us = now_us, .full = session->now.full};
    log_event_limited(LOG_LEVEL_WARN, "cannot connect to postgres", log_text("error", error));
}

static void log_connection(struct session *session)
{
    char *error = mem_check(talloc_strdup(session, PQerrorMessage(session->conn)));
    size_t len = strlen(error);

    while (len > 0 && error[len - 1] == '\n')
        error[--len] = '\0';
    session->now.full = verdict_take_refusal(error);
    log_outage(session, error);
    talloc_free(error);
}

/* Where connections are few some sessions are refused and others not, for as long as it lasts. */
void session_end_outage(struct session *session)
{
    struct session_outage *outage = session->options.outage;

    if (!outage->full)
        outage->error = 0;
}

void session_poll_connect(struct session *session)
{
    switch (PQconnectPoll(session->conn)) {
    case PGRES_POLLING_READING:
        session_watch(session, EV_READ);
        break;
    case PGRES_POLLING_WRITING:
        session_watch(session, EV_WRITE);
        break;
    case PGRES_POLLING_OK:
        PQsetnonblocking(session->conn, 1);
        session_go_on(session, PQenterPipelineMode(session->conn) == 1 ? EVENT_DONE : EVENT_LOST);
        break;
    default:
        log_connection(session);
        session_lose(session);
    }
}

void session_fail_to_connect(struct session *session)
{
    if (session->step != STEP_RESOLVE && PQstatus(session->conn) == CONNECTION_BAD)
        log_connection(session);
    else
        log_outage(session, "no answer in time");
    session_lose(session);
}

static void ignore_notice(void *data, const PGresult *notice)
{
    (void)data;
    (void)notice;
}

/* `hosts` NULL: libpq finds them without looking anything up. */
static void start_connecting(struct session *session, const struct hosts *hosts)
{
    const struct postgres_settings *settings = session->options.settings;
    const char *const keywords[] = {"dbname",
                                    "password",
                                    "fallback_application_name",
                                    "client_encoding",
                                    hosts != NULL ? "host" : NULL,
                                    "hostaddr",
                                    "port",
                                    NULL};
    const char *const values[] = {settings->conninfo,
                                  settings->password,
                                  "leeway",
                                  "UTF8",
                                  hosts != NULL ? hosts->names : NULL,
                                  hosts != NULL ? hosts->addresses : NULL,
                                  hosts != NULL ? hosts->ports : NULL,
                                  NULL};

    session->conn = mem_check(PQconnectStartParams(keywords, values, 1));
    PQsetNoticeReceiver(session->conn, ignore_notice, NULL);
    PQsetErrorVerbosity(session->conn, PQERRORS_VERBOSE); /* for verdict_take_refusal() */
    /* a connection that failed at once is noticed by the first poll, from the loop */
    if (PQsocket(session->conn) != -1)
        session_watch(session, EV_WRITE);
    else
        session_set_deadline(session, 0);
}

static void on_hosts(void *data, const struct hosts *hosts, const char *problem)
{
    struct session *session = data;

    session->look_up = NULL;
    if (hosts == NULL) {
        log_outage(session, problem);
        session_go_on(session, EVENT_FAILED);
        return;
    }
    session->step = STEP_CONNECT;
    start_connecting(session, hosts);
}

void session_connect(struct session *session)
{
    const struct session_options *options = &session->options;
    int64_t timeout_ms = options->settings->connect_timeout_ms;

    session_set_deadline(session, timeout_ms);
    session->step = STEP_RESOLVE;
    session->look_up = hosts_look_up(session, options->loop, options->settings->conninfo,
                                     timeout_ms, on_hosts, session);
    if (session->look_up == NULL) {
        session->step = STEP_CONNECT;
        start_connecting(session, NULL);
    }
}
