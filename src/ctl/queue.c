/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl queue: refresh jobs that wait, and who has which in hand. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "ctl/await.h"
#include "ctl/ctl.h"
#include "ctl/json.h"

/* "users.id.profile 7 NULL": the route and the values. */
static void print_job(const struct queue_refresher *refresher)
{
    if (!refresher->in_hand) {
        printf("nothing");
        return;
    }
    if (!refresher->known) {
        printf("a job that cannot be read");
        return;
    }
    ctl_print(refresher->job.route);
    for (size_t i = 0; i < refresher->job.values.count; i++) {
        printf(" ");
        ctl_print(refresher->job.values.texts[i] != NULL ? refresher->job.values.texts[i] : "NULL");
    }
}

static void print_text(const struct queue_view *view)
{
    printf("waiting     %" PRId64, view->length);
    if (view->oldest_ms >= 0)
        printf(", the oldest for %.1f s", (double)view->oldest_ms / 1e3);
    printf("\nrefreshers  %zu\n", view->n_refreshers);
    for (size_t i = 0; i < view->n_refreshers; i++) {
        const struct queue_refresher *refresher = &view->refreshers[i];
        printf("  ");
        ctl_print(refresher->name);
        printf(" (%s): ", refresher->alive ? "alive" : "no heartbeat");
        print_job(refresher);
        printf("\n");
    }
}

static void write_refresher(struct json_out *json, const struct queue_refresher *refresher)
{
    json_open_object(json, NULL);
    json_text(json, "name", refresher->name);
    json_bool(json, "alive", refresher->alive);
    if (refresher->in_hand && refresher->known) {
        json_open_object(json, "job");
        json_text(json, "route", refresher->job.route);
        json_text(json, "fingerprint", refresher->job.fingerprint);
        json_open_array(json, "parameters");
        for (size_t i = 0; i < refresher->job.values.count; i++)
            json_text(json, NULL, refresher->job.values.texts[i]);
        json_close_array(json);
        json_close_object(json);
    } else {
        json_null(json, "job");
    }
    json_close_object(json);
}

static void write_json(const struct queue_view *view)
{
    struct json_out *json = json_begin();

    json_open_object(json, NULL);
    json_number(json, "waiting", view->length);
    if (view->oldest_ms >= 0)
        json_seconds(json, "oldest_seconds", view->oldest_ms * 1000);
    else
        json_null(json, "oldest_seconds");
    json_open_array(json, "refreshers");
    for (size_t i = 0; i < view->n_refreshers; i++)
        write_refresher(json, &view->refreshers[i]);
    json_close_array(json);
    json_close_object(json);
    json_end(json);
}

struct view_answer {
    bool came;
    struct queue_view *view; /* NULL: Redis cannot say */
};

static void on_view(void *data, struct queue_view *view)
{
    struct view_answer *answer = data;

    answer->came = true;
    answer->view = talloc_steal(NULL, view);
}

static enum ctl_exit run(struct ctl *ctl, int argc, char **argv)
{
    struct view_answer answer = {.came = false};
    int first;

    if (!ctl_plain_options(ctl, argc, argv, &first) || first != argc)
        return ctl_misused(&ctl_queue);
    struct queue *queue = ctl_job_queue(ctl);
    if (queue == NULL)
        return CTL_UNREACHABLE;
    queue_look(queue, true, on_view, &answer);
    ctl_await(ctl, &answer.came);
    if (answer.view == NULL)
        return CTL_UNREACHABLE;
    if (ctl->json)
        write_json(answer.view);
    else
        print_text(answer.view);
    talloc_free(answer.view);
    return CTL_OK;
}

const struct ctl_command ctl_queue = {
    .name = "queue",
    .arguments = "[--json]",
    .help = "refresh jobs: how many wait, since when, who has which in hand",
    .run = run,
};
