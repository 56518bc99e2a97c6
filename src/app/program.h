/* SPDX-License-Identifier: BSD-2-Clause */
/* What the two daemons have in common between main() and their children: options, loading,
   -t, and what the supervisor asks. */
#ifndef LEEWAY_APP_PROGRAM_H
#define LEEWAY_APP_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "app/application.h"
#include "app/ask.h"
#include "prefork/supervisor.h"

struct program {
    const char *name;    /* "leeway-worker" */
    const char *role;    /* "worker" */
    const char *options; /* for getopt: a subset of "c:s:n:tVh" */
    bool asks;           /* it knows --ready and --health */
    const char *usage;
    /* The number of children that the configuration asks for. */
    int64_t (*configured_count)(const struct settings *settings);
    /* NULL, or whether a child could go on with another configuration. false and *error, of
       `ctx`. */
    bool (*fits)(TALLOC_CTX *ctx, const struct application *app, struct config_error *error);
    /* A child's life; its exit status. */
    int (*run)(struct program *program, struct child_link *link);
    /* NULL, or called when another configuration is in force: what of it concerns the parent. */
    void (*reloaded)(struct program *program);
    /* NULL, or called when a stop begins. */
    void (*stopping)(struct program *program);

    /* From the command line. */
    const char *file;
    const char *address;    /* -s; NULL: none */
    int64_t count;          /* -n; -1: as configured */
    bool test_only;         /* -t */
    enum question question; /* --ready, --health */

    TALLOC_CTX *generation; /* of the configuration in force */
    const struct application *app;
    int listen_fd;
};

/* Reads the command line; ends the process for -V, -h and mistakes (status 2). */
void program_parse_options(struct program *program, int argc, char **argv);

/* Loads the configuration, and ends the process with status 1 if it is wrong, or with
   0 after -t. */
void program_load_or_exit(struct program *program);

/* For a program that has executed itself anew, and must not end because its file has been changed
   once more: tries again every second until the file is right. TERM, INT and QUIT end the process
   with status 0; they are blocked afterwards. */
void program_load_or_wait(struct program *program);

/* Says in the log that the program has started, with so many children, and warns if it runs as
   root. */
void program_log_start(const struct program *program, int64_t children);

/* Says in the log that it has stopped, and with which exit status. */
void program_log_end(const struct program *program, int status);

/* Runs children under a supervisor until told to stop; the exit status. */
int program_supervise(struct program *program);

#endif
