/* SPDX-License-Identifier: BSD-2-Clause */
/* Match the route, look up, decide, answer, ask for a refresh. */
#include "config.h"

#include "app/serve.h"

#include <string.h>

#include "app/flight.h"
#include "app/gauges.h"
#include "app/offers.h"
#include "app/ready.h"
#include "app/resolve.h"
#include "app/respond.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cache/keys.h"

struct server {
    struct backend *backend;
    struct flights *flights;
    struct offers *offers;
    struct visit_list looking_up; /* whose responses are being looked up */
};

/* /metrics, while the gauges are read and the text is made; goes with its request. */
struct metrics_visit {
    struct server *server;
    struct request *request;
    struct metrics_scrape *scrape; /* NULL: the gauges are read */
    struct step step;
};

struct server *server_new(TALLOC_CTX *ctx, struct backend *backend)
{
    struct server *server = mem_check(talloc_zero(ctx, struct server));

    server->backend = backend;
    server->flights = flights_new(server, backend);
    server->offers = offers_new(server, backend);
    TAILQ_INIT(&server->looking_up);
    return server;
}

void server_drain(struct server *server)
{
    server->backend->draining = true;
    offers_drain(server->offers);
}

bool server_is_drained(const struct server *server)
{
    return offers_are_out(server->offers);
}

/* Whether what concerns the operator may be told. */
static bool is_allowed(const struct server *server, const struct request *request)
{
    return networks_contain(server->backend->app->config->settings.metrics_allow,
                            request->remote_addr);
}

static int metrics_visit_destroy(struct metrics_visit *visit)
{
    steps_remove(visit->server->backend->steps, &visit->step);
    return 0;
}

/* Of 2000 routes in use the text is some 10 MB. */
static void on_step(void *data)
{
    struct metrics_visit *visit = data;

    if (metrics_scrape_step(visit->scrape))
        respond_long_text(visit->request, "text/plain; version=0.0.4; charset=utf-8",
                          metrics_scrape_text(visit->scrape));
    else
        steps_add(visit->server->backend->steps, &visit->step);
}

static void on_gauges(void *data, const struct metrics_gauges *gauges)
{
    struct metrics_visit *visit = data;
    const struct backend *backend = visit->server->backend;

    visit->scrape = metrics_scrape_new(visit, backend->app->config->settings.runtime_dir, gauges);
    switches_tell(backend->switches, visit->scrape);
    steps_add(backend->steps, &visit->step);
}

/* A client that leaves takes the question along: it is a child of its request. */
static void serve_metrics(struct server *server, struct request *request)
{
    const struct backend *backend = server->backend;

    if (!is_allowed(server, request)) {
        respond_problem(request, 403, "Metrics are not for this address.");
        return;
    }
    struct metrics_visit *visit = mem_check(talloc_zero(request, struct metrics_visit));
    visit->server = server;
    visit->request = request;
    visit->step = (struct step){.fn = on_step, .data = visit};
    talloc_set_destructor(visit, metrics_visit_destroy);
    gauges_read(visit, backend->cache, backend->queue, on_gauges, visit);
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

    visit->server = server;
    visit->backend = server->backend;
    visit->request = request;
    visit->route = resolved->match.route;
    pulse_at(visit->backend->pulse, visit->route->pattern);
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
        ready_answer(request, server->backend, is_allowed(server, request));
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

static void serve_hit(struct server *server, struct visit *visit, struct stored *stored,
                      struct freshness_verdict verdict)
{
    bool stale = verdict.state == FRESHNESS_STALE;
    const struct answer answer = {
        .row = stale ? ANSWER_STALE : ANSWER_FRESH,
        .verdict = verdict,
        .private = !visit->rules->edge,
    };

    if (stale)
        offers_ask(server->offers, visit, stored->entry.snapshot_us, verdict.ttl_us);
    respond_stored(visit, stored, &answer);
}

/* Whether it may be served as old as it is now. */
static bool is_servable(struct visit *visit, const struct cache_entry *entry,
                        struct freshness_verdict *verdict)
{
    *verdict = freshness_judge(&visit->rules->policy, entry->status, entry->snapshot_us,
                               backend_now_us(visit->backend, entry->snapshot_us));
    visit->expired = verdict->state != FRESHNESS_FRESH && verdict->state != FRESHNESS_STALE;
    return !visit->expired;
}

/* It is judged once more if a form was made of it meanwhile. */
static bool can_hit(struct visit *visit, struct stored *stored, struct freshness_verdict *verdict)
{
    return is_servable(visit, &stored->entry, verdict) && respond_can_send(visit, stored) &&
           (stored->other == NULL || is_servable(visit, &stored->entry, verdict));
}

static void end_look_up(struct visit *visit)
{
    TAILQ_REMOVE(&visit->server->looking_up, visit, link);
    visit->look_up = NULL;
    visit->state = VISIT_NEW;
}

static void on_looked_up(void *data, enum cache_found found, struct stored *stored)
{
    struct visit *visit = data;
    struct server *server = visit->server;
    const struct backend *backend = server->backend;
    struct freshness_verdict verdict;

    end_look_up(visit);
    /* it may have been refused meanwhile */
    if (!identity_is_verified(backend->identity)) {
        respond_failure(visit, 503, NULL, true);
        return;
    }
    if (found == CACHE_FOUND && can_hit(visit, stored, &verdict))
        serve_hit(server, visit, stored, verdict);
    else
        flights_join(server->flights, visit, true);
}

static void look_up(struct server *server, struct visit *visit)
{
    TAILQ_INSERT_TAIL(&server->looking_up, visit, link);
    visit->state = VISIT_LOOKING_UP;
    visit->look_up = cache_look_up(server->backend->cache, visit->base, on_looked_up, visit);
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
    visit->accepts = accept_encoding(
        request->accept_encoding,
        visit->route->context->coding != NULL ? visit->route->context->coding->name : NULL);
    if (!visit->accepts.plain && !visit->accepts.coded) {
        respond_not_acceptable(visit);
        return;
    }
    visit->is_disabled = visit->rules->policy.budget_us > 0 &&
                         switches_route_is_off(server->backend->switches, visit->route);
    if (visit->rules->policy.budget_us == 0 || visit->is_disabled) {
        flights_join(server->flights, visit, false);
        return;
    }
    look_up(server, visit);
}

void serve_gone(struct request *request)
{
    struct visit *visit = request->owner;

    if (visit == NULL)
        return;
    if (visit->state == VISIT_LOOKING_UP) {
        cache_cancel(visit->look_up);
        end_look_up(visit);
    } else if (visit->state == VISIT_WAITING) {
        flights_leave(visit);
    }
}

void server_abandon(struct server *server)
{
    struct visit *visit;

    while ((visit = TAILQ_FIRST(&server->looking_up)) != NULL) {
        cache_cancel(visit->look_up);
        end_look_up(visit);
        respond_failure(visit, 503, NULL, true);
    }
    flights_abandon(server->flights);
}
