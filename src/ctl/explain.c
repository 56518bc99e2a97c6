/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl explain: what a request for a URL means and what would become of it now. Changes
   nothing and runs no query; where the request would run one, it sees whether Postgres is there. */
#include "config.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ctl/await.h"
#include "ctl/ctl.h"
#include "ctl/disabled.h"
#include "ctl/json.h"
#include "ctl/keys.h"
#include "ctl/target.h"

/* What is known of a request, as far as it got. */
struct explanation {
    struct target target;
    bool disabled;        /* the route's cache is */
    bool refused;         /* what this host has verified is not what is noted now */
    bool unverified;      /* as far as can be seen, no daemon has verified the database */
    enum ctl_reach reach; /* found out where it would run a query */
    bool redis;           /* the rest is known */
    struct lease_answer answer;
    struct stored stored;             /* bytes NULL: there is no entry */
    struct freshness_verdict verdict; /* of the entry, if there is one */
    int64_t mark_left_ms;
};

static bool is_refused(struct ctl *ctl)
{
    const struct identity_record *record = &ctl_keys(ctl)->record;
    struct identity_note noted;

    return ctl_read_note(ctl, record->identity, &noted) == 1 &&
           !identity_note_agrees(&noted, &record->known);
}

struct looking {
    TALLOC_CTX *ctx;
    struct explanation *found;
    bool lease_came;
    bool mark_came;
};

static void on_lease(void *data, struct lease_answer *answer)
{
    struct looking *looking = data;

    looking->lease_came = true;
    looking->found->answer = *answer;
    looking->found->stored = *answer->stored;
    talloc_steal(looking->ctx, answer->stored->bytes);
}

static void on_mark(void *data, int64_t left_ms)
{
    struct looking *looking = data;

    looking->mark_came = true;
    looking->found->mark_left_ms = left_ms;
}

static void look(struct ctl *ctl, TALLOC_CTX *ctx, struct explanation *found)
{
    struct looking looking = {.ctx = ctx, .found = found};
    struct cache *cache = ctl_cache(ctl);

    if (cache == NULL)
        return;
    found->refused = is_refused(ctl);
    cache_look_at_lease(cache, found->target.base, on_lease, &looking);
    ctl_await(ctl, &looking.lease_came);
    /* it may have gone meanwhile */
    struct queue *queue = ctl_job_queue(ctl);
    if (queue == NULL)
        return;
    queue_look_at_mark(queue, found->target.base, on_mark, &looking);
    ctl_await(ctl, &looking.mark_came);
    found->redis = found->answer.state != LEASE_AWAY && found->mark_left_ms != -1;
    if (found->stored.bytes == NULL)
        return;
    const struct cache_entry *entry = &found->stored.entry;
    found->verdict = freshness_judge(
        &found->target.rules->policy, entry->status, entry->snapshot_us,
        redis_clock_latest_for(cache_clock(cache), entry->snapshot_us, clock_monotonic_us()));
}

/* What becomes of a request, as far as the key and what is stored under it say. */
enum outcome {
    GETS_HIT,
    GETS_STALE_HIT,
    GETS_STALE_HIT_AND_ASKS,
    GETS_OTHERS_FAILURE,
    GETS_REFUSAL,
    GETS_WHAT_IS_NOT_KNOWN,
    GETS_NOTHING_VERIFIED,
    WAITS_FOR_QUERY,
    RUNS_QUERY,
    RUNS_QUERY_TOO_LARGE,
    RUNS_QUERY_NO_REDIS,
    RUNS_QUERY_NO_BUDGET,
    RUNS_QUERY_DISABLED,
};

static const char *const outcomes[] = {
    [GETS_HIT] = "be served from Redis at once",
    [GETS_STALE_HIT] = "be served from Redis at once; its refresh is queued, in hand or held back",
    [GETS_STALE_HIT_AND_ASKS] = "be served from Redis at once, and ask for a refresh",
    [GETS_OTHERS_FAILURE] = "get the status of the query that has just failed, with Retry-After",
    [GETS_REFUSAL] = "get 503: another database than the noted one is there (leewayctl identity)",
    [GETS_WHAT_IS_NOT_KNOWN] = "be looked up under a key that is not known here",
    [GETS_NOTHING_VERIFIED] =
        ("get 503 unless a worker has verified the database: then it would be "
         "looked up under a key that is not known here"),
    [WAITS_FOR_QUERY] = "wait for the query that is under way",
    [RUNS_QUERY] = "run the query; whoever comes meanwhile waits for it",
    [RUNS_QUERY_TOO_LARGE] = "run a query for itself, for the response is too large to be stored",
    [RUNS_QUERY_NO_REDIS] = "run the query: Redis cannot be reached",
    [RUNS_QUERY_NO_BUDGET] = "run a query for itself: the budget is 0",
    [RUNS_QUERY_DISABLED] = "run a query for itself: the route is disabled (leewayctl disable)",
};

static enum outcome outcome_without_entry(const struct explanation *found)
{
    switch (found->answer.state) {
    case LEASE_HELD:
        return WAITS_FOR_QUERY;
    case LEASE_FAILED:
        return GETS_OTHERS_FAILURE;
    case LEASE_TOO_LARGE:
        return RUNS_QUERY_TOO_LARGE;
    default:
        return RUNS_QUERY;
    }
}

static enum outcome outcome_of(const struct explanation *found)
{
    if (found->target.rules->policy.budget_us == 0)
        return RUNS_QUERY_NO_BUDGET;
    if (found->disabled)
        return RUNS_QUERY_DISABLED;
    if (found->target.base == NULL)
        return found->unverified ? GETS_NOTHING_VERIFIED : GETS_WHAT_IS_NOT_KNOWN;
    if (found->refused)
        return GETS_REFUSAL;
    if (!found->redis)
        return RUNS_QUERY_NO_REDIS;
    if (found->stored.bytes == NULL)
        return outcome_without_entry(found);
    switch (found->verdict.state) {
    case FRESHNESS_FRESH:
        return GETS_HIT;
    case FRESHNESS_STALE:
        return found->mark_left_ms > 0 ? GETS_STALE_HIT : GETS_STALE_HIT_AND_ASKS;
    default:
        return outcome_without_entry(found);
    }
}

static bool runs_query(enum outcome outcome)
{
    return outcome >= RUNS_QUERY;
}

/* An old response stands in for a query that fails for want of the database. */
static bool has_old_response(const struct explanation *found, enum outcome outcome)
{
    bool shared = outcome != RUNS_QUERY_NO_BUDGET && outcome != RUNS_QUERY_DISABLED;

    return shared && found->redis && found->stored.bytes != NULL &&
           found->verdict.state == FRESHNESS_ON_ERROR;
}

static const char *what_would_happen(const struct explanation *found)
{
    enum outcome outcome = outcome_of(found);
    bool old = has_old_response(found, outcome);
    int status = found->answer.failed_status;

    if (outcome == GETS_OTHERS_FAILURE && old && (status == 503 || status == 504))
        return "be served the old response (stale_if_error): the query has just failed";
    if (!runs_query(outcome))
        return outcomes[outcome];
    if (found->reach == CTL_REACH_UNKNOWN)
        return "run a query if a worker reaches PostgreSQL: this command, which is another user's, "
               "does not";
    if (found->reach == CTL_REACHES)
        return outcomes[outcome];
    return old ? "be served the old response (stale_if_error): PostgreSQL cannot be reached"
               : "get 503: PostgreSQL cannot be reached";
}

static const char *lease_name(const struct explanation *found)
{
    static const char *const names[] = {
        [LEASE_WON] = "free",      [LEASE_HELD] = "held",
        [LEASE_FAILED] = "failed", [LEASE_TOO_LARGE] = "too-large",
        [LEASE_AWAY] = "unknown",
    };

    return names[found->answer.state];
}

static void print_values(const struct explanation *found)
{
    const struct route *route = found->target.resolved.match.route;

    for (size_t i = 0; i < route->n_params; i++) {
        printf("%-11s $%zu %s (%s) = ", i == 0 ? "parameters" : "", i + 1, route->params[i].name,
               param_type_name(route->params[i].type));
        ctl_print(found->target.resolved.values.texts[i] != NULL
                      ? found->target.resolved.values.texts[i]
                      : "NULL");
        printf("\n");
    }
}

/* The form that a client gets which accepts the coding, if there is one; and of the making. */
static void print_stored(const struct cache_entry *entry)
{
    char etag[ENTRY_ETAG_BYTES + 1], clock[ENTRY_CLOCK_BYTES + 1] = "";

    if (entry->coding != NULL) {
        entry_etag(entry, false, etag);
        printf("stored      as %s: %zu bytes, ETag %s\n", entry->coding->name, entry->body_len,
               etag);
    }
    printf("made        in %.3f s, by the clock of the Redis with run id ",
           (double)(entry_arrival_us(entry) - entry->snapshot_us) / 1e6);
    memcpy(clock, entry->clock, ENTRY_CLOCK_BYTES);
    clock[strcspn(clock, "-")] = '\0';
    ctl_print(clock[0] != '\0' ? clock : "unknown");
    printf("\n");
}

static void print_entry(const struct explanation *found)
{
    const struct cache_entry *entry = &found->stored.entry;
    char etag[ENTRY_ETAG_BYTES + 1];

    entry_etag(entry, true, etag);
    printf("entry       %s: status %d, age %.3f s, ttl %.3f s, %zu bytes of body%s%s\n",
           freshness_name(found->verdict.state), entry->status, (double)found->verdict.age_us / 1e6,
           (double)found->verdict.ttl_us / 1e6, entry->plain_len, etag[0] != '\0' ? ", ETag " : "",
           etag);
    print_stored(entry);
}

static void print_redis(const struct explanation *found)
{
    if (found->stored.bytes == NULL)
        printf("entry       none\n");
    else
        print_entry(found);
    printf("lease       %s", lease_name(found));
    if (found->answer.state == LEASE_FAILED)
        printf(" with %d", found->answer.failed_status);
    if (found->answer.state != LEASE_WON)
        printf(", for another %.3f s unless renewed", (double)found->answer.left_ms / 1e3);
    printf("\nrefresh     ");
    if (found->mark_left_ms > 0)
        printf("queued, in hand or held back, for another %.3f s at the most\n",
               (double)found->mark_left_ms / 1e3);
    else
        printf("none asked for\n");
}

/* NULL: a route answers, or nobody. */
static const char *built_in_name(const struct explanation *found)
{
    static const char *const names[] = {
        [RESOLVED_HEALTH] = "health",
        [RESOLVED_METRICS] = "metrics",
        [RESOLVED_READY] = "ready",
        [RESOLVED_ROUTE] = NULL,
    };

    return names[found->target.resolved.kind];
}

static void print_route(TALLOC_CTX *ctx, const struct route *route)
{
    printf("route       %s (%s, %s:%d)\n", route->pattern, route->name, route->place.file,
           route->place.line);
    printf("context     %s: budget %s, refreshed after %s\n", route->context->name,
           ctl_duration(ctx, route->context->budget_ms),
           ctl_duration(ctx, route->context->refresh_after_ms));
}

/* Where nothing is stored, Redis is not asked. */
static bool asks_redis(const struct explanation *found)
{
    return found->target.base != NULL && found->target.rules->policy.budget_us > 0;
}

static void print_text(const struct ctl *ctl, TALLOC_CTX *ctx, const char *url,
                       const struct explanation *found)
{
    const struct resolved *resolved = &found->target.resolved;

    if (resolved->match.route != NULL)
        print_route(ctx, resolved->match.route);
    if (resolved->kind == RESOLVED_REFUSED) {
        printf("request     would be refused with %d: %s%s\n", resolved->status, resolved->detail,
               target_hint(ctl, ctx, url, &found->target));
        return;
    }
    if (resolved->kind != RESOLVED_ROUTE) {
        printf("request     would be answered by leeway itself: %s_path\n", built_in_name(found));
        return;
    }
    print_values(found);
    printf("key         %s\n", found->target.base != NULL ? found->target.base : "not known");
    if (found->redis)
        print_redis(found);
    else if (asks_redis(found))
        printf(
            "redis       cannot be reached or refuses: entry, lease and refresh are not known\n");
    printf("request     would %s\n", what_would_happen(found));
}

static void write_entry(struct json_out *json, const struct explanation *found)
{
    const struct cache_entry *entry = &found->stored.entry;
    char etag[ENTRY_ETAG_BYTES + 1], stored_etag[ENTRY_ETAG_BYTES + 1];

    entry_etag(entry, true, etag);
    entry_etag(entry, false, stored_etag);
    json_open_object(json, "entry");
    json_text(json, "state", freshness_name(found->verdict.state));
    json_number(json, "status", entry->status);
    json_seconds(json, "age_seconds", found->verdict.age_us);
    json_seconds(json, "ttl_seconds", found->verdict.ttl_us);
    json_number(json, "body_bytes", (int64_t)entry->plain_len);
    json_text(json, "etag", etag[0] != '\0' ? etag : NULL);
    json_text(json, "coding", entry->coding != NULL ? entry->coding->name : NULL);
    json_number(json, "stored_bytes", (int64_t)entry->body_len);
    json_text(json, "stored_etag", stored_etag[0] != '\0' ? stored_etag : NULL);
    json_seconds(json, "made_in_seconds", entry_arrival_us(entry) - entry->snapshot_us);
    json_close_object(json);
}

static void write_redis(struct json_out *json, const struct explanation *found)
{
    if (found->stored.bytes != NULL)
        write_entry(json, found);
    else
        json_null(json, "entry");
    json_text(json, "lease", lease_name(found));
    json_number(json, "lease_left_ms", found->answer.left_ms);
    json_number(json, "refresh_mark_left_ms", found->mark_left_ms);
}

static void write_json(const struct explanation *found)
{
    const struct resolved *resolved = &found->target.resolved;
    const struct route *route = found->target.resolved.match.route;
    struct json_out *json = json_begin();

    json_open_object(json, NULL);
    json_text(json, "pattern", route != NULL ? route->pattern : NULL);
    json_text(json, "route", route != NULL ? route->name : NULL);
    json_text(json, "context", route != NULL ? route->context->name : NULL);
    json_text(json, "built_in", built_in_name(found));
    json_number(json, "status", resolved->status);
    json_text(json, "detail", resolved->detail);
    if (resolved->kind == RESOLVED_ROUTE) {
        json_open_object(json, "parameters");
        for (size_t i = 0; i < route->n_params; i++)
            json_text(json, route->params[i].name, found->target.resolved.values.texts[i]);
        json_close_object(json);
        json_text(json, "key", found->target.base);
        json_bool(json, "redis", found->redis);
        if (found->redis)
            write_redis(json, found);
        json_text(json, "request_would", what_would_happen(found));
    }
    json_close_object(json);
    json_end(json);
}

static void look_at_switches(struct ctl *ctl, struct explanation *found)
{
    struct ctl_disabled *disabled = mem_check(talloc_zero(NULL, struct ctl_disabled));

    ctl_disabled_read(ctl, disabled);
    found->disabled = ctl_disabled_has_route(disabled, found->target.resolved.match.route->name);
    talloc_free(disabled);
}

static void look_at_postgres(struct ctl *ctl, struct explanation *found)
{
    found->unverified = found->target.base == NULL && ctl_keys(ctl)->status == CTL_UNREACHABLE;
    if (runs_query(outcome_of(found)))
        found->reach = ctl_reach_postgres(ctl);
}

/* false: misused. */
static bool read_options(struct ctl *ctl, int argc, char **argv, struct explanation *found)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"variable", required_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    int option;

    optind = 0;
    while ((option = getopt_long(argc, argv, "v:", options, NULL)) != -1) {
        if (option == 'j')
            ctl->json = true;
        else if (option != 'v' || !target_add_variable(&found->target, optarg))
            return false;
    }
    return optind == argc - 1;
}

static enum ctl_exit exit_of(struct ctl *ctl, const struct explanation *found)
{
    enum resolved_kind kind = found->target.resolved.kind;

    if (kind != RESOLVED_ROUTE)
        return kind == RESOLVED_REFUSED ? CTL_BAD : CTL_OK;
    if (found->target.base == NULL)
        return ctl_keys(ctl)->status;
    if (found->reach != CTL_REACHES || (found->target.rules->policy.budget_us > 0 && !found->redis))
        return CTL_UNREACHABLE;
    return ctl_keys(ctl)->status;
}

static enum ctl_exit run(struct ctl *ctl, int argc, char **argv)
{
    struct explanation found = {.answer = {.state = LEASE_AWAY}};
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));

    if (!read_options(ctl, argc, argv, &found)) {
        talloc_free(ctx);
        return ctl_misused(&ctl_explain);
    }
    target_resolve(ctl, ctx, argv[optind], &found.target);
    enum resolved_kind kind = found.target.resolved.kind;
    bool stored = kind == RESOLVED_ROUTE && found.target.rules->policy.budget_us > 0;
    if (stored)
        look_at_switches(ctl, &found);
    if (stored && found.target.base != NULL)
        look(ctl, ctx, &found);
    if (kind == RESOLVED_ROUTE)
        look_at_postgres(ctl, &found);
    if (ctl->json)
        write_json(&found);
    else
        print_text(ctl, ctx, argv[optind], &found);
    talloc_free(ctx);
    return exit_of(ctl, &found);
}

const struct ctl_command ctl_explain = {
    .name = "explain",
    .arguments = "[--json] [-v NAME=VALUE] URL",
    .help = "route, parameters, key, entry, and what a request would do",
    .run = run,
};
