/* SPDX-License-Identifier: BSD-2-Clause */
/* All slots added up, in Prometheus's text exposition format. */
#include "config.h"

#include <inttypes.h>
#include <search.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "metrics/buckets.h"
#include "metrics/metrics.h"
#include "metrics/slot.h"

/* The sum over all slots of one route. */
struct total {
    char pattern[SLOT_PATTERN_BYTES];
    uint64_t counters[COUNTER_COUNT];
    uint64_t response_buckets[RESPONSE_KINDS][RESPONSE_BUCKETS];
    uint64_t response_micros[RESPONSE_KINDS];
    uint64_t age_buckets[AGE_BUCKETS];
    uint64_t age_micros;
};

struct summary {
    void *by_pattern; /* tsearch tree of totals */
    struct total **totals;
    size_t n_totals;
    int workers[METRICS_DRAINING + 1]; /* alive, by state */
    bool redis_up;
    bool postgres_up;
    bool any_alive;
};

static const struct {
    const char *name;
    const char *label;
    const char *value;
    const char *help;
} counters[] = {
#define COUNTER(id, name, label, value, help) {name, label, value, help},
#include "metrics/metrics.def"
#undef COUNTER
};

static const char *const kind_labels[] = {
    [RESPONSE_COMPUTED] = "cached=\"false\",stale=\"false\"",
    [RESPONSE_HIT] = "cached=\"true\",stale=\"false\"",
    [RESPONSE_STALE_HIT] = "cached=\"true\",stale=\"true\"",
};

static const char *const state_names[] = {
    [METRICS_STARTING] = "starting",
    [METRICS_SERVING] = "serving",
    [METRICS_DRAINING] = "draining",
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct total *)a)->pattern, ((const struct total *)b)->pattern);
}

/* A slot cuts a long pattern wherever its room ends, and Prometheus takes nothing from a scrape
   that is not UTF-8. */
static void cut_to_utf8(char *text)
{
    size_t len = strlen(text);

    while (utf8_length(text, len) == -1)
        len--;
    text[len] = '\0';
}

static struct total *total_of(TALLOC_CTX *ctx, struct summary *summary, const char *pattern)
{
    struct total *total = mem_check(talloc_zero(ctx, struct total));

    /* the memory may be any process's: its text is cut, not trusted */
    memcpy(total->pattern, pattern, SLOT_PATTERN_BYTES - 1);
    cut_to_utf8(total->pattern);
    struct total *const *found = mem_check(tsearch(total, &summary->by_pattern, compare));
    if (*found != total) {
        talloc_free(total);
        return *found;
    }
    summary->totals = mem_check(
        talloc_realloc(ctx, summary->totals, struct total *, (unsigned)summary->n_totals + 1));
    summary->totals[summary->n_totals++] = total;
    return total;
}

static void add_cells(uint64_t *sums, const slot_cell *cells, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sums[i] += atomic_load_explicit(&cells[i], memory_order_relaxed);
}

static void add_series(TALLOC_CTX *ctx, struct summary *summary, const struct series *series)
{
    struct total *total = total_of(ctx, summary, series->pattern);

    add_cells(total->counters, series->counters, COUNTER_COUNT);
    add_cells(total->response_buckets[0], series->response_buckets[0],
              RESPONSE_KINDS * RESPONSE_BUCKETS);
    add_cells(total->response_micros, series->response_micros, RESPONSE_KINDS);
    add_cells(total->age_buckets, series->age_buckets, AGE_BUCKETS);
    add_cells(&total->age_micros, &series->age_micros, 1);
}

static void add_slot(TALLOC_CTX *ctx, struct summary *summary, const struct slot *slot)
{
    const struct slot_memory *memory = slot->memory;
    uint32_t count = atomic_load_explicit(&memory->n_series, memory_order_acquire);

    for (uint32_t i = 0; i < count && i < SLOT_OTHER; i++)
        add_series(ctx, summary, &memory->series[i]);
    if (memory->series[SLOT_OTHER].pattern[0] != '\0')
        add_series(ctx, summary, &memory->series[SLOT_OTHER]);
    if (!slot->alive)
        return;
    summary->any_alive = true;
    summary->redis_up = summary->redis_up && memory->redis_up != 0;
    summary->postgres_up = summary->postgres_up && memory->postgres_up != 0;
    if (memory->role == METRICS_WORKER && memory->state <= METRICS_DRAINING)
        summary->workers[memory->state]++;
}

static void add_all(TALLOC_CTX *ctx, struct summary *summary, const char *runtime_dir)
{
    struct slot slot;

    for (int i = 0; i < SLOT_MAX; i++) {
        int found = slot_read(&slot, runtime_dir, i);
        if (found == -1)
            return;
        if (found == 0)
            continue;
        add_slot(ctx, summary, &slot);
        slot_close(&slot);
    }
}

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

static void put_counters(struct buf *out, const struct summary *summary)
{
    for (size_t c = 0; c < COUNTER_COUNT; c++) {
        if (counters[c].help != NULL)
            put_head(out, counters[c].name, "counter", counters[c].help);
        for (size_t i = 0; i < summary->n_totals; i++) {
            buf_printf(out, "%s{", counters[c].name);
            put_route(out, summary->totals[i]->pattern);
            if (counters[c].label != NULL)
                buf_printf(out, ",%s=\"%s\"", counters[c].label, counters[c].value);
            buf_printf(out, "} %" PRIu64 "\n", summary->totals[i]->counters[c]);
        }
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

static void put_responses(TALLOC_CTX *ctx, struct buf *out, const struct summary *summary)
{
    put_head(out, "leeway_response_seconds", "histogram",
             "Time from a request's last byte to its response.");
    for (size_t i = 0; i < summary->n_totals; i++) {
        const struct total *total = summary->totals[i];
        for (size_t kind = 0; kind < RESPONSE_KINDS; kind++) {
            const struct histogram histogram = {
                .name = "leeway_response_seconds",
                .labels = mem_check(talloc_asprintf(ctx, ",%s", kind_labels[kind])),
                .bounds_us = response_bounds_us,
                .n_bounds = RESPONSE_BUCKETS - 1,
            };
            if (any(total->response_buckets[kind], RESPONSE_BUCKETS))
                put_histogram(out, &histogram, total->pattern, total->response_buckets[kind],
                              total->response_micros[kind]);
        }
    }
}

static void put_ages(struct buf *out, const struct summary *summary)
{
    static const struct histogram histogram = {
        .name = "leeway_served_age_seconds",
        .labels = "",
        .bounds_us = age_bounds_us,
        .n_bounds = AGE_BUCKETS - 1,
    };

    put_head(out, histogram.name, "histogram", "Age of responses when they were written.");
    for (size_t i = 0; i < summary->n_totals; i++) {
        const struct total *total = summary->totals[i];
        if (any(total->age_buckets, AGE_BUCKETS))
            put_histogram(out, &histogram, total->pattern, total->age_buckets, total->age_micros);
    }
}

/* What is not known is left out rather than invented. */
static void put_gauge(struct buf *out, const char *name, const char *help, bool known, double value)
{
    if (!known)
        return;
    put_head(out, name, "gauge", help);
    buf_printf(out, "%s %.15g\n", name, value);
}

static void put_gauges(struct buf *out, const struct summary *summary,
                       const struct metrics_gauges *gauges)
{
    put_gauge(out, "leeway_jobs_queued", "Refresh jobs that wait.", gauges->jobs_queued >= 0,
              (double)gauges->jobs_queued);
    put_gauge(out, "leeway_job_oldest_seconds", "How long the oldest job has been waiting.",
              gauges->job_oldest_ms >= 0, (double)gauges->job_oldest_ms / 1000.0);
    put_gauge(out, "leeway_redis_up", "1 while every process reaches Redis.", summary->any_alive,
              summary->redis_up);
    put_gauge(out, "leeway_postgres_up", "0 after a failure to connect to Postgres.",
              summary->any_alive, summary->postgres_up);
    put_gauge(out, "leeway_redis_memory_fragmentation_ratio",
              "mem_fragmentation_ratio of Redis's INFO.", gauges->redis_fragmentation_ratio >= 0,
              gauges->redis_fragmentation_ratio);
    put_head(out, "leeway_workers", "gauge", "Living worker processes.");
    for (size_t i = 0; i < sizeof state_names / sizeof state_names[0]; i++)
        buf_printf(out, "leeway_workers{state=\"%s\"} %d\n", state_names[i], summary->workers[i]);
    put_head(out, "leeway_build_info", "gauge", "Always 1.");
    buf_printf(out, "leeway_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
}

static void forget(void *total)
{
    (void)total; /* it belongs to a talloc context */
}

char *metrics_text(TALLOC_CTX *ctx, const char *runtime_dir, const struct metrics_gauges *gauges)
{
    TALLOC_CTX *scratch = mem_check(talloc_new(ctx));
    struct summary summary = {.redis_up = true, .postgres_up = true};
    struct buf out;

    buf_init(&out, ctx, 4096);
    add_all(scratch, &summary, runtime_dir);
    put_responses(scratch, &out, &summary);
    put_ages(&out, &summary);
    put_counters(&out, &summary);
    put_gauges(&out, &summary, gauges);
    tdestroy(summary.by_pattern, forget);
    talloc_free(scratch);
    return out.data;
}
