/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs of the loop, and the questions that several commands have. */
#include "config.h"

#include "ctl/await.h"

#include "app/gauges.h"

void ctl_await(struct ctl *ctl, const bool *came)
{
    while (!*came)
        ev_run(ctl_loop(ctl), EVRUN_ONCE);
}

struct note_answer {
    bool came;
    int found;
    struct identity_note noted;
};

static void on_note(void *data, int found, const struct identity_note *noted)
{
    struct note_answer *answer = data;

    *answer = (struct note_answer){true, found, *noted};
}

int ctl_read_note(struct ctl *ctl, const char *identity, struct identity_note *noted)
{
    struct note_answer answer = {.came = false};
    struct cache *cache = ctl_cache(ctl);

    if (cache == NULL)
        return -1;
    cache_read_note(cache, identity, on_note, &answer);
    ctl_await(ctl, &answer.came);
    *noted = answer.noted;
    return answer.found;
}

struct gauges_answer {
    bool came;
    struct metrics_gauges *gauges;
};

static void on_gauges(void *data, const struct metrics_gauges *gauges)
{
    struct gauges_answer *answer = data;

    *answer->gauges = *gauges;
    answer->came = true;
}

void ctl_read_gauges(struct ctl *ctl, struct metrics_gauges *gauges)
{
    struct gauges_answer answer = {.gauges = gauges};
    struct queue *queue = ctl_job_queue(ctl);

    *gauges = (struct metrics_gauges){-1, -1, -1, -1.0};
    if (queue == NULL)
        return;
    gauges_read(NULL, ctl_cache(ctl), queue, on_gauges, &answer);
    ctl_await(ctl, &answer.came);
}
