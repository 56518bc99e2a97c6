/* SPDX-License-Identifier: BSD-2-Clause */
/* Take a job, query, store, acknowledge. One job at a time; the loop runs all the while, and so do
   heartbeats and reaping, of which at most one each is under way. */
#include "config.h"

#include "app/refresh.h"

#include <string.h>
#include <xxhash.h>

#include "app/fill.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/keys.h"
#include "refresh/backoff.h"

enum {
    TAKE_MS = 500, /* how long one BLMOVE waits */
    AT_ONCE = 0,
    NO_LIMIT = -1,
    AWAY_MS = 100, /* how often one that may not take a job looks whether it may */
    /* After what was refused or not answered it pauses, AWAY_MS at first, then doubling up to: */
    PAUSE_MS = 10 * 1000,
    /* A stop waits for so long for an answer of Redis that comes late. */
    STOP_MS = TAKE_MS + 1000,
    /* What a worker may allow for Redis's clock, which is measured with the lease here. */
    WORKERS_AHEAD_US = REDIS_CLOCK_OLD_US / 10,
};

enum refresh_state {
    REFRESH_IDLE,         /* until its timer: nothing is in hand */
    REFRESH_PUTTING_BACK, /* what an outage has left in hand */
    REFRESH_BEATING,      /* anew, after that */
    REFRESH_TAKING,       /* a job */
    REFRESH_RENEWING,     /* the sessions, for the job's key is of another generation */
    REFRESH_CHECKING,     /* the lease */
    REFRESH_FILLING,
    REFRESH_SETTLING,
    REFRESH_COUNTING,    /* a failure */
    REFRESH_BACKING_OFF, /* after it */
    REFRESH_LEAVING,     /* for good */
    REFRESH_STOPPED,
};

/* A job in hand. */
struct task {
    struct queue_job bytes; /* as on the list */
    const struct route *route;
    struct job job;
    const char *base;
    struct lease lease;
    const char *failure; /* REFRESH_COUNTING */
};

struct refresh {
    struct backend *backend;
    refresh_stopped_fn *stopped;
    void *data;
    enum refresh_state state;
    ev_timer timer;               /* the state's */
    struct queue_request *asked;  /* of the queue, by the state; NULL: nothing */
    struct cache_request *taking; /* REFRESH_CHECKING */
    struct task *task;            /* NULL: none is in hand */
    bool stopping;
    bool unsettled;    /* something may be in hand that nobody works on */
    uint64_t lost_job; /* a hash of the last under which a connection was lost */
    bool doubtful; /* a job may have been moved, or may be yet, for a take that was not answered */
    int64_t pause_ms;     /* the next one; 0: nothing has gone wrong of late */
    size_t taken;         /* jobs, ever */
    size_t taken_at_beat; /* the last */
    bool strange_at_beat; /* nobody knew of a job that was in hand then */
    struct queue_request *beating;
    struct queue_request *reaping;
};

/* Every change of state goes through here. After `ms` on_timer() is called. */
static void enter(struct refresh *refresh, enum refresh_state state, int64_t ms)
{
    struct ev_loop *loop = refresh->backend->loop;

    refresh->state = state;
    ev_timer_stop(loop, &refresh->timer);
    /* a query has limits of its own; all else must not hold a stop up */
    if (ms == NO_LIMIT && refresh->stopping && state != REFRESH_FILLING && state != REFRESH_STOPPED)
        ms = STOP_MS;
    if (ms == NO_LIMIT)
        return;
    ev_now_update(loop);
    ev_timer_set(&refresh->timer, (double)ms / 1000.0, 0.0);
    ev_timer_start(loop, &refresh->timer);
}

/* What Redis refuses it may refuse for long: it is not asked without end. */
static void take_a_pause(struct refresh *refresh)
{
    int64_t ms = refresh->pause_ms > AWAY_MS ? refresh->pause_ms : AWAY_MS;

    refresh->pause_ms = 2 * ms < PAUSE_MS ? 2 * ms : PAUSE_MS;
    enter(refresh, REFRESH_IDLE, ms);
}

static void complain(const struct refresh *refresh)
{
    const struct route *route = refresh->task->route;

    log_event_limited(LOG_LEVEL_WARN, "a refresh job could not be settled",
                      log_text("route", route != NULL ? route->pattern : "unknown"));
}

/* The one end of a job; what is left of it in the queue is put back. From the loop, what is next
   is begun. */
static void end_task(struct refresh *refresh, bool settled)
{
    if (!settled)
        complain(refresh);
    TALLOC_FREE(refresh->task);
    refresh->unsettled = refresh->unsettled || !settled;
    if (!settled) {
        take_a_pause(refresh);
        return;
    }
    refresh->pause_ms = 0;
    enter(refresh, REFRESH_IDLE, AT_ONCE);
}

/* ---- What becomes of a job */

static void count(const struct refresh *refresh, enum refresh_result result)
{
    metrics_refresh(refresh->backend->metrics, refresh->task->route, result);
}

static void on_settled(void *data, bool done)
{
    struct refresh *refresh = data;

    refresh->asked = NULL;
    end_task(refresh, done);
}

static void settle(struct refresh *refresh, bool renewed)
{
    const struct task *task = refresh->task;

    enter(refresh, REFRESH_SETTLING, NO_LIMIT);
    refresh->asked = queue_settle(refresh->backend->queue, &task->bytes, task->base, renewed,
                                  on_settled, refresh);
}

static void drop(struct refresh *refresh)
{
    if (refresh->task->route != NULL)
        count(refresh, REFRESH_DROPPED);
    settle(refresh, false);
}

static void on_counted(void *data, int64_t failures)
{
    struct refresh *refresh = data;
    const struct task *task = refresh->task;

    refresh->asked = NULL;
    log_event_limited(LOG_LEVEL_WARN, "refresh failed", log_text("route", task->route->pattern),
                      log_text("outcome", task->failure), log_number("failures", failures));
    if (failures == -1) {
        end_task(refresh, false);
        return;
    }
    enter(refresh, REFRESH_BACKING_OFF, NO_LIMIT);
    refresh->asked =
        queue_back_off(refresh->backend->queue, task->base,
                       backoff_ms(failures, task->route->context->budget_ms), on_settled, refresh);
}

/* The entry was not touched; the key is left alone for longer after each failure. */
static void fail(struct refresh *refresh, enum query_outcome outcome, bool too_large)
{
    struct task *task = refresh->task;
    int64_t budget_ms = task->route->context->budget_ms;

    task->failure = too_large ? "too-large" : query_outcome_name(outcome);
    count(refresh, REFRESH_FAILED);
    enter(refresh, REFRESH_COUNTING, NO_LIMIT);
    refresh->asked = queue_count_failure(refresh->backend->queue, &task->bytes, task->base,
                                         2 * budget_ms + 1000, on_counted, refresh);
}

/* It is we who could not run it, and nothing is known against the job. One under which connections
   were lost may have been their end: it is given another chance, and no third. */
static bool may_be_given_back(struct refresh *refresh, const struct fill_result *result)
{
    const struct queue_job *job = &refresh->task->bytes;
    uint64_t hash = XXH3_64bits(job->bytes, job->len);
    bool again = result->lost && hash == refresh->lost_job;

    refresh->lost_job = result->lost ? hash : refresh->lost_job;
    return result->outcome == QUERY_AWAY && !again;
}

/* Nothing was refused. */
static void give_back(struct refresh *refresh)
{
    TALLOC_FREE(refresh->task);
    refresh->unsettled = true;
    enter(refresh, REFRESH_IDLE, AWAY_MS);
}

static void settle_stored(struct refresh *refresh)
{
    count(refresh, REFRESH_STORED);
    settle(refresh, true);
}

static void on_filled(void *data, const struct fill_result *result)
{
    struct refresh *refresh = data;
    bool answered = result->outcome == QUERY_DONE || result->outcome == QUERY_NO_ROW;

    if (!answered && result->own && may_be_given_back(refresh, result))
        give_back(refresh);
    else if (!answered || result->storing == FILL_TOO_LARGE)
        fail(refresh, result->outcome, answered);
    else if (result->storing == FILL_STORED)
        settle_stored(refresh);
    else
        drop(refresh);
}

static void on_lost(void *data)
{
    (void)data;
}

/* ---- A job's way there */

/* Whether the entry that a stale hit saw still wants to be renewed, as the worker may have seen it.
 */
static bool wants_refresh(const struct refresh *refresh, const struct stored *stored)
{
    const struct backend *backend = refresh->backend;
    const struct route_rules *rules = application_rules(backend->app, refresh->task->route);

    if (stored->bytes == NULL || stored->entry.status != 200)
        return false;
    return freshness_judge(&rules->policy, 200, stored->entry.snapshot_us,
                           backend_now_us(backend, stored->entry.snapshot_us) + WORKERS_AHEAD_US)
               .state != FRESHNESS_FRESH;
}

static void run_query(struct refresh *refresh)
{
    const struct task *task = refresh->task;
    const struct fill_request request = {
        .route = task->route,
        .base = task->lease.base,
        .values = &task->job.values,
        .lease = &task->lease,
        .generation = identity_generation(refresh->backend->identity),
        .origin = QUERY_REFRESH,
        .since_us = clock_monotonic_us(),
        .lost = on_lost,
        .done = on_filled,
        .data = refresh,
    };

    enter(refresh, REFRESH_FILLING, NO_LIMIT);
    fill_start(refresh->backend, &request);
}

static void on_lease(void *data, struct lease_answer *answer)
{
    static const struct lease_mark none = {.kind = LEASE_MARK_NONE};
    struct refresh *refresh = data;
    struct task *task = refresh->task;

    refresh->taking = NULL;
    if (answer->state == LEASE_AWAY) {
        end_task(refresh, false);
    } else if (answer->state != LEASE_WON) {
        drop(refresh);
    } else if (!wants_refresh(refresh, answer->stored)) {
        cache_end(refresh->backend->cache, &answer->lease, &none, NULL, NULL);
        drop(refresh);
    } else {
        task->lease = answer->lease;
        run_query(refresh);
    }
}

static bool is_of_our_generation(const struct refresh *refresh)
{
    const struct identity *identity = refresh->backend->identity;
    const struct task *task = refresh->task;

    return identity_is_verified(identity) &&
           strcmp(identity_fingerprint(identity, task->route), task->job.fingerprint) == 0;
}

static void check_lease(struct refresh *refresh)
{
    struct task *task = refresh->task;

    if (!is_of_our_generation(refresh) ||
        switches_route_is_off(refresh->backend->switches, task->route) ||
        !param_values_fit(task, task->route, &task->job.values)) {
        drop(refresh);
        return;
    }
    enter(refresh, REFRESH_CHECKING, NO_LIMIT);
    refresh->taking = cache_take(refresh->backend->cache, task->base, on_lease, refresh);
}

static void on_renewed(void *data)
{
    check_lease(data);
}

/* Which route and key a job means; false: none that we know, as after a deploy. */
static bool understand(struct refresh *refresh)
{
    const struct application *app = refresh->backend->app;
    struct task *task = refresh->task;

    if (job_decode(task, task->bytes.bytes, task->bytes.len, &task->job) == -1)
        return false;
    task->route = route_table_by_name(app->routes, task->job.route);
    if (task->route == NULL)
        return false;
    pulse_at(refresh->backend->pulse, task->route->pattern);
    /* the key is the job's own in any case, so that its mark can be taken away */
    task->base = key_base(task, app->config->settings.redis.prefix, task->route,
                          task->job.fingerprint, &task->job.values);
    return true;
}

static void start_job(struct refresh *refresh, const struct queue_job *job)
{
    struct task *task = mem_check(talloc_zero(refresh, struct task));

    refresh->task = task;
    task->bytes.bytes = mem_check(talloc_memdup(task, job->bytes, job->len + 1));
    task->bytes.len = job->len;
    if (!understand(refresh)) {
        drop(refresh);
        return;
    }
    if (!is_of_our_generation(refresh) &&
        identity_renew(refresh->backend->identity, on_renewed, refresh))
        enter(refresh, REFRESH_RENEWING, NO_LIMIT);
    else
        check_lease(refresh);
}

/* ---- Between jobs */

static void leave(struct refresh *refresh);

/* One that was not answered may have moved a job, and may do so until the next is answered. */
static void on_taken(void *data, int taken, const struct queue_job *job)
{
    struct refresh *refresh = data;

    refresh->asked = NULL;
    refresh->unsettled = refresh->unsettled || refresh->doubtful || taken == -1;
    refresh->doubtful = taken == -1;
    refresh->taken += taken == 1;
    if (taken == 0)
        refresh->pause_ms = 0;
    if (refresh->stopping) /* what has come is put back */
        leave(refresh);
    else if (taken == 1)
        start_job(refresh, job);
    else if (taken == 0)
        enter(refresh, REFRESH_IDLE, AT_ONCE);
    else
        take_a_pause(refresh);
}

static void take(struct refresh *refresh)
{
    enter(refresh, REFRESH_TAKING, NO_LIMIT);
    refresh->asked = queue_take(refresh->backend->queue, TAKE_MS, on_taken, refresh);
}

static void on_beaten_anew(void *data, int64_t in_hand)
{
    struct refresh *refresh = data;

    refresh->asked = NULL;
    refresh->unsettled = in_hand != 0;
    if (in_hand == 0)
        enter(refresh, REFRESH_IDLE, AT_ONCE);
    else
        take_a_pause(refresh);
}

static void on_put_back(void *data, bool done)
{
    struct refresh *refresh = data;

    refresh->asked = NULL;
    if (!done) {
        take_a_pause(refresh);
        return;
    }
    enter(refresh, REFRESH_BEATING, NO_LIMIT);
    refresh->asked = queue_beat(refresh->backend->queue, on_beaten_anew, refresh);
}

static void put_back(struct refresh *refresh)
{
    enter(refresh, REFRESH_PUTTING_BACK, NO_LIMIT);
    refresh->asked = queue_leave(refresh->backend->queue, on_put_back, refresh);
}

/* Whether it could do what a job asks for, and is to. */
static bool may_take(const struct backend *backend)
{
    return identity_is_verified(backend->identity) && postgres_can_run(backend->postgres) &&
           !switches_refresh_is_off(backend->switches);
}

/* What is next when nothing is in hand. */
static void go_on(struct refresh *refresh)
{
    struct backend *backend = refresh->backend;

    if (refresh->stopping)
        leave(refresh);
    else if (!cache_is_up(backend->cache))
        enter(refresh, REFRESH_IDLE, AWAY_MS);
    else if (refresh->unsettled)
        put_back(refresh);
    else if (!may_take(backend))
        enter(refresh, REFRESH_IDLE, AWAY_MS);
    else
        take(refresh);
}

/* ---- Heartbeats */

/* A heartbeat while it leaves would keep its jobs from being put back. */
static bool may_beat(const struct refresh *refresh)
{
    return refresh->state != REFRESH_PUTTING_BACK && refresh->state != REFRESH_LEAVING &&
           refresh->state != REFRESH_STOPPED && cache_is_up(refresh->backend->cache);
}

static void tell_aside(const struct refresh *refresh, const char *name)
{
    const struct backend *backend = refresh->backend;
    const struct route *route = route_table_by_name(backend->app->routes, name);

    log_event(LOG_LEVEL_ERROR, "a refresh job was set aside: refreshers died with it in hand",
              log_text("route", route != NULL ? route->pattern : "unknown"),
              log_number("died", QUEUE_DEATHS), log_number("seconds", QUEUE_ASIDE_MS / 1000));
    if (route != NULL)
        metrics_refresh(backend->metrics, route, REFRESH_SET_ASIDE);
}

static void on_swept(void *data, int64_t jobs)
{
    struct refresh *refresh = data;

    (void)jobs;
    refresh->reaping = NULL;
}

static void on_reaped(void *data, const struct queue_reaped *reaped)
{
    struct refresh *refresh = data;

    refresh->reaping = NULL;
    if (reaped == NULL)
        return;
    if (reaped->put_back > 0)
        log_event(LOG_LEVEL_WARN, "jobs of a dead refresher were put back",
                  log_number("jobs", reaped->put_back));
    for (size_t i = 0; i < reaped->n_aside; i++)
        tell_aside(refresh, reaped->aside[i]);
    if (may_beat(refresh))
        refresh->reaping = queue_sweep(refresh->backend->queue, on_swept, refresh);
}

/* A job that has come unseen is put back. There is never more than one that is known of; one alone
   may have been on its way when the heart beat, and is known, or gone, a beat later. */
static void look_at_hand(struct refresh *refresh, int64_t in_hand)
{
    bool strange = in_hand > (refresh->task != NULL);

    if (in_hand > 1 ||
        (strange && refresh->strange_at_beat && refresh->taken == refresh->taken_at_beat))
        refresh->unsettled = true;
    refresh->strange_at_beat = strange;
    refresh->taken_at_beat = refresh->taken;
}

static void on_beaten(void *data, int64_t in_hand)
{
    struct refresh *refresh = data;

    refresh->beating = NULL;
    if (in_hand == -1)
        return;
    look_at_hand(refresh, in_hand);
    if (refresh->reaping == NULL && may_beat(refresh))
        refresh->reaping = queue_reap(refresh->backend->queue, on_reaped, refresh);
}

void refresh_beat(struct refresh *refresh)
{
    if (refresh->beating == NULL && may_beat(refresh))
        refresh->beating = queue_beat(refresh->backend->queue, on_beaten, refresh);
}

/* ---- The end */

/* The one end. The refresh may be gone after it. */
static void end(struct refresh *refresh)
{
    enter(refresh, REFRESH_STOPPED, NO_LIMIT);
    refresh->stopped(refresh->data);
}

static void on_left(void *data, bool done)
{
    struct refresh *refresh = data;

    (void)done;
    refresh->asked = NULL;
    end(refresh);
}

static void cancel_asked(struct refresh *refresh)
{
    queue_cancel(refresh->asked);
    refresh->asked = NULL;
    cache_cancel(refresh->taking);
    refresh->taking = NULL;
}

static void leave(struct refresh *refresh)
{
    queue_cancel(refresh->beating);
    queue_cancel(refresh->reaping);
    refresh->beating = refresh->reaping = NULL;
    TALLOC_FREE(refresh->task);
    if (!cache_is_up(refresh->backend->cache)) {
        end(refresh);
        return;
    }
    enter(refresh, REFRESH_LEAVING, NO_LIMIT);
    refresh->asked = queue_leave(refresh->backend->queue, on_left, refresh);
}

/* What is in hand, or may come to be, is put back as it leaves. */
static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct refresh *refresh = timer->data;

    (void)loop;
    (void)events;
    if (refresh->state == REFRESH_IDLE) {
        go_on(refresh);
        return;
    }
    cancel_asked(refresh);
    if (refresh->state == REFRESH_LEAVING)
        end(refresh);
    else
        leave(refresh);
}

void refresh_stop(struct refresh *refresh)
{
    if (refresh->stopping)
        return;
    refresh->stopping = true;
    switch (refresh->state) {
    case REFRESH_IDLE:
        enter(refresh, REFRESH_IDLE, AT_ONCE);
        break;
    case REFRESH_RENEWING: /* nobody has looked into it: it is put back */
        identity_stop_renewing(refresh->backend->identity);
        TALLOC_FREE(refresh->task);
        enter(refresh, REFRESH_IDLE, AT_ONCE);
        break;
    case REFRESH_PUTTING_BACK:
    case REFRESH_BEATING:
    case REFRESH_TAKING:
    case REFRESH_CHECKING:
    case REFRESH_FILLING:
    case REFRESH_SETTLING:
    case REFRESH_COUNTING:
    case REFRESH_BACKING_OFF: /* its end leads on */
        enter(refresh, refresh->state, NO_LIMIT);
        break;
    case REFRESH_LEAVING:
    case REFRESH_STOPPED:
        break;
    }
}

static int refresh_destroy(struct refresh *refresh)
{
    ev_timer_stop(refresh->backend->loop, &refresh->timer);
    if (refresh->state == REFRESH_RENEWING)
        identity_stop_renewing(refresh->backend->identity);
    cache_cancel(refresh->taking);
    queue_cancel(refresh->asked);
    queue_cancel(refresh->beating);
    queue_cancel(refresh->reaping);
    return 0;
}

struct refresh *refresh_new(TALLOC_CTX *ctx, struct backend *backend, refresh_stopped_fn *stopped,
                            void *data)
{
    struct refresh *refresh = mem_check(talloc_zero(ctx, struct refresh));

    refresh->backend = backend;
    refresh->stopped = stopped;
    refresh->data = data;
    ev_init(&refresh->timer, on_timer);
    refresh->timer.data = refresh;
    talloc_set_destructor(refresh, refresh_destroy);
    enter(refresh, REFRESH_IDLE, AT_ONCE);
    return refresh;
}
