/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl metrics: what a worker answers at metrics_path, read from the same shared memory. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/switches.h"
#include "base/mem.h"
#include "ctl/await.h"
#include "ctl/ctl.h"
#include "ctl/disabled.h"

static void tell_disabled(struct ctl *ctl, struct metrics_scrape *scrape)
{
    struct ctl_disabled *disabled = mem_check(talloc_zero(scrape, struct ctl_disabled));

    ctl_disabled_read(ctl, disabled);
    switches_tell_lists(disabled->host_known ? &disabled->host : NULL,
                        disabled->fleet_known ? &disabled->fleet : NULL, scrape);
}

static enum ctl_exit run(struct ctl *ctl, int argc, char **argv)
{
    const struct settings *settings = &ctl->app->config->settings;
    struct metrics_gauges gauges;
    int first;

    if (!ctl_plain_options(ctl, argc, argv, &first) || first != argc || ctl->json)
        return ctl_misused(&ctl_metrics);
    if (access(settings->runtime_dir, R_OK | X_OK) == -1) {
        fprintf(stderr, "leewayctl: %s: %s\n", settings->runtime_dir, strerror(errno));
        return CTL_UNREACHABLE;
    }
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    ctl_read_gauges(ctl, &gauges);
    struct metrics_scrape *scrape = metrics_scrape_new(ctx, settings->runtime_dir, &gauges);
    tell_disabled(ctl, scrape);
    fputs(metrics_scrape_whole(scrape, ctx), stdout);
    talloc_free(ctx);
    return CTL_OK;
}

const struct ctl_command ctl_metrics = {
    .name = "metrics",
    .arguments = "",
    .help = "this host's metrics as Prometheus text",
    .run = run,
};
