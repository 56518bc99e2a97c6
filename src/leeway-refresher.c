/* SPDX-License-Identifier: BSD-2-Clause */
/* leeway-refresher: takes refresh jobs from the list. */
#include "config.h"

#include "app/program.h"
#include "app/refresher.h"
#include "base/descriptors.h"

static int64_t configured_refreshers(const struct settings *settings)
{
    return settings->refreshers;
}

static int run(struct program *program, struct child_link *link)
{
    return refresher_run(program->app, link) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct program program = {
        .name = "leeway-refresher",
        .role = "refresher",
        .options = "c:n:tVh",
        .usage = "[-c FILE] [-n COUNT] [-t] [-V] [-h]",
        .configured_count = configured_refreshers,
        .run = run,
    };

    descriptors_fill();
    program_parse_options(&program, argc, argv);
    program_load_or_exit(&program);
    int status = program_supervise(&program);
    talloc_free(program.generation);
    return status;
}
