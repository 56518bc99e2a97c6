/* SPDX-License-Identifier: BSD-2-Clause */
/* [version, queued_ms, "route", "fingerprint", [parameter or null, ...]] */
#include "config.h"

#include "refresh/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <yajl/yajl_gen.h>
#include <yajl/yajl_tree.h>

#include "base/mem.h"
#include "base/num.h"

static void put_text(yajl_gen gen, const char *text)
{
    if (text == NULL)
        yajl_gen_null(gen);
    else
        yajl_gen_string(gen, (const unsigned char *)text, strlen(text));
}

char *job_encode(TALLOC_CTX *ctx, const struct job *job, size_t *len)
{
    yajl_gen gen = mem_check(yajl_gen_alloc(NULL));
    const unsigned char *text = NULL;

    yajl_gen_array_open(gen);
    yajl_gen_integer(gen, JOB_VERSION);
    yajl_gen_integer(gen, job->queued_ms);
    put_text(gen, job->route);
    put_text(gen, job->fingerprint);
    yajl_gen_array_open(gen);
    for (size_t i = 0; i < job->values.count; i++)
        put_text(gen, job->values.texts[i]);
    yajl_gen_array_close(gen);
    yajl_gen_array_close(gen);
    yajl_gen_get_buf(gen, &text, len);
    char *bytes = mem_check(talloc_strndup(ctx, (const char *)text, *len));
    yajl_gen_free(gen);
    return bytes;
}

static int read_integer(yajl_val value, int64_t *out)
{
    if (!YAJL_IS_INTEGER(value))
        return -1;
    *out = YAJL_GET_INTEGER(value);
    return 0;
}

static const char *read_text(TALLOC_CTX *ctx, yajl_val value)
{
    return YAJL_IS_STRING(value) ? mem_check(talloc_strdup(ctx, YAJL_GET_STRING(value))) : NULL;
}

static int read_values(TALLOC_CTX *ctx, yajl_val value, struct param_values *values)
{
    if (!YAJL_IS_ARRAY(value))
        return -1;
    values->count = YAJL_GET_ARRAY(value)->len;
    values->texts = mem_check(talloc_zero_array(ctx, const char *, (unsigned)values->count + 1));
    for (size_t i = 0; i < values->count; i++) {
        yajl_val item = YAJL_GET_ARRAY(value)->values[i];
        values->texts[i] = read_text(ctx, item);
        if (values->texts[i] == NULL && !YAJL_IS_NULL(item))
            return -1;
    }
    return 0;
}

static int read_job(TALLOC_CTX *ctx, yajl_val root, struct job *job)
{
    int64_t version;

    if (!YAJL_IS_ARRAY(root) || YAJL_GET_ARRAY(root)->len != 5)
        return -1;
    yajl_val *parts = YAJL_GET_ARRAY(root)->values;
    if (read_integer(parts[0], &version) == -1 || version != JOB_VERSION ||
        read_integer(parts[1], &job->queued_ms) == -1)
        return -1;
    job->route = read_text(ctx, parts[2]);
    job->fingerprint = read_text(ctx, parts[3]);
    if (job->route == NULL || job->fingerprint == NULL)
        return -1;
    return read_values(ctx, parts[4], &job->values);
}

int job_decode(TALLOC_CTX *ctx, const char *bytes, size_t len, struct job *job)
{
    char error[64];

    if (len > JOB_MAX_BYTES)
        return -1;
    /* a copy, for yajl wants a NUL; one inside would cut the job short, which is no array */
    char *text = mem_check(talloc_strndup(ctx, bytes, len));
    yajl_val root = yajl_tree_parse(text, error, sizeof error);
    int result = root != NULL ? read_job(ctx, root, job) : -1;
    yajl_tree_free(root);
    talloc_free(text);
    return result;
}
