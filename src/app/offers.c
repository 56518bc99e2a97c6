/* SPDX-License-Identifier: BSD-2-Clause */
/* An offer is on its way to the queue, or waits for its time on a timer of its own. It outlives the
   visit that it is for. */
#include "config.h"

#include "app/offers.h"

#include <sys/queue.h>

#include "app/recent.h"
#include "base/clock.h"
#include "base/mem.h"
#include "refresh/job.h"
#include "refresh/spread.h"

enum {
    /* One worker asks again for the same key's refresh after this. */
    ASK_AGAIN_US = 1000 * 1000,
    /* How often a worker that offers looks for lists that nobody takes from. */
    SWEEP_US = 1000 * 1000,
    SECOND_US = 1000 * 1000,
};

struct offer {
    LIST_ENTRY(offer) link; /* in `pending` */
    struct offers *offers;
    const struct route *route;
    const char *base;
    const char *bytes; /* the job */
    size_t len;
    int64_t end_us; /* of the entry's budget, on the monotonic clock */
    bool waits;     /* on `timer`, and is in `pending` */
    ev_timer timer;
    struct queue_request *request; /* NULL: not asked yet */
};

struct offers {
    struct backend *backend;
    struct recent *asked;       /* keys whose refresh was asked for */
    LIST_HEAD(, offer) pending; /* those that wait for their time */
    size_t n_pending;
    size_t n_sent;     /* that are not answered yet */
    int64_t second_us; /* the one in which n_asked were asked for */
    size_t n_asked;
    int64_t swept_us; /* when it last looked for lists that nobody takes from; 0: never */
    bool draining;
};

struct offers *offers_new(TALLOC_CTX *ctx, struct backend *backend)
{
    struct offers *offers = mem_check(talloc_zero(ctx, struct offers));

    offers->backend = backend;
    offers->asked = recent_new(offers);
    LIST_INIT(&offers->pending);
    return offers;
}

/* ---- One offer */

/* Also from its timer, which is no longer active then. */
static void stop_waiting(struct offer *offer)
{
    if (!offer->waits)
        return;
    offer->waits = false;
    ev_timer_stop(offer->offers->backend->loop, &offer->timer);
    LIST_REMOVE(offer, link);
    offer->offers->n_pending--;
}

static void note_end(struct offer *offer)
{
    offer->offers->n_sent -= offer->request != NULL;
    offer->request = NULL;
}

static int offer_destroy(struct offer *offer)
{
    stop_waiting(offer);
    queue_cancel(offer->request);
    note_end(offer);
    return 0;
}

static void on_offered(void *data, enum queue_offer result)
{
    struct offer *offer = data;

    note_end(offer);
    if (result == QUEUE_FULL)
        metrics_refresh(offer->offers->backend->metrics, offer->route, REFRESH_DROPPED);
    talloc_free(offer);
}

/* By who fills them: where there are no refreshers nobody else does. */
static void sweep_lists(struct offers *offers, int64_t now_us)
{
    if (offers->swept_us != 0 && now_us - offers->swept_us < SWEEP_US)
        return;
    offers->swept_us = now_us;
    queue_sweep(offers->backend->queue, NULL, NULL);
}

static void send(struct offer *offer)
{
    struct offers *offers = offer->offers;
    int64_t now_us = clock_monotonic_us();

    stop_waiting(offer);
    if (switches_refresh_is_off(offers->backend->switches)) { /* meanwhile */
        talloc_free(offer);
        return;
    }
    offer->request = queue_offer(offers->backend->queue, offer->base, offer->bytes, offer->len,
                                 (offer->end_us - now_us) / 1000, on_offered, offer);
    offers->n_sent++;
    sweep_lists(offers, now_us);
}

static void on_time(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    send(timer->data);
}

static void wait_for(struct offer *offer, int64_t delay_us)
{
    struct offers *offers = offer->offers;
    struct ev_loop *loop = offers->backend->loop;

    ev_now_update(loop);
    ev_timer_set(&offer->timer, (double)delay_us / 1e6, 0.0);
    ev_timer_start(loop, &offer->timer);
    offer->waits = true;
    LIST_INSERT_HEAD(&offers->pending, offer, link);
    offers->n_pending++;
}

/* NULL: its parameters are too long to be queued. */
static struct offer *make_offer(struct offers *offers, const struct visit *visit, int64_t queued_us)
{
    const struct backend *backend = offers->backend;
    const struct job job = {
        .queued_ms = redis_clock_earliest(cache_clock(backend->cache), queued_us) / 1000,
        .route = visit->route->name,
        .fingerprint = identity_fingerprint(backend->identity, visit->route),
        .values = visit->values,
    };
    struct offer *offer = mem_check(talloc_zero(offers, struct offer));

    offer->offers = offers;
    offer->route = visit->route;
    offer->bytes = job_encode(offer, &job, &offer->len);
    if (offer->bytes == NULL) {
        talloc_free(offer);
        return NULL;
    }
    ev_init(&offer->timer, on_time);
    offer->timer.data = offer;
    talloc_set_destructor(offer, offer_destroy);
    return offer;
}

/* ---- When */

static bool is_rush(struct offers *offers, int64_t now_us)
{
    if (now_us - offers->second_us >= SECOND_US) {
        offers->second_us = now_us;
        offers->n_asked = 0;
    }
    return offers->n_asked >= OFFERS_AT_ONCE;
}

static int64_t delay_us(struct offers *offers, const struct visit *visit, int64_t snapshot_us,
                        int64_t ttl_us, int64_t now_us)
{
    const struct freshness_policy *policy = &visit->rules->policy;
    int64_t stale_us = policy->budget_us - policy->refresh_after_us;
    int64_t since_us = stale_us - ttl_us; /* it is stale */

    if (!is_rush(offers, now_us) || offers->draining || offers->n_pending >= OFFERS_PENDING)
        return 0;
    int64_t due_us = spread_us(visit->base, snapshot_us, stale_us);
    return due_us > since_us ? due_us - since_us : 0;
}

void offers_ask(struct offers *offers, const struct visit *visit, int64_t snapshot_us,
                int64_t ttl_us)
{
    const struct backend *backend = offers->backend;
    int64_t now_us = clock_monotonic_us();
    int64_t again_us = ttl_us < ASK_AGAIN_US ? ttl_us : ASK_AGAIN_US;

    if (switches_refresh_is_off(backend->switches))
        return;
    /* its key is of the past */
    if (visit->generation != identity_generation(backend->identity))
        return;
    int64_t later_us = delay_us(offers, visit, snapshot_us, ttl_us, now_us);
    if (recent_check_and_add(offers->asked, visit->base, now_us, now_us + later_us + again_us))
        return;
    offers->n_asked++;
    struct offer *offer = make_offer(offers, visit, now_us);
    if (offer == NULL)
        return;
    offer->end_us = now_us + ttl_us;
    offer->base = mem_check(talloc_strdup(offer, visit->base));
    if (later_us > 0)
        wait_for(offer, later_us);
    else
        send(offer);
}

void offers_drain(struct offers *offers)
{
    struct offer *offer;

    offers->draining = true;
    while ((offer = LIST_FIRST(&offers->pending)) != NULL)
        send(offer);
}

bool offers_are_out(const struct offers *offers)
{
    return offers->n_sent == 0;
}
