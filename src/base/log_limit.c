/* SPDX-License-Identifier: BSD-2-Clause */
/* A table of kinds. Each has the time at which its whole burst is there again, which says all that
   a count of tokens would. */
#include "config.h"

#include "base/log_limit.h"

#include <stddef.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"

struct limited {
    uint64_t hash;
    int64_t full_at_us; /* every line moves it by an interval */
    int64_t suppressed;
    struct log_kind kind; /* its text is a child of the table */
};

struct log_limit {
    size_t count;
    struct limited kinds[LOG_LIMIT_KINDS];
    struct limited others;
};

struct log_limit *log_limit_new(TALLOC_CTX *ctx)
{
    return mem_check(talloc_zero(ctx, struct log_limit));
}

static uint64_t hash_kind(const struct log_kind *kind)
{
    uint64_t hash = XXH3_64bits_withSeed(kind->message, strlen(kind->message), kind->variant);

    return XXH3_64bits_withSeed(kind->text, strlen(kind->text), hash);
}

/* One that is as good as new, so that nothing is lost with it. */
static struct limited *make_room(struct log_limit *limit, int64_t now_us)
{
    if (limit->count < LOG_LIMIT_KINDS)
        return &limit->kinds[limit->count++];
    for (size_t i = 0; i < limit->count; i++)
        if (limit->kinds[i].suppressed == 0 && limit->kinds[i].full_at_us <= now_us)
            return &limit->kinds[i];
    return NULL;
}

static struct limited *find(struct log_limit *limit, const struct log_kind *kind, int64_t now_us)
{
    uint64_t hash = hash_kind(kind);

    for (size_t i = 0; i < limit->count; i++)
        if (limit->kinds[i].hash == hash)
            return &limit->kinds[i];
    struct limited *limited = make_room(limit, now_us);
    if (limited == NULL)
        return &limit->others;
    talloc_free((void *)(uintptr_t)limited->kind.text);
    *limited = (struct limited){.hash = hash, .kind = *kind};
    limited->kind.text = mem_check(talloc_strdup(limit, kind->text));
    return limited;
}

static bool may_write(const struct limited *limited, int64_t now_us)
{
    return limited->full_at_us - now_us <= (int64_t)(LOG_LIMIT_BURST - 1) * LOG_LIMIT_INTERVAL_US;
}

static int64_t take(struct limited *limited, int64_t now_us)
{
    int64_t suppressed = limited->suppressed;

    limited->suppressed = 0;
    if (limited->full_at_us < now_us)
        limited->full_at_us = now_us;
    limited->full_at_us += LOG_LIMIT_INTERVAL_US;
    return suppressed;
}

bool log_limit_allows(struct log_limit *limit, const struct log_kind *kind, int64_t now_us,
                      int64_t *suppressed)
{
    struct limited *limited = find(limit, kind, now_us);

    if (!may_write(limited, now_us)) {
        limited->suppressed++;
        limited->kind.level = kind->level;
        return false;
    }
    *suppressed = take(limited, now_us);
    return true;
}

int log_limit_take_suppressed(struct log_limit *limit, int64_t now_us, struct log_kind *kind,
                              int64_t *suppressed)
{
    struct limited *found = NULL;

    for (size_t i = 0; found == NULL && i < limit->count; i++)
        if (limit->kinds[i].suppressed > 0 && may_write(&limit->kinds[i], now_us))
            found = &limit->kinds[i];
    if (found == NULL && limit->others.suppressed > 0 && may_write(&limit->others, now_us))
        found = &limit->others;
    if (found == NULL)
        return 0;
    *suppressed = take(found, now_us);
    *kind = found->kind;
    return 1;
}
