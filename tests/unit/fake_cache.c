/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries, leases and notes in lists; requests in order, each done and told when the test says. */
#include "config.h"

#include "fake_cache.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/driver.h"
#include "sample_entry.h"

enum { KINDS = FAKE_SHORTEN + 1, ENTRY_ROOM = 512 };

/* 2026; what a snapshot is made of. */
static const int64_t epoch_us = 1795000000000000;

struct record {
    TAILQ_ENTRY(record) link;
    struct fake_record what;
};
TAILQ_HEAD(record_list, record);

/* What is kept under a base or an identity. */
struct item {
    TAILQ_ENTRY(item) link;
    char *base;
    char *entry;
    size_t entry_len;
    char *lease;
    int64_t lease_until_us; /* by this machine's clock */
    struct identity_note note;
    bool has_note;
};
TAILQ_HEAD(item_list, item);

struct request {
    struct cache_request request;
    TAILQ_ENTRY(request) link;
    struct fake_cache *fake;
    struct record *record;
    enum fake_asked asked;
    const char *callers_base; /* as it was passed */
    char *base;
    char token[LEASE_TOKEN_BYTES + 1];
    char *bytes;
    size_t len;
    int64_t expiry_ms;
    struct lease_mark mark;
    struct identity_note note;
    union {
        cache_look_up_fn *look_up;
        cache_take_fn *take;
        cache_lease_fn *lease;
        cache_measured_fn *measured;
        cache_purged_fn *purged;
        cache_note_fn *note;
        cache_info_fn *info;
    } fn;
    bool wants_answer;
    void *data;
    ev_timer timer;
    /* what came of it, once it is done */
    bool done;
    bool cancelled; /* while it was being told, or before */
    struct lease_answer answer;
    struct stored stored;
    enum cache_found found;
    enum lease_end end;
    int result; /* a purge's or a note's */
};
TAILQ_HEAD(request_list, request);

struct cache_watch {
    TAILQ_ENTRY(cache_watch) link;
    struct fake_cache *fake;
    char *base;
    cache_watch_fn *fn;
    void *data;
    bool due;
};
TAILQ_HEAD(watch_list, cache_watch);

struct fake_cache {
    struct cache cache;
    struct ev_loop *loop;
    struct redis_clock clock;
    int64_t ahead_us; /* of this machine's clock */
    bool up;
    int64_t answer_after_ms;
    enum fake_way ways[KINDS];
    unsigned tokens;
    struct item_list items;
    struct request_list requests;
    struct record_list records;
    struct watch_list watches;
    char *info;
    char *shown;
};

static struct fake_cache *fake_of(struct cache *cache)
{
    return (struct fake_cache *)cache;
}

/* ---- Contents */

static struct item *find_item(const struct fake_cache *fake, const char *base)
{
    struct item *item;

    TAILQ_FOREACH (item, &fake->items, link)
        if (strcmp(item->base, base) == 0)
            return item;
    return NULL;
}

static struct item *item_of(struct fake_cache *fake, const char *base)
{
    struct item *item = find_item(fake, base);

    if (item == NULL) {
        item = mem_check(talloc_zero(fake, struct item));
        item->base = mem_check(talloc_strdup(item, base));
        TAILQ_INSERT_TAIL(&fake->items, item, link);
    }
    return item;
}

int64_t fake_cache_now_us(const struct fake_cache *fake)
{
    return clock_monotonic_us() + fake->ahead_us;
}

static void measure(struct fake_cache *fake)
{
    int64_t now_us = clock_monotonic_us();

    redis_clock_measure(&fake->clock, now_us, now_us, fake_cache_now_us(fake),
                        clock_time_of_day_lead_us());
}

void fake_cache_shift(struct fake_cache *fake, int64_t us)
{
    fake->ahead_us += us;
}

static void put_entry(struct item *item, const char *bytes, size_t len)
{
    talloc_free(item->entry);
    item->entry = mem_check(talloc_memdup(item, bytes, len));
    item->entry_len = len;
}

void fake_cache_put(struct fake_cache *fake, const char *base, int64_t snapshot_us, int status,
                    const char *body)
{
    struct buf bytes;

    buf_init(&bytes, fake, ENTRY_ROOM);
    sample_entry(&bytes, base, snapshot_us, status, body);
    put_entry(item_of(fake, base), bytes.data, bytes.len);
    talloc_free(bytes.data);
}

const char *fake_cache_body(struct fake_cache *fake, const char *base)
{
    struct item *item = item_of(fake, base);
    struct cache_entry entry;

    if (item->entry == NULL ||
        entry_decode(item->entry, item->entry_len, entry_key(base), &entry) == -1)
        return NULL;
    talloc_free(fake->shown);
    fake->shown = mem_check(talloc_strndup(fake, entry.body, entry.body_len));
    return fake->shown;
}

static void set_lease(struct item *item, const char *value, int64_t ms)
{
    TALLOC_FREE(item->lease);
    if (value == NULL)
        return;
    item->lease = mem_check(talloc_strdup(item, value));
    item->lease_until_us = clock_monotonic_us() + ms * 1000;
}

void fake_cache_put_lease(struct fake_cache *fake, const char *base, const char *value, int64_t ms)
{
    set_lease(item_of(fake, base), value, ms);
}

const char *fake_cache_lease(struct fake_cache *fake, const char *base)
{
    struct item *item = item_of(fake, base);

    if (item->lease != NULL && item->lease_until_us <= clock_monotonic_us())
        TALLOC_FREE(item->lease);
    return item->lease;
}

void fake_cache_purge(struct fake_cache *fake, const char *base)
{
    struct item *item = item_of(fake, base);

    TALLOC_FREE(item->entry);
    TALLOC_FREE(item->lease);
}

void fake_cache_put_note(struct fake_cache *fake, const char *identity,
                         const struct identity_note *note)
{
    struct item *item = item_of(fake, identity);

    item->has_note = note != NULL;
    if (note != NULL)
        item->note = *note;
}

const struct identity_note *fake_cache_note(const struct fake_cache *fake, const char *identity)
{
    const struct item *item = find_item(fake, identity);

    return item != NULL && item->has_note ? &item->note : NULL;
}

void fake_cache_put_info(struct fake_cache *fake, const char *info)
{
    talloc_free(fake->info);
    fake->info = info == NULL ? NULL : mem_check(talloc_strdup(fake, info));
}

/* ---- What is done */

static void read_entry(struct request *request)
{
    const struct item *item = item_of(request->fake, request->base);

    request->found = CACHE_NOTHING;
    if (item->entry == NULL)
        return;
    char *bytes = mem_check(talloc_memdup(request, item->entry, item->entry_len));
    if (entry_decode(bytes, item->entry_len, entry_key(request->base), &request->stored.entry) ==
        -1)
        return;
    request->stored.bytes = bytes;
    request->found = CACHE_FOUND;
}

static void do_take(struct request *request)
{
    struct fake_cache *fake = request->fake;
    const char *held = fake_cache_lease(fake, request->base);
    struct lease_answer *answer = &request->answer;

    read_entry(request);
    measure(fake);
    if (held == NULL) {
        answer->state = LEASE_WON;
        if (request->asked == FAKE_LOOK_AT_LEASE)
            return;
        answer->lease.base = request->callers_base;
        answer->lease.held_at_us = request->record->what.asked_us;
        snprintf(answer->lease.token, sizeof answer->lease.token, "%032x", ++fake->tokens);
        set_lease(item_of(fake, request->base), answer->lease.token, LEASE_MS);
        return;
    }
    answer->left_ms = (item_of(fake, request->base)->lease_until_us - clock_monotonic_us()) / 1000;
    answer->state = LEASE_HELD;
    if (strcmp(held, "!too-large") == 0)
        answer->state = LEASE_TOO_LARGE;
    else if (held[0] == '!')
        answer->state = LEASE_FAILED;
    if (answer->state == LEASE_FAILED)
        answer->failed_status = atoi(held + 1);
}

static void do_store(struct request *request, struct item *item)
{
    uint64_t key = entry_key(request->base);
    struct cache_entry mine, there;

    request->end = LEASE_KEPT;
    set_lease(item, NULL, 0);
    if (entry_decode(request->bytes, request->len, key, &mine) == -1)
        return;
    if (item->entry != NULL && entry_decode(item->entry, item->entry_len, key, &there) == 0 &&
        there.snapshot_us > mine.snapshot_us)
        return;
    put_entry(item, request->bytes, request->len);
    request->end = LEASE_STORED;
}

static void do_end(struct request *request, struct item *item)
{
    const struct lease_mark *mark = &request->mark;
    char text[16];

    request->end = LEASE_KEPT;
    set_lease(item, NULL, 0);
    if (mark->kind == LEASE_MARK_TOO_LARGE)
        set_lease(item, "!too-large", LEASE_TOO_LARGE_MS);
    if (mark->kind != LEASE_MARK_FAILED)
        return;
    snprintf(text, sizeof text, "!%03d", mark->status);
    set_lease(item, text, mark->hold_ms > LEASE_FAILED_MS ? mark->hold_ms : LEASE_FAILED_MS);
}

static void do_with_lease(struct request *request)
{
    struct item *item = item_of(request->fake, request->base);
    const char *held = fake_cache_lease(request->fake, request->base);

    measure(request->fake);
    request->end = LEASE_LOST;
    if (held == NULL || strcmp(held, request->token) != 0)
        return;
    if (request->asked == FAKE_STORE) {
        do_store(request, item);
    } else if (request->asked == FAKE_END) {
        do_end(request, item);
    } else {
        request->end = LEASE_KEPT;
        item->lease_until_us = clock_monotonic_us() + (int64_t)LEASE_MS * 1000;
    }
}

static void do_note(struct request *request)
{
    struct item *item = item_of(request->fake, request->base);
    struct identity_note *mine = &request->note;

    if (request->asked == FAKE_CLAIM_NOTE && !item->has_note)
        item->note = *mine;
    else if (request->asked == FAKE_CLAIM_NOTE)
        identity_note_complete(&item->note, mine);
    else if (request->asked == FAKE_ACCEPT_NOTE) {
        mine->accepts = item->has_note ? item->note.accepts + 1 : mine->accepts + 1;
        item->note = *mine;
    }
    item->has_note = item->has_note || request->asked != FAKE_READ_NOTE;
    request->note = item->note;
    request->result = item->has_note;
}

static void do_request(struct request *request)
{
    struct fake_cache *fake = request->fake;
    const struct item *item;

    request->done = true;
    switch (request->asked) {
    case FAKE_LOOK_UP:
        if (!redis_clock_is_current(&fake->clock, clock_monotonic_us(),
                                    clock_time_of_day_lead_us()))
            measure(fake);
        read_entry(request);
        break;
    case FAKE_TAKE:
    case FAKE_LOOK_AT_LEASE:
        do_take(request);
        break;
    case FAKE_RENEW:
    case FAKE_STORE:
    case FAKE_END:
        do_with_lease(request);
        break;
    case FAKE_MEASURE:
        measure(fake);
        break;
    case FAKE_PURGE:
        item = item_of(fake, request->base);
        request->result = item->entry != NULL || fake_cache_lease(fake, request->base) != NULL;
        fake_cache_purge(fake, request->base);
        break;
    case FAKE_READ_NOTE:
    case FAKE_CLAIM_NOTE:
    case FAKE_ACCEPT_NOTE:
        do_note(request);
        break;
    case FAKE_NOTHING:
    case FAKE_INFO:
    case FAKE_SHORTEN:
        break;
    }
}

/* ---- What is told */

/* As those are told that hear nothing of what was asked. */
static void forget_result(struct request *request)
{
    request->found = CACHE_AWAY;
    request->stored.bytes = NULL;
    request->answer = (struct lease_answer){.state = LEASE_AWAY};
    request->end = LEASE_UNKNOWN;
    request->result = -1;
}

static void tell(struct request *request, enum fake_way way)
{
    bool lost = way != FAKE_DONE;
    void *data = request->data;

    request->answer.stored = &request->stored;
    switch (request->asked) {
    case FAKE_LOOK_UP:
        request->fn.look_up(data, request->found, &request->stored);
        break;
    case FAKE_TAKE:
    case FAKE_LOOK_AT_LEASE:
        request->fn.take(data, &request->answer);
        break;
    case FAKE_RENEW:
    case FAKE_STORE:
    case FAKE_END:
        request->fn.lease(data, request->end, request->record->what.asked_us);
        break;
    case FAKE_MEASURE:
        request->fn.measured(data, !lost);
        break;
    case FAKE_PURGE:
        request->fn.purged(data, request->result);
        break;
    case FAKE_READ_NOTE:
    case FAKE_CLAIM_NOTE:
    case FAKE_ACCEPT_NOTE:
        request->fn.note(data, request->result, &request->note);
        break;
    case FAKE_INFO:
        request->fn.info(data, lost ? NULL : request->fake->info);
        break;
    case FAKE_NOTHING:
    case FAKE_SHORTEN:
        break;
    }
}

/* A lease that was taken unseen is given up behind it (cache/cache.h). */
static void give_back(struct request *request)
{
    const char *held = fake_cache_lease(request->fake, request->base);

    if (request->asked == FAKE_TAKE && request->answer.state == LEASE_WON && held != NULL &&
        strcmp(held, request->answer.lease.token) == 0)
        fake_cache_put_lease(request->fake, request->base, NULL, 0);
}

static void answer(struct request *request, enum fake_way way)
{
    struct fake_cache *fake = request->fake;

    ev_timer_stop(fake->loop, &request->timer);
    TAILQ_REMOVE(&fake->requests, request, link);
    if (!request->done && (way == FAKE_DONE || way == FAKE_UNCERTAIN))
        do_request(request);
    if (way != FAKE_DONE) {
        if (request->done)
            give_back(request);
        forget_result(request);
    }
    request->record->what.answered = true;
    talloc_steal(NULL, request); /* the callback may free the cache */
    if (request->wants_answer)
        tell(request, way);
    talloc_free(request);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct request *request = timer->data;

    (void)loop;
    (void)events;
    answer(request, request->fake->ways[request->asked]);
}

static struct request *oldest(const struct fake_cache *fake, enum fake_asked asked)
{
    struct request *request;

    TAILQ_FOREACH (request, &fake->requests, link)
        if (asked == FAKE_NOTHING || request->asked == asked)
            return request;
    return NULL;
}

void fake_cache_answer_next(struct fake_cache *fake, enum fake_way way)
{
    struct request *request = oldest(fake, FAKE_NOTHING);

    assert(request != NULL);
    answer(request, way);
}

bool fake_cache_answer(struct fake_cache *fake, enum fake_asked asked, enum fake_way way)
{
    struct request *request = oldest(fake, asked);

    if (request != NULL)
        answer(request, way);
    return request != NULL;
}

bool fake_cache_do(struct fake_cache *fake, enum fake_asked asked)
{
    struct request *request;

    TAILQ_FOREACH (request, &fake->requests, link) {
        if (request->asked == asked && !request->done) {
            do_request(request);
            return true;
        }
    }
    return false;
}

void fake_cache_answer_all(struct fake_cache *fake)
{
    struct request *request;

    while ((request = oldest(fake, FAKE_NOTHING)) != NULL)
        answer(request, fake->ways[request->asked]);
}

void fake_cache_answer_after(struct fake_cache *fake, int64_t ms)
{
    fake->answer_after_ms = ms;
}

void fake_cache_set_way(struct fake_cache *fake, enum fake_asked asked, enum fake_way way)
{
    fake->ways[asked] = way;
}

/* ---- What was asked */

const struct fake_record *fake_cache_record(const struct fake_cache *fake, enum fake_asked asked,
                                            size_t n)
{
    struct record *record;

    TAILQ_FOREACH (record, &fake->records, link)
        if (record->what.asked == asked && n-- == 0)
            return &record->what;
    return NULL;
}

size_t fake_cache_count(const struct fake_cache *fake, enum fake_asked asked)
{
    size_t count = 0;

    while (fake_cache_record(fake, asked, count) != NULL)
        count++;
    return count;
}

enum fake_asked fake_cache_next(const struct fake_cache *fake)
{
    const struct request *request = oldest(fake, FAKE_NOTHING);

    return request == NULL ? FAKE_NOTHING : request->asked;
}

size_t fake_cache_under_way(const struct fake_cache *fake)
{
    const struct request *request;
    size_t count = 0;

    TAILQ_FOREACH (request, &fake->requests, link)
        count++;
    return count;
}

/* Records live on with the cache, for requests point to them. */
void fake_cache_forget_records(struct fake_cache *fake)
{
    TAILQ_INIT(&fake->records);
}

/* ---- Asking */

static void cancel(struct cache_request *handle)
{
    struct request *request = (struct request *)handle;

    ev_timer_stop(request->fake->loop, &request->timer);
    TAILQ_REMOVE(&request->fake->requests, request, link);
    request->record->what.cancelled = true;
    if (request->done)
        give_back(request);
    talloc_free(request);
}

static int request_destroy(struct request *request)
{
    ev_timer_stop(request->fake->loop, &request->timer);
    return 0;
}

static struct record *note_asked(struct fake_cache *fake, enum fake_asked asked, const char *base)
{
    struct record *record = mem_check(talloc_zero(fake, struct record));

    record->what = (struct fake_record){
        .asked = asked,
        .base = mem_check(talloc_strdup(record, base)),
        .asked_us = clock_monotonic_us(),
    };
    TAILQ_INSERT_TAIL(&fake->records, record, link);
    return record;
}

static struct request *ask(struct cache *cache, enum fake_asked asked, const char *base, void *data)
{
    struct fake_cache *fake = fake_of(cache);
    struct request *request = mem_check(talloc_zero(fake, struct request));
    struct record *record = note_asked(fake, asked, base);

    record->what.has_handle = true;
    request->request.cancel = cancel;
    request->fake = fake;
    request->record = record;
    request->asked = asked;
    request->callers_base = base;
    request->base = mem_check(talloc_strdup(request, base));
    request->wants_answer = true;
    request->data = data;
    ev_init(&request->timer, on_timer);
    request->timer.data = request;
    talloc_set_destructor(request, request_destroy);
    TAILQ_INSERT_TAIL(&fake->requests, request, link);
    if (fake->answer_after_ms >= 0) {
        ev_now_update(fake->loop);
        ev_timer_set(&request->timer, (double)fake->answer_after_ms / 1000.0, 0.0);
        ev_timer_start(fake->loop, &request->timer);
    }
    return request;
}

static struct cache_request *look_up(struct cache *cache, const char *base, cache_look_up_fn *fn,
                                     void *data)
{
    struct request *request = ask(cache, FAKE_LOOK_UP, base, data);

    request->fn.look_up = fn;
    return &request->request;
}

static struct cache_request *take(struct cache *cache, const char *base, bool only_look,
                                  cache_take_fn *fn, void *data)
{
    struct request *request = ask(cache, only_look ? FAKE_LOOK_AT_LEASE : FAKE_TAKE, base, data);

    request->fn.take = fn;
    return &request->request;
}

static struct request *ask_with_lease(struct cache *cache, enum fake_asked asked,
                                      const struct lease *lease, cache_lease_fn *fn, void *data)
{
    struct request *request = ask(cache, asked, lease->base, data);

    memcpy(request->token, lease->token, sizeof request->token);
    request->fn.lease = fn;
    return request;
}

static struct cache_request *renew(struct cache *cache, const struct lease *lease,
                                   cache_lease_fn *fn, void *data)
{
    return &ask_with_lease(cache, FAKE_RENEW, lease, fn, data)->request;
}

static struct cache_request *store(struct cache *cache, const struct lease *lease,
                                   const char *bytes, size_t len, int64_t expiry_ms,
                                   cache_lease_fn *fn, void *data)
{
    struct request *request = ask_with_lease(cache, FAKE_STORE, lease, fn, data);

    request->bytes = mem_check(talloc_memdup(request, bytes, len));
    request->len = len;
    request->record->what.expiry_ms = expiry_ms;
    return &request->request;
}

static struct cache_request *end(struct cache *cache, const struct lease *lease,
                                 const struct lease_mark *mark, cache_lease_fn *fn, void *data)
{
    struct request *request = ask_with_lease(cache, FAKE_END, lease, fn, data);

    request->mark = *mark;
    request->record->what.mark = *mark;
    request->wants_answer = request->record->what.has_handle = fn != NULL;
    return fn != NULL ? &request->request : NULL;
}

static void shorten_mark(struct cache *cache, const char *base, int status, int64_t left_ms)
{
    struct fake_cache *fake = fake_of(cache);
    struct record *record = note_asked(fake, FAKE_SHORTEN, base);
    const char *held = fake_cache_lease(fake, base);
    char mark[16];

    record->what.answered = true;
    record->what.mark = (struct lease_mark){LEASE_MARK_FAILED, status, left_ms};
    snprintf(mark, sizeof mark, "!%03d", status);
    if (held != NULL && strcmp(held, mark) == 0)
        item_of(fake, base)->lease_until_us = clock_monotonic_us() + left_ms * 1000;
}

static struct cache_request *ask_to_measure(struct cache *cache, cache_measured_fn *fn, void *data)
{
    struct request *request = ask(cache, FAKE_MEASURE, "", data);

    request->fn.measured = fn;
    return &request->request;
}

static struct cache_request *purge(struct cache *cache, const char *base, cache_purged_fn *fn,
                                   void *data)
{
    struct request *request = ask(cache, FAKE_PURGE, base, data);

    request->fn.purged = fn;
    return &request->request;
}

static struct cache_request *ask_note(struct cache *cache, enum cache_note_act act,
                                      const char *identity, const struct identity_note *mine,
                                      cache_note_fn *fn, void *data)
{
    static const enum fake_asked kinds[] = {
        [CACHE_NOTE_READ] = FAKE_READ_NOTE,
        [CACHE_NOTE_CLAIM] = FAKE_CLAIM_NOTE,
        [CACHE_NOTE_ACCEPT] = FAKE_ACCEPT_NOTE,
    };
    struct request *request = ask(cache, kinds[act], identity, data);

    if (mine != NULL)
        request->note = *mine;
    request->fn.note = fn;
    return &request->request;
}

static struct cache_request *info(struct cache *cache, cache_info_fn *fn, void *data)
{
    struct request *request = ask(cache, FAKE_INFO, "", data);

    request->fn.info = fn;
    return &request->request;
}

/* ---- Watches */

static int watch_destroy(struct cache_watch *watch)
{
    TAILQ_REMOVE(&watch->fake->watches, watch, link);
    return 0;
}

static struct cache_watch *watch(TALLOC_CTX *ctx, struct cache *cache, const char *base,
                                 cache_watch_fn *fn, void *data)
{
    struct fake_cache *fake = fake_of(cache);
    struct cache_watch *made = mem_check(talloc_zero(ctx, struct cache_watch));

    made->fake = fake;
    made->base = mem_check(talloc_strdup(made, base));
    made->fn = fn;
    made->data = data;
    TAILQ_INSERT_TAIL(&fake->watches, made, link);
    talloc_set_destructor(made, watch_destroy);
    return made;
}

size_t fake_cache_watches(const struct fake_cache *fake, const char *base)
{
    const struct cache_watch *each;
    size_t count = 0;

    TAILQ_FOREACH (each, &fake->watches, link)
        count += strcmp(each->base, base) == 0;
    return count;
}

/* A callback may end its own watch and others. */
void fake_cache_tell(struct fake_cache *fake, const char *base, enum cache_news news)
{
    struct cache_watch *each;

    TAILQ_FOREACH (each, &fake->watches, link)
        each->due = strcmp(each->base, base) == 0;
    do {
        TAILQ_FOREACH (each, &fake->watches, link)
            if (each->due)
                break;
        if (each != NULL) {
            each->due = false;
            each->fn(each->data, news);
        }
    } while (each != NULL);
}

/* ---- What it says of itself */

static bool is_up(const struct cache *cache)
{
    return ((const struct fake_cache *)cache)->up;
}

static const char *problem(const struct cache *cache)
{
    return is_up(cache) ? NULL : "the test says so";
}

static const char *server_id(const struct cache *cache)
{
    (void)cache;
    return "fake";
}

static const struct redis_clock *get_clock(const struct cache *cache)
{
    return &((const struct fake_cache *)cache)->clock;
}

void fake_cache_set_up(struct fake_cache *fake, bool up)
{
    fake->up = up;
}

static const struct cache_driver driver = {
    .is_up = is_up,
    .problem = problem,
    .clock = get_clock,
    .server_id = server_id,
    .look_up = look_up,
    .take = take,
    .renew = renew,
    .store = store,
    .end = end,
    .shorten_mark = shorten_mark,
    .watch = watch,
    .measure = ask_to_measure,
    .purge = purge,
    .note = ask_note,
    .info = info,
};

struct cache *fake_cache_get(struct fake_cache *fake)
{
    return &fake->cache;
}

struct fake_cache *fake_cache_new(TALLOC_CTX *ctx, struct ev_loop *loop)
{
    struct fake_cache *fake = mem_check(talloc_zero(ctx, struct fake_cache));

    fake->cache.driver = &driver;
    fake->loop = loop;
    fake->ahead_us = epoch_us;
    fake->up = true;
    fake->answer_after_ms = -1;
    TAILQ_INIT(&fake->items);
    TAILQ_INIT(&fake->requests);
    TAILQ_INIT(&fake->records);
    TAILQ_INIT(&fake->watches);
    measure(fake);
    return fake;
}
