/* SPDX-License-Identifier: BSD-2-Clause */
/* What leewayctl's commands share. Each command is a file that ends in its row of the table. */
#ifndef LEEWAY_CTL_CTL_H
#define LEEWAY_CTL_CTL_H

#include <ev.h>
#include <stdbool.h>
#include <talloc.h>

#include "app/application.h"
#include "cache/cache.h"
#include "refresh/queue.h"

enum ctl_exit {
    CTL_OK = 0,
    CTL_BAD = 1,         /* the answer is bad: a problem found, no such route, nothing there */
    CTL_USAGE = 2,       /* called wrongly */
    CTL_UNREACHABLE = 3, /* Redis, Postgres or runtime_dir cannot be reached */
};

struct ctl {
    const char *file;
    const struct application *app; /* loaded before a command runs */
    bool json;                     /* --json */
    struct ev_loop *loop;
    struct cache *cache;   /* NULL until ctl_cache */
    bool cache_came_up;    /* once at least */
    struct queue *queue;   /* NULL until ctl_job_queue */
    struct ctl_keys *keys; /* NULL until ctl_keys */
};

/* Made when first asked for. */
struct ev_loop *ctl_loop(struct ctl *ctl);

/* Opened when first asked for, and waited for; NULL: Redis cannot be reached, which has been said
   on standard error. */
struct cache *ctl_cache(struct ctl *ctl);
struct queue *ctl_job_queue(struct ctl *ctl);

struct ctl_command {
    const char *name;
    const char *arguments; /* for the usage line */
    const char *help;      /* a sentence */
    /* Options are read by getopt_long from `argv`, whose first is the command. */
    enum ctl_exit (*run)(struct ctl *ctl, int argc, char **argv);
};

extern const struct ctl_command ctl_budgets, ctl_check, ctl_disable, ctl_enable, ctl_explain,
    ctl_identity, ctl_metrics, ctl_purge, ctl_queue, ctl_top;

/* "ctl: wrong arguments" for a command, with its usage. */
enum ctl_exit ctl_misused(const struct ctl_command *command);

/* The route of that name or, as it stands in the configuration, of that pattern. NULL: there is
   none, and standard error says which there are. */
const struct route *ctl_route_named(const struct ctl *ctl, const char *name);

/* Reads a command that takes no option but --json; *first is the index of its first argument.
   false: misused. */
bool ctl_plain_options(struct ctl *ctl, int argc, char **argv, int *first);

/* Prints a text from outside: what could steer a terminal is shown as "\x1b". */
void ctl_print(const char *text);

/* A duration as the configuration writes it: "90s", "250ms", "2m". A child of `ctx`. */
char *ctl_duration(TALLOC_CTX *ctx, int64_t ms);

#endif
