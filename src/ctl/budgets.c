/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl budgets: the freshness guarantee of each endpoint, to be published to its users. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "ctl/ctl.h"
#include "ctl/json.h"

/* '|' and '`' would end a cell or a code span. */
static void print_pattern(const char *mount, const char *pattern)
{
    printf("| `GET %s", mount);
    for (; *pattern != '\0'; pattern++)
        printf(*pattern == '|' ? "\\|" : *pattern == '`' ? "%%60" : "%c", *pattern);
    printf("` |");
}

static void print_row(const struct ctl *ctl, TALLOC_CTX *ctx, const struct route *route)
{
    const struct context *context = route->context;
    bool shared = application_rules(ctl->app, route)->edge;

    print_pattern(ctl->app->config->settings.mount, route->pattern);
    if (context->budget_ms == 0) {
        printf(" as it is in the database | - | - | - | no |\n");
        return;
    }
    printf(" %s | %s | %s |", ctl_duration(ctx, context->budget_ms),
           ctl_duration(ctx, context->negative_budget_ms),
           context->stale_if_error_ms > 0
               ? ctl_duration(ctx, context->budget_ms + context->stale_if_error_ms)
               : "-");
    printf(" after %s | %s |\n", ctl_duration(ctx, context->refresh_after_ms),
           shared ? "shared and private" : "private only");
}

static void print_markdown(const struct ctl *ctl, TALLOC_CTX *ctx)
{
    const struct config *config = ctl->app->config;

    printf("| endpoint | never older than | a 404 never older than | while the database cannot "
           "answer, never older than | refreshed | kept by caches |\n"
           "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < config->n_routes; i++)
        print_row(ctl, ctx, &config->routes[i]);
    printf("\nAges count from before the query was sent to when the response's first byte is "
           "written;\n`Cache-Control` tells every cache behind that no more than what is left "
           "of them. A response\nserved beyond its budget because the database cannot answer says "
           "`detail=stale-if-error`\nin `Cache-Status`.\n");
}

static void write_row(struct json_out *json, const struct ctl *ctl, TALLOC_CTX *ctx,
                      const struct route *route)
{
    const struct context *context = route->context;

    json_open_object(json, NULL);
    json_text(
        json, "path",
        mem_check(talloc_asprintf(ctx, "%s%s", ctl->app->config->settings.mount, route->pattern)));
    json_text(json, "route", route->name);
    json_text(json, "context", context->name);
    json_number(json, "budget_ms", context->budget_ms);
    json_number(json, "refresh_after_ms", context->refresh_after_ms);
    json_number(json, "negative_budget_ms", context->negative_budget_ms);
    json_number(json, "stale_if_error_ms", context->stale_if_error_ms);
    json_bool(json, "shared_caches", application_rules(ctl->app, route)->edge);
    json_close_object(json);
}

static enum ctl_exit run(struct ctl *ctl, int argc, char **argv)
{
    const struct config *config = ctl->app->config;
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    int first;

    if (!ctl_plain_options(ctl, argc, argv, &first) || first != argc) {
        talloc_free(ctx);
        return ctl_misused(&ctl_budgets);
    }
    if (ctl->json) {
        struct json_out *json = json_begin();
        json_open_array(json, NULL);
        for (size_t i = 0; i < config->n_routes; i++)
            write_row(json, ctl, ctx, &config->routes[i]);
        json_close_array(json);
        json_end(json);
    } else {
        print_markdown(ctl, ctx);
    }
    talloc_free(ctx);
    return CTL_OK;
}

const struct ctl_command ctl_budgets = {
    .name = "budgets",
    .arguments = "[--json]",
    .help = "the freshness guarantee of each endpoint, as Markdown or JSON",
    .run = run,
};
