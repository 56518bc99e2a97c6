/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of who holds a lease. Each is a script, sent as text: they run once per query at the
   most, and so survive SCRIPT FLUSH and fail-overs without a second way of calling them. Every key
   that a script touches is named in KEYS. */
#include "config.h"

#include "cache/redis_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "cache/keys.h"

#define TOO_LARGE_MARK "!too-large"

/* Each script answers with what became of the lease (enum lease_end), whether those who wait could
   be told, and Redis's time, by which its clock is measured. */
#define ANSWER(end, told) "return {" end ", " told ", time[1], time[2]} "
#define UNLESS_LOST                                                                                \
    "local time = redis.call('TIME') "                                                             \
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then " ANSWER("1", "1") "end "
/* What has been stored is stored, even if nobody may be told: who waits then finds it by looking.
 */
#define TELL(channel, what)                                                                        \
    "local told = redis.pcall('PUBLISH', " channel ", '" what "') "                                \
    "told = type(told) == 'number' and 1 or 0 "

/* KEYS: lease. ARGV: token or mark, milliseconds. */
static const char renew_script[] =
    UNLESS_LOST "redis.call('PEXPIRE', KEYS[1], ARGV[2]) " ANSWER("2", "1");

/* KEYS: lease, entry. ARGV: token, entry, expiry (ms), channel, offset and end of
   the snapshot. A stored entry of the same version and a later snapshot stays, unless
   that lies in the future: then the clock was set back, and the entry must not
   outlive its budget by as much. What is there of another type is replaced. */
static const char store_script[] = UNLESS_LOST
    "local from, to = tonumber(ARGV[5]), tonumber(ARGV[6]) "
    "local held = redis.pcall('GETRANGE', KEYS[2], 0, to - 1) " REDIS_CACHE_UNLESS_REFUSED
    "if type(held) ~= 'string' then held = '' end "
    "local now = string.format('%016.0f', time[1] * 1000000 + time[2]) "
    "local there = string.sub(held, from + 1, to) "
    "local newer = string.sub(held, 1, from) == string.sub(ARGV[2], 1, from) "
    "  and there > string.sub(ARGV[2], from + 1, to) and there <= now "
    "if not newer then redis.call('SET', KEYS[2], ARGV[2], 'PXAT', ARGV[3]) end "
    "redis.call('DEL', KEYS[1]) " TELL("ARGV[4]", "stored") ANSWER("newer and 2 or 3", "told");

/* KEYS: lease. ARGV: token, channel [, mark, its milliseconds]. */
static const char end_script[] = UNLESS_LOST "if ARGV[3] then "
                                             "  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) "
                                             "else "
                                             "  redis.call('DEL', KEYS[1]) "
                                             "end " TELL("ARGV[2]", "ended") ANSWER("2", "told");

enum { UNHEARD_LOG_US = 60 * 1000 * 1000 };

void redis_cache_make_token(char token[LEASE_TOKEN_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char random[LEASE_TOKEN_BYTES / 2];

    /* up to 256 bytes are never cut short once the pool is initialised */
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        log_message(LOG_LEVEL_ERROR, "no random numbers");
        abort();
    }
    for (size_t i = 0; i < sizeof random; i++) {
        token[2 * i] = digits[random[i] >> 4];
        token[2 * i + 1] = digits[random[i] & 15];
    }
    token[LEASE_TOKEN_BYTES] = '\0';
}

enum lease_state redis_cache_read_holder(const struct redis_reply *holder, int *failed_status)
{
    int64_t status;

    if (redis_reply_is(holder, TOO_LARGE_MARK))
        return LEASE_TOO_LARGE;
    if (holder->kind != REDIS_TEXT || holder->len != 4 || holder->text[0] != '!' ||
        !num_parse_i64(holder->text + 1, 3, &status) || status < 400 || status > 599)
        return LEASE_HELD;
    *failed_status = (int)status;
    return LEASE_FAILED;
}

/* A matter of rights, and so of each time. */
static void say_unheard(struct redis_cache *cache)
{
    int64_t now_us = clock_monotonic_us();

    if (cache->unheard_logged_us != 0 && now_us - cache->unheard_logged_us < UNHEARD_LOG_US)
        return;
    cache->unheard_logged_us = now_us;
    log_event(LOG_LEVEL_WARN, "redis refuses PUBLISH (NOPERM): who waits for a query is not woken",
              log_text("channels", "PREFIX:*"));
}

static enum lease_end read_end(const struct ask *ask, enum redis_outcome outcome,
                               const struct redis_reply *reply)
{
    if (!ask_was_done(ask, outcome, reply))
        return LEASE_UNKNOWN;
    const struct redis_reply *end = redis_reply_element(reply, 0, REDIS_NUMBER);
    const struct redis_reply *told = redis_reply_element(reply, 1, REDIS_NUMBER);
    if (told != NULL && told->number == 0)
        say_unheard(ask->cache);
    if (end == NULL || end->number < LEASE_LOST || end->number > LEASE_STORED)
        return LEASE_UNKNOWN;
    return (enum lease_end)end->number;
}

static void on_end(const struct ask *ask, enum redis_outcome outcome, struct redis_reply *reply)
{
    enum lease_end end = read_end(ask, outcome, reply);

    if (ask->fn.lease != NULL)
        ask->fn.lease(ask->data, end, ask->sent_us);
}

static void on_stored(const struct ask *ask, enum redis_outcome outcome, struct redis_reply *reply)
{
    redis_cache_note_write(ask->cache, outcome, reply);
    on_end(ask, outcome, reply);
}

/* Of what the key still holds: a token, or a mark. */
static struct cache_request *set_expiry(struct ask *ask, const char *base, const char *held,
                                        int64_t left_ms)
{
    const char *key = key_lease(ask, base);
    struct redis_digits ms;
    const struct redis_part parts[] = {
        redis_text("EVAL"), {renew_script, sizeof renew_script - 1},
        redis_text("1"),    redis_text(key),
        redis_text(held),   redis_number(&ms, left_ms),
    };

    ask->sent_us = clock_monotonic_us();
    return ask_send(ask, parts, 6, key);
}

struct cache_request *redis_cache_renew(struct cache *cache, const struct lease *lease,
                                        cache_lease_fn *fn, void *data)
{
    struct ask *ask = ask_new_write(cache, on_end, data);

    ask->fn.lease = fn;
    return set_expiry(ask, lease->base, lease->token, LEASE_MS);
}

struct cache_request *redis_cache_store(struct cache *cache, const struct lease *lease,
                                        const char *bytes, size_t len, int64_t expiry_ms,
                                        cache_lease_fn *fn, void *data)
{
    struct ask *ask = ask_new_write(cache, on_stored, data);
    const char *key = key_lease(ask, lease->base);
    struct redis_digits expiry, from, to;
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        {store_script, sizeof store_script - 1},
        redis_text("2"),
        redis_text(key),
        redis_text(key_entry(ask, lease->base)),
        redis_text(lease->token),
        {bytes, len},
        redis_number(&expiry, expiry_ms),
        redis_text(key_channel(ask, lease->base)),
        redis_number(&from, ENTRY_SNAPSHOT_AT),
        redis_number(&to, ENTRY_SNAPSHOT_AT + ENTRY_SNAPSHOT_DIGITS),
    };

    ask->fn.lease = fn;
    ask->sent_us = clock_monotonic_us();
    return ask_send(ask, parts, 11, key);
}

enum { MARK_BYTES = 16 };

static void make_mark(int status, char room[MARK_BYTES])
{
    snprintf(room, MARK_BYTES, "!%03d", status);
}

void redis_cache_shorten_mark(struct cache *cache, const char *base, int status, int64_t left_ms)
{
    char room[MARK_BYTES];

    make_mark(status, room);
    set_expiry(ask_new_write(cache, on_end, NULL), base, room, left_ms);
}

/* What the crowd finds; NULL: nothing. */
static const char *mark_text(const struct lease_mark *mark, char room[MARK_BYTES], int64_t *ms)
{
    switch (mark->kind) {
    case LEASE_MARK_FAILED:
        *ms = mark->hold_ms > LEASE_FAILED_MS ? mark->hold_ms : LEASE_FAILED_MS;
        make_mark(mark->status, room);
        return room;
    case LEASE_MARK_TOO_LARGE:
        *ms = LEASE_TOO_LARGE_MS;
        return TOO_LARGE_MARK;
    case LEASE_MARK_NONE:
        break;
    }
    *ms = 0;
    return NULL;
}

struct cache_request *redis_cache_end(struct cache *cache, const struct lease *lease,
                                      const struct lease_mark *mark, cache_lease_fn *fn, void *data)
{
    struct ask *ask = ask_new_write(cache, on_end, data);
    const char *key = key_lease(ask, lease->base);
    struct redis_digits digits;
    char room[MARK_BYTES];
    int64_t ms;
    const char *text = mark_text(mark, room, &ms);
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        {end_script, sizeof end_script - 1},
        redis_text("1"),
        redis_text(key),
        redis_text(lease->token),
        redis_text(key_channel(ask, lease->base)),
        redis_text(text != NULL ? text : ""),
        redis_number(&digits, ms),
    };

    ask->fn.lease = fn;
    ask->sent_us = clock_monotonic_us();
    struct cache_request *request = ask_send(ask, parts, text != NULL ? 8 : 6, key);
    return fn != NULL ? request : NULL;
}
