/* SPDX-License-Identifier: BSD-2-Clause */
/* Reasons are codes, which anybody may see. */
#include "config.h"

#include "app/ready.h"

#include <string.h>
#include <yajl/yajl_gen.h>

#include "app/respond.h"
#include "base/mem.h"

enum { MAX_REASONS = 2 };

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

void ready_answer(struct request *request, const struct backend *backend, bool draining,
                  bool detailed)
{
    struct reasons reasons = {.count = 0};

    if (!identity_is_verified(backend->identity))
        add(&reasons, "identity", identity_problem(backend->identity));
    if (draining)
        add(&reasons, "draining", "the process stops");
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
