/* SPDX-License-Identifier: BSD-2-Clause */
/* leeway-worker: the FastCGI application. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/capacity.h"
#include "app/program.h"
#include "app/worker.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "base/mem.h"
#include "prefork/listener.h"

/* Set from one life of a process without a parent to the next: the address of its socket, or
   nothing. */
#define ANEW "LEEWAY_ANEW"
/* The mark of the socket's file. */
#define ANEW_MARK "LEEWAY_ANEW_MARK"

static int64_t configured_workers(const struct settings *settings)
{
    return settings->workers;
}

static int run(struct program *program, struct child_link *link)
{
    return worker_run(program->app, program->listen_fd, link) == WORKER_STOPPED ? 0 : 1;
}

/* Starts the program anew on the same socket, which becomes descriptor 0: -s is left out,
   for the address is taken, by us. Returns only if that fails. */
static void restart(const struct program *program, int argc, char **argv)
{
    char **again = mem_check(talloc_zero_array(NULL, char *, (unsigned)argc + 1));
    char mark[UNIX_SOCKET_MARK_BYTES];
    int n = 0;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "-s") == 0)
            i++;
        else if (strncmp(argv[i], "-s", 2) != 0)
            again[n++] = argv[i];
    }
    if (program->listen_fd != STDIN_FILENO)
        dup2(program->listen_fd, STDIN_FILENO);
    fcntl(STDIN_FILENO, F_SETFD, 0);
    listener_mark(mark);
    setenv(ANEW, program->address != NULL ? program->address : "", 1);
    setenv(ANEW_MARK, mark, 1);
    execvp(again[0], again);
    unsetenv(ANEW);
    unsetenv(ANEW_MARK);
    log_event(LOG_LEVEL_ERROR, "cannot start anew", log_text("program", again[0]));
    talloc_free(again);
}

/* The file was right when the signal came. If it has been changed again while the last requests
   were answered, or the program cannot be started, what there is serves on. */
static int serve_alone(struct program *program, int argc, char **argv)
{
    enum worker_end end;

    program_log_start(program, 0);
    while ((end = worker_run(program->app, program->listen_fd, NULL)) == WORKER_RELOAD)
        if (application_check(program->file, program->app))
            restart(program, argc, argv);
    return end == WORKER_STOPPED ? 0 : 1;
}

static struct listener_options listener_of(const struct program *program)
{
    const struct settings *settings = &program->app->config->settings;

    return (struct listener_options){
        .address = program->address,
        .mode = (mode_t)settings->socket_mode,
        .group = settings->socket_group,
    };
}

static void adjust_listener(struct program *program)
{
    const struct listener_options options = listener_of(program);
    char error[256];

    if (listener_adjust(&options, error, sizeof error) == -1)
        log_event(LOG_LEVEL_ERROR, "socket_mode and socket_group are not applied",
                  log_text("error", error));
}

/* The descriptor, or -1. */
static int open_listener(const struct program *program, char *error, size_t error_size)
{
    const struct listener_options options = listener_of(program);

    return listener_open(&options, error, error_size);
}

/* In a further life the socket is descriptor 0, and its file is ours all the same. */
static void adopt_socket(struct program *program, const char *address)
{
    listener_adopt(address, getenv(ANEW_MARK));
    unsetenv(ANEW_MARK);
    program->address = address;
    adjust_listener(program);
}

/* Nobody comes any more, so that the children can serve all who have; and a successor's socket
   of the same name is left alone. */
static void unlink_socket(struct program *program)
{
    if (program->address != NULL)
        listener_unlink(program->address);
}

int main(int argc, char **argv)
{
    static struct program program = {
        .name = "leeway-worker",
        .role = "worker",
        .options = "c:s:n:tVh",
        .usage = "[-c FILE] [-s unix:PATH|tcp:HOST:PORT] [-n COUNT] [-t] [-V] [-h]\n"
                 "       leeway-worker --ready|--health [-c FILE] -s unix:PATH|tcp:HOST:PORT",
        .asks = true,
        .configured_count = configured_workers,
        .fits = application_has_descriptors,
        .run = run,
        .reloaded = adjust_listener,
        .stopping = unlink_socket,
    };
    const char *kept = getenv(ANEW);
    char *address = kept != NULL ? mem_check(talloc_strdup(NULL, kept)) : NULL;
    char error[256];
    int status;

    descriptors_fill();
    program_parse_options(&program, argc, argv);
    if (program.question != ASK_NOTHING)
        return ask_pool(program.file, program.address, program.question);
    if (address != NULL)
        program_load_or_wait(&program);
    else
        program_load_or_exit(&program);
    unsetenv(ANEW);
    if (capacity_claim(&program.app->config->settings, false) == 0)
        return 1;
    program.listen_fd = open_listener(&program, error, sizeof error);
    if (program.listen_fd == -1) {
        fprintf(stderr, "%s%s: %s\n", log_mark(LOG_LEVEL_ERROR), program.name, error);
        return 1;
    }
    if (address != NULL && address[0] != '\0')
        adopt_socket(&program, address);
    if (program.count == 0) {
        status = serve_alone(&program, argc, argv);
        unlink_socket(&program);
        program_log_end(&program, status);
    } else {
        status = program_supervise(&program);
    }
    talloc_free(program.generation);
    talloc_free(address);
    return status;
}
