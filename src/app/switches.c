/* SPDX-License-Identifier: BSD-2-Clause */
/* Two lists, and what follows from them for each route. */
#include "config.h"

#include "app/switches.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/runtime_dir.h"

#define FILE_NAME "switches"

enum {
    FILE_BYTES =
        SWITCHES_MAX * (SWITCH_NAME_BYTES + SWITCH_VALUE_BYTES + 2) + (int)sizeof SWITCH_FILE_END,
    PROBLEM_BYTES = 256,
    /* Nothing in it is a secret, and an operator's file is read by a user of less rights. */
    FILE_MODE = 0644,
    /* After a refusal, as for want of the right. */
    REFUSED_TICKS = 10,
};

enum scope { SCOPE_HOST, SCOPE_FLEET, SCOPES };

static const char *const scope_names[SCOPES] = {[SCOPE_HOST] = "host", [SCOPE_FLEET] = "fleet"};

struct switches {
    const struct application *app;
    struct cache *cache;
    bool speaks;
    bool refreshes;
    struct switch_list lists[SCOPES];
    struct switch_list told[SCOPES];      /* what was in force and has been logged */
    char problems[SCOPES][PROBLEM_BYTES]; /* why a list cannot be read; "": it can */
    struct cache_request *request;        /* for the fleet's */
    bool fleet_known;
    int pause;          /* ticks until it is asked for again */
    bool *route_is_off; /* by route index */
    bool refresh_is_off;
};

static int destroy(struct switches *switches)
{
    cache_cancel(switches->request);
    return 0;
}

struct switches *switches_new(TALLOC_CTX *ctx, const struct application *app, struct cache *cache,
                              bool speaks, bool refreshes)
{
    struct switches *switches = mem_check(talloc_zero(ctx, struct switches));

    switches->app = app;
    switches->cache = cache;
    switches->speaks = speaks;
    switches->refreshes = refreshes;
    switches->route_is_off =
        mem_check(talloc_zero_array(switches, bool, (unsigned)app->config->n_routes + 1));
    talloc_set_destructor(switches, destroy);
    return switches;
}

/* By the clock that a list's times are of. */
static int64_t now_ms(const struct switches *switches, enum scope scope)
{
    if (scope == SCOPE_HOST)
        return (int64_t)time(NULL) * 1000;
    return redis_clock_earliest(cache_clock(switches->cache), clock_monotonic_us()) / 1000;
}

static void log_off(enum scope scope, const struct cache_switch *off)
{
    time_t until = off->until_ms / 1000;
    struct tm parts;
    char text[32] = "";

    if (gmtime_r(&until, &parts) != NULL)
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    log_event(LOG_LEVEL_WARN, "an operator has disabled something", log_text("what", off->name),
              log_text("scope", scope_names[scope]), log_text("until", text),
              log_text("by", off->by));
}

/* What has come or gone since the last look. */
static void log_changes(struct switches *switches, enum scope scope)
{
    const struct switch_list *now = &switches->lists[scope];
    struct switch_list *told = &switches->told[scope];

    for (size_t i = 0; i < now->count; i++) {
        const struct cache_switch *before = switch_list_find(told, now->items[i].name, 0);
        if (before == NULL || before->until_ms != now->items[i].until_ms)
            log_off(scope, &now->items[i]);
    }
    for (size_t i = 0; i < told->count; i++)
        if (switch_list_find(now, told->items[i].name, 0) == NULL)
            log_event(LOG_LEVEL_WARN, "what was disabled is enabled again",
                      log_text("what", told->items[i].name), log_text("scope", scope_names[scope]));
    *told = *now;
}

static bool is_off(const struct switches *switches, enum scope scope, const char *name)
{
    return switch_list_find(&switches->lists[scope], name, 0) != NULL;
}

/* Of many routes few are switched off, and mostly none. */
static void apply_routes(struct switches *switches, enum scope scope)
{
    enum { PREFIX = sizeof SWITCH_ROUTE - 1, LONGEST = SWITCH_NAME_BYTES - 1 - PREFIX };
    const struct config *config = switches->app->config;
    const struct switch_list *list = &switches->lists[scope];

    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->items[i].name;
        if (strncmp(name, SWITCH_ROUTE, PREFIX) != 0)
            continue;
        for (size_t r = 0; r < config->n_routes; r++)
            if (strncmp(config->routes[r].name, name + PREFIX, LONGEST) == 0)
                switches->route_is_off[config->routes[r].index] = true;
    }
}

static void apply(struct switches *switches)
{
    for (int scope = 0; scope < SCOPES; scope++) {
        switch_list_prune(&switches->lists[scope], now_ms(switches, (enum scope)scope));
        if (switches->speaks)
            log_changes(switches, (enum scope)scope);
    }
    switches->refresh_is_off = is_off(switches, SCOPE_HOST, SWITCH_REFRESH) ||
                               is_off(switches, SCOPE_FLEET, SWITCH_REFRESH);
    memset(switches->route_is_off, 0,
           switches->app->config->n_routes * sizeof *switches->route_is_off);
    apply_routes(switches, SCOPE_FLEET);
    if (!switches->refreshes)
        apply_routes(switches, SCOPE_HOST);
}

/* Each process says what it cannot read, for each goes on with what it knows itself. "": it can. */
static void note_problem(struct switches *switches, enum scope scope, const char *problem)
{
    char *noted = switches->problems[scope];

    if (problem[0] != '\0' && strncmp(noted, problem, PROBLEM_BYTES - 1) != 0)
        log_event(LOG_LEVEL_ERROR, "what is disabled cannot be read",
                  log_text("scope", scope_names[scope]), log_text("error", problem),
                  log_text("action", "what this process knows of stays disabled, until its time"));
    else if (problem[0] == '\0' && noted[0] != '\0')
        log_event(LOG_LEVEL_INFO, "what is disabled can be read again",
                  log_text("scope", scope_names[scope]));
    snprintf(noted, PROBLEM_BYTES, "%s", problem);
}

bool switches_are_broken(const char *refusal)
{
    return refusal != NULL && strncmp(refusal, "WRONGTYPE", strlen("WRONGTYPE")) == 0;
}

/* A right that is wanting is told of with the others. */
static void on_fleet(void *data, const struct switch_list *list, const char *refusal)
{
    struct switches *switches = data;

    switches->request = NULL;
    switches->pause = refusal != NULL ? REFUSED_TICKS : 0;
    if (switches_are_broken(refusal))
        note_problem(switches, SCOPE_FLEET, refusal);
    if (list == NULL)
        return;
    note_problem(switches, SCOPE_FLEET, "");
    switches->lists[SCOPE_FLEET] = *list;
    switches->fleet_known = true;
    apply(switches);
}

static void ask_fleet(struct switches *switches)
{
    if (switches->request == NULL && cache_is_up(switches->cache))
        switches->request =
            cache_read_switches(switches->cache, switches->app->identity, on_fleet, switches);
}

void switches_cache_is_up(struct switches *switches)
{
    switches->pause = 0;
    ask_fleet(switches);
}

void switches_tick(struct switches *switches)
{
    char error[PROBLEM_BYTES] = "";

    /* what cannot be read stays as it was */
    if (switches_file_read(switches->app->config->settings.runtime_dir,
                           &switches->lists[SCOPE_HOST], error, sizeof error) == 0)
        error[0] = '\0';
    note_problem(switches, SCOPE_HOST, error);
    if (switches->pause > 0)
        switches->pause--;
    else
        ask_fleet(switches);
    apply(switches);
}

bool switches_route_is_off(const struct switches *switches, const struct route *route)
{
    return switches != NULL && switches->route_is_off[route->index];
}

bool switches_refresh_is_off(const struct switches *switches)
{
    return switches != NULL && switches->refresh_is_off;
}

/* Refreshes also where they are not, so that there is a number to look at. */
static void tell_list(const struct switch_list *list, enum scope scope,
                      struct metrics_scrape *scrape)
{
    const char *name = scope_names[scope];

    if (switch_list_find(list, SWITCH_REFRESH, 0) == NULL)
        metrics_scrape_disabled(scrape, SWITCH_REFRESH, name, false);
    for (size_t i = 0; i < list->count; i++)
        metrics_scrape_disabled(scrape, list->items[i].name, name, true);
}

void switches_tell_lists(const struct switch_list *host, const struct switch_list *fleet,
                         struct metrics_scrape *scrape)
{
    if (host != NULL)
        tell_list(host, SCOPE_HOST, scrape);
    if (fleet != NULL)
        tell_list(fleet, SCOPE_FLEET, scrape);
}

void switches_tell(const struct switches *switches, struct metrics_scrape *scrape)
{
    if (switches == NULL)
        return;
    switches_tell_lists(&switches->lists[SCOPE_HOST],
                        switches->fleet_known ? &switches->lists[SCOPE_FLEET] : NULL, scrape);
}

void switches_tell_moved(const char *from, const char *to)
{
    struct switch_list list;
    char error[PROBLEM_BYTES];

    if (strcmp(from, to) == 0 || switches_file_read(from, &list, error, sizeof error) == -1)
        return;
    switch_list_prune(&list, (int64_t)time(NULL) * 1000);
    for (size_t i = 0; i < list.count; i++)
        log_event(LOG_LEVEL_WARN, "what was disabled on this host is not in another runtime_dir",
                  log_text("what", list.items[i].name), log_text("by", list.items[i].by),
                  log_text("before", from), log_text("now", to),
                  log_text("advice", "disable it anew"));
}

int switches_file_read(const char *directory, struct switch_list *list, char *error,
                       size_t error_size)
{
    struct switch_list found;
    char text[FILE_BYTES + 1];
    int fd = runtime_file_open(directory, FILE_NAME, O_RDONLY, 0, error, error_size);

    if (fd == -1 && errno == ENOENT) {
        list->count = 0;
        return 0;
    }
    if (fd == -1)
        return -1;
    ssize_t len = read(fd, text, FILE_BYTES);
    if (len == -1)
        snprintf(error, error_size, "cannot read %s/" FILE_NAME ": %s", directory, strerror(errno));
    close(fd);
    if (len == -1)
        return -1;
    text[len] = '\0';
    if (strlen(text) != (size_t)len || !switch_list_parse(text, &found)) {
        snprintf(error, error_size,
                 "%s/" FILE_NAME
                 " is not whole: remove it, and disable anew what is to be disabled",
                 directory);
        return -1;
    }
    *list = found;
    return 0;
}

int switches_file_write(const char *directory, const struct switch_list *list, char *error,
                        size_t error_size)
{
    char value[SWITCH_VALUE_BYTES];
    struct buf out;
    int result;

    buf_init(&out, NULL, 256);
    for (size_t i = 0; i < list->count; i++) {
        switch_write_value(&list->items[i], value);
        buf_printf(&out, "%s %s\n", list->items[i].name, value);
    }
    buf_printf(&out, "%s", SWITCH_FILE_END);
    result = runtime_file_replace(directory, FILE_NAME, out.data, FILE_MODE);
    if (result == -1)
        snprintf(error, error_size, "cannot write %s/" FILE_NAME ": %s", directory,
                 strerror(errno));
    talloc_free(out.data);
    return result;
}
