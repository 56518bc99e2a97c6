/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening the queue on Redis lists; offers and jobs, each a single command. All keys share the slot
   of the jobs list, and every key that a script touches is named in KEYS. */
#include "config.h"

#include "refresh/redis_queue.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "cache/keys.h"
#include "cache/redis_cache.h"

/* KEYS: jobs, mark, lists. ARGV: job, mark's milliseconds, limit, the list's name, how long the job
   is of use. */
static const char offer_script[] =
    "if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 2 end "
    "if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[2]) then return 1 end "
    "redis.call('LPUSH', KEYS[1], ARGV[1]) " KEEP_LIST("1", "3", "4", "5") "return 0";

/* KEYS: processing, mark, failures, deaths. ARGV: job, "1": it was done. What is refused must leave
   the mark: the job is still there. */
static const char settle_script[] = "local count = redis.call('LREM', KEYS[1], 1, ARGV[1]) "
                                    "redis.call('DEL', KEYS[2], KEYS[3]) "
                                    "if ARGV[2] == '1' then "
                                    "redis.call('HDEL', KEYS[4], KEYS[2]) end "
                                    "return count";

/* KEYS: processing, failures, deaths. ARGV: job, milliseconds until failures are forgotten, the
   mark's name. */
static const char failure_script[] = "redis.call('LREM', KEYS[1], 1, ARGV[1]) "
                                     "redis.call('HDEL', KEYS[3], ARGV[3]) "
                                     "local count = redis.call('INCR', KEYS[2]) "
                                     "redis.call('PEXPIRE', KEYS[2], ARGV[2]) "
                                     "return count";

/* ---- Errands */

static void cancel_errand(struct queue_request *request)
{
    talloc_free(request);
}

/* Also when the queue goes. */
static int errand_destroy(struct errand *errand)
{
    redis_cancel(errand->sent);
    return 0;
}

struct errand *errand_new(struct queue *queue, size_t size, void *data)
{
    struct errand *errand = mem_check(talloc_zero_size(queue, size));

    talloc_set_name_const(errand, "struct errand");
    errand->request.cancel = cancel_errand;
    errand->queue = redis_queue_of(queue);
    errand->data = data;
    talloc_set_destructor(errand, errand_destroy);
    return errand;
}

static void on_answer(void *data, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct errand *errand = data;

    errand->sent = NULL;
    errand->answered(errand, outcome, reply);
}

static void send_blocking(struct errand *errand, const struct redis_part *parts, size_t count,
                          int64_t block_ms, errand_answered *answered)
{
    const struct redis_command command = {
        .parts = parts,
        .count = count,
        .key = errand->queue->jobs,
        .writes = !errand->only_reads,
        .block_ms = block_ms,
    };

    errand->answered = answered;
    errand->sent = redis_send(errand->queue->redis, &command, on_answer, errand);
}

void errand_send(struct errand *errand, const struct redis_part *parts, size_t count,
                 errand_answered *answered)
{
    send_blocking(errand, parts, count, 0, answered);
}

int64_t errand_number(enum redis_outcome outcome, const struct redis_reply *reply)
{
    if (outcome != REDIS_REPLIED)
        return -1;
    return reply->kind == REDIS_NUMBER ? reply->number : 0;
}

void errand_end_done(struct errand *errand, bool done)
{
    queue_done_fn *fn = errand->fn.done;
    void *data = errand->data;

    talloc_free(errand);
    if (fn != NULL)
        fn(data, done);
}

void errand_end_count(struct errand *errand, int64_t count)
{
    queue_count_fn *fn = errand->fn.count;
    void *data = errand->data;

    talloc_free(errand);
    if (fn != NULL)
        fn(data, count);
}

static void on_done(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    (void)reply;
    errand_end_done(errand, outcome == REDIS_REPLIED);
}

static void on_count(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    errand_end_count(errand, errand_number(outcome, reply));
}

static struct redis_part job_part(const struct queue_job *job)
{
    return (struct redis_part){.data = job->bytes, .len = job->len};
}

static struct redis_part key_part(struct errand *errand, const char *kind, const char *of)
{
    return redis_text(key_of_queue(errand, errand->queue->prefix, errand->queue->list, kind, of));
}

/* ---- Offers */

static void on_offered(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    static const enum queue_offer results[] = {QUEUE_QUEUED, QUEUE_MARKED, QUEUE_FULL};
    int64_t number = outcome == REDIS_REPLIED && reply->kind == REDIS_NUMBER ? reply->number : -1;
    queue_offer_fn *fn = errand->fn.offer;
    void *data = errand->data;

    talloc_free(errand);
    if (fn != NULL)
        fn(data, number >= 0 && number <= 2 ? results[number] : QUEUE_AWAY);
}

static struct queue_request *offer(struct queue *queue, const char *base,
                                   const struct queue_job *job, int64_t ttl_ms, queue_offer_fn *fn,
                                   void *data)
{
    struct errand *errand = errand_new(queue, sizeof *errand, data);
    struct redis_digits mark, limit, ttl;
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        redis_text(offer_script),
        redis_text("3"),
        redis_text(errand->queue->jobs),
        key_part(errand, "mark", base),
        redis_text(errand->queue->lists),
        job_part(job),
        redis_number(&mark, ttl_ms < 1               ? 1
                            : ttl_ms < QUEUE_MARK_MS ? ttl_ms
                                                     : QUEUE_MARK_MS),
        redis_number(&limit, errand->queue->limit),
        redis_text(errand->queue->list),
        redis_number(&ttl, ttl_ms < 1 ? 1 : ttl_ms),
    };

    errand->fn.offer = fn;
    errand_send(errand, parts, sizeof parts / sizeof parts[0], on_offered);
    return fn != NULL ? errand_handle(errand) : NULL;
}

/* ---- Jobs */

static void on_kept(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    (void)outcome;
    (void)reply;
    talloc_free(errand);
}

/* BLMOVE has made the list, without an expiry; should this refresher be gone before its heart
   beats, and nobody left to look, it is to end all the same. Sent before anything is done with the
   job. */
static void let_hand_expire(struct redis_queue *queue)
{
    struct errand *errand = errand_new(&queue->queue, sizeof *errand, NULL);
    struct redis_digits ms;
    const struct redis_part parts[] = {redis_text("PEXPIRE"), redis_text(queue->processing),
                                       redis_number(&ms, queue->keep_ms)};

    errand_send(errand, parts, 3, on_kept);
}

/* The job is the reply's, which outlives the call. */
static void on_taken(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    queue_take_fn *fn = errand->fn.take;
    void *data = errand->data;
    struct queue_job job = {.bytes = NULL, .len = 0};
    int taken = outcome == REDIS_REPLIED ? 0 : -1;

    if (taken == 0 && reply->kind == REDIS_TEXT) {
        job = (struct queue_job){.bytes = reply->text, .len = reply->len};
        taken = 1;
        let_hand_expire(errand->queue);
    }
    talloc_free(errand);
    fn(data, taken, taken == 1 ? &job : NULL);
}

static struct queue_request *take(struct queue *queue, int64_t block_ms, queue_take_fn *fn,
                                  void *data)
{
    struct errand *errand = errand_new(queue, sizeof *errand, data);
    char seconds[24];

    /* 0 would be for ever */
    if (block_ms < 1)
        block_ms = 1;
    snprintf(seconds, sizeof seconds, "%lld.%03lld", (long long)block_ms / 1000,
             (long long)block_ms % 1000);
    const struct redis_part parts[] = {
        redis_text("BLMOVE"),
        redis_text(errand->queue->jobs),
        redis_text(errand->queue->processing),
        redis_text("RIGHT"),
        redis_text("LEFT"),
        redis_text(seconds),
    };
    errand->fn.take = fn;
    send_blocking(errand, parts, 6, block_ms, on_taken);
    return errand_handle(errand);
}

/* A job that could not be read has no mark: there is only the job to be taken off the list. */
static void send_removal(struct errand *errand, const struct queue_job *job)
{
    const struct redis_part parts[] = {redis_text("LREM"), redis_text(errand->queue->processing),
                                       redis_text("1"), job_part(job)};

    errand_send(errand, parts, 4, on_done);
}

static void send_settlement(struct errand *errand, const struct queue_job *job, const char *base,
                            bool renewed)
{
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        redis_text(settle_script),
        redis_text("4"),
        redis_text(errand->queue->processing),
        key_part(errand, "mark", base),
        key_part(errand, "failures", base),
        redis_text(errand->queue->deaths),
        job_part(job),
        redis_text(renewed ? "1" : "0"),
    };

    errand_send(errand, parts, 9, on_done);
}

static struct queue_request *settle(struct queue *queue, const struct queue_job *job,
                                    const char *base, bool renewed, queue_done_fn *fn, void *data)
{
    struct errand *errand = errand_new(queue, sizeof *errand, data);

    errand->fn.done = fn;
    if (base != NULL)
        send_settlement(errand, job, base, renewed);
    else
        send_removal(errand, job);
    return errand_handle(errand);
}

static struct queue_request *count_failure(struct queue *queue, const struct queue_job *job,
                                           const char *base, int64_t forget_ms, queue_count_fn *fn,
                                           void *data)
{
    struct errand *errand = errand_new(queue, sizeof *errand, data);
    struct redis_digits ms;
    const struct redis_part parts[] = {
        redis_text("EVAL"),
        redis_text(failure_script),
        redis_text("3"),
        redis_text(errand->queue->processing),
        key_part(errand, "failures", base),
        redis_text(errand->queue->deaths),
        job_part(job),
        redis_number(&ms, forget_ms),
        key_part(errand, "mark", base),
    };

    errand->fn.count = fn;
    errand_send(errand, parts, 9, on_count);
    return errand_handle(errand);
}

static struct queue_request *back_off(struct queue *queue, const char *base, int64_t ms,
                                      queue_done_fn *fn, void *data)
{
    struct errand *errand = errand_new(queue, sizeof *errand, data);
    struct redis_digits room;
    const struct redis_part parts[] = {
        redis_text("SET"), key_part(errand, "mark", base), redis_text("1"),
        redis_text("PX"),  redis_number(&room, ms),
    };

    errand->fn.done = fn;
    errand_send(errand, parts, 5, on_done);
    return errand_handle(errand);
}

/* ---- Opening */

static const struct queue_driver redis_queue_driver = {
    .offer = offer,
    .take = take,
    .settle = settle,
    .count_failure = count_failure,
    .back_off = back_off,
    .beat = redis_queue_beat,
    .reap = redis_queue_reap,
    .sweep = redis_queue_sweep,
    .leave = redis_queue_leave,
    .look = redis_queue_look,
    .look_at_mark = redis_queue_look_at_mark,
};

/* It only has to be unique; without random numbers host and pid nearly are. */
static char *make_name(TALLOC_CTX *ctx)
{
    char host[64] = "";

    gethostname(host, sizeof host - 1);
    return mem_check(
        talloc_asprintf(ctx, "%s-%ld-%08x", host, (long)getpid(), (unsigned)random_number()));
}

static char *my_key(struct redis_queue *queue, const char *kind, const char *of)
{
    return key_of_queue(queue, queue->prefix, queue->list, kind, of);
}

/* Beyond a job's time, in which those who use the keys renew them many times. */
enum { KEEP_MS = 60 * 1000 };

struct queue *queue_open(TALLOC_CTX *ctx, struct cache *cache,
                         const struct redis_settings *settings, const struct queue_list *list)
{
    struct redis_queue *queue = mem_check(talloc_zero(ctx, struct redis_queue));

    queue->queue.driver = &redis_queue_driver;
    queue->redis = cache_redis(cache);
    queue->cache = cache;
    queue->prefix = settings->prefix;
    queue->limit = settings->queue_limit;
    queue->list = mem_check(talloc_strdup(queue, list->name));
    queue->keep_ms = list->window_ms + KEEP_MS;
    queue->name = make_name(queue);
    queue->jobs = key_jobs(queue, queue->prefix, queue->list);
    queue->processing = my_key(queue, "processing", queue->name);
    queue->alive = my_key(queue, "alive", queue->name);
    queue->registry = my_key(queue, "refreshers", "");
    queue->deaths = my_key(queue, "deaths", "");
    queue->aside = my_key(queue, "aside", "");
    queue->turn = my_key(queue, "reaper", "");
    queue->lists = key_of_lists(queue, queue->prefix, "lists");
    queue->abandoned = key_of_lists(queue, queue->prefix, "abandoned");
    /* a prefix has no characters that a pattern would take for more than themselves */
    queue->hands = key_of_queue(queue, queue->prefix, "*", "processing", "*");
    strcpy(queue->cursor, "0");
    return &queue->queue;
}
