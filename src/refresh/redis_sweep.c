/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists of any configuration that nobody took from end with what their jobs were for. Whoever comes
   first counts what was in them, and says so. */
#include "config.h"

#include "base/log.h"
#include "base/mem.h"
#include "cache/keys.h"
#include "refresh/redis_queue.h"

enum { SWEEP_LISTS = 10 /* of one turn */ };

/* An array of the name of one whose time is over, if there is any. KEYS: lists. */
static const char find_script[] =
    "local now = redis.call('TIME') "
    "now = now[1] * 1000 + math.floor(now[2] / 1000) "
    "return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)";

/* How many jobs were in it. KEYS: the list, lists, abandoned. ARGV: its name. */
static const char end_script[] = "local now = redis.call('TIME') "
                                 "now = now[1] * 1000 + math.floor(now[2] / 1000) "
                                 "local ends = redis.call('ZSCORE', KEYS[2], ARGV[1]) "
                                 "if not ends or tonumber(ends) > now then return 0 end "
                                 "local count = redis.pcall('LLEN', KEYS[1]) "
                                 "redis.call('ZREM', KEYS[2], ARGV[1]) "
                                 "if type(count) ~= 'number' then return 0 end "
                                 "if count > 0 then "
                                 "redis.call('DEL', KEYS[1]) "
                                 "redis.call('INCRBY', KEYS[3], count) end "
                                 "return count";

struct sweep {
    struct errand errand;
    int64_t jobs;
    int lists; /* that may yet be looked at */
    char *name;
};

static void find(struct sweep *sweep);

static void on_ended(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct sweep *sweep = (struct sweep *)errand;
    int64_t jobs = errand_number(outcome, reply);

    if (jobs == -1) {
        errand_end_count(errand, -1);
        return;
    }
    if (jobs > 0)
        log_event(LOG_LEVEL_WARN, "nobody took refresh jobs in time", log_text("list", sweep->name),
                  log_number("jobs", jobs));
    sweep->jobs += jobs;
    if (--sweep->lists > 0)
        find(sweep);
    else
        errand_end_count(errand, sweep->jobs);
}

static void on_over(struct errand *errand, enum redis_outcome outcome, struct redis_reply *reply)
{
    struct sweep *sweep = (struct sweep *)errand;
    const struct redis_queue *queue = errand->queue;
    const struct redis_reply *name =
        outcome == REDIS_REPLIED ? redis_reply_element(reply, 0, REDIS_TEXT) : NULL;

    if (name == NULL) {
        errand_end_count(errand, outcome == REDIS_REPLIED ? sweep->jobs : -1);
        return;
    }
    talloc_free(sweep->name);
    sweep->name = mem_check(talloc_strdup(sweep, name->text));
    const struct redis_part whole = {.data = name->text, .len = name->len};
    char *list = key_jobs(sweep, queue->prefix, sweep->name);
    const struct redis_part parts[] = {
        redis_text("EVAL"),       redis_text(end_script),       redis_text("3"), redis_text(list),
        redis_text(queue->lists), redis_text(queue->abandoned), whole,
    };
    errand_send(errand, parts, 7, on_ended);
    talloc_free(list);
}

static void find(struct sweep *sweep)
{
    const struct redis_part parts[] = {redis_text("EVAL"), redis_text(find_script), redis_text("1"),
                                       redis_text(sweep->errand.queue->lists)};

    errand_send(&sweep->errand, parts, 4, on_over);
}

struct queue_request *redis_queue_sweep(struct queue *queue, queue_count_fn *fn, void *data)
{
    struct errand *errand = errand_new(queue, sizeof(struct sweep), data);
    struct sweep *sweep = (struct sweep *)errand;

    sweep->lists = SWEEP_LISTS;
    errand->fn.count = fn;
    find(sweep);
    return fn != NULL ? errand_handle(errand) : NULL;
}
