/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue, and the one place that tells the owner of a request. */
#include "config.h"

#include "redis/requests.h"

#include <stdio.h>

#include "base/log.h"
#include "redis/info.h"

enum { ERROR_BYTES = 256 };

void redis_requests_init(struct redis_requests *requests)
{
    *requests = (struct redis_requests){.last = &requests->first};
}

void redis_requests_add(struct redis_requests *requests, struct redis_request *request)
{
    request->next = NULL;
    *requests->last = request;
    requests->last = &request->next;
    requests->count++;
}

struct redis_request *redis_requests_take(struct redis_requests *requests)
{
    struct redis_request *request = requests->first;

    if (request == NULL)
        return NULL;
    requests->first = request->next;
    if (requests->first == NULL)
        requests->last = &requests->first;
    requests->count--;
    return request;
}

struct redis_requests redis_requests_take_all(struct redis_requests *requests)
{
    struct redis_requests all = *requests;

    redis_requests_init(requests);
    return all;
}

static void log_refusal(const struct redis_request *request, const struct redis_reply *reply)
{
    char error[ERROR_BYTES], command[64];

    redis_info_error(reply->text, error, sizeof error);
    /* by both together lines are limited */
    snprintf(command, sizeof command, "%s %s", request->name,
             redis_refusal_name(redis_refusal_of(reply)));
    log_event_limited(LOG_LEVEL_WARN, "redis refused a command", log_text("command", command),
                      log_text("error", error));
}

void redis_request_tell(struct redis_request *request, enum redis_outcome outcome,
                        struct redis_reply *reply)
{
    redis_fn *fn = request->fn;

    request->fn = NULL;
    if (fn == NULL)
        return;
    if (outcome == REDIS_REFUSED && request->name[0] != '\0')
        log_refusal(request, reply);
    fn(request->data, outcome, reply);
}

void redis_request_tell_late(struct redis_request *request)
{
    if (request->fn != NULL && request->name[0] != '\0')
        log_event_limited(LOG_LEVEL_WARN, "redis has not answered in time",
                          log_text("command", request->name));
    redis_request_tell(request, REDIS_UNCERTAIN, NULL);
}
