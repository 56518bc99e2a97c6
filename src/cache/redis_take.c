/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking a lease, and looking at one: four commands that go out together, answered once the last of
   them is. Redis's time comes last: what is sent to Postgres then is sent after it.

   What is left behind is mended here. A lease that nobody renews or ends, because it has no expiry
   or a longer one than anybody sets, is taken over by who finds it; one that was taken for somebody
   who has gone meanwhile, or of which that is not known, is given up. */
#include "config.h"

#include "cache/redis_cache.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cache/keys.h"

enum take_command { TAKE_HOLDER, TAKE_LEFT, TAKE_ENTRY, TAKE_TIME, TAKE_COMMANDS };

struct take_part {
    struct take *take;
    struct redis_request *sent; /* NULL: answered */
    enum redis_outcome outcome;
    struct redis_reply *reply; /* the take's */
};

struct take {
    struct cache_request request;
    struct redis_cache *cache;
    const char *asked; /* the base as the owner passed it; not to be looked into */
    struct lease lease;
    bool only_look;
    struct take_part parts[TAKE_COMMANDS];
    size_t under_way;
    int64_t sent_us; /* the commands, then the script that takes over */
    ev_timer at_once;
    struct lease_answer answer;
    struct stored stored;
    cache_take_fn *fn; /* NULL: cancelled */
    void *data;
};

/* How long a mark of a failure can last: as long as a query may run (statement_timeout), and more.
 */
enum { LONGEST_FAILED_MS = 2 * 3600 * 1000 };

/* KEYS: lease. ARGV: what was seen there, token, milliseconds, the longest that what was seen can
   last. Whatever is of another type was not seen by anybody. */
static const char take_over_script[] =
    "local time = redis.call('TIME') "
    "local held = redis.pcall('GET', KEYS[1]) " REDIS_CACHE_UNLESS_REFUSED
    "local left = redis.call('PTTL', KEYS[1]) "
    "if type(held) == 'string' and "
    "   (held ~= ARGV[1] or left >= 0 and left <= tonumber(ARGV[4])) then "
    "  return {1, time[1], time[2]} "
    "end "
    "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) "
    "return {2, time[1], time[2]}";

/* ---- A cache that does not take writes */

static bool is_of_all_writes(enum redis_refusal refusal)
{
    return refusal == REDIS_NO_RIGHT || refusal == REDIS_READ_ONLY || refusal == REDIS_FULL ||
           refusal == REDIS_NOT_SAVING || refusal == REDIS_NO_REPLICAS;
}

void redis_cache_note_write(struct redis_cache *cache, enum redis_outcome outcome,
                            const struct redis_reply *reply)
{
    if (outcome == REDIS_REPLIED)
        cache->writes_again_us = 0;
    else if (outcome == REDIS_UNCERTAIN ||
             (outcome == REDIS_REFUSED && is_of_all_writes(redis_refusal_of(reply))))
        cache->writes_again_us = clock_monotonic_us() + WRITES_PAUSE_US;
}

/* Of those that come after a pause the first tries, and the pause goes on for the others. */
static bool may_try_to_write(struct redis_cache *cache)
{
    int64_t now_us = clock_monotonic_us();

    if (cache->writes_again_us == 0)
        return true;
    if (now_us < cache->writes_again_us)
        return false;
    cache->writes_again_us = now_us + WRITES_PAUSE_US;
    return true;
}

/* ---- The end */

static void tell(struct take *take, enum lease_state state)
{
    struct lease_answer answer = take->answer;
    struct stored stored = take->stored;
    TALLOC_CTX *kept = mem_check(talloc_new(NULL));
    cache_take_fn *fn = take->fn;
    void *data = take->data;

    answer.state = state;
    answer.stored = &stored;
    if (state != LEASE_FAILED)
        answer.failed_status = 0;
    if (state == LEASE_WON && !take->only_look) {
        answer.lease = take->lease;
        answer.lease.base = take->asked;
    }
    if (stored.bytes != NULL)
        talloc_steal(kept, stored.bytes);
    talloc_free(take);
    fn(data, &answer);
    talloc_free(kept);
}

/* If it was taken it is to stand in nobody's way: the command comes to Redis after what took it. */
static void give_up(struct take *take)
{
    static const struct lease_mark none = {.kind = LEASE_MARK_NONE};

    redis_cache_end(&take->cache->cache, &take->lease, &none, NULL, NULL);
}

static void finish(struct take *take, enum lease_state state, bool perhaps_taken)
{
    if (perhaps_taken && (state != LEASE_WON || take->fn == NULL))
        give_up(take);
    if (take->fn != NULL)
        tell(take, state);
    else
        talloc_free(take);
}

/* ---- Taking over */

static void on_taken_over(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct take *take = data;
    enum lease_state state = LEASE_AWAY;

    redis_cache_note_write(take->cache, outcome, reply);
    if (outcome == REDIS_REPLIED) {
        const struct redis_reply *end = redis_reply_element(reply, 0, REDIS_NUMBER);
        redis_take_time(take->cache->redis, take->sent_us, reply);
        if (end != NULL)
            state = end->number == 2 ? LEASE_WON : LEASE_HELD;
        /* another was faster */
        take->answer.left_ms = LEASE_MS;
    }
    finish(take, state, state == LEASE_WON || outcome == REDIS_UNCERTAIN);
}

static void take_over(struct take *take, int64_t longest_ms)
{
    const struct redis_reply *holder = take->parts[TAKE_HOLDER].reply;
    bool seen = holder->kind == REDIS_TEXT;
    const char *key = key_lease(take, take->lease.base);
    struct redis_digits ms, longest;
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        {take_over_script, sizeof take_over_script - 1},
        redis_text("1"),
        redis_text(key),
        {seen ? holder->text : "", seen ? holder->len : 0},
        redis_text(take->lease.token),
        redis_number(&ms, LEASE_MS),
        redis_number(&longest, longest_ms),
    };
    const struct redis_command command = {.parts = parts, .count = 8, .key = key, .writes = true};

    take->sent_us = take->lease.held_at_us = clock_monotonic_us();
    redis_send(take->cache->redis, &command, on_taken_over, take);
}

/* ---- What was found */

/* The longest that anybody lets what was found last. */
static int64_t longest_ms_of(enum lease_state state)
{
    switch (state) {
    case LEASE_FAILED:
        return LONGEST_FAILED_MS;
    case LEASE_TOO_LARGE:
        return LEASE_TOO_LARGE_MS;
    default:
        return LEASE_MS;
    }
}

static bool is_of_another_type(const struct take_part *part)
{
    return part->outcome == REDIS_REFUSED && redis_refusal_of(part->reply) == REDIS_WRONG_TYPE;
}

/* false: whether there is an entry is not known. */
static bool read_stored(struct take *take)
{
    const struct take_part *part = &take->parts[TAKE_ENTRY];

    if (is_of_another_type(part))
        return true;
    if (part->outcome != REDIS_REPLIED)
        return false;
    if (part->reply->kind == REDIS_TEXT &&
        entry_decode(part->reply->text, part->reply->len, entry_key(take->lease.base),
                     &take->stored.entry) == 0)
        take->stored.bytes = part->reply;
    return true;
}

static enum lease_state read_holder(struct take *take)
{
    const struct take_part *holder = &take->parts[TAKE_HOLDER];

    if (is_of_another_type(holder))
        return LEASE_HELD;
    if (holder->outcome != REDIS_REPLIED)
        return LEASE_AWAY;
    if (holder->reply->kind == REDIS_NIL)
        return LEASE_WON;
    return redis_cache_read_holder(holder->reply, &take->answer.failed_status);
}

/* What it holds lasts for `left_ms`; -1: for ever. */
static bool is_left_behind(const struct take *take, enum lease_state state, int64_t left_ms)
{
    return is_of_another_type(&take->parts[TAKE_HOLDER]) || left_ms == -1 ||
           left_ms > longest_ms_of(state);
}

static void judge_holder(struct take *take, enum lease_state state)
{
    const struct take_part *left = &take->parts[TAKE_LEFT];
    bool known = left->outcome == REDIS_REPLIED && left->reply->kind == REDIS_NUMBER;

    if (!known) {
        finish(take, LEASE_AWAY, false);
    } else if (!is_left_behind(take, state, left->reply->number)) {
        if (left->reply->number > 0)
            take->answer.left_ms = left->reply->number;
        finish(take, state, false);
    } else if (take->only_look) {
        finish(take, LEASE_WON, false);
    } else if (take->fn == NULL) {
        finish(take, LEASE_AWAY, false);
    } else {
        take_over(take, longest_ms_of(state));
    }
}

static void on_all(struct take *take)
{
    const struct take_part *holder = &take->parts[TAKE_HOLDER];
    bool known = read_stored(take);
    enum lease_state state = read_holder(take);

    if (!take->only_look)
        redis_cache_note_write(take->cache, holder->outcome, holder->reply);
    bool taken = !take->only_look && (state == LEASE_WON || holder->outcome == REDIS_UNCERTAIN);
    if (!known || state == LEASE_AWAY || state == LEASE_WON)
        finish(take, known ? state : LEASE_AWAY, taken);
    else
        judge_holder(take, state);
}

static void on_part(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct take_part *part = data;
    struct take *take = part->take;

    part->sent = NULL;
    part->outcome = outcome;
    part->reply = talloc_steal(take, reply);
    if (part == &take->parts[TAKE_TIME] && outcome == REDIS_REPLIED)
        redis_take_time(take->cache->redis, take->sent_us, reply);
    if (--take->under_way == 0)
        on_all(take);
}

/* ---- Asking */

static void send_part(struct take *take, enum take_command command, const char *key,
                      const struct redis_part *parts, size_t count)
{
    struct take_part *part = &take->parts[command];
    const struct redis_command sent = {
        .parts = parts, .count = count, .key = key, .writes = !take->only_look};

    part->take = take;
    part->sent = redis_send(take->cache->redis, &sent, on_part, part);
    take->under_way++;
}

static void send_all(struct take *take)
{
    const char *key = key_lease(take, take->lease.base);
    struct redis_digits ms;
    const struct redis_part set[] = {
        redis_text("SET"), redis_text(key),  redis_text(take->lease.token), redis_text("NX"),
        redis_text("GET"), redis_text("PX"), redis_number(&ms, LEASE_MS)};
    const struct redis_part get[] = {redis_text("GET"), redis_text(key)};
    const struct redis_part left[] = {redis_text("PTTL"), redis_text(key)};
    const struct redis_part entry[] = {redis_text("GET"),
                                       redis_text(key_entry(take, take->lease.base))};
    const struct redis_part time[] = {redis_text("TIME")};

    take->sent_us = take->lease.held_at_us = clock_monotonic_us();
    if (take->only_look)
        send_part(take, TAKE_HOLDER, key, get, 2);
    else
        send_part(take, TAKE_HOLDER, key, set, 7);
    send_part(take, TAKE_LEFT, key, left, 2);
    send_part(take, TAKE_ENTRY, key, entry, 2);
    send_part(take, TAKE_TIME, key, time, 1);
}

/* One that may have been taken is followed up. */
static void cancel_take(struct cache_request *request)
{
    struct take *take = (struct take *)request;

    take->fn = NULL;
    if (!take->only_look && !ev_is_active(&take->at_once) && !ev_is_pending(&take->at_once))
        return;
    for (size_t i = 0; i < TAKE_COMMANDS; i++)
        redis_cancel(take->parts[i].sent);
    talloc_free(take);
}

static void on_at_once(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    tell(timer->data, LEASE_AWAY);
}

static int take_destroy(struct take *take)
{
    ev_timer_stop(take->cache->loop, &take->at_once);
    return 0;
}

struct cache_request *redis_cache_take(struct cache *cache, const char *base, bool only_look,
                                       cache_take_fn *fn, void *data)
{
    struct take *take = mem_check(talloc_zero(cache, struct take));

    take->request.cancel = cancel_take;
    take->cache = redis_cache_of(cache);
    take->asked = base;
    take->lease.base = mem_check(talloc_strdup(take, base));
    take->only_look = only_look;
    take->fn = fn;
    take->data = data;
    ev_timer_init(&take->at_once, on_at_once, 0., 0.);
    take->at_once.data = take;
    talloc_set_destructor(take, take_destroy);
    if (!only_look) {
        redis_cache_make_token(take->lease.token);
        if (!may_try_to_write(take->cache)) {
            ev_timer_start(take->cache->loop, &take->at_once);
            return &take->request;
        }
    }
    send_all(take);
    return &take->request;
}
