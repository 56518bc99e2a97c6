/* SPDX-License-Identifier: BSD-2-Clause */
/* The totals in Prometheus's text exposition format. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/chunks.h"
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

/* NAME="VALUE", escaped. */
static void put_label(struct buf *out, const char *name, const char *value)
{
    size_t plain;

    buf_append_str(out, name);
    buf_append_str(out, "=\"");
    for (; *value != '\0'; value += plain) {
        plain = strcspn(value, "\"\\\n");
        buf_append(out, value, plain);
        if (value[plain] == '\0')
            break;
        buf_append_char(out, '\\');
        buf_append_char(out, value[plain] == '\n' ? 'n' : value[plain]);
        plain++;
    }
    buf_append_char(out, '"');
}

static void put_route(struct buf *out, const char *pattern)
{
    put_label(out, "route", pattern);
}

static void put_counter_head(struct buf *out, size_t counter)
{
    if (counters[counter].help != NULL)
        put_head(out, counters[counter].name, "counter", counters[counter].help);
}

/* The last part of a line. */
static void put_value(struct buf *out, uint64_t value)
{
    buf_append_str(out, "} ");
    buf_append_number(out, value);
    buf_append_char(out, '\n');
}

static void put_counter(struct buf *out, size_t counter, const struct route_total *total)
{
    buf_append_str(out, counters[counter].name);
    buf_append_char(out, '{');
    put_route(out, total->pattern);
    if (counters[counter].label != NULL)
        buf_printf(out, ",%s=\"%s\"", counters[counter].label, counters[counter].value);
    put_value(out, total->counters[counter]);
}

static void put_process_counters(struct buf *out, const struct totals *totals)
{
    for (size_t c = 0; c < PROCESS_COUNTER_COUNT; c++) {
        put_head(out, process_counters[c].name, "counter", process_counters[c].help);
        buf_printf(out, "%s %" PRIu64 "\n", process_counters[c].name, totals->process_counters[c]);
    }
}

enum { MAX_BOUNDS = RESPONSE_BUCKETS > AGE_BUCKETS ? RESPONSE_BUCKETS : AGE_BUCKETS };

/* What the lines of one kind of histogram have in common, made once for a whole text. */
struct histogram {
    const char *name;
    size_t n_bounds;
    char bounds[MAX_BOUNDS][32]; /* le="...", with a comma before it; the last one is +Inf */
};

static void init_histogram(struct histogram *histogram, const char *name, const int64_t *bounds_us,
                           size_t n_bounds)
{
    histogram->name = name;
    histogram->n_bounds = n_bounds;
    for (size_t i = 0; i < n_bounds; i++)
        snprintf(histogram->bounds[i], sizeof histogram->bounds[i], ",le=\"%.15g\"",
                 (double)bounds_us[i] / 1000000.0);
    strcpy(histogram->bounds[n_bounds], ",le=\"+Inf\"");
}

/* One of a route: `labels` is its braces' content but for the bounds. */
struct route_histogram {
    const struct histogram *kind;
    const struct buf *labels;
    const uint64_t *buckets;
    uint64_t micros;
};

static void put_line_head(struct buf *out, const struct route_histogram *histogram,
                          const char *suffix)
{
    buf_append_str(out, histogram->kind->name);
    buf_append_str(out, suffix);
    buf_append(out, histogram->labels->data, histogram->labels->len);
}

/* The count is the sum over the buckets, so that both agree while somebody counts on. */
static void put_histogram(struct buf *out, const struct route_histogram *histogram)
{
    uint64_t micros = histogram->micros, sum = 0;

    for (size_t i = 0; i <= histogram->kind->n_bounds; i++) {
        sum += histogram->buckets[i];
        put_line_head(out, histogram, "_bucket");
        buf_append_str(out, histogram->kind->bounds[i]);
        put_value(out, sum);
    }
    put_line_head(out, histogram, "_sum");
    buf_printf(out, "} %" PRIu64 ".%06" PRIu64 "\n", micros / 1000000, micros % 1000000);
    put_line_head(out, histogram, "_count");
    put_value(out, sum);
}

static bool any(const uint64_t *buckets, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (buckets[i] != 0)
            return true;
    return false;
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
    /* Of a step: routes that are added up, and text that is made before it ends. */
    ROUTES_A_STEP = 32,
    BYTES_A_STEP = 16 * 1024,
};

struct metrics_scrape {
    struct metrics_gauges gauges;
    struct totals_reading *reading;
    struct totals *totals; /* NULL: they are being read */
    size_t family;
    size_t route; /* the next one of the family */
    struct histogram responses, ages;
    struct buf labels;   /* of the line that is made */
    struct buf disabled; /* lines */
    struct buf out;      /* of this step */
    struct chunks *text;
};

struct metrics_scrape *metrics_scrape_new(TALLOC_CTX *ctx, const char *runtime_dir,
                                          const struct metrics_gauges *gauges)
{
    struct metrics_scrape *scrape = mem_check(talloc_zero(ctx, struct metrics_scrape));

    scrape->gauges = *gauges;
    scrape->reading = totals_begin(scrape, runtime_dir);
    /* it may outlive all else, and so is not in the pool that `ctx` may be */
    scrape->text = talloc_steal(scrape, chunks_new(NULL));
    init_histogram(&scrape->responses, "leeway_response_seconds", response_bounds_us,
                   RESPONSE_BUCKETS - 1);
    init_histogram(&scrape->ages, "leeway_served_age_seconds", age_bounds_us, AGE_BUCKETS - 1);
    buf_init(&scrape->labels, scrape, 512);
    buf_init(&scrape->disabled, scrape, 128);
    buf_init(&scrape->out, scrape, BYTES_A_STEP * 2);
    return scrape;
}

void metrics_scrape_disabled(struct metrics_scrape *scrape, const char *what, const char *scope,
                             bool is_off)
{
    struct buf *out = &scrape->disabled;

    buf_append_str(out, "leeway_disabled{");
    put_label(out, "what", what);
    buf_printf(out, ",scope=\"%s\"} %d\n", scope, is_off);
}

static void put_disabled(struct metrics_scrape *scrape)
{
    if (scrape->disabled.len == 0)
        return;
    put_head(&scrape->out, "leeway_disabled", "gauge",
             "1: an operator has disabled it, until it expires or is enabled (leewayctl).");
    buf_append(&scrape->out, scrape->disabled.data, scrape->disabled.len);
}

/* `further` begins with a comma, or is "". */
static void put_route_histogram(struct metrics_scrape *scrape, const struct histogram *kind,
                                const struct route_total *total, const char *further,
                                const uint64_t *buckets, uint64_t micros)
{
    const struct route_histogram histogram = {
        .kind = kind, .labels = &scrape->labels, .buckets = buckets, .micros = micros};

    if (!any(buckets, kind->n_bounds + 1))
        return;
    buf_clear(&scrape->labels);
    buf_append_char(&scrape->labels, '{');
    put_route(&scrape->labels, total->pattern);
    buf_append_str(&scrape->labels, further);
    put_histogram(&scrape->out, &histogram);
}

static void put_responses(struct metrics_scrape *scrape, const struct route_total *total)
{
    for (size_t kind = 0; kind < RESPONSE_KINDS; kind++)
        put_route_histogram(scrape, &scrape->responses, total, kind_labels[kind],
                            total->response_buckets[kind], total->response_micros[kind]);
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

/* A route's part of the last family is the last that is wanted of it: to free all of them at once
   would take long. */
static void put_series(struct metrics_scrape *scrape, struct route_total *total)
{
    size_t family = scrape->family;

    if (family == FAMILY_RESPONSES)
        put_responses(scrape, total);
    else if (family == FAMILY_AGES)
        put_route_histogram(scrape, &scrape->ages, total, "", total->age_buckets,
                            total->age_micros);
    else
        put_counter(&scrape->out, family - FAMILY_COUNTERS, total);
    if (family == FAMILIES - 1)
        talloc_free(total);
}

static void put_some(struct metrics_scrape *scrape)
{
    const struct totals *totals = scrape->totals;

    if (scrape->route == 0)
        put_family_head(&scrape->out, scrape->family);
    while (scrape->out.len < BYTES_A_STEP && scrape->route < totals->n_routes)
        put_series(scrape, totals->routes[scrape->route++]);
    if (scrape->route < totals->n_routes)
        return;
    scrape->family++;
    scrape->route = 0;
}

bool metrics_scrape_step(struct metrics_scrape *scrape)
{
    bool done = false;

    if (scrape->totals == NULL) {
        scrape->totals = totals_step(scrape->reading, ROUTES_A_STEP);
    } else if (scrape->family < FAMILIES) {
        put_some(scrape);
    } else {
        put_process_counters(&scrape->out, scrape->totals);
        put_gauges(&scrape->out, scrape->totals, &scrape->gauges);
        put_disabled(scrape);
        done = true;
    }
    chunks_append(scrape->text, scrape->out.data, scrape->out.len);
    buf_clear(&scrape->out);
    return done;
}

struct chunks *metrics_scrape_text(const struct metrics_scrape *scrape)
{
    return scrape->text;
}

char *metrics_scrape_whole(struct metrics_scrape *scrape, TALLOC_CTX *ctx)
{
    while (!metrics_scrape_step(scrape))
        continue;
    return chunks_join(ctx, scrape->text);
}
