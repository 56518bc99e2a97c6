/* SPDX-License-Identifier: BSD-2-Clause */
/* Adds up all slots. Their memory may be any process's: what it says is cut, not trusted. */
#include "config.h"

#include "metrics/totals.h"

#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { HASHED = 4096 };

struct totals_reading {
    struct totals *totals;
    size_t room;                            /* in totals->routes */
    struct route_total *by_pattern[HASHED]; /* the first of a list each */
    const char *runtime_dir;
    int next, end; /* slots */
    struct slot slot;
    bool is_open;
    uint32_t series; /* of the open one, the next */
};

/* A slot cuts a long pattern wherever its room ends, and Prometheus takes nothing from a scrape
   that is not UTF-8. */
static void cut_to_utf8(char *text)
{
    size_t len = strlen(text);

    while (utf8_length(text, len) == -1)
        len--;
    text[len] = '\0';
}

static void list(struct totals_reading *reading, struct route_total *total)
{
    struct totals *totals = reading->totals;

    if (totals->n_routes == reading->room) {
        reading->room = reading->room > 0 ? reading->room * 2 : 64;
        totals->routes = mem_check(
            talloc_realloc(totals, totals->routes, struct route_total *, (unsigned)reading->room));
    }
    totals->routes[totals->n_routes++] = total;
}

static struct route_total *total_of(struct totals_reading *reading, const char *from)
{
    char pattern[SLOT_PATTERN_BYTES] = {0};
    struct route_total **first, *total;

    memcpy(pattern, from, SLOT_PATTERN_BYTES - 1);
    cut_to_utf8(pattern);
    first = &reading->by_pattern[XXH3_64bits(pattern, strlen(pattern)) % HASHED];
    for (total = *first; total != NULL; total = total->next)
        if (strcmp(total->pattern, pattern) == 0)
            return total;
    total = mem_check(talloc_zero(reading->totals, struct route_total));
    memcpy(total->pattern, pattern, sizeof pattern);
    total->next = *first;
    *first = total;
    list(reading, total);
    return total;
}

static void add_cells(uint64_t *sums, const slot_cell *cells, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sums[i] += atomic_load_explicit(&cells[i], memory_order_relaxed);
}

static void add_series(struct totals_reading *reading, const struct series *series)
{
    struct route_total *total = total_of(reading, series->pattern);

    add_cells(total->counters, series->counters, COUNTER_COUNT);
    add_cells(total->response_buckets[0], series->response_buckets[0],
              RESPONSE_KINDS * RESPONSE_BUCKETS);
    add_cells(total->response_micros, series->response_micros, RESPONSE_KINDS);
    add_cells(total->age_buckets, series->age_buckets, AGE_BUCKETS);
    add_cells(&total->age_micros, &series->age_micros, 1);
}

static void close_slot(struct totals_reading *reading)
{
    if (reading->is_open)
        slot_close(&reading->slot);
    reading->is_open = false;
}

static int reading_destroy(struct totals_reading *reading)
{
    close_slot(reading);
    return 0;
}

struct totals_reading *totals_begin(TALLOC_CTX *ctx, const char *runtime_dir)
{
    struct totals_reading *reading = mem_check(talloc_zero(ctx, struct totals_reading));

    reading->runtime_dir = mem_check(talloc_strdup(reading, runtime_dir));
    reading->totals = mem_check(talloc_zero(reading, struct totals));
    reading->totals->redis_up = reading->totals->postgres_up = true;
    reading->end = slot_end(runtime_dir);
    talloc_set_destructor(reading, reading_destroy);
    return reading;
}

/* false: no slot is left. */
static bool open_next(struct totals_reading *reading)
{
    while (!reading->is_open && reading->next < reading->end)
        reading->is_open = slot_read(&reading->slot, reading->runtime_dir, reading->next++) != 0;
    reading->series = 0;
    return reading->is_open;
}

/* What a process has beside its routes. */
static void add_process(struct totals_reading *reading)
{
    const struct slot_memory *memory = reading->slot.memory;
    struct totals *totals = reading->totals;

    if (memory->series[SLOT_OTHER].pattern[0] != '\0')
        add_series(reading, &memory->series[SLOT_OTHER]);
    add_cells(totals->process_counters, memory->process_counters, PROCESS_COUNTER_COUNT);
    if (!reading->slot.alive)
        return;
    totals->any_alive = true;
    totals->redis_up = totals->redis_up && memory->redis_up != 0;
    totals->postgres_up = totals->postgres_up && memory->postgres_up != 0;
    if (memory->role == METRICS_WORKER && memory->state <= METRICS_DRAINING)
        totals->workers[memory->state]++;
}

struct totals *totals_step(struct totals_reading *reading, size_t routes)
{
    if (!reading->is_open && !open_next(reading))
        return reading->totals;
    const struct slot_memory *memory = reading->slot.memory;
    uint32_t count = memory->n_series;
    size_t left = count - reading->series, wanted = routes < left ? routes : left;
    bool read = slot_fetch(&reading->slot, reading->series, wanted);

    for (size_t i = 0; read && i < wanted; i++)
        add_series(reading, &memory->series[reading->series++]);
    if (reading->series >= count || !read) {
        add_process(reading);
        close_slot(reading);
    }
    return NULL;
}

struct totals *totals_read(TALLOC_CTX *ctx, const char *runtime_dir)
{
    struct totals_reading *reading = totals_begin(ctx, runtime_dir);
    struct totals *totals;

    while ((totals = totals_step(reading, SLOT_OTHER)) == NULL)
        continue;
    talloc_steal(ctx, totals);
    talloc_free(reading);
    return totals;
}

const struct route_total *totals_find(const struct totals *totals, const char *pattern)
{
    for (size_t i = 0; i < totals->n_routes; i++)
        if (strcmp(totals->routes[i]->pattern, pattern) == 0)
            return totals->routes[i];
    return NULL;
}

int64_t totals_percentile_us(const int64_t *bounds_us, size_t n_bounds, const uint64_t *buckets,
                             double share)
{
    uint64_t count = 0, below = 0;

    for (size_t i = 0; i <= n_bounds; i++)
        count += buckets[i];
    if (count == 0)
        return -1;
    double rank = share * (double)count;
    for (size_t i = 0; i < n_bounds; i++) {
        int64_t from_us = i > 0 ? bounds_us[i - 1] : 0;
        if (buckets[i] > 0 && (double)(below + buckets[i]) >= rank) {
            double within = (rank - (double)below) / (double)buckets[i];
            return from_us + (int64_t)((double)(bounds_us[i] - from_us) * within);
        }
        below += buckets[i];
    }
    return bounds_us[n_bounds - 1];
}
