/* SPDX-License-Identifier: BSD-2-Clause */
/* Query, entry, store. A fill that has told its owner stays until the cache has said what became of
   its last question, so that a store that was not confirmed is not left without a word, and until
   the server does not run the query any more. */
#include "config.h"

#include "app/fill.h"

#include <assert.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/problem.h"

enum fill_state {
    FILL_QUERYING,
    FILL_SETTLING, /* the cache is asked to store, or what there is to know before an answer */
    FILL_TOLD,     /* the owner knows; the cache or the server has not come to an end */
};

struct fill {
    struct backend *backend;
    struct fill_request request;
    enum fill_state state;
    struct query *query; /* FILL_QUERYING */
    struct lease lease;  /* with a base of our own */
    bool leased;         /* as far as we know */
    bool fits;           /* the result is of the key's generation */
    bool told;           /* QUERY_AWAY: as in struct query_result */
    struct redis_clock_reading
        clock;                      /* the cache's, as it was read last before the query was sent */
    struct fill_result result;      /* from FILL_SETTLING on */
    struct stored stored;           /* what it points to, */
    const char *stored_at;          /* and where its bytes begin */
    struct cache_request *renewal;  /* under way; NULL: none is */
    struct cache_request *settling; /* likewise */
    bool runs_on;                   /* the server may still run the query that failed */
    int64_t failed_us;              /* when the key was marked for as long as that; 0: it was not */
    ev_timer renew;
    ev_timer patience; /* FILL_SETTLING: for how long the owner waits for the cache */
};

static const struct lease_mark no_mark = {.kind = LEASE_MARK_NONE};

/* What a client is told about a query that ended so. */
static int status_of(enum query_outcome outcome)
{
    static const int statuses[] = {
        [QUERY_DONE] = 200,   [QUERY_NO_ROW] = 404,    [QUERY_BAD_VALUE] = 400,
        [QUERY_BROKEN] = 500, [QUERY_TIMED_OUT] = 504, [QUERY_NO_SLOT] = 503,
        [QUERY_AWAY] = 503,   [QUERY_CHOSEN] = 500,    [QUERY_FULL] = 503,
        [QUERY_LEFT] = 503,   [QUERY_NO_ROOM] = 500,
    };

    return statuses[outcome];
}

/* What is under way no longer concerns anybody but the last question. */
static void stop_renewing(struct fill *fill)
{
    ev_timer_stop(fill->backend->loop, &fill->renew);
    cache_cancel(fill->renewal);
    fill->renewal = NULL;
}

static void set_state(struct fill *fill, enum fill_state state)
{
    struct ev_loop *loop = fill->backend->loop;

    assert(state > fill->state);
    fill->state = state;
    ev_timer_stop(loop, &fill->patience);
    if (state == FILL_TOLD)
        stop_renewing(fill);
    if (state != FILL_SETTLING)
        return;
    ev_timer_stop(loop, &fill->renew);
    ev_now_update(loop);
    ev_timer_start(loop, &fill->patience);
}

static int fill_destroy(struct fill *fill)
{
    stop_renewing(fill);
    ev_timer_stop(fill->backend->loop, &fill->patience);
    cache_cancel(fill->settling);
    return 0;
}

/* Nothing is left to be done. */
static void free_if_over(struct fill *fill)
{
    if (fill->state == FILL_TOLD && fill->settling == NULL && !fill->runs_on)
        talloc_free(fill);
}

/* The one end that the owner sees. */
static void tell(struct fill *fill)
{
    set_state(fill, FILL_TOLD);
    fill->result.unmarked = fill->result.unmarked && fill->runs_on;
    fill->request.done(fill->request.data, &fill->result);
    free_if_over(fill);
}

static void on_renewed(void *data, enum lease_end end, int64_t asked_us)
{
    struct fill *fill = data;

    fill->renewal = NULL;
    if (end == LEASE_KEPT)
        fill->lease.held_at_us = asked_us;
    if (end != LEASE_LOST)
        return;
    fill->leased = false;
    stop_renewing(fill);
    fill->request.lost(fill->request.data);
}

/* One at a time: one that is not answered says nothing that the next one would not. */
static void on_renew(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct fill *fill = timer->data;

    (void)loop;
    (void)events;
    if (fill->renewal == NULL)
        fill->renewal = cache_renew(fill->backend->cache, &fill->lease, on_renewed, fill);
}

/* What was sent is known only by a clock that was known then. */
static int64_t snapshot_of(const struct fill *fill, int64_t sent_us)
{
    const struct redis_clock *clock = cache_clock(fill->backend->cache);
    bool known = clock->known && fill->clock.received_us != 0;

    return known ? redis_clock_earliest_after(clock, &fill->clock, sent_us) : 0;
}

/* What is not to be stored is not worth a coding that its client does not want; a large one is not
   either. */
static const struct coding *coding_for(const struct fill *fill, size_t body_len)
{
    const struct backend *backend = fill->backend;

    if (body_len > (size_t)backend->app->config->settings.max_object_bytes ||
        (fill->request.lease == NULL && !fill->request.coded))
        return NULL;
    return fill->request.route->context->coding;
}

static struct entry_facts facts_of(const struct fill *fill, int64_t sent_us, size_t body_len)
{
    const struct backend *backend = fill->backend;
    const struct redis_clock *clock = cache_clock(backend->cache);
    const struct context *context = fill->request.route->context;

    return (struct entry_facts){
        .snapshot_us = snapshot_of(fill, sent_us),
        .arrival_us = clock->known ? redis_clock_latest(clock, clock_monotonic_us()) : 0,
        .clock = cache_server_id(backend->cache),
        .status = fill->result.status,
        .key = entry_key(fill->request.base),
        .tags = "",
        .varies = context->coding != NULL,
        .coding = coding_for(fill, body_len),
        .coding_from_bytes = (size_t)context->compress_min_bytes,
    };
}

/* `chunk` has the entry, and is the fill's from now on. */
static void take_entry(struct fill *fill, void *chunk, const char *entry, size_t len, uint64_t key)
{
    /* just encoded: it cannot fail to decode */
    if (entry_decode(entry, len, key, &fill->stored.entry) == -1)
        fill->result.outcome = QUERY_BROKEN;
    fill->stored.bytes = talloc_steal(fill, chunk);
    fill->stored_at = entry;
    fill->result.stored = &fill->stored;
}

static void encode(struct fill *fill, const struct entry_facts *facts, const char *body,
                   size_t body_len)
{
    struct buf bytes;

    buf_init(&bytes, fill, 0);
    entry_encode(&bytes, facts, body, body_len);
    take_entry(fill, bytes.data, bytes.data, bytes.len, facts->key);
}

/* Without a copy of it if that can be: it may be long. */
static void encode_json(struct fill *fill, const struct query_result *query)
{
    const struct json_text *json = query->json;
    const struct entry_hash hash = {json->hash_high, json->hash_low};
    const struct entry_facts facts = facts_of(fill, query->sent_us, json->len);
    const char *entry =
        entry_encode_around(json->bytes, json->len, JSON_ROOM_BEFORE, &hash, &facts);

    if (entry == NULL)
        encode(fill, &facts, json->bytes, json->len);
    else
        take_entry(fill, json->chunk, entry, (size_t)(json->bytes + json->len - entry), facts.key);
}

/* The body of the answer: the query's JSON, or a problem document for no row. */
static void make_entry(struct fill *fill, const struct query_result *query)
{
    const char *detail = query->message != NULL ? query->message : "There is no such resource.";
    size_t body_len;

    if (query->outcome != QUERY_NO_ROW) {
        encode_json(fill, query);
        return;
    }
    const char *body = problem_body(fill, fill->result.status, detail, &body_len);
    const struct entry_facts facts = facts_of(fill, query->sent_us, body_len);
    encode(fill, &facts, body, body_len);
}

/* Held when it was asked: a purge that was acknowledged before is known by then. */
static void take_end(struct fill *fill, enum lease_end end, int64_t asked_us)
{
    bool held = end == LEASE_KEPT || end == LEASE_STORED;

    fill->result.for_before_us = held ? asked_us : fill->lease.held_at_us;
}

static void on_stored(void *data, enum lease_end end, int64_t asked_us)
{
    static const enum fill_storing storing[] = {
        [LEASE_UNKNOWN] = FILL_NO_REDIS,
        [LEASE_LOST] = FILL_NOT_STORED,
        [LEASE_KEPT] = FILL_NOT_STORED,
        [LEASE_STORED] = FILL_STORED,
    };
    struct fill *fill = data;

    fill->settling = NULL;
    if (end == LEASE_UNKNOWN) /* it may have no memory for the entry: nobody is to wait for us */
        cache_end(fill->backend->cache, &fill->lease, &no_mark, NULL, NULL);
    if (fill->state == FILL_TOLD) {
        free_if_over(fill);
        return;
    }
    fill->result.storing = storing[end];
    take_end(fill, end, asked_us);
    tell(fill);
}

static void on_ended(void *data, enum lease_end end, int64_t asked_us)
{
    struct fill *fill = data;

    fill->settling = NULL;
    if (fill->state == FILL_TOLD) {
        free_if_over(fill);
        return;
    }
    take_end(fill, end, asked_us);
    tell(fill);
}

static void on_marked(void *data, enum lease_end end, int64_t asked_us)
{
    struct fill *fill = data;

    (void)asked_us;
    fill->settling = NULL;
    if (fill->state == FILL_TOLD) {
        free_if_over(fill);
        return;
    }
    fill->result.unmarked = end != LEASE_KEPT;
    tell(fill);
}

static void on_measured(void *data, bool up)
{
    struct fill *fill = data;

    (void)up;
    fill->settling = NULL;
    if (fill->state == FILL_TOLD)
        free_if_over(fill);
    else
        tell(fill);
}

/* As if the cache had said that it does not know. */
static void on_patience(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct fill *fill = timer->data;

    (void)loop;
    (void)events;
    if (fill->result.storing == FILL_STORED)
        fill->result.storing = FILL_NO_REDIS;
    tell(fill);
}

static void end_without_store(struct fill *fill, const struct lease_mark *mark)
{
    fill->settling = cache_end(fill->backend->cache, &fill->lease, mark, on_ended, fill);
}

/* Until it says otherwise, `storing` is what the store is to come to. */
static void store_under_lease(struct fill *fill)
{
    static const struct lease_mark too_large = {.kind = LEASE_MARK_TOO_LARGE};
    const struct backend *backend = fill->backend;
    const struct cache_entry *entry = &fill->stored.entry;
    const char *bytes = fill->stored_at;
    const struct freshness_policy *policy =
        &application_rules(backend->app, fill->request.route)->policy;
    int64_t expiry_ms = freshness_expiry_ms(policy, entry->status, entry->snapshot_us);
    int64_t now_us = redis_clock_latest(cache_clock(backend->cache), clock_monotonic_us());

    /* an operator may have disabled the route meanwhile */
    if (!fill->fits || !identity_is_verified(backend->identity) ||
        switches_route_is_off(backend->switches, fill->request.route) ||
        expiry_ms <= now_us / 1000) {
        fill->result.storing = FILL_NOT_STORED;
        end_without_store(fill, &no_mark);
    } else if (entry->plain_len > (size_t)backend->app->config->settings.max_object_bytes) {
        fill->result.storing = FILL_TOO_LARGE;
        end_without_store(fill, &too_large);
    } else {
        fill->result.storing = FILL_STORED;
        fill->settling = cache_store(backend->cache, &fill->lease, bytes,
                                     (size_t)(entry->body + entry->body_len - bytes), expiry_ms,
                                     on_stored, fill);
    }
}

/* In any case the cache tells its time, by which the answer is judged. */
static void settle(struct fill *fill)
{
    const struct backend *backend = fill->backend;
    bool has_budget = application_rules(backend->app, fill->request.route)->policy.budget_us > 0;

    if (fill->request.lease == NULL) {
        fill->result.storing = FILL_NO_REDIS;
        fill->result.for_before_us = fill->result.sent_us;
        if (!has_budget) {
            tell(fill);
            return;
        }
    } else {
        fill->result.storing = FILL_NOT_STORED;
        fill->result.for_before_us = fill->lease.held_at_us;
    }
    set_state(fill, FILL_SETTLING);
    if (fill->leased)
        store_under_lease(fill);
    else
        fill->settling = cache_measure(backend->cache, on_measured, fill);
}

/* Others are told what Postgres said of the query, and not of a failure that is this process's own:
   one of them may have a slot or a connection, or reach the right database, where we do not. */
static bool is_own_failure(const struct fill *fill)
{
    const struct fill_result *result = &fill->result;

    return result->outcome == QUERY_NO_SLOT || result->outcome == QUERY_FULL ||
           result->outcome == QUERY_NO_ROOM || (result->outcome == QUERY_AWAY && !fill->told) ||
           !identity_is_verified(fill->backend->identity);
}

/* What the cache says of a mark is of interest only where the query may still run: whoever does not
   find the mark would begin it again. */
static void settle_failure(struct fill *fill, int64_t hold_ms)
{
    struct cache *cache = fill->backend->cache;
    const struct lease_mark failed = {
        .kind = LEASE_MARK_FAILED, .status = fill->result.status, .hold_ms = hold_ms};
    bool is_own = is_own_failure(fill);
    bool is_marked = fill->leased && !is_own;

    fill->result.own = is_own;
    fill->runs_on = hold_ms > 0;
    fill->result.unmarked = true;
    if (is_marked && hold_ms > LEASE_FAILED_MS)
        fill->failed_us = clock_monotonic_us();
    if (is_marked && fill->runs_on) {
        set_state(fill, FILL_SETTLING);
        fill->settling = cache_end(cache, &fill->lease, &failed, on_marked, fill);
        return;
    }
    if (fill->leased)
        cache_end(cache, &fill->lease, is_marked ? &failed : &no_mark, NULL, NULL);
    tell(fill);
}

/* The query has ended sooner than it had to: the key is held for the usual time. */
static void on_settled(void *data)
{
    struct fill *fill = data;
    int64_t held_ms = (clock_monotonic_us() - fill->failed_us) / 1000;
    int64_t left_ms = held_ms < LEASE_FAILED_MS ? LEASE_FAILED_MS - held_ms : 0;

    fill->runs_on = false;
    if (fill->failed_us != 0)
        cache_shorten_mark(fill->backend->cache, fill->lease.base, fill->result.status, left_ms);
    if (fill->state == FILL_TOLD && fill->result.unmarked && fill->request.settled != NULL)
        fill->request.settled(fill->request.data);
    free_if_over(fill);
}

/* What a client may be told of a failure beyond its status. */
static const char *detail_of(struct fill *fill, const struct query_result *query)
{
    if (query->outcome == QUERY_CHOSEN)
        return query->message;
    if (query->outcome != QUERY_BAD_VALUE || query->parameter == 0)
        return NULL;
    return mem_check(talloc_asprintf(fill, "The database refuses the value of parameter \"%s\".",
                                     fill->request.route->params[query->parameter - 1].name));
}

static void on_query(void *data, const struct query_result *query)
{
    struct fill *fill = data;
    const struct backend *backend = fill->backend;

    fill->query = NULL;
    pulse_at(backend->pulse, fill->request.route->pattern);
    fill->result = (struct fill_result){
        .outcome = query->outcome,
        .status = query->status != 0 ? query->status : status_of(query->outcome),
        .detail = detail_of(fill, query),
        .sent_us = query->sent_us,
        .storing = FILL_NOT_STORED,
        .lost = query->lost,
    };
    /* what may still run is told of in any case: nobody else is to begin it */
    fill->told = query->told || query->hold_ms > 0;
    fill->fits = query->generation == fill->request.generation;
    if (query->sent_us != 0)
        metrics_query(backend->metrics, fill->request.route, fill->request.origin);
    if (query->outcome == QUERY_DONE || query->outcome == QUERY_NO_ROW)
        make_entry(fill, query);
    if (fill->result.outcome == QUERY_DONE || fill->result.outcome == QUERY_NO_ROW) {
        settle(fill);
    } else {
        settle_failure(fill, query->hold_ms);
    }
}

static void take_lease(struct fill *fill, const struct lease *lease)
{
    fill->lease = *lease;
    fill->lease.base = mem_check(talloc_strdup(fill, lease->base));
    fill->leased = true;
    ev_now_update(fill->backend->loop);
    ev_timer_start(fill->backend->loop, &fill->renew);
}

struct fill *fill_start(struct backend *backend, const struct fill_request *request)
{
    struct fill *fill = mem_check(talloc_zero(backend, struct fill));
    double patience_s = (double)backend->app->config->settings.redis.command_timeout_ms / 1000.0;

    fill->backend = backend;
    fill->request = *request;
    fill->clock = cache_clock(backend->cache)->last;
    ev_timer_init(&fill->renew, on_renew, LEASE_RENEW_MS / 1000.0, LEASE_RENEW_MS / 1000.0);
    ev_timer_init(&fill->patience, on_patience, patience_s, 0.0);
    fill->renew.data = fill->patience.data = fill;
    talloc_set_destructor(fill, fill_destroy);
    if (request->lease != NULL)
        take_lease(fill, request->lease);
    const struct query_request query = {
        .route = request->route,
        .values = request->values,
        .limit_ms = application_rules(backend->app, request->route)->query_limit_ms,
        .since_us = request->since_us,
        .done = on_query,
        .settled = on_settled,
        .data = fill,
    };
    fill->query = postgres_query(backend->postgres, &query);
    return fill;
}

bool fill_has_begun(const struct fill *fill)
{
    return fill->query == NULL || postgres_has_begun(fill->query);
}

void fill_wait_longer(struct fill *fill, int64_t since_us)
{
    if (fill->query != NULL)
        postgres_wait_longer(fill->backend->postgres, fill->query, since_us);
}

bool fill_leave(struct fill *fill)
{
    if (fill->query == NULL || !postgres_leave(fill->backend->postgres, fill->query, !fill->leased))
        return false;
    if (fill->leased)
        cache_end(fill->backend->cache, &fill->lease, &no_mark, NULL, NULL);
    talloc_free(fill);
    return true;
}
