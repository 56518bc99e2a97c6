/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl disable and enable: what an operator switches off for a time when it misbehaves and a
   deployment is far, on this host or for all hosts. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/switches.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/runtime_dir.h"
#include "ctl/await.h"
#include "ctl/disabled.h"
#include "ctl/json.h"
#include "ctl/keys.h"

enum {
    DEFAULT_MS = 60 * 60 * 1000,
    MIN_MS = 1000,
    MAX_DAYS = 7,
    LOCK_TRIES = 100,
    LOCK_PAUSE_NS = 10 * 1000 * 1000,
};

struct order {
    char name[SWITCH_NAME_BYTES]; /* "": only to look */
    const char *route;            /* as it was given, or NULL; borrowed */
    bool fleet;
    int64_t for_ms;
};

/* Who is at the keyboard, also behind sudo. */
static void describe_operator(char by[SWITCH_BY_BYTES])
{
    const char *user = getenv("SUDO_USER");
    const struct passwd *account = user == NULL ? getpwuid(getuid()) : NULL;
    char host[64] = "";

    if (user == NULL)
        user = account != NULL ? account->pw_name : "?";
    (void)gethostname(host, sizeof host - 1);
    snprintf(by, SWITCH_BY_BYTES, "%.60s@%s", user, host);
    for (char *c = by; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
            *c = '?';
}

struct answer {
    bool came;
    bool told;
    bool is_refused;
    bool is_broken;
    struct switch_list *list;
};

static void on_list(void *data, const struct switch_list *list, const char *refusal)
{
    struct answer *answer = data;

    answer->is_refused = refusal != NULL;
    answer->is_broken = switches_are_broken(refusal);
    answer->came = true;
    answer->told = list != NULL;
    if (list != NULL)
        *answer->list = *list;
}

static const char *identity_of(struct ctl *ctl)
{
    const struct ctl_keys *keys = ctl_keys(ctl);

    return ctl_keys_known(keys) ? keys->record.identity : ctl->app->identity;
}

/* `off` NULL: only read. Not told: Redis is away or refuses. */
static struct answer ask_fleet(struct ctl *ctl, const struct cache_switch *off, bool on,
                               struct switch_list *list)
{
    struct answer answer = {.list = list};
    struct cache *cache = ctl_cache(ctl);

    answer.is_refused = cache == NULL; /* nothing was sent */
    if (cache == NULL)
        return answer;
    if (off == NULL)
        cache_read_switches(cache, identity_of(ctl), on_list, &answer);
    else if (on)
        cache_switch_on(cache, identity_of(ctl), off, on_list, &answer);
    else
        cache_switch_off(cache, identity_of(ctl), off, on_list, &answer);
    ctl_await(ctl, &answer.came);
    return answer;
}

static const char *directory_of(const struct ctl *ctl)
{
    return ctl->app->config->settings.runtime_dir;
}

/* Two operators at once do not undo each other's work. Who holds the lock for a second has other
   things in mind, and is not waited for. The descriptor to close, or -1. */
static int lock_directory(const char *directory)
{
    static const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (int i = 0; fd != -1 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) == -1; i++)
        nanosleep(&pause, NULL);
    return fd;
}

static int complain(const char *error)
{
    fprintf(stderr, "leewayctl: %s\n", error);
    return -1;
}

/* 0, or -1 and it has been said why not. */
static int change_file(const struct ctl *ctl, const struct cache_switch *off, bool on,
                       struct switch_list *list)
{
    char error[256];

    if (switches_file_read(directory_of(ctl), list, error, sizeof error) == -1)
        return complain(error);
    switch_list_prune(list, (int64_t)time(NULL) * 1000);
    if (on && !switch_list_remove(list, off->name))
        return complain("that is not disabled on this host; what the fleet has disabled is enabled "
                        "with --fleet");
    if (!on && !switch_list_set(list, off))
        return complain("too much is disabled already: enable something first");
    if (switches_file_write(directory_of(ctl), list, error, sizeof error) == -1)
        return complain(error);
    return 0;
}

/* Root, behind sudo, may write to the daemons' directory, and makes none, for it would be its own,
   to which they may not write. */
static int check_directory(const char *directory, char *error, size_t error_size)
{
    if (geteuid() != 0)
        return runtime_dir_make(directory, error, error_size);
    if (access(directory, F_OK) == 0)
        return 0;
    snprintf(error, error_size, "no daemon has run with %s: %s", directory, strerror(errno));
    return -1;
}

static enum ctl_exit change_host(const struct ctl *ctl, const struct cache_switch *off, bool on,
                                 struct switch_list *list)
{
    char error[256];

    if (check_directory(directory_of(ctl), error, sizeof error) == -1) {
        complain(error);
        return CTL_UNREACHABLE;
    }
    umask(022); /* the daemons read it */
    int lock = lock_directory(directory_of(ctl));
    int result = change_file(ctl, off, on, list);
    if (lock != -1)
        close(lock);
    return result == 0 ? CTL_OK : CTL_BAD;
}

static enum ctl_exit change_fleet(struct ctl *ctl, const struct cache_switch *off, bool on,
                                  struct switch_list *list)
{
    bool was_off = on && ask_fleet(ctl, NULL, false, list).told &&
                   switch_list_find(list, off->name, 0) != NULL;
    struct answer answer = ask_fleet(ctl, off, on, list);

    if (!answer.told) {
        complain(answer.is_refused
                     ? "Redis does not take it: nothing has changed"
                     : "Redis does not answer: it may have taken it, or may do so yet; "
                       "leewayctl disable tells");
        return CTL_UNREACHABLE;
    }
    if (on && !was_off) {
        complain("that is not disabled for the fleet; what this host has disabled is enabled "
                 "without --fleet");
        return CTL_BAD;
    }
    if (!on && switch_list_find(list, off->name, off->until_ms - 1) == NULL) {
        complain("too much is disabled already: enable something first");
        return CTL_BAD;
    }
    return CTL_OK;
}

/* By the clock of who keeps it. */
static int64_t now_ms(struct ctl *ctl, bool fleet)
{
    struct cache *cache = fleet ? ctl_cache(ctl) : NULL;

    if (cache != NULL)
        return redis_clock_earliest(cache_clock(cache), clock_monotonic_us()) / 1000;
    return (int64_t)time(NULL) * 1000;
}

static void format_time(int64_t ms, char text[32])
{
    time_t seconds = ms / 1000;
    struct tm parts;

    text[0] = '\0';
    if (gmtime_r(&seconds, &parts) != NULL)
        strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static void print_list(const struct switch_list *list, const char *where)
{
    char until[32];

    for (size_t i = 0; i < list->count; i++) {
        format_time(list->items[i].until_ms, until);
        printf("%s  %s  until %s  by ", list->items[i].name, where, until);
        ctl_print(list->items[i].by);
        printf("\n");
    }
}

static void write_list(struct json_out *json, const struct switch_list *list, const char *where)
{
    char until[32];

    json_open_array(json, where);
    for (size_t i = 0; i < list->count; i++) {
        format_time(list->items[i].until_ms, until);
        json_open_object(json, NULL);
        json_text(json, "name", list->items[i].name);
        json_text(json, "until", until);
        json_text(json, "by", list->items[i].by);
        json_close_object(json);
    }
    json_close_array(json);
}

static void write_known(struct json_out *json, const struct switch_list *list, bool known,
                        const char *name)
{
    if (known)
        write_list(json, list, name);
    else
        json_null(json, name);
}

static void show_json(const struct ctl_disabled *lists)
{
    struct json_out *json = json_begin();

    json_open_object(json, NULL);
    write_known(json, &lists->host, lists->host_known, "host");
    write_known(json, &lists->fleet, lists->fleet_known, "fleet");
    json_close_object(json);
    json_end(json);
}

static void show(const struct ctl *ctl, const struct ctl_disabled *lists)
{
    if (ctl->json) {
        show_json(lists);
        return;
    }
    print_list(&lists->host, "on this host");
    print_list(&lists->fleet, "for the fleet");
    if (lists->host.count + lists->fleet.count > 0)
        return;
    if (lists->host_known)
        printf("nothing is disabled%s\n",
               lists->fleet_known ? "" : " on this host; of the fleet it is not known");
    else if (lists->fleet_known)
        printf("nothing is disabled for the fleet; of this host it is not known\n");
}

void ctl_disabled_read(struct ctl *ctl, struct ctl_disabled *disabled)
{
    char error[256];

    disabled->host.count = 0;
    disabled->host_known =
        switches_file_read(directory_of(ctl), &disabled->host, error, sizeof error) == 0;
    if (!disabled->host_known)
        complain(error);
    switch_list_prune(&disabled->host, now_ms(ctl, false));
    struct answer answer = ask_fleet(ctl, NULL, false, &disabled->fleet);
    disabled->fleet_known = answer.told;
    disabled->fleet_is_broken = answer.is_broken;
    if (!disabled->fleet_known)
        disabled->fleet.count = 0;
    switch_list_prune(&disabled->fleet, now_ms(ctl, true));
}

bool ctl_disabled_has_route(const struct ctl_disabled *disabled, const char *route)
{
    char name[SWITCH_NAME_BYTES];

    snprintf(name, sizeof name, SWITCH_ROUTE "%s", route);
    return switch_list_find(&disabled->host, name, 0) != NULL ||
           switch_list_find(&disabled->fleet, name, 0) != NULL;
}

static enum ctl_exit look(struct ctl *ctl, struct ctl_disabled *disabled)
{
    ctl_disabled_read(ctl, disabled);
    if (!disabled->fleet_known)
        fprintf(stderr, "leewayctl: Redis does not say what is disabled for the fleet\n");
    return disabled->host_known && disabled->fleet_known ? CTL_OK : CTL_UNREACHABLE;
}

static enum ctl_exit change(struct ctl *ctl, const struct order *order, bool on)
{
    struct switch_list *list = mem_check(talloc_zero(NULL, struct switch_list));
    struct cache_switch off = {.until_ms = now_ms(ctl, order->fleet) + order->for_ms};
    char until[32];

    strcpy(off.name, order->name);
    describe_operator(off.by);
    enum ctl_exit status =
        order->fleet ? change_fleet(ctl, &off, on, list) : change_host(ctl, &off, on, list);
    talloc_free(list);
    if (status != CTL_OK || ctl->json)
        return status;
    format_time(off.until_ms, until);
    printf("%s is %s %s%s%s\n", off.name, on ? "enabled" : "disabled",
           order->fleet ? "for the fleet" : "on this host", on ? "" : " until ", on ? "" : until);
    return status;
}

/* What is enabled may be a route that has been renamed, or removed, since. false: it has been said
   what is wrong. */
static bool name_route(const struct ctl *ctl, const struct ctl_command *command,
                       struct order *order)
{
    const char *name = order->route;

    if (name == NULL)
        return true;
    if (command == &ctl_disable || name[0] == '/') {
        const struct route *route = ctl_route_named(ctl, name);
        if (route == NULL)
            return false;
        name = route->name;
    }
    if (snprintf(order->name, sizeof order->name, SWITCH_ROUTE "%s", name) <
        (int)sizeof order->name)
        return true;
    fprintf(stderr,
            "leewayctl: a route's name may have %d characters here; give it one with name\n",
            SWITCH_NAME_BYTES - (int)strlen(SWITCH_ROUTE) - 1);
    return false;
}

static bool read_duration(const char *text, struct order *order)
{
    if (num_parse_duration_ms(text, &order->for_ms) && order->for_ms >= MIN_MS &&
        order->for_ms <= (int64_t)MAX_DAYS * 86400000)
        return true;
    fprintf(stderr, "leewayctl: --for takes a duration from 1s to %dd\n", MAX_DAYS);
    return false;
}

/* CTL_OK, or what to end with. */
static enum ctl_exit read_options(struct ctl *ctl, int argc, char **argv,
                                  const struct ctl_command *command, struct order *order)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},      {"fleet", no_argument, NULL, 'f'},
        {"refresh", no_argument, NULL, 'r'},   {"route", required_argument, NULL, 'R'},
        {"for", required_argument, NULL, 't'}, {NULL, 0, NULL, 0},
    };
    int option, things = 0;
    bool for_some_time = false;

    optind = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'j') {
            ctl->json = true;
        } else if (option == 'f') {
            order->fleet = true;
        } else if (option == 'r') {
            things++;
            strcpy(order->name, SWITCH_REFRESH);
        } else if (option == 'R') {
            things++;
            order->route = optarg;
        } else if (option != 't' || command != &ctl_disable) {
            return ctl_misused(command);
        } else if (!read_duration(optarg, order)) {
            return CTL_USAGE;
        } else {
            for_some_time = true;
        }
    }
    bool is_look = things == 0 && command == &ctl_disable && !order->fleet && !for_some_time;
    return optind == argc && (things == 1 || is_look) ? CTL_OK : ctl_misused(command);
}

static enum ctl_exit run(struct ctl *ctl, int argc, char **argv, const struct ctl_command *command)
{
    struct order order = {.for_ms = DEFAULT_MS};
    enum ctl_exit status = read_options(ctl, argc, argv, command, &order);

    if (status != CTL_OK)
        return status;
    if (!name_route(ctl, command, &order))
        return CTL_BAD;
    if (order.name[0] != '\0')
        status = change(ctl, &order, command == &ctl_enable);
    if (status != CTL_OK || (order.name[0] != '\0' && !ctl->json))
        return status;
    struct ctl_disabled *lists = mem_check(talloc_zero(NULL, struct ctl_disabled));
    status = look(ctl, lists);
    show(ctl, lists);
    talloc_free(lists);
    return status;
}

static enum ctl_exit disable(struct ctl *ctl, int argc, char **argv)
{
    return run(ctl, argc, argv, &ctl_disable);
}

static enum ctl_exit enable(struct ctl *ctl, int argc, char **argv)
{
    return run(ctl, argc, argv, &ctl_enable);
}

const struct ctl_command ctl_disable = {
    .name = "disable",
    .arguments = "[--json] [[--fleet] [--for DURATION] --route NAME|PATTERN | --refresh]",
    .help = "switches a route's cache, or refreshes, off for a time (1h); or says what is off",
    .run = disable,
};

const struct ctl_command ctl_enable = {
    .name = "enable",
    .arguments = "[--json] [--fleet] --route NAME|PATTERN | --refresh",
    .help = "switches on again what was disabled",
    .run = enable,
};
