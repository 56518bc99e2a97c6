/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl check: what can be known before the first request. The configuration was read already.
 */
#include "config.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/rights.h"
#include "ctl/await.h"
#include "ctl/check_rights.h"
#include "ctl/ctl.h"
#include "ctl/disabled.h"
#include "ctl/json.h"
#include "ctl/keys.h"
#include "redis/info.h"
#include "source/inspect.h"

enum level { LEVEL_OK, LEVEL_WARNING, LEVEL_PROBLEM, LEVEL_UNREACHABLE, LEVEL_COUNT };

static const char *const level_names[] = {
    [LEVEL_OK] = "ok",
    [LEVEL_WARNING] = "warning",
    [LEVEL_PROBLEM] = "problem",
    [LEVEL_UNREACHABLE] = "unreachable",
};

/* Where findings go as they are made. */
struct report {
    struct json_out *json; /* NULL: text */
    size_t counts[LEVEL_COUNT];
    unsigned roles;              /* whose rights in Redis are tried */
    struct check_rights *rights; /* NULL: they could not be */
};

__attribute__((format(printf, 4, 5))) static void find(struct report *report, enum level level,
                                                       const char *subject, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = mem_check(talloc_vasprintf(NULL, format, args));
    va_end(args);

    report->counts[level]++;
    if (report->json == NULL) {
        printf("%-12s%-24s %s\n", level_names[level], subject, text);
    } else {
        json_open_object(report->json, NULL);
        json_text(report->json, "level", level_names[level]);
        json_text(report->json, "subject", subject);
        json_text(report->json, "text", text);
        json_close_object(report->json);
    }
    talloc_free(text);
}

/* Ages don't depend on it; logs of two machines are easier to compare when it is small. */
static int64_t clock_offset_us(const struct cache *cache)
{
    struct timeval now;

    gettimeofday(&now, NULL);
    return redis_clock_latest(cache_clock(cache), clock_monotonic_us()) -
           ((int64_t)now.tv_sec * 1000000 + now.tv_usec);
}

static void check_warnings(struct report *report, const struct config *config)
{
    for (size_t i = 0; i < config->n_warnings; i++)
        find(report, LEVEL_WARNING, "configuration", "%s:%d: %s", config->warnings[i].place.file,
             config->warnings[i].place.line, config->warnings[i].text);
}

static void check_info(struct report *report, const struct cache *cache, const char *info)
{
    char version[32], policy[32], limit[32];
    const char *problem;

    redis_info_find(info, "redis_version", version, sizeof version);
    redis_info_find(info, "maxmemory_policy", policy, sizeof policy);
    redis_info_find(info, "maxmemory", limit, sizeof limit);
    find(report, LEVEL_OK, "redis", "version %s, maxmemory-policy %s, maxmemory %s", version,
         policy, strcmp(limit, "0") == 0 ? "unlimited" : limit);
    for (size_t i = 0; (problem = redis_info_problem(info, i)) != NULL; i++)
        find(report, LEVEL_PROBLEM, "redis", "%s", problem);
    if (strcmp(policy, "noeviction") == 0 && strcmp(limit, "0") != 0)
        find(report, LEVEL_WARNING, "redis",
             "with noeviction nothing more is stored once maxmemory is reached");
    if (strcmp(limit, "0") == 0)
        find(report, LEVEL_WARNING, "redis",
             "it has no maxmemory: what clients ask for may fill the machine's memory");
    find(report, LEVEL_OK, "redis clock", "%+.3f s from this machine's",
         (double)clock_offset_us(cache) / 1e6);
}

struct info_answer {
    bool came;
    char *info; /* NULL: it does not say */
};

static void on_info(void *data, const char *info)
{
    struct info_answer *answer = data;

    answer->came = true;
    if (info != NULL)
        answer->info = mem_check(talloc_strdup(NULL, info));
}

static void on_right(void *data, enum check_rights_level level, const char *text)
{
    static const enum level levels[] = {
        [CHECK_RIGHTS_OK] = LEVEL_OK,
        [CHECK_RIGHTS_WARNING] = LEVEL_WARNING,
        [CHECK_RIGHTS_PROBLEM] = LEVEL_PROBLEM,
    };

    find(data, levels[level], "redis rights", "%s", text);
}

static void check_redis(struct ctl *ctl, TALLOC_CTX *ctx, struct report *report)
{
    const struct redis_settings *settings = &ctl->app->config->settings.redis;
    struct cache *cache = ctl_cache(ctl);
    const char *problem = cache == NULL ? cache_problem(ctl->cache) : NULL;
    struct info_answer answer = {.came = false};

    if (cache == NULL) {
        find(report, LEVEL_UNREACHABLE, "redis", "%s: %s", settings->address,
             problem != NULL ? problem : "no reply");
        return;
    }
    cache_ask_info(cache, on_info, &answer);
    ctl_await(ctl, &answer.came);
    if (answer.info != NULL)
        check_info(report, cache, answer.info);
    else
        find(report, LEVEL_WARNING, "redis", "INFO is refused: version and policy are not known");
    talloc_free(answer.info);
    report->rights = check_rights_try(ctx, cache, settings, report->roles);
    check_rights_report(report->rights, on_right, report);
}

/* Each worker keeps one connection once it has made it, and `slots` run at a time; refreshers have
   one each. */
static void check_connections(const struct settings *settings, struct report *report,
                              const struct inspect_server *server)
{
    int64_t wanted = settings->workers + settings->postgres.slots + settings->refreshers;
    int64_t left = server->max_connections - server->reserved - server->in_use;

    find(report, wanted <= left ? LEVEL_OK : LEVEL_WARNING, "postgres",
         "up to %" PRId64 " connections of this host (%" PRId64 " workers + %" PRId64
         " slots + %" PRId64 " refreshers); max_connections %" PRId64 ", %" PRId64
         " reserved, %" PRId64 " in use: %" PRId64 " left",
         wanted, settings->workers, settings->postgres.slots, settings->refreshers,
         server->max_connections, server->reserved, server->in_use, left);
}

/* Whether every canonical value of the declared type is one that Postgres's type can take; a
   narrower range is a 400 and no problem. */
static bool suits(enum param_type type, const char *inferred)
{
    static const char *const fitting[][8] = {
        [PARAM_INT] = {"bigint", "integer", "smallint", "numeric", "double precision", "real",
                       "oid"},
        [PARAM_NUMBER] = {"numeric", "double precision", "real"},
        [PARAM_BOOL] = {"boolean"},
        [PARAM_TEXT] = {NULL}, /* anything can be written as text */
        [PARAM_UUID] = {"uuid"},
        [PARAM_DATE] = {"date", "timestamp without time zone", "timestamp with time zone"},
        [PARAM_ENUM] = {NULL},
    };

    if (type == PARAM_TEXT || type == PARAM_ENUM || strcmp(inferred, "text") == 0 ||
        strcmp(inferred, "character varying") == 0)
        return true;
    for (size_t i = 0; i < 8 && fitting[type][i] != NULL; i++)
        if (strcmp(fitting[type][i], inferred) == 0)
            return true;
    return false;
}

static void check_params(struct report *report, const struct route *route,
                         const struct inspect_statement *statement)
{
    for (size_t i = 0; i < route->n_params; i++)
        if (!route->uses_param[i])
            find(report, LEVEL_WARNING, route->pattern,
                 "$%zu, %s, is declared and the query does not use it", i + 1,
                 route->params[i].name);
    for (size_t i = 0; i < route->n_params && i < statement->n_params; i++)
        if (route->uses_param[i] && !suits(route->params[i].type, statement->param_types[i]))
            find(report, LEVEL_WARNING, route->pattern,
                 "$%zu, %s, is declared %s, and Postgres takes it for %s", i + 1,
                 route->params[i].name, param_type_name(route->params[i].type),
                 statement->param_types[i]);
}

static char *list_columns(TALLOC_CTX *ctx, const struct inspect_statement *statement)
{
    char *list = mem_check(talloc_strdup(ctx, ""));

    for (size_t i = 0; i < statement->n_columns; i++)
        list = mem_check(talloc_asprintf_append(list, "%s%s %s", i > 0 ? ", " : "",
                                                statement->columns[i].name,
                                                statement->columns[i].type));
    return list;
}

static void check_route(struct report *report, struct inspect *inspect, const struct route *route)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    struct inspect_statement statement;
    char error[256] = "";

    if (inspect_statement(ctx, inspect, route, &statement, error, sizeof error) == -1) {
        find(report, LEVEL_PROBLEM, route->pattern, "%s", error);
    } else {
        size_t before = report->counts[LEVEL_PROBLEM] + report->counts[LEVEL_WARNING];
        check_params(report, route, &statement);
        if (report->counts[LEVEL_PROBLEM] + report->counts[LEVEL_WARNING] == before)
            find(report, LEVEL_OK, route->pattern, "%s: %s of %s", route->name,
                 route_shape_name(route->shape), list_columns(ctx, &statement));
    }
    talloc_free(ctx);
}

static void check_pooler(const struct postgres_settings *settings, struct report *report,
                         bool pooled)
{
    bool unsaid = settings->pooler == POOLER_AUTO && settings->prepared;

    if (pooled && unsaid)
        find(report, LEVEL_WARNING, "postgres",
             "a pooler is in front of it: statements are not prepared by name; set pooler = "
             "session if it keeps a server for each session, and else pooler = transaction");
    else if (pooled)
        find(report, LEVEL_OK, "postgres", "a pooler is in front of it");
}

static void check_postgres(struct ctl *ctl, TALLOC_CTX *ctx, struct report *report)
{
    const struct config *config = ctl->app->config;
    struct inspect_server server;
    char error[256] = "";
    struct inspect *inspect =
        inspect_connect(ctx, ctl_loop(ctl), &config->settings.postgres, error, sizeof error);

    if (inspect == NULL || inspect_server(ctx, inspect, &server, error, sizeof error) == -1) {
        find(report, LEVEL_UNREACHABLE, "postgres", "%s", error);
        return;
    }
    find(report, LEVEL_OK, "postgres", "version %s", server.version);
    if (inspect_problem(inspect)[0] != '\0')
        find(report, LEVEL_WARNING, "postgres", "%s", inspect_problem(inspect));
    if (server.in_recovery)
        find(report, LEVEL_PROBLEM, "postgres",
             "it is in recovery: its lag cannot be bounded, so it is not asked");
    check_pooler(&config->settings.postgres, report, server.pooled);
    check_connections(&config->settings, report, &server);
    for (size_t i = 0; i < config->n_routes; i++)
        check_route(report, inspect, &config->routes[i]);
}

static const char *or_unknown(const char *system)
{
    return system[0] != '\0' ? system : "(unknown)";
}

static void check_identity(struct ctl *ctl, TALLOC_CTX *ctx, struct report *report)
{
    const struct ctl_keys *keys = ctl_keys(ctl);
    const char *identity = ctl_keys_known(keys) ? keys->record.identity : ctl->app->identity;
    struct identity_note noted;
    struct ctl_place place;

    if (ctl_keys_known(keys) && !ctl_goes_where(ctl, &keys->record.destination)) {
        find(report, LEVEL_WARNING, "identity",
             "the daemons connect elsewhere than this command: see leewayctl identity");
        return;
    }
    if (ctl_cache(ctl) == NULL) {
        find(report, LEVEL_UNREACHABLE, "redis", "%s: it went away meanwhile",
             ctl->app->config->settings.redis.address);
        return;
    }
    if (ctl_place(ctl, ctx, &place) == -1)
        return;
    int found = ctl_read_note(ctl, identity, &noted);
    if (found == 1 && !identity_note_agrees(&noted, &place.seen))
        find(report, LEVEL_PROBLEM, "identity",
             "noted is cluster %s, database OID %s; the server has cluster %s, database OID %s: "
             "nothing is served (leewayctl identity)",
             or_unknown(noted.system), noted.database, or_unknown(place.seen.system),
             place.seen.database);
    else if (found != -1)
        find(report, LEVEL_OK, "identity", "%s: cluster %s, database OID %s%s", identity,
             or_unknown(place.seen.system), place.seen.database,
             found == 0 ? ", not noted yet" : "");
    if (place.seen.system[0] == '\0')
        find(report, LEVEL_WARNING, "identity",
             "the role may not execute pg_control_system(): clusters are told apart by the "
             "database's OID only");
    else if (found == 1 && noted.system[0] == '\0')
        find(report, LEVEL_WARNING, "identity",
             "noted is no cluster, for the daemons' role may not execute pg_control_system(): "
             "clusters are told apart by the database's OID only");
}

static void check_list(struct report *report, const struct switch_list *list, const char *where)
{
    for (size_t i = 0; i < list->count; i++)
        find(report, LEVEL_WARNING, "disabled", "%s is disabled %s by %s (leewayctl disable)",
             list->items[i].name, where, list->items[i].by);
}

/* What somebody has switched off, and may have forgotten. */
static void check_disabled(struct ctl *ctl, struct report *report)
{
    struct ctl_disabled *disabled = mem_check(talloc_zero(NULL, struct ctl_disabled));

    ctl_disabled_read(ctl, disabled);
    check_list(report, &disabled->host, "on this host");
    check_list(report, &disabled->fleet, "for the fleet");
    if (!disabled->host_known)
        find(report, LEVEL_PROBLEM, "disabled",
             "what is disabled on this host cannot be read: processes that start have nothing "
             "disabled");
    if (disabled->fleet_is_broken)
        find(report, LEVEL_PROBLEM, "disabled",
             "what is disabled for the fleet cannot be read, for its key in Redis is of another "
             "type: processes that start have nothing disabled");
    talloc_free(disabled);
}

static void finish(const struct ctl *ctl, struct report *report)
{
    if (report->json == NULL) {
        size_t problems = report->counts[LEVEL_PROBLEM] + report->counts[LEVEL_UNREACHABLE];
        size_t warnings = report->counts[LEVEL_WARNING];
        printf("%zu problem%s, %zu warning%s\n", problems, problems == 1 ? "" : "s", warnings,
               warnings == 1 ? "" : "s");
        return;
    }
    json_close_array(report->json);
    if (report->rights != NULL)
        check_rights_print(report->rights, report->json, "rights");
    json_text(report->json, "file", ctl->file);
    json_number(report->json, "problems",
                (int64_t)(report->counts[LEVEL_PROBLEM] + report->counts[LEVEL_UNREACHABLE]));
    json_number(report->json, "warnings", (int64_t)report->counts[LEVEL_WARNING]);
    json_close_object(report->json);
    json_end(report->json);
}

static bool read_options(struct ctl *ctl, int argc, char **argv, unsigned *roles)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"role", required_argument, NULL, 'r'},
                                            {NULL, 0, NULL, 0}};
    int option;

    optind = 0; /* the command line proper has been read already */
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'j')
            ctl->json = true;
        else if (option == 'r' && rights_role_named(optarg) != 0)
            *roles = rights_role_named(optarg);
        else
            return false;
    }
    return optind == argc;
}

static enum ctl_exit run(struct ctl *ctl, int argc, char **argv)
{
    struct report report = {.json = NULL, .roles = RIGHTS_ALL};

    if (!read_options(ctl, argc, argv, &report.roles))
        return ctl_misused(&ctl_check);
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    if (ctl->json) {
        report.json = json_begin();
        json_open_object(report.json, NULL);
        json_open_array(report.json, "findings");
    }
    find(&report, LEVEL_OK, "configuration", "%s: %zu contexts, %zu routes", ctl->file,
         ctl->app->config->n_contexts, ctl->app->config->n_routes);
    check_warnings(&report, ctl->app->config);
    check_redis(ctl, ctx, &report);
    check_postgres(ctl, ctx, &report);
    check_disabled(ctl, &report);
    if (report.counts[LEVEL_UNREACHABLE] == 0)
        check_identity(ctl, ctx, &report);
    finish(ctl, &report);
    talloc_free(ctx);
    if (report.counts[LEVEL_UNREACHABLE] > 0)
        return CTL_UNREACHABLE;
    return report.counts[LEVEL_PROBLEM] > 0 ? CTL_BAD : CTL_OK;
}

const struct ctl_command ctl_check = {
    .name = "check",
    .arguments = "[--json] [--role ROLE]",
    .help = "configuration, Redis, Postgres, and each route's statement against it",
    .run = run,
};
