/* SPDX-License-Identifier: BSD-2-Clause */
/* The cost of finding a route against the number of routes: nanoseconds per look-up, as the best of
   several rounds, and its ratio to that with 10 routes in the same run. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "route/table.h"

enum { LOOK_UPS = 200000, ROUNDS = 7, PATHS = 1024 };

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* "/v<i/100>/{id}/r<i%100>" */
static struct route_table *make_table(TALLOC_CTX *ctx, size_t count)
{
    struct config *config = mem_check(talloc_zero(ctx, struct config));
    struct route *routes = mem_check(talloc_zero_array(ctx, struct route, (unsigned)count));
    struct param_spec *id = mem_check(talloc_zero(ctx, struct param_spec));
    struct config_error error;

    *id = (struct param_spec){.name = "id", .type = PARAM_INT, .required = true};
    for (size_t i = 0; i < count; i++) {
        routes[i].pattern = mem_check(talloc_asprintf(ctx, "/v%zu/{id}/r%zu", i / 100, i % 100));
        routes[i].name = mem_check(talloc_asprintf(ctx, "r%zu", i));
        routes[i].params = id;
        routes[i].n_params = 1;
        routes[i].index = i;
    }
    config->routes = routes;
    config->n_routes = count;
    config->settings.health_path = config->settings.metrics_path = "";
    struct route_table *table = route_table_new(ctx, config, &error);
    if (table == NULL) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    return table;
}

/* Paths spread over all routes, so that nothing is found because it was found just before. */
static void make_paths(TALLOC_CTX *ctx, size_t count, struct slice *paths)
{
    for (size_t i = 0; i < PATHS; i++) {
        size_t route = i * 7919 % count;
        const char *path =
            mem_check(talloc_asprintf(ctx, "/v%zu/%zu/r%zu", route / 100, i, route % 100));
        paths[i] = (struct slice){path, strlen(path)};
    }
}

static double measure_ns(size_t count)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct route_table *table = make_table(ctx, count);
    struct slice paths[PATHS];
    struct route_match match;
    double best_s = 1e9;

    make_paths(ctx, count, paths);
    for (int round = 0; round < ROUNDS; round++) {
        size_t found = 0;
        double began_s = now_s();
        for (int i = 0; i < LOOK_UPS; i++)
            found += (size_t)route_table_find(table, paths[i % PATHS], &match);
        double took_s = now_s() - began_s;
        if (found != LOOK_UPS) {
            fprintf(stderr, "%zu of %d paths were found\n", found, LOOK_UPS);
            exit(1);
        }
        if (took_s < best_s)
            best_s = took_s;
    }
    talloc_free(ctx);
    return best_s / LOOK_UPS * 1e9;
}

int main(void)
{
    static const size_t counts[] = {10, 100, 1000, 10000};
    double first_ns = 0;

    printf("| routes | ns per look-up | ratio |\n|---|---|---|\n");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        double ns = measure_ns(counts[i]);
        if (i == 0)
            first_ns = ns;
        printf("| %zu | %.0f | %.2f |\n", counts[i], ns, ns / first_ns);
    }
    return 0;
}
