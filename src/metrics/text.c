/* SPDX-License-Identifier: BSD-2-Clause */
/* The totals in Prometheus's text exposition format. */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "metrics/buckets.h"
#include "metrics/metrics.h"
#include "metrics/totals.h"

static const struct {
    const char *name;
    const char *label;
    const char *value;
    const char *help;
} counters[] = {
#define COUNTER(id, name, label, value, help) {name, label, value, help},
#include "metrics/metrics.def"
};

static const struct {
    const char *name;
    const char *help;
} process_counters[] = {
#define PROCESS_COUNTER(id, name, help) {name, help},
#include "metrics/metrics.def"
};

static const char *const kind_labels[] = {
    [RESPONSE_COMPUTED] = ",cached=\"false\",stale=\"false\"",
    [RESPONSE_HIT] = ",cached=\"true\",stale=\"false\"",
    [RESPONSE_STALE_HIT] = ",cached=\"true\",stale=\"true\"",
};

static const char *const state_names[] = {
    [METRICS_STARTING] = "starting",
    [METRICS_SERVING] = "serving",
    [METRICS_DRAINING] = "draining",
};

static void put_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* route="...", escaped. */
static void put_route(struct buf *out, const char *pattern)
{
    buf_append_str(out, "route=\"");
    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '"' || *pattern == '\\')
            buf_append_char(out, '\\');
        if (*pattern == '\n')
            buf_append_str(out, "\\n");
        else
            buf_append_char(out, *pattern);
    }
    buf_append_char(out, '"');
}

static void put_counter_head(struct buf *out, size_t counter)
{
    if (counters[counter].help != NULL)
        put_head(out, counters[counter].name, "counter", counters[counter].help);
}

static void put_counter(struct buf *out, size_t counter, const struct route_total *total)
{
    buf_printf(out, "%s{", counters[counter].name);
    put_route(out, total->pattern);
    if (counters[counter].label != NULL)
        buf_printf(out, ",%s=\"%s\"", counters[counter].label, counters[counter].value);
    buf_printf(out, "} %" PRIu64 "\n", total->counters[counter]);
}

static void put_process_counters(struct buf *out, const struct totals *totals)
{
    for (size_t c = 0; c < PROCESS_COUNTER_COUNT; c++) {
        put_head(out, process_counters[c].name, "counter", process_counters[c].help);
        buf_printf(out, "%s %" PRIu64 "\n", process_counters[c].name, totals->process_counters[c]);
    }
}

struct histogram {
    const char *name;
    const char *labels; /* beside the route; "" or begins with a comma */
    const int64_t *bounds_us;
    size_t n_bounds;
};

static void put_line_head(struct buf *out, const struct histogram *histogram, const char *suffix,
                          const char *pattern)
{
    buf_printf(out, "%s%s{", histogram->name, suffix);
    put_route(out, pattern);
    buf_append_str(out, histogram->labels);
}

/* The count is the sum over the buckets, so that both agree while somebody counts on. */
static void put_histogram(struct buf *out, const struct histogram *histogram, const char *pattern,
                          const uint64_t *buckets, uint64_t micros)
{
    uint64_t sum = 0;

    for (size_t i = 0; i <= histogram->n_bounds; i++) {
        sum += buckets[i];
        put_line_head(out, histogram, "_bucket", pattern);
        if (i < histogram->n_bounds)
            buf_printf(out, ",le=\"%.15g\"} %" PRIu64 "\n",
                       (double)histogram->bounds_us[i] / 1000000.0, sum);
        else
            buf_printf(out, ",le=\"+Inf\"} %" PRIu64 "\n", sum);
    }
    put_line_head(out, histogram, "_sum", pattern);
    buf_printf(out, "} %" PRIu64 ".%06" PRIu64 "\n", micros / 1000000, micros % 1000000);
    put_line_head(out, histogram, "_count", pattern);
    buf_printf(out, "} %" PRIu64 "\n", sum);
}

static bool any(const uint64_t *buckets, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (buckets[i] != 0)
            return true;
    return false;
}

static void put_responses(struct buf *out, const struct route_total *total)
{
    for (size_t kind = 0; kind < RESPONSE_KINDS; kind++) {
        const struct histogram histogram = {
            .name = "leeway_response_seconds",
            .labels = kind_labels[kind],
            .bounds_us = response_bounds_us,
            .n_bounds = RESPONSE_BUCKETS - 1,
        };
        if (any(total->response_buckets[kind], RESPONSE_BUCKETS))
            put_histogram(out, &histogram, total->pattern, total->response_buckets[kind],
                          total->response_micros[kind]);
    }
}

static void put_ages(struct buf *out, const struct route_total *total)
{
    static const struct histogram histogram = {
        .name = "leeway_served_age_seconds",
        .labels = "",
        .bounds_us = age_bounds_us,
        .n_bounds = AGE_BUCKETS - 1,
    };

    if (any(total->age_buckets, AGE_BUCKETS))
        put_histogram(out, &histogram, total->pattern, total->age_buckets, total->age_micros);
}

/* What is not known is left out rather than invented. */
static void put_gauge(struct buf *out, const char *name, const char *help, bool known, double value)
{
    if (!known)
        return;
    put_head(out, name, "gauge", help);
    buf_printf(out, "%s %.15g\n", name, value);
}

static void put_gauges(struct buf *out, const struct totals *totals,
                       const struct metrics_gauges *gauges)
{
    put_gauge(out, "leeway_jobs_queued", "Refresh jobs that wait.", gauges->jobs_queued >= 0,
              (double)gauges->jobs_queued);
    put_gauge(out, "leeway_job_oldest_seconds", "How long the oldest job has been waiting.",
              gauges->job_oldest_ms >= 0, (double)gauges->job_oldest_ms / 1000.0);
    if (gauges->jobs_abandoned >= 0) {
        put_head(out, "leeway_jobs_abandoned_total", "counter",
                 "Refresh jobs, of any configuration in this Redis, that nobody took in time.");
        buf_printf(out, "leeway_jobs_abandoned_total %" PRId64 "\n", gauges->jobs_abandoned);
    }
    put_gauge(out, "leeway_redis_up", "1 while every process reaches Redis.", totals->any_alive,
              totals->redis_up);
    put_gauge(out, "leeway_postgres_up", "0 after a failure to connect to Postgres.",
              totals->any_alive, totals->postgres_up);
    put_gauge(out, "leeway_redis_memory_fragmentation_ratio",
              "mem_fragmentation_ratio of Redis's INFO.", gauges->redis_fragmentation_ratio >= 0,
              gauges->redis_fragmentation_ratio);
    put_head(out, "leeway_workers", "gauge", "Living worker processes.");
    for (size_t i = 0; i < sizeof state_names / sizeof state_names[0]; i++)
        buf_printf(out, "leeway_workers{state=\"%s\"} %d\n", state_names[i], totals->workers[i]);
    put_head(out, "leeway_build_info", "gauge", "Always 1.");
    buf_printf(out, "leeway_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
}

/* Series of one name, and so one after the other. */
enum family { FAMILY_RESPONSES, FAMILY_AGES, FAMILY_COUNTERS };

enum {
    FAMILIES = FAMILY_COUNTERS + COUNTER_COUNT,
    /* Of a step: tens of lines each, and one each. */
    HISTOGRAMS = 2,
    COUNTERS = 32,
};

struct metrics_scrape {
    struct metrics_gauges gauges;
    struct totals_reading *reading;
    const struct totals *totals; /* NULL: they are being read */
    size_t family;
    size_t route; /* the next one of the family */
    struct buf out;
};

struct metrics_scrape *metrics_scrape_new(TALLOC_CTX *ctx, const char *runtime_dir,
                                          const struct metrics_gauges *gauges)
{
    struct metrics_scrape *scrape = mem_check(talloc_zero(ctx, struct metrics_scrape));

    scrape->gauges = *gauges;
    scrape->reading = totals_begin(scrape, runtime_dir);
    buf_init(&scrape->out, scrape, 4096);
    return scrape;
}

static void put_family_head(struct buf *out, size_t family)
{
    if (family == FAMILY_RESPONSES)
        put_head(out, "leeway_response_seconds", "histogram",
                 "Time from a request's last byte to its response.");
    else if (family == FAMILY_AGES)
        put_head(out, "leeway_served_age_seconds", "histogram",
                 "Age of responses when they were written.");
    else
        put_counter_head(out, family - FAMILY_COUNTERS);
}

static void put_series(struct buf *out, size_t family, const struct route_total *total)
{
    if (family == FAMILY_RESPONSES)
        put_responses(out, total);
    else if (family == FAMILY_AGES)
        put_ages(out, total);
    else
        put_counter(out, family - FAMILY_COUNTERS, total);
}

static void put_some(struct metrics_scrape *scrape)
{
    size_t left = scrape->family < FAMILY_COUNTERS ? HISTOGRAMS : COUNTERS;

    if (scrape->route == 0)
        put_family_head(&scrape->out, scrape->family);
    for (; left > 0 && scrape->route < scrape->totals->n_routes; left--)
        put_series(&scrape->out, scrape->family, scrape->totals->routes[scrape->route++]);
    if (scrape->route < scrape->totals->n_routes)
        return;
    scrape->family++;
    scrape->route = 0;
}

char *metrics_scrape_step(struct metrics_scrape *scrape, size_t *len)
{
    if (scrape->totals == NULL) {
        scrape->totals = totals_step(scrape->reading, COUNTERS);
        return NULL;
    }
    if (scrape->family < FAMILIES) {
        put_some(scrape);
        return NULL;
    }
    put_process_counters(&scrape->out, scrape->totals);
    put_gauges(&scrape->out, scrape->totals, &scrape->gauges);
    *len = scrape->out.len;
    return scrape->out.data;
}

char *metrics_text(TALLOC_CTX *ctx, const char *runtime_dir, const struct metrics_gauges *gauges)
{
    struct metrics_scrape *scrape = metrics_scrape_new(ctx, runtime_dir, gauges);
    size_t len;
    char *text;

    while ((text = metrics_scrape_step(scrape, &len)) == NULL)
        continue;
    talloc_steal(ctx, text);
    talloc_free(scrape);
    return text;
}
