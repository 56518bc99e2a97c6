/* SPDX-License-Identifier: BSD-2-Clause */
/* Command line and reload. */
#include "config.h"

#include "app/program.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/switches.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"

#define DEFAULT_FILE SYSCONFDIR "/leeway/leeway.conf"

enum { MAX_CHILDREN = 1024 };

static void usage_error(const struct program *program, const char *problem)
{
    if (problem != NULL)
        fprintf(stderr, "%s%s: %s\n", log_mark(LOG_LEVEL_ERROR), program->name, problem);
    fprintf(stderr, "usage: %s %s\n", program->name, program->usage);
    exit(2);
}

static void take_option(struct program *program, int option)
{
    switch (option) {
    case 'c':
        program->file = optarg;
        break;
    case 's':
        program->address = optarg;
        break;
    case 'n':
        if (!num_parse_i64(optarg, strlen(optarg), &program->count) || program->count < 0 ||
            program->count > MAX_CHILDREN)
            usage_error(program, "-n takes a number from 0 to 1024");
        break;
    case 't':
        program->test_only = true;
        break;
    case ASK_READY:
    case ASK_HEALTH:
        program->question = (enum question)option;
        break;
    case 'V':
        printf("%s %s\n", program->name, PACKAGE_VERSION);
        exit(0);
    case 'h':
        printf("usage: %s %s\n", program->name, program->usage);
        exit(0);
    default:
        usage_error(program, NULL);
    }
}

void program_parse_options(struct program *program, int argc, char **argv)
{
    static const struct option none[] = {{NULL, 0, NULL, 0}};
    static const struct option asks[] = {{"ready", no_argument, NULL, ASK_READY},
                                         {"health", no_argument, NULL, ASK_HEALTH},
                                         {NULL, 0, NULL, 0}};
    int option;

    /* by a log that nobody reads any more, or that may not grow; inherited by the children, and by
       execve(2) */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    /* by a log rotation that expects something of them, which HUP does here */
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGALRM, SIG_IGN);
    log_to_stderr(program->name);
    program->file = DEFAULT_FILE;
    program->count = -1;
    program->listen_fd = -1;
    while ((option =
                getopt_long(argc, argv, program->options, program->asks ? asks : none, NULL)) != -1)
        take_option(program, option);
    if (optind < argc)
        usage_error(program, "unexpected argument");
}

static int open_log(TALLOC_CTX *ctx, const struct program *program, const struct config *config,
                    struct config_error *error)
{
    const struct config_place place = {.file = program->file};
    char problem[512];

    if (log_open(program->name, config->settings.log, problem, sizeof problem) == 0)
        return 0;
    return config_fail(ctx, error, place, "%s", problem);
}

/* Its own log is opened with it, and a file that is open already is opened anew. */
static int load(struct program *program, struct config_error *error, TALLOC_CTX **failed)
{
    TALLOC_CTX *generation = mem_check(talloc_new(NULL));
    const struct application *app;

    if (application_load(generation, program->file, &app, error) == -1 ||
        (program->app != NULL && !application_has_runtime_dir(generation, app, error)) ||
        (program->app != NULL && program->fits != NULL && !program->fits(generation, app, error)) ||
        (!program->test_only && open_log(generation, program, app->config, error) == -1)) {
        *failed = generation;
        return -1;
    }
    if (program->app != NULL)
        switches_tell_moved(program->app->config->settings.runtime_dir,
                            app->config->settings.runtime_dir);
    talloc_free(program->generation);
    program->generation = generation;
    program->app = app;
    return 0;
}

static void print_warnings(const struct config *config)
{
    for (size_t i = 0; i < config->n_warnings; i++)
        fprintf(stderr, "%s%s:%d: warning: %s\n", log_mark(LOG_LEVEL_WARN),
                config->warnings[i].place.file, config->warnings[i].place.line,
                config->warnings[i].text);
}

static void log_warnings(const struct config *config)
{
    for (size_t i = 0; i < config->n_warnings; i++)
        log_event(LOG_LEVEL_WARN, "doubtful configuration",
                  log_text("file", config->warnings[i].place.file),
                  log_number("line", config->warnings[i].place.line),
                  log_text("warning", config->warnings[i].text));
}

void program_load_or_exit(struct program *program)
{
    struct config_error error;
    TALLOC_CTX *failed;

    if (load(program, &error, &failed) == -1) {
        fputs(log_mark(LOG_LEVEL_ERROR), stderr);
        if (error.line > 0)
            fprintf(stderr, "%s:%d: %s\n", error.file, error.line, error.text);
        else
            fprintf(stderr, "%s: %s\n", error.file, error.text);
        talloc_free(failed);
        exit(1);
    }
    if (program->test_only) {
        print_warnings(program->app->config);
        printf("%s: configuration ok\n", program->file);
        talloc_free(program->generation);
        exit(0);
    }
    log_warnings(program->app->config);
}

void program_load_or_wait(struct program *program)
{
    static const struct timespec second = {.tv_sec = 1};
    struct config_error error;
    TALLOC_CTX *failed;
    sigset_t stops;

    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGQUIT);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    while (load(program, &error, &failed) == -1) {
        log_event(LOG_LEVEL_ERROR, "waiting for a right configuration",
                  log_text("file", error.file), log_number("line", error.line),
                  log_text("error", error.text));
        talloc_free(failed);
        if (sigtimedwait(&stops, NULL, &second) != -1)
            exit(0);
    }
    log_warnings(program->app->config);
}

static int64_t wanted_count(void *data)
{
    const struct program *program = data;

    return program->count > 0 ? program->count
                              : program->configured_count(&program->app->config->settings);
}

static int64_t drain_timeout_ms(void *data)
{
    const struct program *program = data;

    return program->app->config->settings.drain_timeout_ms;
}

static int run_child(void *data, struct child_link *link)
{
    struct program *program = data;

    return program->run(program, link);
}

static void stopping(void *data)
{
    struct program *program = data;

    if (program->stopping != NULL)
        program->stopping(program);
}

static int reload(void *data)
{
    struct program *program = data;
    struct config_error error;
    TALLOC_CTX *failed;

    if (load(program, &error, &failed) == 0) {
        log_event(LOG_LEVEL_INFO, "configuration reloaded", log_text("file", program->file));
        log_warnings(program->app->config);
        if (program->reloaded != NULL)
            program->reloaded(program);
        return 0;
    }
    log_event(LOG_LEVEL_ERROR, "configuration not reloaded", log_text("file", error.file),
              log_number("line", error.line), log_text("error", error.text));
    talloc_free(failed);
    return -1;
}

void program_log_start(const struct program *program, int64_t children)
{
    log_event(LOG_LEVEL_INFO, "started", log_text("program", program->name),
              log_text("version", PACKAGE_VERSION), log_text("file", program->file),
              log_number("routes", (int64_t)program->app->config->n_routes),
              log_number("children", children));
    if (geteuid() == 0)
        log_event(LOG_LEVEL_WARN, "running as root, which nothing here needs",
                  log_text("advice", "run it as a user of its own"));
}

void program_log_end(const struct program *program, int status)
{
    log_event(LOG_LEVEL_INFO, "stopped", log_text("program", program->name),
              log_number("status", status));
}

int program_supervise(struct program *program)
{
    const struct supervisor_program supervised = {
        .role = program->role,
        .count = wanted_count,
        .drain_timeout_ms = drain_timeout_ms,
        .child = run_child,
        .reload = reload,
        .stopping = stopping,
        .data = program,
    };

    program_log_start(program, wanted_count(program));
    int status = supervisor_run(&supervised);
    program_log_end(program, status);
    return status;
}
