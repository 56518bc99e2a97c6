/* SPDX-License-Identifier: BSD-2-Clause */
/* One worker, whose parts are found by the functions that take their places. */
#include "config.h"

#include "fake_worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/fill.h"
#include "app/respond.h"
#include "base/clock.h"
#include "base/mem.h"

static struct fake_worker *the_worker;

static const char configuration[] =
    "postgres { conninfo = \"host=/nowhere dbname=x user=y\" }\n"
    "context \"long\" { budget = 60s }\n"
    "context \"error\" { budget = 10s  stale_if_error = 1h }\n"
    "context \"none\" { budget = 0s }\n"
    "route \"/long/{id}\" { context = \"long\"  param \"id\" { type = int }"
    "  sql = \"select $1\"  shape = value }\n"
    "route \"/error/{id}\" { context = \"error\"  param \"id\" { type = int }"
    "  sql = \"select $1\"  shape = value }\n"
    "route \"/none/{id}\" { context = \"none\"  param \"id\" { type = int }"
    "  sql = \"select $1\"  shape = value }\n";

static const struct application *load(TALLOC_CTX *ctx, const char *settings)
{
    char path[] = "/tmp/leeway-unit-XXXXXX";
    const struct application *app = NULL;
    struct config_error error;
    FILE *file = fdopen(mkstemp(path), "w");

    assert(file != NULL);
    fprintf(file, "%s%s", configuration, settings);
    fclose(file);
    if (application_load(ctx, path, &app, &error) == -1) {
        fprintf(stderr, "%s:%d: %s\n", path, (int)error.line, error.text);
        abort();
    }
    unlink(path);
    return app;
}

/* The first child, which is freed last. */
struct loop {
    struct ev_loop *loop;
};

static int loop_destroy(struct loop *loop)
{
    ev_loop_destroy(loop->loop);
    return 0;
}

static int worker_destroy(struct fake_worker *worker)
{
    (void)worker;
    the_worker = NULL;
    return 0;
}

struct fake_worker *fake_worker_new(const char *settings)
{
    struct fake_worker *worker = mem_check(talloc_zero(NULL, struct fake_worker));

    assert(the_worker == NULL);
    the_worker = worker;
    struct loop *loop = mem_check(talloc_zero(worker, struct loop));
    loop->loop = worker->loop = mem_check(ev_loop_new(EVBACKEND_EPOLL));
    talloc_set_destructor(loop, loop_destroy);
    worker->cache = fake_cache_new(worker, worker->loop);
    worker->verified = true;
    worker->generation = 1;
    worker->row = 1;
    worker->backend = mem_check(talloc_zero(worker, struct backend));
    worker->backend->loop = worker->loop;
    worker->backend->steps = steps_new(worker, worker->loop);
    worker->backend->app = load(worker, settings);
    worker->backend->cache = fake_cache_get(worker->cache);
    talloc_set_destructor(worker, worker_destroy);
    return worker;
}

/* ---- Readers */

static struct reader *reader_of(const struct request *request)
{
    return (struct reader *)request->connection;
}

struct reader *fake_worker_request(struct fake_worker *worker, TALLOC_CTX *ctx)
{
    struct reader *reader = mem_check(talloc_zero(ctx, struct reader));
    struct request *request = mem_check(talloc_zero(worker, struct request));

    reader->request = request;
    request->method = "GET";
    request->script_name = request->path_info = request->query_string = request->remote_addr = "";
    request->received_us = clock_monotonic_us();
    request->connection = (struct connection *)reader;
    return reader;
}

struct reader *fake_worker_visit(struct fake_worker *worker, TALLOC_CTX *ctx, size_t route,
                                 const char *base)
{
    const struct application *app = worker->backend->app;
    struct reader *reader = fake_worker_request(worker, ctx);
    struct visit *visit = mem_check(talloc_zero(reader->request, struct visit));

    reader->request->owner = visit;
    visit->backend = worker->backend;
    visit->request = reader->request;
    visit->accepts.plain = true;
    visit->route = &app->config->routes[route];
    visit->rules = application_rules(app, visit->route);
    visit->values.count = 1;
    visit->values.texts = mem_check(talloc_zero_array(visit, const char *, 1));
    visit->values.texts[0] = "7";
    visit->base = mem_check(talloc_strdup(visit, base));
    visit->generation = worker->generation;
    return reader;
}

/* The request is gone with its answer. */
static void note(struct request *request, const char *answer)
{
    struct reader *reader = reader_of(request);

    reader->answers++;
    snprintf(reader->answer, sizeof reader->answer, "%s", answer);
    reader->request = NULL;
    talloc_free(request);
}

static const char *const row_names[] = {
    [ANSWER_FRESH] = "fresh",         [ANSWER_STALE] = "stale",
    [ANSWER_ON_ERROR] = "on-error",   [ANSWER_MISS] = "miss",
    [ANSWER_EXPIRED] = "expired",     [ANSWER_COLLAPSED] = "collapsed",
    [ANSWER_NO_BUDGET] = "no-budget", [ANSWER_DISABLED] = "disabled",
    [ANSWER_TOO_LARGE] = "too-large", [ANSWER_NO_REDIS] = "no-redis",
};

bool respond_can_send(const struct visit *visit, struct stored *stored)
{
    (void)visit;
    return stored_is_sound(stored);
}

void respond_not_acceptable(struct visit *visit)
{
    note(visit->request, "406");
}

void respond_stored(struct visit *visit, struct stored *stored, const struct answer *answer)
{
    const struct cache_entry *entry = &stored->entry;
    char text[FAKE_ANSWER_BYTES];
    bool is_own = answer->row == ANSWER_MISS || answer->row == ANSWER_EXPIRED;
    size_t shown = 0;

    struct form form;

    stored_plain_form(stored, &form);
    const char *body = form.head + form.head_len;
    while (shown < form.body_len && shown < 8 && body[shown] != ' ')
        shown++;

    assert(form.bytes != NULL);
    /* what nobody may be given */
    assert(answer->row == ANSWER_ON_ERROR || answer->row == ANSWER_NO_BUDGET ||
           freshness_is_negative(entry->status) || answer->verdict.ttl_us > 0);
    if (entry->status == 200)
        snprintf(text, sizeof text, "%s%s:%.*s", row_names[answer->row],
                 is_own && answer->stored ? "*" : "", (int)shown, body);
    else
        snprintf(text, sizeof text, "%s%s:%d", row_names[answer->row],
                 is_own && answer->stored ? "*" : "", entry->status);
    reader_of(visit->request)->ttl_us = answer->verdict.ttl_us;
    if (answer->row == ANSWER_COLLAPSED)
        the_worker->collapsed[COLLAPSE_SERVED]++;
    note(visit->request, text);
}

void respond_failure(struct visit *visit, int status, const char *detail, bool shared_failure)
{
    char text[FAKE_ANSWER_BYTES];

    snprintf(text, sizeof text, "%d%s%s%s", status, shared_failure ? "~" : "",
             detail != NULL ? " " : "", detail != NULL ? detail : "");
    note(visit->request, text);
}

void respond_rationed(struct visit *visit, int64_t wait_us)
{
    (void)wait_us;
    note(visit->request, "429");
}

void respond_problem(struct request *request, int status, const char *detail)
{
    char text[FAKE_ANSWER_BYTES];

    (void)detail;
    snprintf(text, sizeof text, "problem %d", status);
    note(request, text);
}

void respond_allowed_methods(struct request *request, int status)
{
    respond_problem(request, status, NULL);
}

void respond_long_text(struct request *request, const char *content_type, struct chunks *text)
{
    size_t len;
    const char *first = chunks_at(text, 0, &len);

    respond_text_as(request, 200, content_type, first, len);
}

void respond_text_as(struct request *request, int status, const char *content_type,
                     const char *text, size_t len)
{
    char noted[FAKE_ANSWER_BYTES];

    (void)content_type;
    the_worker->texts++;
    snprintf(noted, sizeof noted, "%d %.*s", status, (int)(len < 40 ? len : 40), text);
    note(request, noted);
}

/* ---- Queries */

static struct fake_query *fake_of(struct query *query)
{
    return (struct fake_query *)query;
}

struct query *postgres_query(struct postgres *postgres, const struct query_request *request)
{
    (void)postgres;
    assert(the_worker->n_queries < FAKE_MAX_QUERIES);
    struct fake_query *query = &the_worker->queries[the_worker->n_queries++];
    *query = (struct fake_query){.request = *request, .waits = the_worker->no_slots};
    return (struct query *)query;
}

bool postgres_has_begun(const struct query *query)
{
    return !((const struct fake_query *)query)->waits;
}

void postgres_wait_longer(const struct postgres *postgres, struct query *query, int64_t since_us)
{
    struct fake_query *fake = fake_of(query);

    (void)postgres;
    if (since_us > fake->request.since_us)
        fake->request.since_us = since_us;
}

bool postgres_leave(struct postgres *postgres, struct query *query, bool cancel)
{
    struct fake_query *fake = fake_of(query);

    (void)postgres;
    assert(!fake->ended);
    if (fake->waits) {
        fake->ended = true;
        the_worker->withdrawn++;
        return true;
    }
    if (cancel) {
        fake_worker_send(the_worker, fake);
        fake_worker_end_with(the_worker, fake,
                             (struct query_result){.outcome = QUERY_LEFT, .hold_ms = 7000});
    }
    return false;
}

struct fake_query *fake_worker_query(struct fake_worker *worker)
{
    for (size_t i = 0; i < worker->n_queries; i++)
        if (!worker->queries[i].ended)
            return &worker->queries[i];
    return NULL;
}

void fake_worker_send(struct fake_worker *worker, struct fake_query *query)
{
    if (query->sent_us != 0)
        return;
    query->sent_us = clock_monotonic_us();
    query->row = worker->row;
}

/* A number, and white space behind it. */
static struct json_text write_json(struct fake_worker *worker, int64_t number)
{
    static const char room[JSON_ROOM_BEFORE];
    struct json_text json = {.len = 0};
    char text[24];
    struct buf out;

    buf_init(&out, worker, sizeof room);
    buf_append(&out, room, sizeof room);
    snprintf(text, sizeof text, "%lld", (long long)number);
    buf_append_str(&out, text);
    for (size_t i = 0; i < worker->padding; i++)
        buf_append_char(&out, ' ');
    json.chunk = out.data;
    json.bytes = out.data + sizeof room;
    json.len = out.len - sizeof room;
    return json;
}

void fake_worker_end_with(struct fake_worker *worker, struct fake_query *query,
                          struct query_result result)
{
    struct json_text json = write_json(worker, query->row);
    TALLOC_CTX *kept = mem_check(talloc_new(worker));

    assert(!query->ended);
    query->ended = true;
    query->runs_on = result.hold_ms > 0;
    talloc_steal(kept, json.chunk);
    if (result.json == NULL)
        result.json = &json;
    if (result.sent_us == 0)
        result.sent_us = query->sent_us;
    if (result.generation == 0)
        result.generation = worker->generation;
    query->request.done(query->request.data, &result);
    talloc_free(kept);
}

bool fake_worker_settle(struct fake_worker *worker)
{
    for (size_t i = 0; i < worker->n_queries; i++) {
        struct fake_query *query = &worker->queries[i];
        if (!query->runs_on)
            continue;
        query->runs_on = false;
        query->request.settled(query->request.data);
        return true;
    }
    return false;
}

void fake_worker_end(struct fake_worker *worker, struct fake_query *query,
                     enum query_outcome outcome)
{
    if (outcome != QUERY_NO_SLOT && outcome != QUERY_FULL && outcome != QUERY_AWAY)
        fake_worker_send(worker, query);
    fake_worker_end_with(worker, query, (struct query_result){.outcome = outcome});
}

/* ---- Identity, backend, metrics */

bool identity_is_verified(const struct identity *identity)
{
    (void)identity;
    return the_worker->verified;
}

uint64_t identity_generation(const struct identity *identity)
{
    (void)identity;
    return the_worker->generation;
}

const char *identity_fingerprint(const struct identity *identity, const struct route *route)
{
    static char text[24];

    (void)identity;
    (void)route;
    snprintf(text, sizeof text, "%016llx", (unsigned long long)the_worker->generation);
    return text;
}

const char *identity_problem(const struct identity *identity)
{
    return identity_is_verified(identity) ? NULL : "the test says so";
}

int64_t backend_now_us(const struct backend *backend, int64_t snapshot_us)
{
    return redis_clock_latest_for(cache_clock(backend->cache), snapshot_us,
                                  clock_monotonic_us() + BACKEND_WRITE_ALLOWANCE_US);
}

int64_t postgres_heard_us(const struct postgres *postgres)
{
    (void)postgres;
    return clock_monotonic_us();
}

bool postgres_is_up(const struct postgres *postgres)
{
    (void)postgres;
    return true;
}

bool postgres_can_run(const struct postgres *postgres)
{
    (void)postgres;
    return !the_worker->away;
}

void metrics_query(struct metrics *metrics, const struct route *route, enum query_origin origin)
{
    (void)metrics;
    (void)route;
    the_worker->counted_queries[origin]++;
}

void metrics_collapsed(struct metrics *metrics, const struct route *route,
                       enum collapse_result result)
{
    (void)metrics;
    (void)route;
    the_worker->collapsed[result]++;
}

void metrics_shed(struct metrics *metrics, const struct route *route, enum shed_reason reason)
{
    (void)metrics;
    (void)route;
    the_worker->shed[reason]++;
}

void metrics_refresh(struct metrics *metrics, const struct route *route, enum refresh_result result)
{
    (void)metrics;
    (void)route;
    the_worker->refreshes[result]++;
}

struct metrics_scrape {
    struct chunks *text;
    unsigned steps;
};

struct metrics_scrape *metrics_scrape_new(TALLOC_CTX *ctx, const char *runtime_dir,
                                          const struct metrics_gauges *gauges)
{
    struct metrics_scrape *scrape = mem_check(talloc_zero(ctx, struct metrics_scrape));
    char text[40];

    (void)runtime_dir;
    snprintf(text, sizeof text, "jobs %lld", (long long)gauges->jobs_queued);
    scrape->text = chunks_new(scrape);
    chunks_append(scrape->text, text, strlen(text));
    return scrape;
}

void metrics_scrape_disabled(struct metrics_scrape *scrape, const char *what, const char *scope,
                             bool is_off)
{
    (void)scrape;
    (void)what;
    (void)scope;
    (void)is_off;
}

bool metrics_scrape_step(struct metrics_scrape *scrape)
{
    return ++scrape->steps == FAKE_SCRAPE_STEPS;
}

struct chunks *metrics_scrape_text(const struct metrics_scrape *scrape)
{
    return scrape->text;
}
