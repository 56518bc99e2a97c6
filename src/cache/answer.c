/* SPDX-License-Identifier: BSD-2-Clause */
/* Both lines by plain appending: they are written on every hit. */
#include "config.h"

#include "cache/answer.h"

#include <string.h>

enum { SECOND_US = 1000000, I64_DIGITS = 20 };

struct text {
    char *data;
    size_t len;
    size_t size;
    bool cut;
};

static void put_bytes(struct text *text, const char *bytes, size_t len)
{
    if (text->cut || len >= text->size - text->len) {
        text->cut = true;
        return;
    }
    memcpy(text->data + text->len, bytes, len);
    text->len += len;
}

static void put(struct text *text, const char *str)
{
    put_bytes(text, str, strlen(str));
}

static void put_number(struct text *text, int64_t number)
{
    char digits[I64_DIGITS];
    char *first = digits + sizeof digits;
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;

    do {
        *--first = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        *--first = '-';
    put_bytes(text, first, (size_t)(digits + sizeof digits - first));
}

/* Rounds towards minus infinity. */
static void put_seconds(struct text *text, int64_t micros)
{
    int64_t secs = micros / SECOND_US;

    put_number(text, micros < 0 && micros % SECOND_US != 0 ? secs - 1 : secs);
}

static void put_hit(struct text *text, const struct answer *answer, const char *detail)
{
    put(text, "hit; ttl=");
    put_seconds(text, answer->verdict.ttl_us);
    put(text, detail);
}

static void put_query(struct text *text, const struct answer *answer, const char *why)
{
    put(text, why);
    put(text, "; fwd-status=");
    put_number(text, answer->fwd_status);
    if (answer->stored)
        put(text, "; stored");
}

static void put_status(struct text *text, const struct answer *answer)
{
    put(text, "Cache-Status: leeway; ");
    switch (answer->row) {
    case ANSWER_FRESH:
        put_hit(text, answer, "");
        break;
    case ANSWER_STALE:
        put_hit(text, answer, "; detail=stale");
        break;
    case ANSWER_ON_ERROR:
        put_hit(text, answer, "; detail=stale-if-error");
        break;
    case ANSWER_MISS:
        put_query(text, answer, "fwd=uri-miss");
        break;
    case ANSWER_EXPIRED:
        put_query(text, answer, "fwd=stale");
        break;
    case ANSWER_COLLAPSED:
        put(text, "fwd=uri-miss; collapsed");
        break;
    case ANSWER_NO_BUDGET:
        put(text, "fwd=bypass; detail=no-budget");
        break;
    case ANSWER_DISABLED:
        put(text, "fwd=bypass; detail=disabled");
        break;
    case ANSWER_TOO_LARGE:
        put(text, "fwd=bypass; detail=too-large");
        break;
    case ANSWER_NO_REDIS:
        put(text, "fwd=bypass; detail=redis-unavailable");
        break;
    }
    put(text, "\r\n");
}

static void put_lifetimes(struct text *text, int64_t max_age_us, int64_t revalidate_us)
{
    put(text, "max-age=");
    put_seconds(text, max_age_us);
    put(text, ", stale-while-revalidate=");
    put_seconds(text, revalidate_us);
    put(text, ", stale-if-error=0");
}

/* Whether a cache down the line may reuse the response without asking. */
static bool has_lifetime(const struct answer *answer)
{
    switch (answer->row) {
    case ANSWER_ON_ERROR:
    case ANSWER_NO_BUDGET:
    case ANSWER_DISABLED:
    case ANSWER_TOO_LARGE:
    case ANSWER_NO_REDIS:
        return false;
    default:
        return answer->verdict.ttl_us > 0;
    }
}

static void put_control(struct text *text, const struct answer *answer)
{
    const struct freshness_verdict *verdict = &answer->verdict;

    put(text, "Cache-Control: ");
    if (answer->row == ANSWER_NO_BUDGET || answer->row == ANSWER_DISABLED) {
        put(text, "no-store\r\n");
        return;
    }
    if (answer->private)
        put(text, "private, ");
    if (!has_lifetime(answer))
        put(text, "no-cache");
    else if (verdict->fresh_us > 0)
        put_lifetimes(text, verdict->fresh_us, verdict->ttl_us - verdict->fresh_us);
    else
        put_lifetimes(text, 0, verdict->ttl_us);
    put(text, "\r\n");
}

size_t answer_cache_headers(char *out, size_t size, const struct answer *answer)
{
    struct text text = {.data = out, .size = size};

    put_status(&text, answer);
    put_control(&text, answer);
    if (text.cut)
        return 0;
    out[text.len] = '\0';
    return text.len;
}
