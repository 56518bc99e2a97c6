/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever decodes as a job decodes to the same after it was encoded again; so does a job
   whose texts are the input's, cut at each NUL. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "refresh/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool is_text(const char *text)
{
    return text != NULL && utf8_length(text, strlen(text)) != -1;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_job(const struct job *a, const struct job *b)
{
    if (a->queued_ms != b->queued_ms || !same_text(a->route, b->route) ||
        !same_text(a->fingerprint, b->fingerprint) || a->values.count != b->values.count)
        return false;
    for (size_t i = 0; i < a->values.count; i++)
        if (!same_text(a->values.texts[i], b->values.texts[i]))
            return false;
    return true;
}

static void check_round_trip(TALLOC_CTX *ctx, const struct job *job)
{
    struct job again;
    size_t len;
    char *json = job_encode(ctx, job, &len);

    /* escapes of control characters can make it longer than it was, and too long */
    must((json == NULL) == (len > JOB_MAX_BYTES));
    must(json == NULL || (job_decode(ctx, json, len, &again) == 0 && same_job(job, &again)));
}

static void check_decoded(TALLOC_CTX *ctx, const struct job *job)
{
    must(job->queued_ms >= 0 && is_text(job->route) && is_text(job->fingerprint));
    for (size_t i = 0; i < job->values.count; i++)
        must(job->values.texts[i] == NULL || is_text(job->values.texts[i]));
    check_round_trip(ctx, job);
}

/* Route, fingerprint and values; an empty one of these is NULL. */
static void check_made(TALLOC_CTX *ctx, const char *bytes, size_t size)
{
    const char *end = bytes + size;
    const char **texts = mem_check(talloc_zero_array(ctx, const char *, size + 2));
    size_t count = 0;

    for (const char *at = bytes; at < end; count++) {
        char *text = mem_check(talloc_strndup(ctx, at, (size_t)(end - at)));
        if (!is_text(text))
            return;
        at += strlen(text) + 1;
        texts[count] = count < 2 || *text != '\0' ? text : NULL;
    }
    if (count < 2)
        return;
    check_round_trip(ctx, &(struct job){
                              .queued_ms = (int64_t)size,
                              .route = texts[0],
                              .fingerprint = texts[1],
                              .values = {texts + 2, count - 2},
                          });
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    struct job job;

    if (job_decode(ctx, (const char *)data, size, &job) == 0)
        check_decoded(ctx, &job);
    check_made(ctx, (const char *)data, size);
    talloc_free(ctx);
    return 0;
}
