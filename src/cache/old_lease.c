/* SPDX-License-Identifier: BSD-2-Clause */
/* The lease's commands and scripts. Scripts are sent as text: they run once per
   query at the most, and so survive SCRIPT FLUSH and fail-overs without a second
   way of calling them. Every key that a script touches is named in KEYS. */
#include "config.h"

#include "cache/old_lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"

#define TOO_LARGE_MARKER "!too-large"

/* Each script answers with what became of the lease (enum old_lease_end) and Redis's time. */
#define ANSWER(end) "return {" end ", time[1], time[2]} "
#define UNLESS_LOST                                                                                \
    "local time = redis.call('TIME') "                                                             \
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then " ANSWER("1") "end "
#define KEPT          ANSWER("2")
#define STORED_OR_NOT ANSWER("newer and 2 or 3")

/* KEYS: lease. ARGV: token or marker, milliseconds. */
static const char renew_script[] = UNLESS_LOST "redis.call('PEXPIRE', KEYS[1], ARGV[2]) " KEPT;

/* KEYS: lease, entry. ARGV: token, entry, expiry (ms), channel, offset and end of
   the snapshot. A stored entry of the same version and a later snapshot stays, unless
   that lies in the future: then the clock was set back, and the entry must not
   outlive its budget by as much. */
static const char store_script[] =
    UNLESS_LOST "local from, to = tonumber(ARGV[5]), tonumber(ARGV[6]) "
                "local held = redis.call('GETRANGE', KEYS[2], 0, to - 1) "
                "local now = string.format('%016.0f', time[1] * 1000000 + time[2]) "
                "local there = string.sub(held, from + 1, to) "
                "local newer = string.sub(held, 1, from) == string.sub(ARGV[2], 1, from) "
                "  and there > string.sub(ARGV[2], from + 1, to) and there <= now "
                "if not newer then redis.call('SET', KEYS[2], ARGV[2], 'PXAT', ARGV[3]) end "
                "redis.call('DEL', KEYS[1]) "
                "redis.call('PUBLISH', ARGV[4], 'stored') " STORED_OR_NOT;

/* KEYS: lease. ARGV: token, channel [, marker, its milliseconds]. */
static const char end_script[] = UNLESS_LOST "if ARGV[3] then "
                                             "  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) "
                                             "else "
                                             "  redis.call('DEL', KEYS[1]) "
                                             "end "
                                             "redis.call('PUBLISH', ARGV[2], 'ended') " KEPT;

static const char *lease_key(TALLOC_CTX *ctx, const char *base)
{
    return mem_check(talloc_asprintf(ctx, "%s:lease", base));
}

char *lease_channel(TALLOC_CTX *ctx, const char *base)
{
    return mem_check(talloc_asprintf(ctx, "%s:done", base));
}

static void make_token(char token[OLD_LEASE_TOKEN_BYTES + 1])
{
    unsigned char random[OLD_LEASE_TOKEN_BYTES / 2];

    /* up to 256 bytes are never cut short once the pool is initialised */
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        log_message(LOG_LEVEL_ERROR, "no random numbers");
        abort();
    }
    for (size_t i = 0; i < sizeof random; i++)
        sprintf(token + 2 * i, "%02x", random[i]);
}

/* What the lease key held when we asked for it. */
static void read_holder(const redisReply *reply, struct old_lease_answer *answer)
{
    int64_t status;

    if (old_redis_reply_failed(reply, "SET NX GET")) {
        answer->state = OLD_LEASE_AWAY;
    } else if (reply->type == REDIS_REPLY_NIL) {
        answer->state = OLD_LEASE_WON;
    } else if (old_redis_reply_is(reply, TOO_LARGE_MARKER)) {
        answer->state = OLD_LEASE_TOO_LARGE;
    } else if (reply->len == 4 && reply->str[0] == '!' &&
               num_parse_i64(reply->str + 1, 3, &status) && status >= 400 && status <= 599) {
        answer->state = OLD_LEASE_FAILED;
        answer->failed_status = (int)status;
    } else {
        answer->state = OLD_LEASE_HELD;
    }
}

/* Asks what else belongs to the answer, behind a first command that tells the holder. Redis's time
   comes last: what is sent to Postgres then is sent after it. */
static void read_answer(TALLOC_CTX *ctx, struct old_redis *redis, const char *base,
                        struct old_lease_answer *answer)
{
    int64_t sent_us = clock_monotonic_us();
    const char *key = lease_key(ctx, base);
    const char *entry_key = mem_check(talloc_asprintf(ctx, "%s:entry", base));

    *answer = (struct old_lease_answer){.state = OLD_LEASE_AWAY};
    old_redis_queue(redis, (struct old_redis_part[]){old_redis_text("PTTL"), old_redis_text(key)},
                    2);
    old_redis_queue(redis,
                    (struct old_redis_part[]){old_redis_text("GET"), old_redis_text(entry_key)}, 2);
    old_redis_queue(redis, (struct old_redis_part[]){old_redis_text("TIME")}, 1);
    redisReply *holder = old_redis_next(redis);
    redisReply *left = old_redis_next(redis);
    redisReply *entry = old_redis_next(redis);
    old_redis_next_time(redis, sent_us);
    read_holder(holder, answer);
    if (left != NULL && left->type == REDIS_REPLY_INTEGER && left->integer > 0)
        answer->left_ms = left->integer;
    if (entry != NULL && store_take(entry, &answer->stored) == -1)
        answer->state = OLD_LEASE_AWAY;
    if (left == NULL || entry == NULL)
        answer->state = OLD_LEASE_AWAY;
    if (holder != NULL)
        freeReplyObject(holder);
    if (left != NULL)
        freeReplyObject(left);
}

void lease_take(TALLOC_CTX *ctx, struct old_redis *redis, const char *base, struct old_lease *lease,
                struct old_lease_answer *answer)
{
    struct old_redis_digits ms;

    lease->base = base;
    lease->held_at_us = clock_monotonic_us();
    make_token(lease->token);
    old_redis_queue(redis,
                    (struct old_redis_part[]){
                        old_redis_text("SET"), old_redis_text(lease_key(ctx, base)),
                        old_redis_text(lease->token), old_redis_text("NX"), old_redis_text("GET"),
                        old_redis_text("PX"), old_redis_number(&ms, OLD_LEASE_MS)},
                    7);
    read_answer(ctx, redis, base, answer);
}

void lease_look(TALLOC_CTX *ctx, struct old_redis *redis, const char *base,
                struct old_lease_answer *answer)
{
    old_redis_queue(
        redis,
        (struct old_redis_part[]){old_redis_text("GET"), old_redis_text(lease_key(ctx, base))}, 2);
    read_answer(ctx, redis, base, answer);
}

static enum old_lease_end run_script(struct old_redis *redis, const struct old_redis_part *parts,
                                     size_t count)
{
    int64_t sent_us = clock_monotonic_us();
    redisReply *reply = old_redis_command(redis, parts, count);
    enum old_lease_end end = OLD_LEASE_UNKNOWN;

    if (!old_redis_reply_failed(reply, "EVAL") && reply->type == REDIS_REPLY_ARRAY &&
        reply->elements == 3 && reply->element[0]->type == REDIS_REPLY_INTEGER &&
        reply->element[0]->integer >= OLD_LEASE_LOST &&
        reply->element[0]->integer <= OLD_LEASE_STORED)
        end = (enum old_lease_end)reply->element[0]->integer;
    old_redis_take_time(redis, sent_us, reply);
    if (reply != NULL)
        freeReplyObject(reply);
    return end;
}

/* Of what the key still holds: a token, or a marker. */
static enum old_lease_end set_expiry(TALLOC_CTX *ctx, struct old_redis *redis, const char *base,
                                     const char *held, int64_t expiry_ms)
{
    struct old_redis_digits ms;
    const struct old_redis_part parts[] = {
        old_redis_text("EVAL"), old_redis_text(renew_script),
        old_redis_text("1"),    old_redis_text(lease_key(ctx, base)),
        old_redis_text(held),   old_redis_number(&ms, expiry_ms),
    };

    return run_script(redis, parts, 6);
}

enum old_lease_end lease_renew(TALLOC_CTX *ctx, struct old_redis *redis, struct old_lease *lease)
{
    int64_t sent_us = clock_monotonic_us();

    enum old_lease_end end = set_expiry(ctx, redis, lease->base, lease->token, OLD_LEASE_MS);
    if (end == OLD_LEASE_KEPT)
        lease->held_at_us = sent_us;
    return end;
}

enum old_lease_end lease_store(TALLOC_CTX *ctx, struct old_redis *redis,
                               const struct old_lease *lease, struct old_redis_part entry,
                               int64_t expiry_ms)
{
    struct old_redis_digits expiry, from, to;
    const struct old_redis_part parts[] = {
        old_redis_text("EVAL"),
        old_redis_text(store_script),
        old_redis_text("2"),
        old_redis_text(lease_key(ctx, lease->base)),
        old_redis_text(mem_check(talloc_asprintf(ctx, "%s:entry", lease->base))),
        old_redis_text(lease->token),
        entry,
        old_redis_number(&expiry, expiry_ms),
        old_redis_text(lease_channel(ctx, lease->base)),
        old_redis_number(&from, ENTRY_SNAPSHOT_AT),
        old_redis_number(&to, ENTRY_SNAPSHOT_AT + ENTRY_SNAPSHOT_DIGITS),
    };

    return run_script(redis, parts, 11);
}

static enum old_lease_end end_lease(TALLOC_CTX *ctx, struct old_redis *redis,
                                    const struct old_lease *lease, const char *marker,
                                    int64_t marker_ms)
{
    struct old_redis_digits ms;
    const struct old_redis_part parts[] = {
        old_redis_text("EVAL"),
        old_redis_text(end_script),
        old_redis_text("1"),
        old_redis_text(lease_key(ctx, lease->base)),
        old_redis_text(lease->token),
        old_redis_text(lease_channel(ctx, lease->base)),
        old_redis_text(marker != NULL ? marker : ""),
        old_redis_number(&ms, marker_ms),
    };

    return run_script(redis, parts, marker != NULL ? 8 : 6);
}

enum old_lease_end lease_give_up(TALLOC_CTX *ctx, struct old_redis *redis,
                                 const struct old_lease *lease)
{
    return end_lease(ctx, redis, lease, NULL, 0);
}

enum { MARKER_BYTES = 16 };

static void make_marker(int status, char marker[MARKER_BYTES])
{
    snprintf(marker, MARKER_BYTES, "!%03d", status);
}

enum old_lease_end lease_fail(TALLOC_CTX *ctx, struct old_redis *redis,
                              const struct old_lease *lease, int status, int64_t hold_ms)
{
    char marker[MARKER_BYTES];

    make_marker(status, marker);
    return end_lease(ctx, redis, lease, marker,
                     hold_ms > OLD_LEASE_FAILED_MS ? hold_ms : OLD_LEASE_FAILED_MS);
}

void lease_settle(TALLOC_CTX *ctx, struct old_redis *redis, const char *base, int status,
                  int64_t failed_us)
{
    int64_t left_ms = OLD_LEASE_FAILED_MS - (clock_monotonic_us() - failed_us) / 1000;
    char marker[MARKER_BYTES];

    make_marker(status, marker);
    set_expiry(ctx, redis, base, marker, left_ms > 0 ? left_ms : 0);
}

enum old_lease_end lease_too_large(TALLOC_CTX *ctx, struct old_redis *redis,
                                   const struct old_lease *lease)
{
    return end_lease(ctx, redis, lease, TOO_LARGE_MARKER, OLD_LEASE_TOO_LARGE_MS);
}
