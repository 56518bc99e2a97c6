/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration ready for use: its routes compiled, each with its policy and
   fingerprint. Made once, by the parent, and only read after that. */
#ifndef LEEWAY_APP_APPLICATION_H
#define LEEWAY_APP_APPLICATION_H

#include "cache/freshness.h"
#include "config/load.h"
#include "route/fingerprint.h"
#include "route/table.h"
#include "source/destination.h"

struct route_rules {
    struct freshness_policy policy;
    char fingerprint[FINGERPRINT_HEX + 1]; /* without the generation of a session's answers */
    bool edge;                             /* the context's, unless the route is private */
    int64_t query_limit_ms; /* min(statement_timeout, what can be used of the budget) */
    size_t *variables;      /* by parameter: its place in application.variables */
};

enum { NO_PLACE = -1 };

struct application {
    const struct config *config;
    struct route_table *routes;
    const struct route_rules *rules; /* by route index */
    const char **variables; /* FastCGI variables that parameters come from; NULL-terminated */
    size_t client_place;    /* in variables, of client_misses_by; NO_PLACE: it is REMOTE_ADDR */
    const char *ready_path; /* "": off, or a route has that pattern */
    struct destination destination;
    char identity[DESTINATION_HEX + 1]; /* of the database that it leads to */
    char *jobs;       /* the name of the list of its refresh jobs (application_jobs) */
    int64_t stale_ms; /* the longest time from when a hit is stale to the end of its budget */
};

/* All that -t checks. 0 and *app, a child of `ctx`; or -1 and *error. */
int application_load(TALLOC_CTX *ctx, const char *file, const struct application **app,
                     struct config_error *error) __attribute__((warn_unused_result));

/* The fingerprint that `route` would have with another identity. */
void application_fingerprint(const struct application *app, const struct route *route,
                             const char *identity, char out[FINGERPRINT_HEX + 1]);

/* The name of the list of refresh jobs with another identity, a child of `ctx`: the same for all
   configurations that take each other's jobs for what they are, whatever the order of routes. */
char *application_jobs(TALLOC_CTX *ctx, const struct application *app, const char *identity);

/* Whether runtime_dir can be used: it is made if need be. false and *error, of `ctx`: who has
   another one that can should keep it. */
bool application_has_runtime_dir(TALLOC_CTX *ctx, const struct application *app,
                                 struct config_error *error);

/* Whether a worker has descriptors for its slots; likewise. */
bool application_has_descriptors(TALLOC_CTX *ctx, const struct application *app,
                                 struct config_error *error);

/* Whether a worker could go on with `file`; if not, the log says why. `before`: NULL, or what it is
   to replace now, and the log says what is lost with that. */
bool application_check(const char *file, const struct application *before);

static inline const struct route_rules *application_rules(const struct application *app,
                                                          const struct route *route)
{
    return &app->rules[route->index];
}

#endif
