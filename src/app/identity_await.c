/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting until a session has been judged: at a start, and when the sessions are made anew. */
#include "config.h"

#include "app/identity_private.h"

#include <signal.h>

#include "base/clock.h"

enum {
    SIGNAL_CHECK_MS = 20,
    /* Keys may also be strange for reasons that no session can mend, as after a deploy. */
    RENEW_US = 10 * 1000 * 1000,
    RENEWALS_MAX = 6, /* the wait has doubled so often at the most */
};

/* TERM, INT, QUIT and HUP are held back while a child starts; it acts on them as soon as it has. */
static bool is_signal_pending(void)
{
    sigset_t pending;

    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1 ||
            sigismember(&pending, SIGQUIT) == 1);
}

static void on_signal_check(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
}

/* A session may still be judged; once it has been, until it can be used: a query would open
   another. */
static bool is_judgement_due(const struct identity *identity, int64_t until_us)
{
    return identity_can_be_judged(identity) &&
           (!identity->judged || postgres_is_busy(identity->postgres)) &&
           postgres_is_up(identity->postgres) && clock_monotonic_us() < until_us;
}

/* Until a session has been judged, or could not be made; and what was kept has been compared. */
static void await_judgement(struct identity *identity)
{
    int64_t limit_ms = identity->app->config->settings.postgres.connect_timeout_ms;
    int64_t until_us = clock_monotonic_us() + limit_ms * 1000;
    ev_timer check;

    ev_timer_init(&check, on_signal_check, SIGNAL_CHECK_MS / 1000.0, SIGNAL_CHECK_MS / 1000.0);
    ev_timer_start(identity->loop, &check);
    while ((identity->look != NULL || is_judgement_due(identity, until_us)) && !is_signal_pending())
        ev_run(identity->loop, EVRUN_ONCE);
    ev_timer_stop(identity->loop, &check);
}

void identity_start(struct identity *identity, struct postgres *postgres)
{
    identity->postgres = postgres;
    if (identity->generation != 0)
        postgres_use_generation(postgres, identity->generation);
    identity_tick(identity);
    await_judgement(identity);
    identity_tend_record(identity);
    if (!identity_is_verified(identity) && !identity->complained)
        identity_log_state(identity);
}

void identity_await(struct identity *identity, int64_t limit_ms)
{
    int64_t until_us = clock_monotonic_us() + limit_ms * 1000;
    ev_timer check;

    ev_timer_init(&check, on_signal_check, SIGNAL_CHECK_MS / 1000.0, SIGNAL_CHECK_MS / 1000.0);
    ev_timer_start(identity->loop, &check);
    /* once verified, until the session can be used, as at the start */
    while ((!identity_is_verified(identity) || postgres_is_busy(identity->postgres)) &&
           clock_monotonic_us() < until_us && !is_signal_pending())
        ev_run(identity->loop, EVRUN_ONCE);
    ev_timer_stop(identity->loop, &check);
    identity_tend_record(identity);
}

/* ---- Sessions made anew */

void identity_stop_renewing(struct identity *identity)
{
    ev_timer_stop(identity->loop, &identity->renewal.check);
    identity->renewal.fn = NULL;
}

/* A session that there is does not count, and is closed as soon as it is idle. */
void identity_on_renewal_check(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct identity *identity = timer->data;
    const struct renewal renewal = identity->renewal;

    (void)loop;
    (void)events;
    if (is_judgement_due(identity, renewal.until_us)) {
        if (!identity->judged) {
            postgres_use_generation(identity->postgres, NO_GENERATION);
            postgres_connect(identity->postgres);
        }
        return;
    }
    identity_stop_renewing(identity);
    /* in vain: sessions of the generation that is in force are as good as before */
    if (identity->state == IDENTITY_VERIFIED)
        postgres_use_generation(identity->postgres, identity->generation);
    renewal.fn(renewal.data);
}

bool identity_renew(struct identity *identity, identity_renewed_fn *fn, void *data)
{
    struct renewal *renewal = &identity->renewal;
    int64_t limit_ms = identity->app->config->settings.postgres.connect_timeout_ms;
    int64_t now_us = clock_monotonic_us();

    if (identity->state != IDENTITY_VERIFIED || now_us < identity->renew_at_us)
        return false;
    identity->renew_at_us = now_us + ((int64_t)RENEW_US << identity->renewals);
    if (identity->renewals < RENEWALS_MAX)
        identity->renewals++;
    identity->judged = false;
    renewal->fn = fn;
    renewal->data = data;
    renewal->until_us = now_us + limit_ms * 1000;
    ev_timer_set(&renewal->check, 0.0, SIGNAL_CHECK_MS / 1000.0);
    ev_timer_start(identity->loop, &renewal->check);
    return true;
}
