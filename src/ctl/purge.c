/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl purge: forgets stored responses, one by its URL or all of a route. A query that is
   under way for one of them is not stored. */
#include "config.h"

#include "cache/keys.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ctl/await.h"
#include "ctl/ctl.h"
#include "ctl/json.h"
#include "ctl/keys.h"
#include "ctl/target.h"

#define ANY_FINGERPRINT "????????????????" /* FINGERPRINT_HEX characters */
enum {
    PROGRESS_US = 1000 * 1000,
    AT_ONCE = 64, /* purges under way */
};

struct options {
    const char *route; /* NULL: a URL is given */
    struct target target;
};

struct purge {
    struct ctl *ctl;
    struct cache *cache;
    const char *pattern;
    int64_t scanned; /* about as many keys have been looked at */
    int64_t total;
    int64_t deleted; /* responses */
    size_t under_way;
    bool failed; /* Redis is away or refuses */
    int64_t began_us;
    int64_t shown_us;
    bool to_terminal;
};

static void begin(struct purge *purge, struct ctl *ctl, struct cache *cache)
{
    *purge = (struct purge){.ctl = ctl, .cache = cache, .to_terminal = isatty(2) == 1};
    purge->began_us = purge->shown_us = clock_monotonic_us();
}

static void report(const struct ctl *ctl, int64_t deleted)
{
    if (ctl->json) {
        struct json_out *json = json_begin();
        json_open_object(json, NULL);
        json_number(json, "purged", deleted);
        json_close_object(json);
        json_end(json);
    } else {
        printf("%" PRId64 " purged\n", deleted);
    }
}

static enum ctl_exit say_nothing_purged(const char *why)
{
    fprintf(stderr, "leewayctl: nothing was purged: %s\n", why);
    return CTL_UNREACHABLE;
}

/* What was purged, or that not all of it was. */
static enum ctl_exit finish(const struct purge *purge)
{
    if (!purge->failed) {
        report(purge->ctl, purge->deleted);
        return CTL_OK;
    }
    fprintf(stderr,
            "leewayctl: Redis went away or refuses: %" PRId64
            " purged, and others may still be there\n",
            purge->deleted);
    return CTL_UNREACHABLE;
}

static void on_purged(void *data, int deleted)
{
    struct purge *purge = data;

    purge->under_way--;
    if (deleted == -1)
        purge->failed = true;
    else
        purge->deleted += deleted;
}

/* Until no more than `most` are under way. */
static void settle(struct purge *purge, size_t most)
{
    while (purge->under_way > most)
        ev_run(ctl_loop(purge->ctl), EVRUN_ONCE);
}

/* Entry and lease; a lease without an entry is a query under way, and goes too. */
static void purge_base(struct purge *purge, const char *base)
{
    settle(purge, AT_ONCE - 1);
    purge->under_way++;
    cache_purge(purge->cache, base, on_purged, purge);
}

/* A page as it came. */
struct page_answer {
    bool came;
    TALLOC_CTX *ctx;
    const char **bases;
    size_t n_bases;
    int64_t looked_at;
    const char *next; /* NULL: there is none, or Redis is away */
    bool failed;
};

static void on_page(void *data, const struct cache_page *page)
{
    struct page_answer *answer = data;

    answer->came = true;
    answer->failed = page == NULL;
    if (page == NULL)
        return;
    answer->looked_at = page->looked_at;
    answer->n_bases = page->n_bases;
    answer->bases = mem_check(talloc_array(answer->ctx, const char *, (unsigned)page->n_bases + 1));
    for (size_t i = 0; i < page->n_bases; i++)
        answer->bases[i] = mem_check(talloc_strdup(answer->ctx, page->bases[i]));
    if (page->next != NULL)
        answer->next = mem_check(talloc_strdup(answer->ctx, page->next));
}

/* The cursor of the next page, a child of `ctx`; NULL: that was all, or `failed`. */
static const char *purge_page(struct purge *purge, TALLOC_CTX *ctx, const char *cursor)
{
    struct page_answer answer = {.ctx = mem_check(talloc_new(NULL))};

    cache_list(purge->cache, purge->pattern, cursor, on_page, &answer);
    ctl_await(purge->ctl, &answer.came);
    purge->failed = purge->failed || answer.failed;
    purge->scanned += answer.looked_at;
    for (size_t i = 0; i < answer.n_bases; i++)
        purge_base(purge, answer.bases[i]);
    settle(purge, 0);
    const char *next = talloc_steal(ctx, answer.next);
    talloc_free(answer.ctx);
    return next;
}

/* On standard error, so that it mixes with no output. */
static void show_progress(struct purge *purge)
{
    int64_t now_us = clock_monotonic_us();

    if (now_us - purge->shown_us < PROGRESS_US)
        return;
    purge->shown_us = now_us;
    fprintf(stderr, "%s%" PRId64 " of about %" PRId64 " keys, %" PRId64 " purged%s",
            purge->to_terminal ? "\r" : "", purge->scanned, purge->total, purge->deleted,
            purge->to_terminal ? "  " : "\n");
}

struct count_answer {
    bool came;
    int64_t count;
};

static void on_count(void *data, int64_t count)
{
    struct count_answer *answer = data;

    *answer = (struct count_answer){true, count > 0 ? count : 0};
}

static int64_t count_keys(struct purge *purge)
{
    struct count_answer answer = {.came = false};

    cache_count(purge->cache, on_count, &answer);
    ctl_await(purge->ctl, &answer.came);
    return answer.count;
}

/* Once through all keys; what is stored while it goes on may stay. */
static void scan(struct purge *purge)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    const char *cursor = NULL;

    purge->total = count_keys(purge);
    do {
        cursor = purge_page(purge, ctx, cursor);
        show_progress(purge);
    } while (!purge->failed && cursor != NULL);
    if (purge->to_terminal && purge->shown_us != purge->began_us)
        fputs("\n", stderr);
    talloc_free(ctx);
}

/* The key of the daemons' newest sessions, and what other generations have of the same response,
   queries under way too: a daemon whose session is older serves and stores those. Names, escapes
   and `prefix` have nothing that a pattern would take for more than itself. */
static enum ctl_exit purge_target(struct ctl *ctl, TALLOC_CTX *ctx, const struct target *target)
{
    struct cache *cache = ctl_cache(ctl);
    struct purge purge;

    if (cache == NULL)
        return say_nothing_purged("Redis cannot be reached");
    begin(&purge, ctl, cache);
    purge.pattern =
        key_base(ctx, ctl->app->config->settings.redis.prefix, target->resolved.match.route,
                 ANY_FINGERPRINT, &target->resolved.values);
    purge_base(&purge, target->base);
    settle(&purge, 0);
    if (!purge.failed)
        scan(&purge);
    enum ctl_exit status = finish(&purge);
    return status == CTL_OK ? ctl_keys(ctl)->status : status;
}

static enum ctl_exit purge_url(struct ctl *ctl, const char *url, struct options *options)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    enum ctl_exit status = CTL_BAD;

    target_resolve(ctl, ctx, url, &options->target);
    const struct resolved *resolved = &options->target.resolved;
    if (resolved->kind == RESOLVED_REFUSED) {
        fprintf(stderr, "leewayctl: %s: %s%s\n", url, resolved->detail,
                target_hint(ctl, ctx, url, &options->target));
    } else if (resolved->kind != RESOLVED_ROUTE) {
        fprintf(stderr, "leewayctl: %s: Leeway answers this path itself.\n", url);
    } else if (options->target.base == NULL) {
        status = ctl_keys(ctl)->status;
        say_nothing_purged("the key is not known");
    } else {
        status = purge_target(ctl, ctx, &options->target);
    }
    talloc_free(ctx);
    return status;
}

/* Of the route's name, with whatever fingerprint: entries from before a deploy go too. */
static enum ctl_exit purge_route(struct ctl *ctl, const char *name)
{
    struct cache *cache = ctl_cache(ctl);
    struct purge purge;

    if (cache == NULL)
        return say_nothing_purged("Redis cannot be reached");
    begin(&purge, ctl, cache);
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    /* neither prefix nor name has characters that a pattern would take for more than
       themselves; with all of the fingerprint, it is no other route whose name begins alike */
    purge.pattern =
        key_base_of_route(ctx, ctl->app->config->settings.redis.prefix, name, ANY_FINGERPRINT);
    scan(&purge);
    talloc_free(ctx);
    return finish(&purge);
}

/* false: misused. */
static bool read_options(struct ctl *ctl, int argc, char **argv, struct options *found)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"route", required_argument, NULL, 'r'},
                                            {"variable", required_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    int option;

    optind = 0;
    while ((option = getopt_long(argc, argv, "v:", options, NULL)) != -1) {
        if (option == 'j')
            ctl->json = true;
        else if (option == 'r')
            found->route = optarg;
        else if (option != 'v' || !target_add_variable(&found->target, optarg))
            return false;
    }
    return found->route != NULL ? optind == argc : optind == argc - 1;
}

static enum ctl_exit run(struct ctl *ctl, int argc, char **argv)
{
    struct options options = {.route = NULL};

    if (!read_options(ctl, argc, argv, &options))
        return ctl_misused(&ctl_purge);
    if (options.route == NULL)
        return purge_url(ctl, argv[optind], &options);
    const struct route *route = ctl_route_named(ctl, options.route);
    return route != NULL ? purge_route(ctl, route->name) : CTL_BAD;
}

const struct ctl_command ctl_purge = {
    .name = "purge",
    .arguments = "[--json] [-v NAME=VALUE] URL | --route NAME|PATTERN",
    .help = "forgets the stored response of a URL, or all of a route",
    .run = run,
};
