/* SPDX-License-Identifier: BSD-2-Clause */
/* Connection, options, durations. */
#include "config.h"

#include "ctl/ctl.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/loop.h"
#include "base/mem.h"
#include "ctl/keys.h"

struct ev_loop *ctl_loop(struct ctl *ctl)
{
    if (ctl->loop == NULL)
        ctl->loop = mem_check(ev_loop_new(0));
    return ctl->loop;
}

static void on_change(void *data, enum cache_change change)
{
    struct ctl *ctl = data;

    if (change != CACHE_DOWN)
        ctl->cache_came_up = true;
}

struct cache *ctl_cache(struct ctl *ctl)
{
    const struct redis_settings *settings = &ctl->app->config->settings.redis;
    const struct cache_options options = {.settings = settings,
                                          .client_name = "leewayctl",
                                          .speaks = true,
                                          .on_change = on_change,
                                          .data = ctl};

    if (ctl->cache == NULL) {
        ctl->cache = cache_open(NULL, ctl_loop(ctl), &options);
        loop_run_for(ctl_loop(ctl), settings->connect_timeout_ms + settings->command_timeout_ms,
                     &ctl->cache_came_up, NULL);
    }
    return cache_is_up(ctl->cache) ? ctl->cache : NULL;
}

struct queue *ctl_job_queue(struct ctl *ctl)
{
    struct cache *cache = ctl_cache(ctl);

    if (cache != NULL && ctl->queue == NULL) {
        char *identity = ctl_kept_identity(NULL, ctl);
        char *name = application_jobs(identity, ctl->app, identity);
        const struct queue_list list = {.name = name, .window_ms = ctl->app->stale_ms};
        ctl->queue = queue_open(NULL, cache, &ctl->app->config->settings.redis, &list);
        talloc_free(identity);
    }
    return cache != NULL ? ctl->queue : NULL;
}

enum ctl_exit ctl_misused(const struct ctl_command *command)
{
    fprintf(stderr, "usage: leewayctl [-c FILE] %s%s%s\n", command->name,
            command->arguments[0] != '\0' ? " " : "", command->arguments);
    return CTL_USAGE;
}

enum { NAMES_SHOWN = 20 };

static void tell_names(const struct config *config)
{
    for (size_t i = 0; i < config->n_routes && i < NAMES_SHOWN; i++)
        fprintf(stderr, "%s%s", i == 0 ? "; there are: " : ", ", config->routes[i].name);
    if (config->n_routes > NAMES_SHOWN)
        fprintf(stderr, " and %zu more (leewayctl --json budgets)", config->n_routes - NAMES_SHOWN);
    fputs("\n", stderr);
}

const struct route *ctl_route_named(const struct ctl *ctl, const char *name)
{
    const struct config *config = ctl->app->config;

    /* a name has no '/', with which a pattern begins */
    for (size_t i = 0; i < config->n_routes; i++)
        if (strcmp(config->routes[i].pattern, name) == 0)
            return &config->routes[i];
    const struct route *route = route_table_by_name(ctl->app->routes, name);
    if (route == NULL) {
        fprintf(stderr, "leewayctl: there is no route named '%s'", name);
        tell_names(config);
    }
    return route;
}

bool ctl_plain_options(struct ctl *ctl, int argc, char **argv, int *first)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    int option;

    optind = 0; /* the command line proper has been read already */
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 'j')
            return false;
        ctl->json = true;
    }
    *first = optind;
    return true;
}

void ctl_print(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7f) {
            printf("\\x%02x", *at);
        } else if (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0) {
            /* a C1 control, two bytes in UTF-8 */
            printf("\\x%02x", *++at);
        } else {
            putchar(*at);
        }
    }
}

char *ctl_duration(TALLOC_CTX *ctx, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;

    if (ms == 0)
        return mem_check(talloc_strdup(ctx, "0s"));
    while (ms % units[i].ms != 0)
        i++;
    return mem_check(talloc_asprintf(ctx, "%" PRId64 "%s", ms / units[i].ms, units[i].unit));
}
