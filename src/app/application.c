/* SPDX-License-Identifier: BSD-2-Clause */
/* From a configuration file to compiled routes. */
#include "config.h"

#include "app/application.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "app/backend.h"
#include "app/capacity.h"
#include "app/switches.h"
#include "base/core_dump.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/mem.h"
#include "base/runtime_dir.h"
#include "cache/entry.h"
#include "refresh/job.h"
#include "source/conninfo.h"

static struct freshness_policy policy_of(const struct context *context)
{
    return (struct freshness_policy){
        .budget_us = context->budget_ms * 1000,
        .refresh_after_us = context->refresh_after_ms * 1000,
        .stale_if_error_us = context->stale_if_error_ms * 1000,
        .negative_budget_us = context->negative_budget_ms * 1000,
    };
}

static size_t variable_place(struct application *app, const char *name)
{
    size_t i = 0;

    while (app->variables[i] != NULL && strcmp(app->variables[i], name) != 0)
        i++;
    if (app->variables[i] == NULL) {
        app->variables = mem_check(talloc_realloc(app, app->variables, const char *, i + 2));
        app->variables[i] = name;
        app->variables[i + 1] = NULL;
    }
    return i;
}

void application_fingerprint(const struct application *app, const struct route *route,
                             const char *identity, char out[FINGERPRINT_HEX + 1])
{
    const struct fingerprint_scope scope = {
        .prefix = app->config->settings.redis.prefix,
        .identity = identity,
        .entry_version = ENTRY_VERSION,
    };

    fingerprint_of_route(route, &scope, out);
}

/* What a refresher must agree on with who asks: which key, and when it is to be renewed. */
static uint64_t hash_of_job(const struct application *app, const struct route *route,
                            const char *identity)
{
    const struct context *context = route->context;
    char fingerprint[FINGERPRINT_HEX + 1], text[128];

    application_fingerprint(app, route, identity, fingerprint);
    int len = snprintf(text, sizeof text, "%d %s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64,
                       JOB_VERSION, fingerprint, context->budget_ms, context->refresh_after_ms,
                       context->stale_if_error_ms, context->negative_budget_ms);
    return XXH3_64bits_withSeed(text, (size_t)len, XXH3_64bits(route->name, strlen(route->name)));
}

char *application_jobs(TALLOC_CTX *ctx, const struct application *app, const char *identity)
{
    uint64_t hash = 0;

    /* a sum: the order of routes makes no difference */
    for (size_t i = 0; i < app->config->n_routes; i++)
        hash += hash_of_job(app, &app->config->routes[i], identity);
    return mem_check(talloc_asprintf(ctx, "%s.%016" PRIx64, identity, hash));
}

static int64_t longest_stale_ms(const struct config *config)
{
    int64_t longest_ms = 0;

    for (size_t i = 0; i < config->n_routes; i++) {
        const struct context *context = config->routes[i].context;
        int64_t ms = context->budget_ms - context->refresh_after_ms;
        longest_ms = ms > longest_ms ? ms : longest_ms;
    }
    return longest_ms;
}

static void make_rules(struct application *app, struct route_rules *rules,
                       const struct route *route)
{
    int64_t statement_ms = app->config->settings.postgres.statement_timeout_ms;
    int64_t budget_ms = route->context->budget_ms;
    int64_t usable_ms = budget_ms - BACKEND_WRITE_ALLOWANCE_US / 1000;

    rules->policy = policy_of(route->context);
    rules->edge = route->context->edge && !route->private;
    rules->query_limit_ms = budget_ms > 0 && usable_ms < statement_ms ? usable_ms : statement_ms;
    application_fingerprint(app, route, app->identity, rules->fingerprint);
    rules->variables = mem_check(talloc_zero_array(app, size_t, route->n_params + 1));
    for (size_t i = 0; i < route->n_params; i++)
        if (route->params[i].source == PARAM_FROM_VARIABLE)
            rules->variables[i] = variable_place(app, route->params[i].variable);
}

/* Resolved once, by the parent: its children connect by the same environment. */
static int find_identity(struct application *app, struct config_error *error)
{
    const struct settings *settings = &app->config->settings;
    char machine[MACHINE_ID_BYTES], problem[256];

    machine_id(machine);
    if (destination_resolve(app, settings->postgres.conninfo, machine, &app->destination, problem,
                            sizeof problem) == -1)
        return config_fail(app, error, app->config->conninfo_place, "conninfo: %s", problem);
    destination_hash(&app->destination, settings->redis.namespace, app->identity);
    return 0;
}

static void make_all_rules(struct application *app)
{
    const struct config *config = app->config;
    struct route_rules *rules =
        mem_check(talloc_zero_array(app, struct route_rules, config->n_routes + 1));
    app->variables = mem_check(talloc_zero_array(app, const char *, 1));
    for (size_t i = 0; i < config->n_routes; i++)
        make_rules(app, &rules[i], &config->routes[i]);
    app->rules = rules;
}

static void find_client_place(struct application *app)
{
    const struct settings *settings = &app->config->settings;

    app->client_place = (size_t)NO_PLACE;
    if (settings->client_misses.a_second > 0 &&
        strcmp(settings->client_misses_by, "REMOTE_ADDR") != 0)
        app->client_place = variable_place(app, settings->client_misses_by);
}

/* A route with that very pattern comes first, for it was there before the setting. One that merely
   matches the path, like "/{page}", does not. */
static const char *find_ready_path(const struct config *config)
{
    for (size_t i = 0; i < config->n_routes; i++)
        if (strcmp(config->routes[i].pattern, config->settings.ready_path) == 0)
            return "";
    return config->settings.ready_path;
}

/* Before anybody else parses it: libpq would quote what it cannot parse. */
static int check_conninfo(struct application *app, struct config_error *error)
{
    const struct postgres_settings *postgres = &app->config->settings.postgres;
    struct config_place place = app->config->conninfo_place;
    char problem[256];
    bool has_password;

    if (conninfo_check(postgres->conninfo, &has_password, problem, sizeof problem) == -1)
        return config_fail(app, error, place, "conninfo: %s", problem);
    if (has_password && postgres->password != NULL)
        return config_fail(app, error, place,
                           "conninfo has a password, and password_file is given; remove one");
    return 0;
}

struct loading {
    TALLOC_CTX *ctx;
    const char *file;
    struct application *app; /* NULL: *error is filled in */
    struct config_error *error;
};

static void load(void *data)
{
    struct loading *loading = data;
    struct application *app = mem_check(talloc_zero(loading->ctx, struct application));
    struct config_error *error = loading->error;

    if (config_load(app, loading->file, &app->config, error) == -1 ||
        check_conninfo(app, error) == -1)
        goto failed;
    app->routes = route_table_new(app, app->config, error);
    if (app->routes == NULL || find_identity(app, error) == -1)
        goto failed;
    make_all_rules(app);
    find_client_place(app);
    app->jobs = application_jobs(app, app, app->identity);
    app->stale_ms = longest_stale_ms(app->config);
    app->ready_path = find_ready_path(app->config);
    loading->app = app;
    return;
failed:
    error->file = talloc_steal(loading->ctx, error->file);
    error->text = talloc_steal(loading->ctx, error->text);
    talloc_free(app);
}

static bool holds_password(const struct settings *settings)
{
    return settings->redis.password[0] != '\0' || settings->postgres.password != NULL ||
           conninfo_leads_to_password(settings->postgres.conninfo);
}

int application_load(TALLOC_CTX *ctx, const char *file, const struct application **loaded,
                     struct config_error *error)
{
    /* by a configuration of this process, if only for a while: nobody scrubs memory */
    static bool held;
    struct loading loading = {.ctx = ctx, .file = file, .error = error};

    core_dump_forbid();
    mem_apart(load, &loading);
    held = held || loading.app == NULL || holds_password(&loading.app->config->settings);
    if (loading.app == NULL)
        return -1;
    if (!held)
        core_dump_allow();
    *loaded = loading.app;
    return 0;
}

static bool may_log(TALLOC_CTX *ctx, const char *file, const struct application *app,
                    struct config_error *error)
{
    const struct config_place place = {.file = file};
    char problem[512];

    if (log_may_open(app->config->settings.log, problem, sizeof problem))
        return true;
    config_fail(ctx, error, place, "%s", problem);
    return false;
}

bool application_has_runtime_dir(TALLOC_CTX *ctx, const struct application *app,
                                 struct config_error *error)
{
    const struct config_place place = {.file = app->config->file};
    char problem[512];

    if (runtime_dir_make(app->config->settings.runtime_dir, problem, sizeof problem) == 0)
        return true;
    config_fail(ctx, error, place, "runtime_dir cannot be used: %s", problem);
    return false;
}

bool application_has_descriptors(TALLOC_CTX *ctx, const struct application *app,
                                 struct config_error *error)
{
    const struct config_place place = {.file = app->config->file};

    if (capacity_claim(&app->config->settings, false) > 0)
        return true;
    config_fail(ctx, error, place, "too few descriptors for so many slots");
    return false;
}

bool application_check(const char *file, const struct application *before)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    const struct application *app;
    struct config_error error;
    bool right = application_load(ctx, file, &app, &error) == 0 &&
                 application_has_runtime_dir(ctx, app, &error) &&
                 application_has_descriptors(ctx, app, &error) && may_log(ctx, file, app, &error);

    if (right && before != NULL)
        switches_tell_moved(before->config->settings.runtime_dir,
                            app->config->settings.runtime_dir);
    if (!right)
        log_event(LOG_LEVEL_ERROR, "configuration not reloaded", log_text("file", error.file),
                  log_number("line", error.line), log_text("error", error.text));
    talloc_free(ctx);
    return right;
}
