/* SPDX-License-Identifier: BSD-2-Clause */
/* A row of the table to two header lines. */
#include "config.h"

#include "cache/answer.h"

#include <assert.h>
#include <string.h>

struct text {
    char *at;
};

static void put(struct text *out, const char *text)
{
    size_t len = strlen(text);

    memcpy(out->at, text, len);
    out->at += len;
}

static void put_number(struct text *out, int64_t number)
{
    char digits[24];
    size_t i = sizeof digits;
    bool negative = number < 0;

    /* kept below zero, where the smallest number fits */
    if (!negative)
        number = -number;
    do {
        digits[--i] = (char)('0' - number % 10);
        number /= 10;
    } while (number != 0);
    if (negative)
        digits[--i] = '-';
    memcpy(out->at, digits + i, sizeof digits - i);
    out->at += sizeof digits - i;
}

/* Towards minus infinity. */
static int64_t whole_seconds(int64_t micros)
{
    return micros >= 0 ? micros / 1000000 : -((-micros + 999999) / 1000000);
}

static void put_forwarded(struct text *out, const char *reason, const struct answer *answer)
{
    put(out, "fwd=");
    put(out, reason);
    put(out, "; fwd-status=");
    put_number(out, answer->fwd_status);
    if (answer->stored)
        put(out, "; stored");
}

static void put_hit(struct text *out, const struct answer *answer, const char *detail)
{
    put(out, "hit; ttl=");
    put_number(out, whole_seconds(answer->verdict.ttl_us));
    put(out, detail);
}

static void put_status(struct text *out, const struct answer *answer)
{
    put(out, "Cache-Status: leeway; ");
    switch (answer->row) {
    case ANSWER_FRESH:
        put_hit(out, answer, "");
        break;
    case ANSWER_STALE:
        put_hit(out, answer, "; detail=stale");
        break;
    case ANSWER_ON_ERROR:
        put_hit(out, answer, "; detail=stale-if-error");
        break;
    case ANSWER_MISS:
        put_forwarded(out, "uri-miss", answer);
        break;
    case ANSWER_EXPIRED:
        put_forwarded(out, "stale", answer);
        break;
    case ANSWER_COLLAPSED:
        put(out, "fwd=uri-miss; collapsed");
        break;
    case ANSWER_NO_BUDGET:
        put(out, "fwd=bypass; detail=no-budget");
        break;
    case ANSWER_TOO_LARGE:
        put(out, "fwd=bypass; detail=too-large");
        break;
    case ANSWER_NO_REDIS:
        put(out, "fwd=bypass; detail=redis-unavailable");
        break;
    }
    put(out, "\r\n");
}

/* What is left until the refresh, and from there to the end of the budget. Both are rounded
   down, and so is their sum. */
static void put_lifetime(struct text *out, const struct answer *answer)
{
    const struct freshness_policy *policy = answer->policy;
    const struct freshness_verdict *verdict = &answer->verdict;
    int64_t left_us = verdict->ttl_us > 0 ? verdict->ttl_us : 0;
    int64_t window_us = policy->budget_us - policy->refresh_after_us;

    if (answer->negative)
        window_us = 0;
    else if (window_us > left_us)
        window_us = left_us;
    put(out, "max-age=");
    put_number(out, whole_seconds(left_us - window_us));
    put(out, ", stale-while-revalidate=");
    put_number(out, whole_seconds(window_us));
    put(out, ", stale-if-error=0");
}

static void put_control(struct text *out, const struct answer *answer)
{
    put(out, "Cache-Control: ");
    if (answer->row == ANSWER_NO_BUDGET) {
        put(out, "no-store\r\n");
        return;
    }
    if (answer->private)
        put(out, "private, ");
    if (answer->row == ANSWER_ON_ERROR || answer->row == ANSWER_TOO_LARGE ||
        answer->row == ANSWER_NO_REDIS)
        put(out, "no-cache");
    else
        put_lifetime(out, answer);
    put(out, "\r\n");
}

size_t answer_cache_headers(char *out, size_t size, const struct answer *answer)
{
    struct text text = {.at = out};

    assert(size >= ANSWER_MAX_BYTES);
    put_status(&text, answer);
    put_control(&text, answer);
    return (size_t)(text.at - out);
}
