/* SPDX-License-Identifier: BSD-2-Clause */
/* Subscriptions by channel over one connection. */
#include "config.h"

#include "cache/old_wake.h"

#include <search.h>
#include <string.h>

#include "base/mem.h"
#include "cache/old_redis.h"

struct wake_watch {
    const char *channel;
    struct wake *wake;
    wake_fn *fn;
    void *data;
};

struct wake {
    struct ev_loop *loop;
    const struct redis_settings *settings;
    struct old_redis *redis; /* NULL until first needed */
    void *watches;           /* tsearch tree by channel */
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct wake_watch *)a)->channel, ((const struct wake_watch *)b)->channel);
}

static void post(struct wake *wake, const char *command, const char *channel)
{
    old_redis_post(wake->redis,
                   (struct old_redis_part[]){old_redis_text(command), old_redis_text(channel)}, 2);
}

static void subscribe_node(const void *node, VISIT visit, void *data)
{
    const struct wake_watch *watch = *(struct wake_watch *const *)node;

    if (visit == preorder || visit == leaf)
        post(data, "SUBSCRIBE", watch->channel);
}

static void on_change(void *data, bool up)
{
    struct wake *wake = data;

    /* old_redis_new calls back before it returns only if it fails, so redis is set */
    if (up && wake->redis != NULL)
        twalk_r(wake->watches, subscribe_node, wake);
}

/* ["subscribe", channel, count] and ["message", channel, payload] both mean: look now. */
static void on_reply(void *data, const redisReply *reply)
{
    struct wake *wake = data;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 ||
        reply->element[1]->type != REDIS_REPLY_STRING)
        return;
    if (!old_redis_reply_is(reply->element[0], "subscribe") &&
        !old_redis_reply_is(reply->element[0], "message"))
        return;
    const struct wake_watch wanted = {.channel = reply->element[1]->str};
    struct wake_watch *const *found = tfind(&wanted, &wake->watches, compare);
    if (found != NULL)
        (*found)->fn((*found)->data);
}

static int watch_destroy(struct wake_watch *watch)
{
    tdelete(watch, &watch->wake->watches, compare);
    post(watch->wake, "UNSUBSCRIBE", watch->channel);
    return 0;
}

struct wake *wake_new(TALLOC_CTX *ctx, struct ev_loop *loop, const struct redis_settings *settings)
{
    struct wake *wake = mem_check(talloc_zero(ctx, struct wake));

    wake->loop = loop;
    wake->settings = settings;
    return wake;
}

struct wake_watch *wake_watch(TALLOC_CTX *ctx, struct wake *wake, const char *channel, wake_fn *fn,
                              void *data)
{
    struct wake_watch *watch = mem_check(talloc_zero(ctx, struct wake_watch));

    watch->channel = mem_check(talloc_strdup(watch, channel));
    watch->wake = wake;
    watch->fn = fn;
    watch->data = data;
    mem_check(tsearch(watch, &wake->watches, compare));
    talloc_set_destructor(watch, watch_destroy);
    if (wake->redis == NULL) {
        const struct old_redis_options options = {
            .settings = wake->settings,
            .client_name = "leeway-wake",
            .on_reply = on_reply,
            .on_change = on_change,
            .data = wake,
        };
        wake->redis = old_redis_new(wake, wake->loop, &options);
    } else {
        post(wake, "SUBSCRIBE", channel);
    }
    return watch;
}
