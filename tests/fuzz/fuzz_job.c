/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever decodes as a job decodes to the same after it was encoded again. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "refresh/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct job job, again;
    size_t len;

    if (job_decode(ctx, (const char *)data, size, &job) == 0) {
        /* escapes of control characters can make it longer than it was, and too long */
        char *json = job_encode(ctx, &job, &len);
        if (json != NULL && (job_decode(ctx, json, len, &again) == -1 || !same_job(&job, &again)))
            abort();
    }
    talloc_free(ctx);
    return 0;
}
