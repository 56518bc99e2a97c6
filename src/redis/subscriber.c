/* SPDX-License-Identifier: BSD-2-Clause */
/* Channels, and who listens to them. */
#include "config.h"

#include "redis/subscriber.h"

#include <string.h>
#include <sys/queue.h>

#include "base/mem.h"

enum channel_state {
    CHANNEL_UNASKED,     /* the connection is not up */
    CHANNEL_SUBSCRIBING, /* asked, not answered */
    CHANNEL_SUBSCRIBED,
    CHANNEL_REFUSED,
};

struct channel {
    TAILQ_ENTRY(channel) entry;
    struct redis_subscriber *subscriber;
    enum channel_state state;
    struct redis_request *request; /* while it is subscribing */
    size_t n_subscriptions;
    size_t len;
    char name[];
};

/* What a subscription was told last. */
enum told { TOLD_NOTHING, TOLD_SUBSCRIBED, TOLD_REFUSED, TOLD_LOST };

struct redis_subscription {
    TAILQ_ENTRY(redis_subscription) entry;
    struct redis_subscriber *subscriber; /* NULL: it has gone */
    struct channel *channel;
    enum told told;
    redis_news_fn *fn;
    void *data;
};

/* A pass over all subscriptions, of which any may end meanwhile, and the subscriber as well. */
struct walk {
    struct redis_subscriber *subscriber; /* NULL: it has gone */
    struct walk *outer;
    struct redis_subscription *next;
};

struct redis_subscriber {
    struct ev_loop *loop;
    struct redis_connection_options options;
    struct redis_connection *connection; /* NULL: not needed yet */
    bool is_up;
    bool is_down; /* and has been found so */
    TAILQ_HEAD(, channel) channels;
    TAILQ_HEAD(, redis_subscription) subscriptions;
    struct walk *walk; /* under way; NULL: none */
    ev_timer late;     /* tells those who have come to a channel after it was answered */
};

/* --- telling */

/* What a subscription of such a channel should have been told. */
static enum told due_of(const struct redis_subscription *subscription)
{
    switch (subscription->channel->state) {
    case CHANNEL_SUBSCRIBED:
        return TOLD_SUBSCRIBED;
    case CHANNEL_REFUSED:
        return TOLD_REFUSED;
    case CHANNEL_UNASKED:
        return subscription->subscriber->is_down ? TOLD_LOST : subscription->told;
    case CHANNEL_SUBSCRIBING:
        break;
    }
    return subscription->told;
}

static void tell(struct redis_subscription *subscription, enum told due)
{
    static const enum redis_news news[] = {
        [TOLD_SUBSCRIBED] = REDIS_SUBSCRIBED,
        [TOLD_REFUSED] = REDIS_SUBSCRIPTION_REFUSED,
        [TOLD_LOST] = REDIS_SUBSCRIPTION_LOST,
    };

    subscription->told = due;
    subscription->fn(subscription->data, news[due], (struct redis_part){NULL, 0});
}

/* For step() until that returns NULL. */
static struct walk *begin_walk(struct redis_subscriber *subscriber)
{
    struct walk *walk = mem_check(talloc(NULL, struct walk));

    *walk = (struct walk){
        .subscriber = subscriber,
        .outer = subscriber->walk,
        .next = TAILQ_FIRST(&subscriber->subscriptions),
    };
    subscriber->walk = walk;
    return walk;
}

/* NULL: they are through, or the subscriber has gone; the walk is no more. */
static struct redis_subscription *step(struct walk *walk)
{
    struct redis_subscription *subscription = walk->next;

    if (subscription != NULL) {
        walk->next = TAILQ_NEXT(subscription, entry);
        return subscription;
    }
    if (walk->subscriber != NULL)
        walk->subscriber->walk = walk->outer;
    talloc_free(walk);
    return NULL;
}

/* Tells each what it has not been told of its channel. */
static void tell_all(struct redis_subscriber *subscriber)
{
    struct redis_subscription *subscription;
    struct walk *walk = begin_walk(subscriber);

    while ((subscription = step(walk)) != NULL) {
        enum told due = due_of(subscription);
        if (due != subscription->told)
            tell(subscription, due);
    }
}

static void on_push(void *data, const struct redis_reply *reply)
{
    const struct redis_reply *name = reply->elements[1], *text = reply->elements[2];
    const struct redis_part message = {text->text, text->len};
    struct redis_subscription *subscription;
    struct walk *walk = begin_walk(data);

    while ((subscription = step(walk)) != NULL) {
        const struct channel *channel = subscription->channel;
        if (subscription->told == TOLD_SUBSCRIBED && channel->len == name->len &&
            memcmp(channel->name, name->text, name->len) == 0)
            subscription->fn(subscription->data, REDIS_MESSAGE, message);
    }
}

static void on_late(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    tell_all(timer->data);
}

static void tell_soon(struct redis_subscriber *subscriber)
{
    if (ev_is_active(&subscriber->late))
        return;
    ev_timer_set(&subscriber->late, 0.0, 0.0);
    ev_timer_start(subscriber->loop, &subscriber->late);
}

/* --- channels */

static void on_subscribed(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct channel *channel = data;
    struct redis_subscriber *subscriber = channel->subscriber;

    (void)reply;
    channel->request = NULL;
    switch (outcome) {
    case REDIS_REPLIED:
        channel->state = CHANNEL_SUBSCRIBED;
        break;
    case REDIS_REFUSED:
        channel->state = CHANNEL_REFUSED;
        break;
    case REDIS_NOT_SENT:
    case REDIS_UNCERTAIN:
        channel->state = CHANNEL_UNASKED;
        /* nothing happens where it is down anyway */
        redis_connection_restart(subscriber->connection, "SUBSCRIBE was not answered");
        return;
    }
    tell_all(subscriber);
}

static void ask(struct channel *channel)
{
    const struct redis_part parts[] = {redis_text("SUBSCRIBE"), {channel->name, channel->len}};
    const struct redis_command command = {.parts = parts, .count = 2};

    channel->state = CHANNEL_SUBSCRIBING;
    channel->request =
        redis_connection_send(channel->subscriber->connection, &command, on_subscribed, channel);
}

static struct channel *find_channel(struct redis_subscriber *subscriber, const char *name)
{
    struct channel *channel;

    TAILQ_FOREACH (channel, &subscriber->channels, entry)
        if (strcmp(channel->name, name) == 0)
            return channel;
    return NULL;
}

static struct channel *new_channel(struct redis_subscriber *subscriber, const char *name)
{
    size_t len = strlen(name);
    struct channel *channel = mem_check(talloc_zero_size(subscriber, sizeof *channel + len + 1));

    channel->subscriber = subscriber;
    channel->len = len;
    memcpy(channel->name, name, len);
    TAILQ_INSERT_TAIL(&subscriber->channels, channel, entry);
    return channel;
}

static void ignore(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    (void)data;
    (void)outcome;
    (void)reply;
}

/* Nobody listens any more. */
static void end_channel(struct channel *channel)
{
    struct redis_subscriber *subscriber = channel->subscriber;
    const struct redis_part parts[] = {redis_text("UNSUBSCRIBE"), {channel->name, channel->len}};
    const struct redis_command command = {.parts = parts, .count = 2};

    redis_cancel(channel->request);
    if (subscriber->is_up && channel->state != CHANNEL_UNASKED)
        redis_connection_send(subscriber->connection, &command, ignore, NULL);
    TAILQ_REMOVE(&subscriber->channels, channel, entry);
    talloc_free(channel);
}

/* --- the connection */

static void on_up(void *data, const struct redis_greeting_result *greeting)
{
    struct redis_subscriber *subscriber = data;
    struct channel *channel;

    (void)greeting;
    subscriber->is_up = true;
    subscriber->is_down = false;
    TAILQ_FOREACH (channel, &subscriber->channels, entry)
        ask(channel);
}

static void on_down(void *data, const char *problem)
{
    struct redis_subscriber *subscriber = data;
    struct channel *channel;

    subscriber->is_up = false;
    subscriber->is_down = true;
    TAILQ_FOREACH (channel, &subscriber->channels, entry) {
        redis_cancel(channel->request);
        channel->request = NULL;
        channel->state = CHANNEL_UNASKED;
    }
    if (subscriber->options.on_down != NULL)
        subscriber->options.on_down(subscriber->options.data, problem);
    tell_all(subscriber);
}

static void connect_now(struct redis_subscriber *subscriber)
{
    struct redis_connection_options options = subscriber->options;

    if (subscriber->connection != NULL)
        return;
    options.on_up = on_up;
    options.on_down = on_down;
    options.on_push = on_push;
    options.data = subscriber;
    subscriber->connection = redis_connection_new(subscriber, subscriber->loop, &options);
}

static int destroy(struct redis_subscriber *subscriber)
{
    struct redis_subscription *subscription;

    ev_timer_stop(subscriber->loop, &subscriber->late);
    for (struct walk *walk = subscriber->walk; walk != NULL; walk = walk->outer) {
        walk->subscriber = NULL;
        walk->next = NULL;
    }
    TAILQ_FOREACH (subscription, &subscriber->subscriptions, entry)
        subscription->subscriber = NULL;
    return 0;
}

struct redis_subscriber *redis_subscriber_new(TALLOC_CTX *ctx, struct ev_loop *loop,
                                              const struct redis_connection_options *options)
{
    struct redis_subscriber *subscriber = mem_check(talloc_zero(ctx, struct redis_subscriber));

    subscriber->loop = loop;
    subscriber->options = *options;
    TAILQ_INIT(&subscriber->channels);
    TAILQ_INIT(&subscriber->subscriptions);
    ev_init(&subscriber->late, on_late);
    subscriber->late.data = subscriber;
    talloc_set_destructor(subscriber, destroy);
    return subscriber;
}

static int end_subscription(struct redis_subscription *subscription)
{
    struct redis_subscriber *subscriber = subscription->subscriber;

    if (subscriber == NULL)
        return 0;
    for (struct walk *walk = subscriber->walk; walk != NULL; walk = walk->outer)
        if (walk->next == subscription)
            walk->next = TAILQ_NEXT(subscription, entry);
    TAILQ_REMOVE(&subscriber->subscriptions, subscription, entry);
    if (--subscription->channel->n_subscriptions == 0)
        end_channel(subscription->channel);
    return 0;
}

struct redis_subscription *redis_subscriber_add(TALLOC_CTX *ctx,
                                                struct redis_subscriber *subscriber,
                                                const char *name, redis_news_fn *fn, void *data)
{
    struct redis_subscription *subscription =
        mem_check(talloc_zero(ctx, struct redis_subscription));
    struct channel *channel = find_channel(subscriber, name);

    connect_now(subscriber);
    if (channel == NULL)
        channel = new_channel(subscriber, name);
    /* a right may have been given since it was refused */
    if (subscriber->is_up &&
        (channel->state == CHANNEL_UNASKED || channel->state == CHANNEL_REFUSED))
        ask(channel);
    channel->n_subscriptions++;
    *subscription = (struct redis_subscription){
        .subscriber = subscriber, .channel = channel, .fn = fn, .data = data};
    TAILQ_INSERT_TAIL(&subscriber->subscriptions, subscription, entry);
    talloc_set_destructor(subscription, end_subscription);
    tell_soon(subscriber);
    return subscription;
}

void redis_subscriber_restart(struct redis_subscriber *subscriber, const char *problem)
{
    if (subscriber->connection != NULL)
        redis_connection_restart(subscriber->connection, problem);
}

void redis_subscriber_hurry(struct redis_subscriber *subscriber)
{
    if (subscriber->connection != NULL)
        redis_connection_hurry(subscriber->connection);
}
