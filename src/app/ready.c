/* SPDX-License-Identifier: BSD-2-Clause */
/* Reasons are codes, which anybody may see. */
#include "config.h"

#include "app/ready.h"

#include <string.h>
#include <yajl/yajl_gen.h>

#include "app/respond.h"
#include "base/mem.h"
#include "cache/peer_word.h"
#include "metrics/slot.h"

enum {
    MAX_REASONS = 5,
    /* Dead refreshers of this host are looked for so often, and count when they were found dead at
       so many looks in a row. */
    REFRESHER_LOOK_S = 5,
    REFRESHER_LOOKS = 3,
};

struct reasons {
    const char *codes[MAX_REASONS];
    const char *details[MAX_REASONS];
    size_t count;
};

static void add(struct reasons *reasons, const char *code, const char *detail)
{
    reasons->codes[reasons->count] = code;
    reasons->details[reasons->count] = detail != NULL ? detail : "";
    reasons->count++;
}

static void put_text(yajl_gen gen, const char *text)
{
    yajl_gen_string(gen, (const unsigned char *)text, strlen(text));
}

static void put_list(yajl_gen gen, const char *name, const char *const *texts, size_t count)
{
    put_text(gen, name);
    yajl_gen_array_open(gen);
    for (size_t i = 0; i < count; i++)
        put_text(gen, texts[i]);
    yajl_gen_array_close(gen);
}

/* `good` and `bad`: the status in words, without reasons and with some. */
static void send_reasons(struct request *request, const struct reasons *reasons, const char *good,
                         const char *bad, bool detailed)
{
    yajl_gen gen = mem_check(yajl_gen_alloc(NULL));
    const unsigned char *text;
    size_t len;

    yajl_gen_map_open(gen);
    put_text(gen, "status");
    put_text(gen, reasons->count == 0 ? good : bad);
    if (reasons->count > 0)
        put_list(gen, "reasons", reasons->codes, reasons->count);
    if (reasons->count > 0 && detailed)
        put_list(gen, "details", reasons->details, reasons->count);
    yajl_gen_map_close(gen);
    yajl_gen_get_buf(gen, &text, &len);
    char *body = mem_check(talloc_asprintf(request, "%.*s\n", (int)len, (const char *)text));
    yajl_gen_free(gen);
    respond_text_as(request, reasons->count == 0 ? 200 : 503, "application/json", body, len + 1);
}

/* A dead refresher is back within its parent's back-off, or when a manager has started it anew. */
static void look_at_refreshers(struct backend *backend)
{
    const struct settings *settings = &backend->app->config->settings;

    if (backend->looks++ % REFRESHER_LOOK_S != 0)
        return;
    backend->refreshers_died =
        slot_role_died(settings->runtime_dir, METRICS_REFRESHER) ? backend->refreshers_died + 1 : 0;
}

/* What is wrong with this process, of enum peer_code. */
static unsigned codes_of(const struct backend *backend)
{
    bool redis_well = cache_is_up(backend->cache) && !peers_are_refused(backend->peers);

    return (postgres_is_up(backend->postgres) ? 0 : PEER_POSTGRES) | (redis_well ? 0 : PEER_REDIS) |
           (backend->refreshers_died < REFRESHER_LOOKS ? 0 : PEER_REFRESHER) |
           (identity_is_verified(backend->identity) ? 0 : PEER_IDENTITY) |
           (backend->draining ? PEER_DRAINING : 0);
}

/* One that has just begun knows little, and is no proof that others are alone with their trouble.
 */
static unsigned doubts_of(const struct backend *backend)
{
    return (postgres_heard_us(backend->postgres) != 0 ? 0 : PEER_POSTGRES) |
           (backend->refreshers_died == 0 ? 0 : PEER_REFRESHER);
}

void ready_tick(struct backend *backend)
{
    if (backend->peers == NULL)
        return;
    look_at_refreshers(backend);
    const struct peers_state state = {
        .codes = codes_of(backend),
        .doubts = doubts_of(backend),
        .heard_us = postgres_heard_us(backend->postgres),
    };
    peers_beat(backend->peers, &state);
}

void ready_answer(struct request *request, const struct backend *backend, bool detailed)
{
    static const struct {
        unsigned code;
        const char *detail;
    } own[] = {
        {PEER_POSTGRES, "this host cannot reach Postgres, and others can"},
        {PEER_REDIS, "the Redis that this host reaches takes no writes, and that of others does"},
        {PEER_REFRESHER, "the refreshers of this host have died, and those of others have not"},
    };
    unsigned codes = codes_of(backend);
    unsigned own_codes = peers_own(backend->peers, codes);
    struct reasons reasons = {.count = 0};

    if ((codes & PEER_IDENTITY) != 0)
        add(&reasons, "identity", identity_problem(backend->identity));
    if ((codes & PEER_DRAINING) != 0)
        add(&reasons, "draining", "the process stops");
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if ((own_codes & own[i].code) != 0)
            add(&reasons, peer_code_name(own[i].code), own[i].detail);
    send_reasons(request, &reasons, "ready", "unready", detailed);
}

void ready_answer_health(struct request *request, const struct backend *backend, bool detailed)
{
    struct reasons reasons = {.count = 0};

    if (!cache_is_up(backend->cache) && !postgres_is_up(backend->postgres)) {
        add(&reasons, "redis", "Redis cannot be reached");
        add(&reasons, "postgres", "Postgres cannot be reached");
    }
    send_reasons(request, &reasons, "ok", "down", detailed);
}
