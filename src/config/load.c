/* SPDX-License-Identifier: BSD-2-Clause */
/* From a file's name to a complete configuration, or to one sentence about
   what is wrong. */
#include "config.h"

#include "config/load.h"

#include <stdarg.h>
#include <string.h>

#include "base/mem.h"
#include "config/build.h"
#include "config/keys.h"
#include "config/tree.h"

__attribute__((format(printf, 4, 0))) static void set_error(TALLOC_CTX *ctx,
                                                            struct config_error *error,
                                                            struct config_place place,
                                                            const char *format, va_list args)
{
    error->file = mem_check(talloc_strdup(ctx, place.file));
    error->line = place.line;
    error->text = mem_check(talloc_vasprintf(ctx, format, args));
}

int config_fail(TALLOC_CTX *ctx, struct config_error *error, struct config_place place,
                const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_error(ctx, error, place, format, args);
    va_end(args);
    return -1;
}

int config_build_fail(const struct config_build *build, struct config_place place,
                      const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_error(build->ctx, build->error, place, format, args);
    va_end(args);
    return -1;
}

void config_build_warn(const struct config_build *build, struct config_place place,
                       const char *format, ...)
{
    struct config *config = build->config;
    struct config_warning *warnings =
        mem_check(talloc_array(config, struct config_warning, (unsigned)config->n_warnings + 1));
    va_list args;

    if (config->n_warnings > 0)
        memcpy(warnings, config->warnings, config->n_warnings * sizeof warnings[0]);
    va_start(args, format);
    warnings[config->n_warnings++] = (struct config_warning){
        .place = place,
        .text = mem_check(talloc_vasprintf(config, format, args)),
    };
    va_end(args);
    config->warnings = warnings;
}

static int check_timeouts(const struct config_build *build, const struct config_block *root,
                          const struct config_block *postgres)
{
    const struct settings *settings = &build->config->settings;
    const struct config_entry *drain = config_block_find(root, "drain_timeout");
    const struct config_entry *statement = config_block_find(postgres, "statement_timeout");

    if (settings->drain_timeout_ms >= settings->postgres.statement_timeout_ms)
        return 0;
    struct config_place place = statement != NULL ? statement->place : root->place;
    return config_build_fail(build, drain != NULL ? drain->place : place,
                             "drain_timeout (%lldms) must be at least postgres.statement_timeout "
                             "(%lldms), so that begun queries can finish",
                             (long long)settings->drain_timeout_ms,
                             (long long)settings->postgres.statement_timeout_ms);
}

/* A connection takes a while to be made. */
static int check_lifetime(const struct config_build *build, const struct config_block *postgres)
{
    const struct config_entry *entry = config_block_find(postgres, "session_lifetime");
    int64_t lifetime_ms = build->config->settings.postgres.session_lifetime_ms;

    if (entry == NULL || lifetime_ms == 0 || lifetime_ms >= 1000)
        return 0;
    return config_build_fail(build, entry->place,
                             "session_lifetime is out of range: it must be 0s, or from 1s to 30d");
}

/* A web server passes a client's header on as HTTP_*. */
static void warn_of_forgeable_clients(const struct config_build *build,
                                      const struct config_block *root)
{
    const struct settings *settings = &build->config->settings;
    const struct config_entry *by = config_block_find(root, "client_misses_by");

    if (by != NULL && settings->client_misses.a_second > 0 &&
        strncmp(settings->client_misses_by, "HTTP_", strlen("HTTP_")) == 0)
        config_build_warn(
            build, by->place,
            "clients can send %s: unless the web server sets it itself, whoever changes it "
            "has a new ration each time",
            settings->client_misses_by);
}

static int check_paths(const struct config_build *build, const struct config_block *root)
{
    const struct settings *settings = &build->config->settings;
    const struct {
        const char *name, *path;
    } paths[] = {{"metrics_path", settings->metrics_path},
                 {"health_path", settings->health_path},
                 {"ready_path", settings->ready_path}};

    for (size_t i = 1; i < sizeof paths / sizeof paths[0]; i++)
        for (size_t k = 0; k < i; k++) {
            const struct config_entry *first = config_block_find(root, paths[k].name);
            const struct config_entry *second = config_block_find(root, paths[i].name);
            if (paths[k].path[0] == '\0' || strcmp(paths[k].path, paths[i].path) != 0)
                continue;
            struct config_place place = first != NULL ? first->place : root->place;
            return config_build_fail(build, second != NULL ? second->place : place,
                                     "%s and %s are the same, \"%s\"", paths[k].name, paths[i].name,
                                     paths[k].path);
        }
    return 0;
}

static int read_settings(const struct config_build *build, const struct config_block *root)
{
    const struct config_block *redis = config_block_child(root, "redis");
    const struct config_block *postgres = config_block_child(root, "postgres");
    struct settings *settings = &build->config->settings;

    if (config_read_keys(build, "", root, settings) == -1 ||
        config_read_keys(build, "redis", redis, settings) == -1 ||
        config_read_keys(build, "postgres", postgres, settings) == -1)
        return -1;
    build->config->conninfo_place = config_block_find(postgres, "conninfo") != NULL
                                        ? config_block_place(postgres, "conninfo")
                                        : root->place;
    if (config_build_passwords(build, redis, postgres) == -1 ||
        config_build_tls(build, redis) == -1 || check_timeouts(build, root, postgres) == -1 ||
        check_lifetime(build, postgres) == -1)
        return -1;
    warn_of_forgeable_clients(build, root);
    return check_paths(build, root);
}

int config_load(TALLOC_CTX *ctx, const char *file, const struct config **config,
                struct config_error *error)
{
    struct config *made = mem_check(talloc_zero(ctx, struct config));
    struct config_build build = {.ctx = ctx, .error = error, .config = made};
    struct config_block *root;

    *error = (struct config_error){0};
    made->file = mem_check(talloc_strdup(made, file));
    /* the tree stays: names, texts and places of the configuration are its own */
    root = config_tree_load(made, ctx, file, error);
    if (root == NULL || read_settings(&build, root) == -1 ||
        config_build_contexts(&build, root) == -1 || config_build_routes(&build, root) == -1) {
        talloc_free(made);
        return -1;
    }
    *config = made;
    return 0;
}
