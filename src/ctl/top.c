/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl top: what this host's workers are doing, over the last interval: per route the rate,
   and response times split by hits, stale hits and computed responses. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/num.h"
#include "ctl/await.h"
#include "ctl/ctl.h"
#include "ctl/json.h"
#include "metrics/buckets.h"
#include "metrics/totals.h"

#define HOME             "\033[H"
#define CLEAR_LINE       "\033[K"
#define CLEAR_BELOW      "\033[J"
#define ALTERNATE_SCREEN "\033[?1049h"
#define USUAL_SCREEN     "\033[?1049l"

enum {
    HEAD_LINES = 3,
    DEFAULT_LINES = 24,
    PERCENTILES = 3,
};

static const double shares[PERCENTILES] = {0.5, 0.95, 0.99};

static const char *const kind_names[RESPONSE_KINDS] = {
    [RESPONSE_COMPUTED] = "computed",
    [RESPONSE_HIT] = "hit",
    [RESPONSE_STALE_HIT] = "stale",
};

/* Of one route over an interval. */
struct row {
    char pattern[SLOT_PATTERN_BYTES];
    double rate; /* responses a second */
    double kind_rate[RESPONSE_KINDS];
    int64_t percentile_us[RESPONSE_KINDS][PERCENTILES]; /* -1: there were none */
    uint64_t exceeded;                                  /* since ever */
};

struct view {
    const struct totals *totals;
    struct metrics_gauges gauges;
    struct row *rows; /* the busiest first */
    size_t n_rows;
};

struct options {
    int64_t interval_ms;
    bool once;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static void measure(const struct route_total *before, const struct route_total *after,
                    double seconds, struct row *row)
{
    memcpy(row->pattern, after->pattern, sizeof row->pattern);
    row->exceeded = after->counters[COUNTER_BUDGET_EXCEEDED];
    for (size_t kind = 0; kind < RESPONSE_KINDS; kind++) {
        uint64_t buckets[RESPONSE_BUCKETS], count = 0;
        for (size_t i = 0; i < RESPONSE_BUCKETS; i++) {
            buckets[i] = after->response_buckets[kind][i] -
                         (before != NULL ? before->response_buckets[kind][i] : 0);
            count += buckets[i];
        }
        row->kind_rate[kind] = (double)count / seconds;
        row->rate += row->kind_rate[kind];
        for (size_t i = 0; i < PERCENTILES; i++)
            row->percentile_us[kind][i] =
                totals_percentile_us(response_bounds_us, RESPONSE_BUCKETS - 1, buckets, shares[i]);
    }
}

static int by_rate(const void *a, const void *b)
{
    const struct row *first = a, *second = b;

    if (first->rate != second->rate)
        return first->rate > second->rate ? -1 : 1;
    return strcmp(first->pattern, second->pattern);
}

static void make_view(TALLOC_CTX *ctx, const struct totals *before, const struct totals *after,
                      double seconds, struct view *view)
{
    view->totals = after;
    view->n_rows = after->n_routes;
    view->rows = mem_check(talloc_zero_array(ctx, struct row, (unsigned)after->n_routes + 1));
    for (size_t i = 0; i < after->n_routes; i++)
        measure(totals_find(before, after->routes[i]->pattern), after->routes[i], seconds,
                &view->rows[i]);
    qsort(view->rows, view->n_rows, sizeof *view->rows, by_rate);
}

/* Four characters: "  85u", "1.2m", " 15m", "1.20s". */
static void print_time(int64_t us)
{
    if (us < 0)
        printf("     -");
    else if (us < 1000)
        printf(" %3" PRId64 "us", us);
    else if (us < 10000)
        printf(" %.1fms", (double)us / 1e3);
    else if (us < 1000000)
        printf(" %3" PRId64 "ms", us / 1000);
    else
        printf(" %4.1fs", (double)us / 1e6);
}

static void print_head(const struct view *view, int64_t interval_ms, const char *end)
{
    const struct totals *totals = view->totals;

    printf("leeway %s  workers: %d serving, %d draining  redis %s  postgres %s  ", PACKAGE_VERSION,
           totals->workers[METRICS_SERVING], totals->workers[METRICS_DRAINING],
           !totals->any_alive ? "?"
           : totals->redis_up ? "up"
                              : "AWAY",
           !totals->any_alive    ? "?"
           : totals->postgres_up ? "up"
                                 : "AWAY");
    if (view->gauges.jobs_queued >= 0)
        printf("queue %" PRId64 ", oldest %.1f s", view->gauges.jobs_queued,
               view->gauges.job_oldest_ms > 0 ? (double)view->gauges.job_oldest_ms / 1e3 : 0.0);
    else
        printf("queue ?");
    printf("  last %.1f s%s\n", (double)interval_ms / 1e3, end);
    printf("%-32s %8s %6s  %-18s %-18s %-18s%s\n", "", "", "", "hits", "stale hits", "computed",
           end);
    printf("%-32s %8s %6s ", "route", "per s", "stale");
    for (size_t kind = 0; kind < RESPONSE_KINDS; kind++)
        printf("   p50   p95   p99 ");
    printf("%s\n", end);
}

static void print_row(const struct row *row, const char *end)
{
    static const size_t order[RESPONSE_KINDS] = {RESPONSE_HIT, RESPONSE_STALE_HIT,
                                                 RESPONSE_COMPUTED};

    printf("%-32.32s %8.1f", row->pattern, row->rate);
    if (row->rate > 0)
        printf(" %5.1f%% ", 100.0 * row->kind_rate[RESPONSE_STALE_HIT] / row->rate);
    else
        printf("      - ");
    for (size_t i = 0; i < RESPONSE_KINDS; i++) {
        for (size_t j = 0; j < PERCENTILES; j++)
            print_time(row->percentile_us[order[i]][j]);
        printf(" ");
    }
    if (row->exceeded > 0)
        printf(" PAST ITS BUDGET: %" PRIu64, row->exceeded);
    printf("%s\n", end);
}

/* `lines` 0: all of it, one below the other. */
static void print_view(const struct view *view, int64_t interval_ms, size_t lines)
{
    const char *end = lines > 0 ? CLEAR_LINE : "";
    size_t shown = view->n_rows;

    if (lines > 0) {
        size_t room = lines > HEAD_LINES + 1 ? lines - HEAD_LINES - 1 : 1;
        shown = shown < room ? shown : room;
        fputs(HOME, stdout);
    }
    print_head(view, interval_ms, end);
    for (size_t i = 0; i < shown; i++)
        print_row(&view->rows[i], end);
    if (lines > 0)
        fputs(CLEAR_BELOW, stdout);
    fflush(stdout);
}

static void write_row(struct json_out *json, const struct row *row)
{
    static const char *const names[PERCENTILES] = {"p50_seconds", "p95_seconds", "p99_seconds"};

    json_open_object(json, NULL);
    json_text(json, "route", row->pattern);
    json_seconds(json, "per_second", (int64_t)(row->rate * 1e6));
    json_number(json, "budget_exceeded", (int64_t)row->exceeded);
    for (size_t kind = 0; kind < RESPONSE_KINDS; kind++) {
        json_open_object(json, kind_names[kind]);
        json_seconds(json, "per_second", (int64_t)(row->kind_rate[kind] * 1e6));
        for (size_t i = 0; i < PERCENTILES; i++) {
            if (row->percentile_us[kind][i] >= 0)
                json_seconds(json, names[i], row->percentile_us[kind][i]);
            else
                json_null(json, names[i]);
        }
        json_close_object(json);
    }
    json_close_object(json);
}

static void write_json(const struct view *view, int64_t interval_ms)
{
    struct json_out *json = json_begin();

    json_open_object(json, NULL);
    json_seconds(json, "interval_seconds", interval_ms * 1000);
    json_number(json, "workers_serving", view->totals->workers[METRICS_SERVING]);
    json_number(json, "workers_draining", view->totals->workers[METRICS_DRAINING]);
    json_bool(json, "redis_up", view->totals->any_alive && view->totals->redis_up);
    json_bool(json, "postgres_up", view->totals->any_alive && view->totals->postgres_up);
    if (view->gauges.jobs_queued >= 0)
        json_number(json, "jobs_queued", view->gauges.jobs_queued);
    else
        json_null(json, "jobs_queued");
    json_open_array(json, "routes");
    for (size_t i = 0; i < view->n_rows; i++)
        write_row(json, &view->rows[i]);
    json_close_array(json);
    json_close_object(json);
    json_end(json);
}

static size_t terminal_lines(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == -1 || size.ws_row == 0)
        return DEFAULT_LINES;
    return size.ws_row;
}

/* One interval: waits for it, then looks again. NULL: interrupted. */
static struct totals *next_totals(struct ctl *ctl, const struct options *options,
                                  const struct totals *before, int64_t *began_us)
{
    const struct settings *settings = &ctl->app->config->settings;
    struct view view;

    loop_run_for(ctl_loop(ctl), options->interval_ms, NULL, &interrupted);
    if (interrupted)
        return NULL;
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    struct totals *after = totals_read(NULL, settings->runtime_dir);
    int64_t now_us = clock_monotonic_us();
    int64_t took_ms = (now_us - *began_us) / 1000;
    ctl_read_gauges(ctl, &view.gauges);
    make_view(ctx, before, after, (double)(now_us - *began_us) / 1e6, &view);
    if (ctl->json)
        write_json(&view, took_ms);
    else
        print_view(&view, took_ms, options->once ? 0 : terminal_lines());
    *began_us = now_us;
    talloc_free(ctx);
    return after;
}

static void watch(struct ctl *ctl, const struct options *options)
{
    struct totals *before = totals_read(NULL, ctl->app->config->settings.runtime_dir);
    int64_t began_us = clock_monotonic_us();
    struct totals *after;

    while ((after = next_totals(ctl, options, before, &began_us)) != NULL) {
        talloc_free(before);
        before = after;
        if (options->once)
            break;
    }
    talloc_free(before);
}

/* false: misused. */
static bool read_options(struct ctl *ctl, int argc, char **argv, struct options *found)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"once", no_argument, NULL, 'o'},
                                            {"interval", required_argument, NULL, 'i'},
                                            {NULL, 0, NULL, 0}};
    int option;

    optind = 0;
    while ((option = getopt_long(argc, argv, "i:", options, NULL)) != -1) {
        if (option == 'j')
            ctl->json = true;
        else if (option == 'o')
            found->once = true;
        else if (option != 'i' || !num_parse_duration_ms(optarg, &found->interval_ms) ||
                 found->interval_ms < 100 || found->interval_ms > 3600000)
            return false;
    }
    return optind == argc && (found->once || !ctl->json);
}

static enum ctl_exit run(struct ctl *ctl, int argc, char **argv)
{
    const char *directory = ctl->app->config->settings.runtime_dir;
    struct options options = {.interval_ms = 1000};
    const struct sigaction stop = {.sa_handler = on_signal};

    if (!read_options(ctl, argc, argv, &options))
        return ctl_misused(&ctl_top);
    if (access(directory, R_OK | X_OK) == -1) {
        fprintf(stderr, "leewayctl: %s: %s\n", directory, strerror(errno));
        return CTL_UNREACHABLE;
    }
    if (options.once) {
        watch(ctl, &options);
        return CTL_OK;
    }
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    fputs(ALTERNATE_SCREEN, stdout);
    watch(ctl, &options);
    fputs(USUAL_SCREEN, stdout);
    return CTL_OK;
}

const struct ctl_command ctl_top = {
    .name = "top",
    .arguments = "[--once [--json]] [-i TIME]",
    .help = "live: rates and response times by route, queue, workers",
    .run = run,
};
