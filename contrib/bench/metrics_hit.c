/* SPDX-License-Identifier: BSD-2-Clause */
/* What counting a hit costs: nanoseconds for the calls that every hit makes, as the best of several
   rounds; for one route, which stays in the processor's caches, and for many in turns, which do
   not. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "metrics/metrics.h"

enum { HITS = 1000000, ROUNDS = 7, STRIDE = 7919 };

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct config *make_config(TALLOC_CTX *ctx, size_t count)
{
    struct config *config = mem_check(talloc_zero(ctx, struct config));
    struct route *routes = mem_check(talloc_zero_array(config, struct route, (unsigned)count));

    for (size_t i = 0; i < count; i++) {
        routes[i].pattern = mem_check(talloc_asprintf(config, "/v%zu/{id}", i));
        routes[i].index = i;
    }
    config->routes = routes;
    config->n_routes = count;
    return config;
}

static double round_ns(struct metrics *metrics, const struct config *config)
{
    double began_s = now_s();

    for (size_t i = 0; i < HITS; i++) {
        const struct route *route = &config->routes[i * STRIDE % config->n_routes];
        /* 0.2 to 0.7 ms, up to 16 s old: the buckets are not always the same either */
        metrics_response(metrics, route, true, false, (int64_t)(200 + i % 512));
        metrics_served_age(metrics, route, (int64_t)(i % 16) * 1000000);
    }
    return (now_s() - began_s) / HITS * 1e9;
}

static double measure_ns(const char *directory, size_t count)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    const struct config *config = make_config(ctx, count);
    char error[256];
    struct metrics *metrics =
        metrics_open(ctx, directory, METRICS_WORKER, config, error, sizeof error);
    double best_ns = 1e9;

    if (metrics == NULL) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    round_ns(metrics, config); /* the first use of each route */
    for (int round = 0; round < ROUNDS; round++) {
        double ns = round_ns(metrics, config);
        if (ns < best_ns)
            best_ns = ns;
    }
    talloc_free(ctx);
    return best_ns;
}

int main(void)
{
    static const size_t counts[] = {1, 100, 10000};
    char directory[] = "/tmp/leeway-bench-XXXXXX", path[64];

    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    printf("| routes in turns | ns to count a hit |\n|---|---|\n");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        printf("| %zu | %.0f |\n", counts[i], measure_ns(directory, counts[i]));
    snprintf(path, sizeof path, "%s/metrics.0", directory);
    unlink(path);
    rmdir(directory);
    return 0;
}
