/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl queue: refresh jobs that wait, who has which in hand, what was set aside, and whether
   others' wait. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "ctl/await.h"
#include "ctl/ctl.h"
#include "ctl/json.h"

/* "users.id.profile 7 NULL": the route and the values. */
static void print_job(const struct job *job, bool known)
{
    if (!known) {
        printf("a job that cannot be read");
        return;
    }
    ctl_print(job->route);
    for (size_t i = 0; i < job->values.count; i++) {
        printf(" ");
        ctl_print(job->values.texts[i] != NULL ? job->values.texts[i] : "NULL");
    }
}

static void print_text(const struct queue_view *view)
{
    printf("list        %s\n", view->list);
    printf("waiting     %" PRId64, view->length);
    if (view->oldest_ms >= 0)
        printf(", the oldest for %.1f s", (double)view->oldest_ms / 1e3);
    printf("\nrefreshers  %zu\n", view->n_refreshers);
    for (size_t i = 0; i < view->n_refreshers; i++) {
        const struct queue_refresher *refresher = &view->refreshers[i];
        printf("  ");
        ctl_print(refresher->name);
        printf(" (%s): ", refresher->alive ? "alive" : "no heartbeat");
        if (refresher->in_hand)
            print_job(&refresher->job, refresher->known);
        else
            printf("nothing");
        printf("\n");
    }
    printf("set aside   %zu\n", view->n_aside);
    for (size_t i = 0; i < view->n_aside; i++) {
        const struct queue_aside *aside = &view->aside[i];
        printf("  ");
        print_job(&aside->job, aside->known);
        printf(", for another %.1f s\n", (double)aside->left_ms / 1e3);
    }
    printf("other lists %zu, with %" PRId64 " jobs\n", view->n_others, view->others_length);
}

static void write_job(struct json_out *json, const struct job *job, bool known)
{
    if (!known) {
        json_null(json, "job");
        return;
    }
    json_open_object(json, "job");
    json_text(json, "route", job->route);
    json_text(json, "fingerprint", job->fingerprint);
    json_open_array(json, "parameters");
    for (size_t i = 0; i < job->values.count; i++)
        json_text(json, NULL, job->values.texts[i]);
    json_close_array(json);
    json_close_object(json);
}

static void write_refresher(struct json_out *json, const struct queue_refresher *refresher)
{
    json_open_object(json, NULL);
    json_text(json, "name", refresher->name);
    json_bool(json, "alive", refresher->alive);
    write_job(json, &refresher->job, refresher->in_hand && refresher->known);
    json_close_object(json);
}

static void write_aside(struct json_out *json, const struct queue_aside *aside)
{
    json_open_object(json, NULL);
    write_job(json, &aside->job, aside->known);
    json_seconds(json, "left_seconds", aside->left_ms * 1000);
    json_close_object(json);
}

static void write_json(const struct queue_view *view)
{
    struct json_out *json = json_begin();

    json_open_object(json, NULL);
    json_text(json, "list", view->list);
    json_number(json, "waiting", view->length);
    if (view->oldest_ms >= 0)
        json_seconds(json, "oldest_seconds", view->oldest_ms * 1000);
    else
        json_null(json, "oldest_seconds");
    json_open_array(json, "refreshers");
    for (size_t i = 0; i < view->n_refreshers; i++)
        write_refresher(json, &view->refreshers[i]);
    json_close_array(json);
    json_open_array(json, "set_aside");
    for (size_t i = 0; i < view->n_aside; i++)
        write_aside(json, &view->aside[i]);
    json_close_array(json);
    json_open_object(json, "other_lists");
    json_number(json, "count", (int64_t)view->n_others);
    json_number(json, "waiting", view->others_length);
    json_close_object(json);
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
    if (queue != NULL) {
        queue_look(queue, true, on_view, &answer);
        ctl_await(ctl, &answer.came);
    }
    if (answer.view == NULL) {
        fprintf(stderr, "leewayctl: the queue is not known: Redis cannot be reached%s\n",
                queue != NULL ? " or refuses" : "");
        return CTL_UNREACHABLE;
    }
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
    .help = "refresh jobs: how many wait, since when, who has which in hand, which are set aside",
    .run = run,
};
