/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl purge: forgets stored responses, one by its URL or all of a route. A query that is
   under way for one of them is not stored. */
#include "config.h"

#include "cache/keys.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/old_store.h"
#include "ctl/ctl.h"
#include "ctl/json.h"
#include "ctl/keys.h"
#include "ctl/target.h"

/* One SCAN looks at so many keys, which keeps Redis busy for well under a millisecond. */
#define SCAN_COUNT      "500"
#define ANY_FINGERPRINT "????????????????" /* FINGERPRINT_HEX characters */
enum { PROGRESS_US = 1000 * 1000 };

struct options {
    const char *route; /* NULL: a URL is given */
    struct target target;
};

struct purge {
    struct old_redis *redis;
    const char *pattern;
    char cursor[24];
    int64_t scanned; /* about as many keys have been looked at */
    int64_t total;
    int64_t deleted; /* responses */
    int64_t began_us;
    int64_t shown_us;
    bool to_terminal;
};

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

/* Entry and lease in one step; a lease without an entry is a query under way, and goes too. */
static int purge_key(struct purge *purge, TALLOC_CTX *ctx, const redisReply *key)
{
    static const char *const endings[] = {":entry", ":lease"};

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t len = strlen(endings[i]);
        if (key->len <= len || strcmp(key->str + key->len - len, endings[i]) != 0)
            continue;
        int deleted = store_purge(ctx, purge->redis,
                                  mem_check(talloc_strndup(ctx, key->str, (size_t)key->len - len)));
        if (deleted == -1)
            return -1;
        purge->deleted += deleted;
    }
    return 0;
}

static int purge_found(struct purge *purge, const redisReply *reply)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    int result = -1;

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING &&
        reply->element[1]->type == REDIS_REPLY_ARRAY) {
        snprintf(purge->cursor, sizeof purge->cursor, "%s", reply->element[0]->str);
        result = 0;
        for (size_t i = 0; i < reply->element[1]->elements && result == 0; i++)
            result = purge_key(purge, ctx, reply->element[1]->element[i]);
    }
    talloc_free(ctx);
    return result;
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

static int64_t count_keys(struct old_redis *redis)
{
    redisReply *reply =
        old_redis_command(redis, (struct old_redis_part[]){old_redis_text("DBSIZE")}, 1);
    int64_t count = reply != NULL && reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;

    if (reply != NULL)
        freeReplyObject(reply);
    return count;
}

/* Once through all keys; what is stored while it goes on may stay. -1: Redis is away. */
static int scan(struct purge *purge)
{
    int result = 0;

    do {
        const struct old_redis_part parts[] = {
            old_redis_text("SCAN"),  old_redis_text(purge->cursor),
            old_redis_text("MATCH"), old_redis_text(purge->pattern),
            old_redis_text("COUNT"), old_redis_text(SCAN_COUNT),
        };
        redisReply *reply = old_redis_command(purge->redis, parts, 6);
        result = old_redis_reply_failed(reply, "SCAN") ? -1 : purge_found(purge, reply);
        if (reply != NULL)
            freeReplyObject(reply);
        purge->scanned += atoi(SCAN_COUNT);
        show_progress(purge);
    } while (result == 0 && strcmp(purge->cursor, "0") != 0);
    if (purge->to_terminal && purge->shown_us != purge->began_us)
        fputs("\n", stderr);
    return result;
}

/* The key of the daemons' newest sessions, and what other generations have of the same response,
   queries under way too: a daemon whose session is older serves and stores those. Names, escapes
   and `prefix` have nothing that a pattern would take for more than itself. -1: Redis is away. */
static int64_t purge_target(const struct ctl *ctl, TALLOC_CTX *ctx, struct old_redis *redis,
                            const struct target *target)
{
    const char *of_any =
        key_base(ctx, ctl->app->config->settings.redis.prefix, target->resolved.match.route,
                 ANY_FINGERPRINT, &target->resolved.values);
    struct purge purge = {
        .cursor = "0",
        .redis = redis,
        .to_terminal = isatty(2) == 1,
        .pattern = mem_check(talloc_asprintf(ctx, "%s:*", of_any)),
    };
    int deleted = store_purge(ctx, redis, target->base);

    if (deleted == -1)
        return -1;
    purge.total = count_keys(redis);
    purge.began_us = purge.shown_us = clock_monotonic_us();
    return scan(&purge) == 0 ? purge.deleted + deleted : -1;
}

static enum ctl_exit purge_url(struct ctl *ctl, const char *url, struct options *options)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    enum ctl_exit status = CTL_BAD;

    target_resolve(ctl, ctx, url, &options->target);
    const struct resolved *resolved = &options->target.resolved;
    if (resolved->kind != RESOLVED_ROUTE) {
        fprintf(stderr, "leewayctl: %s: %s\n", url,
                resolved->kind == RESOLVED_REFUSED ? resolved->detail
                                                   : "Leeway answers this path itself.");
    } else if (options->target.base == NULL) {
        status = ctl_keys(ctl)->status;
    } else {
        struct old_redis *redis = ctl_redis(ctl);
        int64_t deleted = redis != NULL ? purge_target(ctl, ctx, redis, &options->target) : -1;
        status = deleted != -1 ? ctl_keys(ctl)->status : CTL_UNREACHABLE;
        if (deleted != -1)
            report(ctl, deleted);
    }
    talloc_free(ctx);
    return status;
}

/* Of the route's name, with whatever fingerprint: entries from before a deploy go too. */
static enum ctl_exit purge_route(struct ctl *ctl, const char *name)
{
    struct purge purge = {.cursor = "0", .redis = ctl_redis(ctl), .to_terminal = isatty(2) == 1};
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    enum ctl_exit status = CTL_UNREACHABLE;

    if (purge.redis != NULL) {
        /* neither prefix nor name has characters that a pattern would take for more than
           themselves; with all of the fingerprint, it is no other route whose name begins alike */
        purge.pattern = mem_check(talloc_asprintf(ctx, "%s:{%s." ANY_FINGERPRINT ":*",
                                                  ctl->app->config->settings.redis.prefix, name));
        purge.total = count_keys(purge.redis);
        purge.began_us = purge.shown_us = clock_monotonic_us();
        if (scan(&purge) == 0) {
            report(ctl, purge.deleted);
            status = CTL_OK;
        }
    }
    talloc_free(ctx);
    return status;
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
    if (route_table_by_name(ctl->app->routes, options.route) == NULL) {
        fprintf(stderr, "leewayctl: there is no route named '%s'\n", options.route);
        return CTL_BAD;
    }
    return purge_route(ctl, options.route);
}

const struct ctl_command ctl_purge = {
    .name = "purge",
    .arguments = "[--json] [-v NAME=VALUE] URL | --route NAME",
    .help = "forgets the stored response of a URL, or all of a route",
    .run = run,
};
