/* SPDX-License-Identifier: BSD-2-Clause */
/* Match the route, look up, decide, answer, ask for a refresh. */
#include "config.h"

#include "app/serve.h"

#include <string.h>

#include "app/lookup.h"
#include "app/old_gauges.h"
#include "app/ready.h"
#include "app/recent.h"
#include "app/resolve.h"
#include "app/respond.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cache/keys.h"
#include "cache/old_store.h"
#include "refresh/job.h"
#include "refresh/old_queue.h"

enum {
    /* One worker asks again for the same key's refresh after this. */
    ASK_AGAIN_US = 1000 * 1000,
    /* A job that was lost on the way keeps its key from being queued for this long. */
    MAX_MARK_MS = 60 * 1000,
};

/* The job for a stale hit, made while the visit still lives. */
struct refresh_wish {
    SIMPLEQ_ENTRY(refresh_wish) link;
    const struct route *route;
    char *base;
    char *job;
    size_t job_len;
    int64_t mark_ms;
};

SIMPLEQ_HEAD(refresh_wishes, refresh_wish);

struct server {
    struct backend *backend;
    struct flights *flights;
    struct recent *asked; /* keys whose refresh was asked for */
    struct lookups lookups;
    bool draining;
    /* What look-ups have led to and has to wait for the last reply. */
    struct visit_list to_fill;
    struct refresh_wishes wishes;
};

struct server *server_new(TALLOC_CTX *ctx, struct backend *backend)
{
    struct server *server = mem_check(talloc_zero(ctx, struct server));

    server->backend = backend;
    server->flights = flights_new(server, backend);
    server->asked = recent_new(server);
    lookups_init(&server->lookups);
    TAILQ_INIT(&server->to_fill);
    SIMPLEQ_INIT(&server->wishes);
    return server;
}

void server_drain(struct server *server)
{
    server->draining = true;
}

struct flights *server_flights(struct server *server)
{
    return server->flights;
}

/* Whether what concerns the operator may be told. */
static bool is_allowed(const struct server *server, const struct request *request)
{
    return networks_contain(server->backend->app->config->settings.metrics_allow,
                            request->remote_addr);
}

static void serve_metrics(struct server *server, struct request *request)
{
    const struct settings *settings = &server->backend->app->config->settings;
    struct metrics_gauges gauges;

    if (!is_allowed(server, request)) {
        respond_problem(request, 403, "Metrics are not for this address.");
        return;
    }
    old_gauges_read(request, server->backend->redis, &settings->redis, &gauges);
    char *text = metrics_text(request, settings->runtime_dir, &gauges);
    respond_text(request, "text/plain; version=0.0.4; charset=utf-8", text, strlen(text));
}

/* What param_bind needs to find a FastCGI variable. */
struct variable_lookup {
    const struct server *server;
    const struct request *request;
};

static const char *find_variable(void *data, const char *name)
{
    const struct variable_lookup *lookup = data;
    const char **names = lookup->server->backend->app->variables;

    for (size_t i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0)
            return lookup->request->variables[i];
    return NULL;
}

static struct visit *make_visit(struct server *server, struct request *request,
                                const struct resolved *resolved)
{
    const struct application *app = server->backend->app;
    struct visit *visit = mem_check(talloc_zero(request, struct visit));

    visit->backend = server->backend;
    visit->request = request;
    visit->route = resolved->match.route;
    visit->rules = application_rules(app, visit->route);
    visit->values = resolved->values;
    request->owner = visit;
    return visit;
}

/* A visit, or an answer and NULL; neither Redis nor Postgres is asked. */
static struct visit *understand(struct server *server, struct request *request)
{
    const struct application *app = server->backend->app;
    const struct identity *identity = server->backend->identity;
    const struct request_target target = {
        .raw = request->target,
        .script_name = request->script_name,
        .path_info = request->path_info,
        .query = request->query_string,
    };
    struct variable_lookup lookup = {server, request};
    struct resolved resolved;

    resolve(request, app, &target, find_variable, &lookup, &resolved);
    switch (resolved.kind) {
    case RESOLVED_REFUSED:
        respond_problem(request, resolved.status, resolved.detail);
        return NULL;
    case RESOLVED_HEALTH:
        ready_answer_health(request, server->backend, is_allowed(server, request));
        return NULL;
    case RESOLVED_METRICS:
        serve_metrics(server, request);
        return NULL;
    case RESOLVED_READY:
        ready_answer(request, server->backend, server->draining, is_allowed(server, request));
        return NULL;
    case RESOLVED_ROUTE:
        break;
    }
    struct visit *visit = make_visit(server, request, &resolved);
    if (!identity_is_verified(identity)) {
        respond_failure(visit, 503, NULL, true);
        return NULL;
    }
    visit->generation = identity_generation(identity);
    visit->base = key_base(visit, app->config->settings.redis.prefix, visit->route,
                           identity_fingerprint(identity, visit->route), &visit->values);
    return visit;
}

/* Asked for behind the client's back. */
static void wish_refresh(struct server *server, const struct visit *visit, int64_t ttl_us)
{
    const struct redis_clock *clock = old_redis_get_clock(server->backend->redis);
    int64_t now_us = clock_monotonic_us();
    int64_t again_us = ttl_us < ASK_AGAIN_US ? ttl_us : ASK_AGAIN_US;

    /* its key is of the past */
    if (visit->generation != identity_generation(server->backend->identity))
        return;
    if (recent_check_and_add(server->asked, visit->base, now_us, now_us + again_us))
        return;
    const struct job job = {
        .queued_ms = redis_clock_earliest(clock, now_us) / 1000,
        .route = visit->route->name,
        .fingerprint = identity_fingerprint(server->backend->identity, visit->route),
        .values = visit->values,
    };
    struct refresh_wish *wish = mem_check(talloc_zero(server, struct refresh_wish));
    wish->route = visit->route;
    wish->base = mem_check(talloc_strdup(wish, visit->base));
    wish->job = job_encode(wish, &job, &wish->job_len);
    wish->mark_ms = ttl_us / 1000 < MAX_MARK_MS ? ttl_us / 1000 : MAX_MARK_MS;
    if (wish->job != NULL)
        SIMPLEQ_INSERT_TAIL(&server->wishes, wish, link);
    else
        talloc_free(wish); /* its parameters are too long to be queued */
}

static void ask_for_refresh(struct server *server, struct refresh_wish *wish)
{
    const struct redis_settings *settings = &server->backend->app->config->settings.redis;
    const struct old_redis_part job = {wish->job, wish->job_len};

    if (old_queue_offer(wish, server->backend->redis, settings, wish->base, job, wish->mark_ms) ==
        OLD_QUEUE_FULL)
        metrics_refresh(server->backend->metrics, wish->route, REFRESH_DROPPED);
}

static void serve_hit(struct server *server, struct visit *visit, struct old_stored *stored,
                      struct freshness_verdict verdict)
{
    bool stale = verdict.state == FRESHNESS_STALE;
    const struct answer answer = {
        .row = stale ? ANSWER_STALE : ANSWER_FRESH,
        .verdict = verdict,
        .private = !visit->rules->edge,
    };

    if (stale)
        wish_refresh(server, visit, verdict.ttl_us);
    respond_entry(visit, &stored->entry, &answer, stored_holder(stored));
}

/* A hit is answered at once, whatever the others of its turn still wait for. */
static void take_lookup(void *data, struct visit *visit, int found, struct old_stored *stored)
{
    struct server *server = data;

    if (found == 1) {
        struct freshness_verdict verdict =
            freshness_judge(&visit->rules->policy, stored->entry.status, stored->entry.snapshot_us,
                            backend_now_us(server->backend, stored->entry.snapshot_us));
        if (verdict.state == FRESHNESS_FRESH || verdict.state == FRESHNESS_STALE) {
            serve_hit(server, visit, stored, verdict);
            return;
        }
        visit->expired = true;
    }
    TAILQ_INSERT_TAIL(&server->to_fill, visit, link);
}

void serve_turn_end(struct server *server)
{
    struct visit *visit;
    struct refresh_wish *wish;

    lookups_run(&server->lookups, server->backend->redis, take_lookup, server);
    while ((visit = TAILQ_FIRST(&server->to_fill)) != NULL) {
        TAILQ_REMOVE(&server->to_fill, visit, link);
        flights_join(server->flights, visit, true);
    }
    while ((wish = SIMPLEQ_FIRST(&server->wishes)) != NULL) {
        SIMPLEQ_REMOVE_HEAD(&server->wishes, link);
        ask_for_refresh(server, wish);
        talloc_free(wish);
    }
}

/* Two sources, of which one may be the client. */
static void refuse_ambiguous(struct request *request)
{
    char *detail = talloc_asprintf(request, "The web server sent %s twice, with different values.",
                                   request->ambiguous);

    respond_problem(request, 400, mem_check(detail));
}

void serve_request(struct server *server, struct request *request)
{
    if (request->ambiguous != NULL) {
        refuse_ambiguous(request);
        return;
    }
    if (strcmp(request->method, "OPTIONS") == 0) {
        respond_allowed_methods(request, 204);
        return;
    }
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        respond_allowed_methods(request, 405);
        return;
    }
    if (request->body_too_large) {
        respond_problem(request, 413, "No request body over 64 KiB is read.");
        return;
    }
    struct visit *visit = understand(server, request);
    if (visit == NULL)
        return;
    if (visit->rules->policy.budget_us == 0) {
        flights_join(server->flights, visit, false);
        return;
    }
    lookups_add(&server->lookups, visit);
    if (server->lookups.count == LOOKUPS_MAX)
        serve_turn_end(server);
}

void serve_gone(struct server *server, struct request *request)
{
    struct visit *visit = request->owner;

    if (visit == NULL)
        return;
    lookups_remove(&server->lookups, visit);
    if (visit->flight != NULL)
        flights_leave(server->flights, visit);
}
