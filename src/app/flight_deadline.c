/* SPDX-License-Identifier: BSD-2-Clause */
/* A visit waits from its own arrival: who has waited for as long as it may fails, and the others
   wait on. */
#include "config.h"

#include "app/flight_private.h"

#include "base/clock.h"

/* From its arrival, a visit waits for a slot for a query of ours for slot_timeout; and for as long
   as another's query may take, with all that this may wait for before. */
static int64_t gives_up_us(const struct flight *flight, const struct visit *visit)
{
    const struct postgres_settings *settings =
        &flight->flights->backend->app->config->settings.postgres;
    int64_t longest_ms = settings->slot_timeout_ms;

    if (flight->state != FLIGHT_FILLING)
        longest_ms += settings->connect_timeout_ms + flight->rules->query_limit_ms + LEASE_MS;
    return visit->request->received_us + longest_ms * 1000;
}

static void set_deadline(struct flight *flight, int64_t at_us)
{
    struct ev_loop *loop = flight->flights->backend->loop;
    int64_t left_us = at_us - clock_monotonic_us();

    flight->deadline_us = at_us;
    ev_now_update(loop);
    ev_timer_stop(loop, &flight->deadline);
    ev_timer_set(&flight->deadline, (double)(left_us > 1000 ? left_us : 1000) / 1e6, 0.0);
    ev_timer_start(loop, &flight->deadline);
}

/* It can end before its query does. */
static bool has_deadline(const struct flight *flight)
{
    return flight_state_is_undecided(flight->state) ||
           (flight->state == FLIGHT_FILLING && flight->fill != NULL &&
            !fill_has_begun(flight->fill));
}

void flight_heed_deadline(struct flight *flight, const struct visit *visit)
{
    int64_t at_us = gives_up_us(flight, visit);

    if (has_deadline(flight) && (!ev_is_active(&flight->deadline) || at_us < flight->deadline_us))
        set_deadline(flight, at_us);
}

/* Takes out those who have waited for as long as they may, into a flight of their own (NULL: nobody
   has). */
static struct flight *take_out_overdue(struct flight *flight, int64_t *next_us)
{
    struct flight *failing = NULL;
    struct visit *visit, *next_in_line;
    int64_t now_us = clock_monotonic_us();

    for (visit = TAILQ_FIRST(&flight->visits); visit != NULL; visit = next_in_line) {
        int64_t at_us = gives_up_us(flight, visit);
        next_in_line = TAILQ_NEXT(visit, link);
        if (at_us > now_us) {
            *next_us = at_us < *next_us ? at_us : *next_us;
            continue;
        }
        flight_take_out(flight, visit);
        failing = flight_set_apart(failing, flight, visit);
    }
    return failing;
}

void flight_on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    static const struct flight_failure no_slot = {503, NULL, COLLAPSE_FAILED, SHED_SLOT};
    struct flight *flight = timer->data;
    bool filling = flight->state == FLIGHT_FILLING;
    int64_t next_us = INT64_MAX;

    (void)loop;
    (void)events;
    if (!has_deadline(flight)) /* it has begun meanwhile */
        return;
    struct flight *failing = take_out_overdue(flight, &next_us);
    if (TAILQ_EMPTY(&flight->visits))
        flight_leave_alone(flight);
    else
        set_deadline(flight, next_us);
    if (failing != NULL)
        flight_fail(failing, filling ? &no_slot : &flight_timed_out, true);
}
