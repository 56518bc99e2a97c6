/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl: the operator's tool. */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/descriptors.h"
#include "base/mem.h"
#include "ctl/ctl.h"

#define DEFAULT_FILE SYSCONFDIR "/leeway/leeway.conf"

static const struct ctl_command *const commands[] = {
    &ctl_check, &ctl_budgets, &ctl_explain, &ctl_identity, &ctl_metrics,
    &ctl_queue, &ctl_purge,   &ctl_disable, &ctl_enable,   &ctl_top,
};

static void print_usage(FILE *out)
{
    fprintf(out, "usage: leewayctl [-c FILE] [--json] COMMAND [ARGUMENT ...]\n"
                 "       leewayctl -V | -h\n"
                 "-c and --json may also stand behind the command.\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(out, "  %s %s\n      %s\n", commands[i]->name, commands[i]->arguments,
                commands[i]->help);
}

static const struct ctl_command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

/* Options up to the command; the index of the command. Ends the process for -V, -h and mistakes. */
static int read_options(struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    int option;

    ctl->file = DEFAULT_FILE;
    while ((option = getopt_long(argc, argv, "+c:Vh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            ctl->file = optarg;
            break;
        case 'j':
            ctl->json = true;
            break;
        case 'V':
            printf("leewayctl %s\n", PACKAGE_VERSION);
            exit(CTL_OK);
        case 'h':
            print_usage(stdout);
            exit(CTL_OK);
        default:
            print_usage(stderr);
            exit(CTL_USAGE);
        }
    }
    return optind;
}

/* -c FILE behind the command, where hands put it as often as not; it is taken out. false: the file
   is missing. */
static bool take_file(struct ctl *ctl, int *argc, char **argv)
{
    int kept = 1;

    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            while (i < *argc)
                argv[kept++] = argv[i++];
        } else if (strcmp(argv[i], "-c") == 0) {
            if (++i == *argc)
                return false;
            ctl->file = argv[i];
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    *argc = kept;
    return true;
}

static bool load(TALLOC_CTX *ctx, struct ctl *ctl)
{
    struct config_error error;

    if (application_load(ctx, ctl->file, &ctl->app, &error) == 0)
        return true;
    if (error.line > 0)
        fprintf(stderr, "%s:%d: %s\n", error.file, error.line, error.text);
    else
        fprintf(stderr, "%s: %s\n", error.file, error.text);
    return false;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.json = false};

    descriptors_fill();
    int at = read_options(&ctl, argc, argv);
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    const struct ctl_command *command = at < argc ? find_command(argv[at]) : NULL;
    enum ctl_exit status = CTL_BAD;
    int n_arguments = argc - at;

    if (command == NULL) {
        if (at < argc)
            fprintf(stderr, "leewayctl: there is no command '%s'\n", argv[at]);
        print_usage(stderr);
        status = CTL_USAGE;
    } else if (!take_file(&ctl, &n_arguments, argv + at)) {
        status = ctl_misused(command);
    } else if (load(ctx, &ctl)) {
        /* what getopt puts before its messages */
        argv[at] = mem_check(talloc_asprintf(ctx, "leewayctl: %s", command->name));
        status = command->run(&ctl, n_arguments, argv + at);
    }
    talloc_free(ctl.queue);
    talloc_free(ctl.cache);
    talloc_free(ctl.keys);
    if (ctl.loop != NULL)
        ev_loop_destroy(ctl.loop);
    talloc_free(ctx);
    if (fflush(stdout) != 0 && status == CTL_OK) {
        perror("leewayctl: standard output");
        status = CTL_UNREACHABLE;
    }
    return status;
}
