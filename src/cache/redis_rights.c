/* SPDX-License-Identifier: BSD-2-Clause */
/* What a user may do is asked of the server, or found out. A script that declares that it does not
   write is refused a command for want of a right first, and for writing only then: so any command
   can be tried without being done. */
#include "config.h"

#include "cache/redis_rights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/loop.h"
#include "base/mem.h"
#include "base/random.h"
#include "cache/redis_cache.h"
#include "redis/await.h"
#include "redis/info.h"

#define DONE "done"

/* ARGV: a command. Errors are returned as what they say, for they are expected. */
static const char script[] = "#!lua flags=no-writes\n"
                             "local reply = redis.pcall(unpack(ARGV)) "
                             "return type(reply) == 'table' and reply.err or '" DONE "'";

enum { MAX_PARTS = 24, SAID_BYTES = 160 };

struct redis_rights {
    struct redis_cache *cache;
    const struct redis_settings *settings;
    char of[32]; /* what is tried is called so */
    bool does_not_tell;
    bool is_mute; /* no further trial would be answered, either */
    char said[SAID_BYTES];
};

struct redis_rights *redis_rights_new(TALLOC_CTX *ctx, struct cache *cache,
                                      const struct redis_settings *settings)
{
    struct redis_rights *rights = mem_check(talloc_zero(ctx, struct redis_rights));

    rights->cache = redis_cache_of(cache);
    rights->settings = settings;
    snprintf(rights->of, sizeof rights->of, "check.%016" PRIx64, random_number());
    return rights;
}

const char *redis_rights_said(const struct redis_rights *rights)
{
    return rights->said;
}

static enum rights_verdict unknown(struct redis_rights *rights, const char *said)
{
    redis_info_error(said, rights->said, sizeof rights->said);
    return RIGHTS_UNKNOWN;
}

/* ---- The server is asked */

/* RIGHTS_UNKNOWN: it does not tell. */
static enum rights_verdict ask(struct redis_rights *rights, const char *const *words, size_t count)
{
    const char *user = rights->settings->username;
    struct redis_part parts[MAX_PARTS] = {redis_text("ACL"), redis_text("DRYRUN"),
                                          redis_text(user[0] != '\0' ? user : "default")};
    const struct redis_command command = {.parts = parts, .count = count + 3, .is_a_trial = true};
    struct redis_reply *reply = NULL;
    enum rights_verdict verdict = RIGHTS_UNKNOWN;

    for (size_t i = 0; i < count; i++)
        parts[i + 3] = redis_text(words[i]);
    if (redis_await(rights, rights->cache->redis, &command, &reply) == REDIS_REPLIED &&
        reply->kind == REDIS_TEXT)
        verdict = redis_reply_is(reply, "OK") ? RIGHTS_GRANTED : RIGHTS_MISSING;
    talloc_free(reply);
    return verdict;
}

/* ---- It is tried */

/* Whether a script was refused it for want of a right: in Redis's words before 7.2, and since. */
static bool is_want_of_right(const char *error)
{
    return strstr(error, "The user executing the script can't") != NULL ||
           strstr(error, "ACL failure in script") != NULL || strncmp(error, "NOPERM", 6) == 0;
}

static enum rights_verdict judge_script(struct redis_rights *rights,
                                        const struct redis_reply *reply)
{
    if (is_want_of_right(reply->text))
        return RIGHTS_MISSING;
    if (redis_reply_is(reply, DONE) ||
        strstr(reply->text, "Write commands are not allowed") != NULL)
        return RIGHTS_GRANTED;
    return unknown(rights, reply->text);
}

/* A command of its own may well be refused for another reason; a script may not, and where it is
   for want of a right nothing is known of the command in it. */
static enum rights_verdict judge(struct redis_rights *rights, enum redis_outcome outcome,
                                 const struct redis_reply *reply, bool by_script)
{
    if (outcome == REDIS_REPLIED)
        return by_script ? judge_script(rights, reply) : RIGHTS_GRANTED;
    if (outcome != REDIS_REFUSED) {
        rights->is_mute = true;
        return unknown(rights, "no reply");
    }
    if (by_script)
        return unknown(rights, reply->text);
    return redis_refusal_of(reply) == REDIS_NO_RIGHT ? RIGHTS_MISSING : RIGHTS_GRANTED;
}

static enum rights_verdict do_it(struct redis_rights *rights, const char *const *words,
                                 size_t count, bool by_script)
{
    struct redis_part parts[MAX_PARTS] = {redis_text("EVAL"), redis_text(script), redis_text("0")};
    size_t first = by_script ? 3 : 0;
    /* nothing is written, but where writes are held back a script is, too */
    const struct redis_command command = {
        .parts = parts, .count = first + count, .writes = true, .is_a_trial = true};
    struct redis_reply *reply = NULL;

    for (size_t i = 0; i < count; i++)
        parts[first + i] = redis_text(words[i]);
    enum redis_outcome outcome = redis_await(rights, rights->cache->redis, &command, &reply);
    enum rights_verdict verdict = judge(rights, outcome, reply, by_script);
    talloc_free(reply);
    return verdict;
}

/* ---- Subscribing */

struct hearing {
    bool is_over;
    enum rights_verdict verdict;
};

static void on_news(void *data, enum redis_news news, struct redis_part message)
{
    struct hearing *hearing = data;

    (void)message;
    hearing->is_over = true;
    if (news == REDIS_SUBSCRIBED)
        hearing->verdict = RIGHTS_GRANTED;
    else if (news == REDIS_SUBSCRIPTION_REFUSED)
        hearing->verdict = RIGHTS_MISSING;
}

static enum rights_verdict subscribe(struct redis_rights *rights, const char *channel)
{
    struct hearing hearing = {.verdict = RIGHTS_UNKNOWN};
    int64_t ms = rights->settings->connect_timeout_ms + rights->settings->command_timeout_ms;
    struct redis_subscription *subscription =
        redis_subscribe(rights, rights->cache->redis, channel, on_news, &hearing);

    loop_run_for(rights->cache->loop, ms, &hearing.is_over, NULL);
    talloc_free(subscription);
    return hearing.verdict == RIGHTS_UNKNOWN ? unknown(rights, "no reply") : hearing.verdict;
}

enum rights_verdict redis_rights_try(struct redis_rights *rights, const struct right *right)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(rights));
    size_t count;
    const char **words = rights_parts(ctx, right, rights->settings, rights->of, &count);
    enum rights_verdict verdict = RIGHTS_UNKNOWN;

    if (!rights->does_not_tell)
        verdict = ask(rights, words, count);
    if (verdict == RIGHTS_UNKNOWN && !rights->is_mute) {
        rights->does_not_tell = true;
        verdict = right->trial == RIGHTS_BY_SUBSCRIBING
                      ? subscribe(rights, words[1])
                      : do_it(rights, words, count, right->trial == RIGHTS_BY_SCRIPT);
    }
    talloc_free(ctx);
    return verdict;
}
